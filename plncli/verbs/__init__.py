"""Verbs: what each verb does, as a function of settings: the command line and Python both call it.

What may enter: the order of the work, and the sentences that tell of it.
Never: options and arguments of one of the two, and numbers that a room below could find.
"""
