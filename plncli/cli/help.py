"""Help in plain text: panels of verbs, of arguments and of options, and examples; and `plncli help`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import typer
from typer.core import TyperCommand, TyperGroup

from plncli import console
from plncli.cli.examples import EXAMPLES, VERBS
from plncli.errors import UsageError, nearest

COMMAND = "Command line"
"""The last panel of options."""
WIDEST = 100
"""Columns that help takes of a wide terminal."""
HELP_FLAGS = {"help_option_names": ["-h", "--help"], "max_content_width": WIDEST}
RANGES = {
    r"(; )?\b0<=x<=9223372036854775807": "",  # of a seed, which is no news to anybody
    r"\b(\d+)<=x<=(\d+)": r"\1 to \2",
    r"\bx>=(\d+)": r"\1 or more",
    r" *\[\]": "",
}
"""What typer adds of the range of a number, as people write it."""


def write_examples(ctx: Any, formatter: Any) -> None:
    """The examples of a command, as they are typed."""
    examples = EXAMPLES.get(ctx.command_path.partition(" ")[2], ())
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write("".join(f"  {line}\n" for line in on_lines(example, formatter.width - 2)))


def on_lines(example: str, width: int) -> list[str]:
    """A command on lines of at most `width` signs, as a shell takes them; an option stays beside its value."""
    lines = [""]
    for part in re.findall(r"-\S+ (?:\"[^\"]*\"|[^-\s]\S*)|\"[^\"]*\"|\S+", example):
        if len(lines[-1]) + len(part) + 1 > width - 2:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {part}" if lines[-1] else part
    return lines


@dataclass(frozen=True)
class Offer:
    """A command that is made when it is asked for. help: its text, known before; make: what makes it."""

    help: str
    make: Callable[[], Any]

    @property
    def summary(self) -> str:
        """The first paragraph of its help: what a list of commands says of it."""
        return " ".join(self.help.partition("\n\n")[0].split())


class Commands(Mapping[str, Any]):
    """Commands by name, each made once, when it is asked for: all of them together take longer than many a command."""

    def __init__(self, offers: Mapping[str, Offer]) -> None:
        self.offers = offers
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self.offers[name].make()
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self.offers

    def __iter__(self) -> Iterator[str]:
        return iter(self.offers)

    def __len__(self) -> int:
        return len(self.offers)


def offer(name: str, function: Callable[..., int], help: str | None = None) -> Offer:
    """A function as a command of that name."""

    def make() -> Any:
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        app.command(name, cls=Command)(function)
        return typer.main.get_command(app)

    return Offer(inspect.cleandoc(function.__doc__ or "") if help is None else help, make)


class Command(TyperCommand):
    """A command whose help lists its options by panel, in plain text: option names are never cut short."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Arguments by their names alone."""
        return [re.sub(r"[{}]|\.\.\.$", "", piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options of each panel under its title."""
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                argument = parameter.param_type_name == "argument"
                panel = "Arguments" if argument else getattr(parameter, "rich_help_panel", None) or "Options"
                panels.setdefault(panel, []).append(_plain(record, argument))
        if COMMAND in panels:
            panels[COMMAND] = [*panels.pop(COMMAND), panels["Options"].pop()]  # -h last
        for panel, records in panels.items():
            if records:
                with formatter.section(panel):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Examples end the help."""
        write_examples(ctx, formatter)


def _plain(record: tuple[str, str], argument: bool) -> tuple[str, str]:
    """The name of a parameter and its help, without what typer adds of types."""
    names, help = record
    if argument:
        names, help = re.sub(r" <.*>$", "", names), help.replace("[required]", "")
    for theirs, ours in RANGES.items():
        help = re.sub(theirs, ours, help)
    return names, help.rstrip()


class Group(TyperGroup):
    """A verb whose commands are the models."""

    commands: Any

    def offering(self, offers: Mapping[str, Offer]) -> Self:
        """Itself, with these commands."""
        self.commands = Commands(offers)
        return self

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (typer hands it over)
        """Their names."""
        return list(self.commands)

    def summaries(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Commands with what a list says of them."""
        return [(name, self.commands.offers[name].summary) for name in names]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each command with its first sentence in full."""
        with formatter.section("Commands"):
            formatter.write_dl(self.summaries(self.list_commands(ctx)))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Examples end the help."""
        write_examples(ctx, formatter)


class Verbs(Group):
    """The verbs in panels, in the order in which a user meets them."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (typer hands it over)
        """Their names."""
        return [verb for verbs in VERBS.values() for verb in verbs]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """What the program does, and how to begin."""
        super().format_help_text(ctx, formatter)
        write_examples(ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the verbs of each panel, then the options of the program itself."""
        spacing = 2 + max(map(len, self.list_commands(ctx)))
        for panel, verbs in VERBS.items():
            with formatter.section(panel):
                formatter.write_dl([(verb.ljust(spacing - 2), told) for verb, told in self.summaries(verbs)])
        with formatter.section("Options"):
            records = (parameter.get_help_record(ctx) for parameter in self.get_params(ctx))
            formatter.write_dl([record for record in records if record])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 (typer hands it over)
        """Exit codes end the help."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(self.epilog)


def of_command(root: Any, ctx: Any, words: Sequence[str]) -> str:
    """The help of the command that the words name. UsageError for what is none."""
    command, context = root, ctx
    for word in words:
        known = command.list_commands(context) if isinstance(command, TyperGroup) else []
        if word not in known:
            raise UsageError(_no_such(word, known, context.command_path))
        command = command.commands[word]
        context = type(ctx)(command, info_name=word, parent=context)
    return str(command.get_help(context))


def _no_such(word: str, names: Sequence[str], path: str) -> str:
    if not names:
        return f"`{path}` has no commands, so there is no help on `{word}` of it."
    return f"There is no `{path} {word}`.{nearest(word, names)} There are: {', '.join(names)}."


def _completed(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    yield from (name for name in ctx.find_root().command.commands if name.startswith(incomplete))  # type: ignore[attr-defined]


def help(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[VERB [MODEL]]",
            help="The command to explain; plncli itself when it is left out.",
            show_default=False,
            autocompletion=_completed,
        ),
    ] = None,
) -> int:
    """Print the help of a command, as its --help does."""
    root = ctx.find_root()
    console.out(of_command(root.command, root, words or []))
    return 0
