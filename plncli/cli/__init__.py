"""The command line: one module per verb, and the one place where an error becomes a message and an exit code.

What may enter: options, the call of a verb with what they say, and printing of what it returns.
Never: statistics, the order of the work, or a sentence that a verb could say.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from plncli import console, ranks
from plncli.cancellation import Interrupted, cancellation
from plncli.cli import (
    classify,
    compare,
    convert,
    cv,
    diagnose,
    fit,
    graph,
    help,
    info,
    offsets,
    plot,
    predict,
    report,
    rerun,
    resume,
    sample_data,
    show,
    simulate,
    transform,
    validate,
    wald,
)
from plncli.cli.help import HELP_FLAGS, Group, Offer, Verbs, offer
from plncli.cli.options import takers
from plncli.errors import DataError, PlncliError, RankLost, UsageError, legible, nearest
from plncli.models import MODELS
from plncli.version import __version__

EXIT_CODES = (
    "Exit codes: 0 done and converged, 1 a bug, 2 usage, 3 data, formula or configuration, 4 ended without converging, "
    "5 out of memory or device not there, 130 interrupted, 143 terminated."
)

UNREACHABLE = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)
"""What keeps a program from even asking whether there is a file: no fault of its own, wherever it asks."""


def _print_version(wanted: bool) -> None:
    if wanted:
        console.out(f"plncli {__version__}")
        raise typer.Exit


def _print_citation(wanted: bool) -> None:
    if wanted:
        from plncli import citation

        console.out(citation.text())
        raise typer.Exit


def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version, and stop.", callback=_print_version, is_eager=True),
    ] = False,
    citation: Annotated[
        bool,
        typer.Option(
            "--citation",
            help="Print how to cite, as text and BibTeX, and stop.",
            callback=_print_citation,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Fit Poisson log-normal, logistic and linear models to tables."""
    del version, citation
    place, verb = ranks.announced(), context.invoked_subcommand
    if place is not None and verb not in SHARING:
        raise UsageError(f"`plncli {verb}` takes one process, and {place[1]} were started. Run it without torchrun.")


SHARING = ("fit", "resume")
"""Verbs that several processes may share."""
MODEL_VERBS: dict[str, Callable[[], Group]] = {
    "validate": validate.app,
    "fit": fit.app,
    "cv": cv.app,
    "graph": graph.app,
}
PLAIN_VERBS: dict[str, Callable[..., int]] = {
    "resume": resume.resume,
    "rerun": rerun.rerun,
    "show": show.show,
    "predict": predict.predict,
    "transform": transform.transform,
    "classify": classify.classify,
    "test": wald.wald,
    "compare": compare.compare,
    "diagnose": diagnose.diagnose,
    "plot": plot.plot,
    "report": report.report,
    "simulate": simulate.simulate,
    "offsets": offsets.offsets,
    "convert": convert.convert,
    "sample-data": sample_data.sample_data,
    "help": help.help,
    "info": info.info,
}
"""Verbs with a command for each model, and those with none."""


def application() -> Verbs:
    """The command line; its commands are made when they are asked for."""
    app = typer.Typer(
        name="plncli",
        cls=Verbs,
        epilog=EXIT_CODES,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=HELP_FLAGS,
    )
    app.callback()(_root)
    root: Any = typer.main.get_command(app)
    groups = {verb: made() for verb, made in MODEL_VERBS.items()}
    offers = {verb: Offer(own.help or "", partial(groups.__getitem__, verb)) for verb, own in groups.items()}
    root.offering(offers | {verb: offer(verb, command) for verb, command in PLAIN_VERBS.items()})
    assert isinstance(root, Verbs)
    return root


def main() -> None:
    """Run the command line and exit: 0 done, or the code that the error owns."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a sign gets a `?`, not a failure
    sys.exit(_run())


def program() -> None:
    """The installed command: `main`, and then out at once.

    Taking the interpreter and torch's libraries down in order costs 0.2 s, and their threads may abort in it; all files
    are written and closed by then. Threads that wait spin for some 0.03 ms and then sleep, unless the environment says
    otherwise: where other programs want the cores too, spinning on makes two threads ten times slower than one, and
    waking from sleep takes longer than the operations on a table of 100 × 800.
    """
    if ranks.several():
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a process that is lost is told of in one sentence
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():  # read once, when torch is loaded
        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
    code: Any = 1
    try:
        main()
    except SystemExit as ending:
        code = ending.code
    with suppress(OSError, ValueError):  # a reader that has left, or a stream that was closed
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _run() -> int:
    try:
        with cancellation():
            return application()(standalone_mode=False, prog_name="plncli") or 0
    except PlncliError as error:
        return _ended(str(error), error.exit_code, lost=isinstance(error, RankLost))
    except Interrupted as interrupted:
        return _ended("Interrupted; nothing was written.", interrupted.exit_code)
    except OSError as error:
        if error.errno not in UNREACHABLE or not error.filename:
            return _bug()
        told = legible(f"Cannot reach `{os.fsdecode(error.filename)}`: {error.strerror}. Check the path.")
        return _ended(told, DataError.exit_code)
    except Exception as error:  # noqa: BLE001 (the last place before the user)
        if hasattr(error, "format_message"):  # typer's own usage errors, whose class it does not export
            return _usage(error)
        return _bug()


def _ended(message: str, code: int, *, lost: bool = False) -> int:
    """Say why the program ends; of several processes one says so. lost: for want of another, which may have told why.

    Its exit code: that of the process that failed.
    """
    return ranks.last_word(code, lambda: console.error(message), lost=lost)


def _usage(error: Exception) -> int:
    """Say what typer found wrong with the command line; a verb without arguments is answered with its help."""
    message: str = error.format_message()  # type: ignore[attr-defined]
    kind, context = type(error).__name__, getattr(error, "ctx", None)
    if kind == "NoArgsIsHelpError":
        return ranks.last_word(2, lambda: console.hint(message))
    if kind == "NoSuchOption" and context:
        message = _no_such_option(error.option_name, context.command, context.find_root().command)  # type: ignore[attr-defined]
    elif message.startswith("No such command") and context and not message.endswith("?"):
        message += f" There are: {', '.join(context.command.list_commands(context))}."
    hint = f" See `{context.command_path} --help`." if context else ""
    message = legible(_plain(message))
    return _ended(message + ("" if message.endswith((".", "?")) else ".") + hint, 2)


BAD_VALUES = {
    r"a valid integer.*": "an integer",
    r"a valid number.*": "a number",
    r"greater than or equal to (\S+)": "{} or more",
    r"less than or equal to (\S+)": "{} or less",
}


def _plain(message: str) -> str:
    """What typer says of a value that is of the wrong type, or out of range, in the words of the other messages."""
    for theirs, ours in BAD_VALUES.items():
        found = re.fullmatch(rf"Invalid value for '(.+?)': Input should be {theirs}", message)
        if found is not None:
            return f"{found.group(1)} must be {ours.format(*found.groups()[1:])}."
    return message


def _with_option(name: str, root: Any) -> list[str]:
    """The verbs that have an option, of some model or without one."""
    commands = {
        verb: getattr(root.commands[verb], "commands", {"": root.commands[verb]}) for verb in root.list_commands(None)
    }
    return [verb for verb, own in commands.items() if any(_has(name, command) for command in own.values())]


def _with_own(name: str, root: Any) -> list[str]:
    """The verbs that have it for every model."""
    commands = {verb: getattr(root.commands[verb], "commands", {}) for verb in root.list_commands(None)}
    return [verb for verb, own in commands.items() if own and all(_has(name, command) for command in own.values())]


def _has(name: str, command: Any) -> bool:
    return any(name in (*parameter.opts, *parameter.secondary_opts) for parameter in command.params)


def _no_such_option(name: str, command: Any, root: Any) -> str:
    """What an unknown option was meant to be: one of another command, or the nearest of this one."""
    known = [flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)]
    models = takers(name)
    if not models:
        verbs = _with_option(name, root)
        near = nearest(name, known)
        goes = f" It goes with {' and '.join(f'`plncli {verb}`' for verb in verbs[:3])}." if verbs else ""
        return f"No such option: {name}.{near}{goes}"
    others = [] if len(models) == len(MODELS) else _with_own(name, root)
    if command.name in models:
        models = [command.name]
    fits = ["fit"] if len(models) == len(MODELS) else [f"fit {model}" for model in models]
    return f"No such option: {name}. It goes with {' and '.join(f'`plncli {verb}`' for verb in (*fits, *others))}."


def _bug() -> int:
    import traceback

    return _ended(
        f"This is a bug in plncli {__version__}, not a mistake of yours. "
        "Please report it, with the command and the lines below.\n\n" + traceback.format_exc(),
        1,
    )
