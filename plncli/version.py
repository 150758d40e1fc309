"""The version of this program: kept by itself, so that every room may ask for it without importing the package."""

__version__ = "0.1.0"
