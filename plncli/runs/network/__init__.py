"""The network of a fit: its links, and the file that other programs read.

What may enter: what tells of links, and formats of graphs. Never: how links are found, or drawn.
"""
