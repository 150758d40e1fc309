"""Where a fit of components begins: starts from the counts alone, of some samples first, each brought near its optimum.

What may enter: what finds theta before the optimizer does. Never: what an optimizer or a finished fit needs of theta.
"""
