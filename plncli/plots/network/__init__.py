"""The network of the features: which are linked given all others.

What may enter: what shows its edges, and where they lie. Never: how edges are found.
"""
