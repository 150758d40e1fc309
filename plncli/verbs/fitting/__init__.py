"""How a fit is made for whoever asks for one: read, run, kept while it is not done, told; alone, or along a path.

What may enter: settings that are resolved. Never: what is written where, or words of the command line.
"""
