"""`python -m plncli` is `plncli`."""

import signal

if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command line answers it: no traceback from its imports

from plncli.cli import program

if __name__ == "__main__":
    program()
