"""Evaluation: judge fits from outside, by their abilities: cross-validation, diagnostics, time and memory.

What may enter: what can be asked of any model, or of any that has an ability.
Never: files, options, and questions for the name of a model.
"""
