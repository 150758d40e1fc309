"""Simulation: tables of which the truth is known, from a design or from a run, and their folder, whole or not at all.

What may enter: how a truth is made, drawn from, and written beside its tables.
Never: how a model draws (`models.fitted.Simulating`), and options.
"""
