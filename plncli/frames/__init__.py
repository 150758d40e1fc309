"""plncli from Python: data frames in, and the command line's verbs out, by the same code as files.

A frame becomes a table as if it had been read from a file; its index names the samples. What the command line says in
notes and warnings is a Python warning here, and its errors are `PlncliError`s in Python's words.
"""

from plncli.frames.crossvalidation import cv
from plncli.frames.data import Dataset
from plncli.frames.depths import offsets
from plncli.frames.fits import FitResult, fit, load
from plncli.frames.simulation import simulate

__all__ = ["Dataset", "FitResult", "cv", "fit", "load", "offsets", "simulate"]
