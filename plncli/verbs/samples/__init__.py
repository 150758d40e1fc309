"""What a finished fit tells of new samples, many of which come by blocks.

What may enter: a run, where its samples are, and where tables go. Never: how models answer, or options of commands.
"""
