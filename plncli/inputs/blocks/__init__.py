"""Regressions of tables whose rows stay in their file: what must be known of all rows, and the rows by blocks.

What may enter: a configuration that names such a table. Never: a table of all rows, but for a column or two at a time.
"""
