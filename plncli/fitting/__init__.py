"""The only place where a model meets an optimizer.

What may enter: a model, its data, where to start, how to stop. Never: files, settings, or the name of a model.
"""

from plncli.fitting.estimation import fit
from plncli.fitting.problem import graph, problem_of

__all__ = ["fit", "graph", "problem_of"]
