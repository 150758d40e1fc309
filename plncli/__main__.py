"""`python -m plncli` is `plncli`."""

from plncli.cli import main

main()
