"""plncli from Python: data frames in, results out, by the same verbs as the command line's.

A frame becomes a table as if it had been read from a file; its index names the samples. A verb's warnings are Python
warnings here, its notes quiet text (`messages`), and its errors `PlncliError`s in Python's words. Results show
themselves in a line, as text, and in a notebook (`display`).

What may enter: arguments as settings and tables, results as data frames.
Never: a verb that the command line has not, or anything of the room `cli`.
"""

from plncli.frames.crossvalidation import cv
from plncli.frames.data import Dataset
from plncli.frames.fitting import fit, load
from plncli.frames.result import FitResult
from plncli.frames.simulation import simulate
from plncli.frames.size_factors import offsets

__all__ = ["Dataset", "FitResult", "cv", "fit", "load", "offsets", "simulate"]
