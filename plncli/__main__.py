"""`python -m plncli` is `plncli`."""

from plncli.cli import program

program()
