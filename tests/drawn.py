"""Random command lines, configurations and environments, each told by a number."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from plncli import cli
from plncli.models import MODELS
from plncli.settings import FitConfig, choices, settings, to_toml

ROOT = Path(__file__).parent.parent
MAY_WRITE = ("--out", "--tensorboard", "--multiqc", "--sd")


class Case(NamedTuple):
    """A command line, the configuration that lies beside it as `c.toml`, the environment, and standard input."""

    words: list[str]
    config: bytes
    environment: dict[str, str]
    piped: bool


# What there is to be drawn

TABLES = "--covariates made/covariates.csv"
BASES: dict[str, tuple[str, ...]] = {
    "validate pln": (f"--counts made/counts.csv {TABLES} --exposure made/exposure.csv --formula ~x",),
    "fit pln": (f"--counts made/counts.csv {TABLES} --exposure made/exposure.csv --formula ~x", "--counts made/a.tsv"),
    "fit logistic": ("--response cases/response.csv --covariates cases/covariates.csv --formula ~x",),
    "fit linear": ("--response plots/response.csv --covariates plots/covariates.csv --formula ~x+group",),
    "cv pln": (f"--counts made/counts.csv {TABLES} --formula ~x --folds 2 --covariance diagonal --max-iter 20",),
    "graph pln": ("", f"--counts made/counts.csv {TABLES} --formula ~x"),
    "resume": ("cut",),
    "rerun": ("run --check", "logit --check", "diag --out again"),
    "show": ("run", "logit", "lin/model.safetensors"),
    "predict": (f"run {TABLES} --exposure made/exposure.csv", "run --covariates made/covariates.csv --exposure 10",
                "lin --covariates plots/covariates.csv", "logit --covariates cases/covariates.csv",
                f"run --counts made/counts.csv {TABLES} --exposure made/exposure.csv"),
    "transform": (f"run --counts made/counts.csv {TABLES} --exposure made/exposure.csv",),
    "test": ("run --terms x", "run --equal group", "lin --contrast x", "logit --terms all"),
    "compare": ("run diag", "run diag cut", "lin lin"),
    "diagnose": ("run --draws 20", "lin", "logit"),
    "plot": ("run coefficients --dpi 40", "run loss --dpi 40", "run pca --dpi 30", "lin qq --dpi 30", "scores.csv cv",
             "run biplot --out new.csv"),
    "report": ("lin --no-diagnose", "run diag --no-diagnose"),
    "simulate": ("--n 12 --p 3", "logistic --n 20", "linear --n 20 --p 2", "--from run"),
    "offsets": ("--counts made/counts.csv", "--counts made/counts.csv --methods total,gmpr"),
    "convert": ("made/counts.csv made.parquet", "made/counts.csv -", "made/counts.csv tenx"),
    "sample-data": ("", "oaks"),
    "info": ("",),
}  # fmt: skip
"""What is right for a command; one without an entry here is given arguments by what they are called."""
for _verb in ("validate", "cv", "graph"):
    BASES |= {f"{_verb} {model}": BASES[f"fit {model}"] for model in ("logistic", "linear")}

WEIGHTS = {"fit": 6, "validate": 3, "cv": 2, "report": 0.3, "sample-data": 0.7, "info": 0.3}

FILES = (
    "made/counts.csv", "made/covariates.csv", "made/exposure.csv", "made/config.toml", "made/a.tsv",
    "cases/response.csv",
    "plots/response.csv", "weights.csv", "clusters.csv", "names.txt", "features.txt", "blocks.csv", "run/sigma.csv",
    "run/omega.csv", "scores.csv", "ünï [bold] %s.csv",
)  # fmt: skip
RUNS = ("run", "diag", "logit", "lin", "cut", "run/model.safetensors")
FAULTY = (
    "empty", "empty.csv", "binary.csv", "damaged", "bare", "dangling", "not there", "nowhere/x.csv", "made", ".",
    "..",
    "made/counts.csv/x", "cut.checkpoint", "c.toml", "/proc/nothere/x", "run/manifest.json", "../../../..",
)  # fmt: skip
ODD = (
    "", " ", "\n", "a\nb", "\x00", "x\x00y", "\x1b[31mred", "../../x", "-", "--", "ünï", "日本", "\u202e", "\udcff",
    "x" * 300,
    "y/" * 2000, "n" * 5000, "nan", "inf", "-inf", "1e999", "-1", "0", "0.5", "1e-320", "1000000000000", "9" * 30,
    "9" * 400, "-" + "9" * 400, "9" * 5000, "1_000", "٣", "1.0", "[bold]", "[/]", "%s", "%(x)d", "{}", "{0.x}", "-x",
    "--x=y", "~", "~ x", "~ nothing",
    "None", "true", "'", '"', "`", "\\", "*", "$HOME", "a::b", "::", "run::x", "=", ",", ";", "#", "auto", "cuda:99",
    "cuda",
    "cuda:" + "9" * 30, "4294967296", "9223372036854775808", "0x10", "🙂",
)  # fmt: skip
OUTPUTS = (
    "new", "new.csv", "new.parquet", "new.tsv", "new.png", "new.svg", "new.pdf", "new.html", "new.feather",
    "deep/new",
    "deep/new.csv", "made", "run", "made/counts.csv", "empty", "../new", "../../new.csv", ".", "..", "-", "new/",
    "./new",
    "weights.csv", "new.xlsx", "new.csv.gz", "empty.csv", "dangling", "new.h5", "new.json", "new.biom",
)  # fmt: skip
NUMBERS = {
    "--n": ("5", "30"), "--p": ("1", "3"), "--numeric": ("0", "2"), "--levels": ("0", "2", "3"),
    "--resamples": ("2", "5"),
    "--folds": ("2", "3"), "--max-iter": ("1", "3", "100"), "--time-limit": ("0.001", "5"),
    "--threads": ("1", "2", "auto"),
    "--workers": ("1",), "--draws": ("5", "30"), "--dpi": ("30", "50"), "--top": ("1", "3", "0"),
    "--seed": ("0", "7"),
    "--level": ("0.5", "0.99"), "--tol": ("1e-6", "1e-3", "1e-12"), "--checkpoint-every": ("0", "0.001", "60"),
    "--zeros": ("0.3", "0.6"), "--correlation": ("-0.3", "0.9"), "--min-prevalence": ("0", "0.1"),
    "--entries": ("0.1",),
    "--min-total": ("1", "5"), "--min-depth": ("1", "20"), "--learning-rate": ("0.01", "0.5"),
    "--axes": ("1,2", "2,1", "1", "1,2,3"), "--width": ("single", "60"),
    "--max-q": ("0.05", "0.5"), "--min-effect": ("0", "1"),
}  # fmt: skip
WORDS = {
    "--formula": ("~ x", "~ 1", "~ x + group", "~ 0 + group", "~ log(x**2 + 1)", "~ C(group):x"),
    "--filter": ("x < 1",),
    "--device": ("cpu", "auto"), "--wide": ("marginal", "mean"), "--terms": ("x", "all"), "--equal": ("group",),
    "--contrast": ("x", "x = 1", "group[b] - group[a]"), "--term": ("x", "Intercept"), "--only": ("f1", "y1"),
    "--color": ("group", "x"), "--by": ("group", "x"), "--group-by": ("phylum",),
    "--weights": ("weights.csv", "x"), "--cluster": ("clusters.csv", "group"),
    "--methods": ("total", "total,tmm"), "--config": ("c.toml", "made/config.toml"), "--init": RUNS, "--from": RUNS,
    "--precision": ("run/omega.csv",), "--sigma": ("run/sigma.csv",), "--samples": ("names.txt",), "--run": RUNS,
    "--features": ("features.txt",), "--offset-blocks": ("blocks.csv",), "--offsets": ("made/exposure.csv", "0"),
    "--exposure": ("made/exposure.csv", "10"), "--tensorboard": ("board",), "--multiqc": ("multiqc",),
    "--covariates": ("made/covariates.csv",), "--counts": ("made/counts.csv",), "--response": ("cases/response.csv",),
}  # fmt: skip


def commands() -> dict[str, Any]:
    """Every command by its words, `fit pln`; as typer makes it, options and arguments included."""

    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for name, under in getattr(command, "commands", {}).items():
            yield from walk(under, (*path, name))
        if not getattr(command, "commands", {}):
            yield " ".join(path), command

    return dict(walk(cli.application(), ()))


COMMANDS = commands()
EVERY_OPTION = sorted(
    {option for command in COMMANDS.values() for p in command.params for option in p.opts if option[0] == "-"}
)


def right(option: str, metavar: str, rng: random.Random) -> str:
    """A value that an option may well take, by its name, or else by what its help calls it."""
    if option in NUMBERS or option in WORDS:
        return rng.choice((NUMBERS | WORDS)[option])
    if option in MAY_WRITE:
        return rng.choice(OUTPUTS)
    offered = [word for word in metavar.split("|") if re.fullmatch(r"[a-z][a-z0-9-]*", word)]
    if offered:
        return rng.choice(offered)
    if metavar == "N":
        return str(rng.choice((1, 2, 3)))
    if metavar in ("X", "SHARE", "SECONDS"):
        return rng.choice(("0.5", "0.1", "1"))
    return rng.choice(RUNS if "RUN" in metavar else FILES)


def value(option: str, metavar: str, rng: random.Random, wrong: float) -> str:
    """A value that is right, or, with the probability `wrong`, any."""
    if rng.random() >= wrong:
        return right(option, metavar, rng)
    return rng.choice(rng.choice((ODD, ODD, FAULTY, FILES, RUNS, OUTPUTS)))


def words_of(parameter: Any, rng: random.Random, wrong: float) -> list[str]:
    """An option, with a value if it takes one, in one word or in two."""
    name = rng.choice([*parameter.opts, *parameter.secondary_opts])
    if parameter.is_flag:
        return [name]
    given = value(parameter.opts[0], parameter.metavar or "", rng, wrong)
    return [f"{name}={given}"] if name.startswith("--") and rng.random() < 0.2 else [name, given]


def options_of(command: str) -> list[Any]:
    """The options of a command."""
    return [p for p in COMMANDS[command].params if p.param_type_name == "option" and p.name != "help"]


def line(command: str, rng: random.Random, wrong: float) -> list[str]:
    """A command with what it needs, and some of its options; `wrong`: share of their values that may be any."""
    if command in BASES:
        words = rng.choice(BASES[command]).split()
    else:
        needed = [p for p in COMMANDS[command].params if p.required]
        words = [w for p in needed for w in (words_of(p, rng, wrong) if p.opts[0][0] == "-" else [rng.choice(RUNS)])]
    options = options_of(command)
    for parameter in rng.sample(options, min(len(options), rng.choice((0, 0, 1, 1, 2, 3, 6)))):
        words += words_of(parameter, rng, wrong)
    return [*command.split(), *words]


def spoilt(words: list[str], command: str, rng: random.Random) -> list[str]:
    """The same line with a slip: a word lost, doubled, cut short, replaced or moved, or one that belongs elsewhere."""
    words, at = list(words), rng.randrange(len(words))
    match rng.randrange(10):
        case 0:
            del words[at]
        case 1:
            words[at] = rng.choice(ODD)
        case 2:
            words[at] = rng.choice(FAULTY)
        case 3:
            words.insert(at, rng.choice(ODD))
        case 4:
            words[at] = words[at][: rng.randrange(len(words[at]) + 1)]
        case 5:
            rng.shuffle(words)
        case 6:
            words += [rng.choice(EVERY_OPTION), *rng.choice(([], [rng.choice(ODD)], [rng.choice(FILES)]))]
        case 7:
            words += words[len(command.split()) :]
        case 8:
            words.insert(at, rng.choice(("--help", "-h", "--version", "-q", "-v", "-qv", "-vq=1", "-xyz")))
        case _ if options := options_of(command):
            words += words_of(rng.choice(options), rng, 1.0)
    return words


# Configurations and environments

TOML = (
    "true", "false", "0", "1", "-1", "3", "0.5", "1e-6", "1e999", "nan", "inf", "-inf", "9223372036854775808", "0x1F",
    '""', '"x"', '"~ x"', r'"a\u0000b"', r'"\u001B[31m"', r'"\U0001F642"', '"""a\nb"""', "1979-05-27", "07:32:00",
    "1979-05-27T07:32:00Z", "[]", "[1, 2]", '["~ x", "~ 1"]', "{}", "{a = 1}", "[[1], [2]]", '"true"', '"1"', '"-"',
    '".."',
    "1_000_000_000_000", "9" * 400, '"' + "n" * 5000 + '"', '"made/counts.csv"', '"[bold]%s{}"',
)  # fmt: skip
STRAY = (
    "model", "colour", "counts.x", "[fit]", "[[fit]]", '"a b"', '""', "max-iter", "MAX_ITER", "tools", "config",
    "json",
    r'"\u001B[2J"', '"' + "k" * 5000 + '"',
)  # fmt: skip


def toml_value(name: str, model: str, rng: random.Random, wrong: float) -> str:
    """A value of a setting as TOML: right, an odd text, or of any type."""
    setting = settings()[name]
    if rng.random() < wrong:
        odd = rng.choice(ODD).encode("utf-8", "replace").decode()
        return rng.choice((rng.choice(TOML), rng.choice(TOML), json.dumps(odd)))
    if setting.kind is bool:
        return rng.choice(("true", "false"))
    given = right("--" + name.replace("_", "-"), setting.metavar or "|".join(choices(setting, model)), rng)
    return given if setting.kind in (int, float) or given.isdecimal() else json.dumps(given)


def settings_file(model: str, rng: random.Random) -> bytes:
    """A configuration of some settings, most of them right, that fits small tables."""
    response = MODELS[model].response
    base = {"counts": "made", "classes": "cases", "numbers": "plots"}[response.name]
    main = response.option
    given = {main: f'"{base}/{main}.csv"', "covariates": f'"{base}/covariates.csv"', "formula": '"~ x"'}
    wrong = rng.choice((0.0, 0.0, 0.2, 0.7))
    for name in rng.sample(list(settings(model)), rng.choice((0, 1, 2, 4, 8))):
        given[name] = toml_value(name, model, rng, wrong)
    rows = [f"{name.replace('_', rng.choice('_-'))} = {text}" for name, text in given.items()]
    if rng.random() < 0.3:
        stray = rng.choice((*STRAY, *settings()))
        rows.insert(rng.randrange(len(rows) + 1), stray if stray[0] == "[" else f"{stray} = {rng.choice(TOML)}")
    return ("\n".join(rows) + "\n").encode()


def with_slips(content: bytes, rng: random.Random) -> bytes:
    """A configuration with a few slips."""
    rows = content.decode().splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(rows))
        match rng.randrange(7):
            case 0 if " = " in rows[at]:
                rows[at] = rows[at].removeprefix("# ").partition(" = ")[0] + f" = {rng.choice(TOML)}"
            case 1:
                rows[at] = rows[at].removeprefix("# ")
            case 2:
                rows.insert(at, rows[rng.randrange(len(rows))])
            case 3:
                rows.insert(at, f"{rng.choice(STRAY)} = {rng.choice(TOML)}")
            case 4:
                cut = rng.randrange(len(rows[at]) + 1)
                rows[at] = rows[at][:cut] + rng.choice(("", '"', "=", "#", "\x00", "\x7f", "é", "[")) + rows[at][cut:]
            case 5:
                rows[at] = "".join(rng.sample(rows[at], len(rows[at])))
            case _:
                rows[at] = rows[at].replace("_", "-", 1)
    made = bytearray("\n".join(rows).encode())
    if rng.random() < 0.1:
        made[rng.randrange(len(made))] = rng.randrange(256)
    return bytes(made)


def configuration(model: str, rng: random.Random) -> bytes:
    """The content of a configuration file: settings, a spoilt copy of what comes with the program, or any bytes."""
    kind = rng.random()
    if kind < 0.6:
        return settings_file(model, rng)
    if kind < 0.7:
        return with_slips(settings_file(model, rng), rng)
    if kind < 0.95:
        known = to_toml(FitConfig(model)) if rng.random() < 0.3 else (ROOT / "configs" / f"{model}.toml").read_text()
        small = known.replace("../sample_data/oaks", "made").replace("~ 0 + tree", "~ x")
        return with_slips(small.encode(), rng)
    start = rng.choice((b"", b"\xff\xfe", b"\xef\xbb\xbf", b"[" * 3000, b"a = " + b"[" * 3000))
    return start + rng.randbytes(rng.randrange(40))


def environment(rng: random.Random) -> dict[str, str]:
    """Some settings in the environment, and names that are none."""
    found = {}
    for name in rng.sample(list(settings()), rng.choice((1, 1, 2))):
        given = value("--" + name.replace("_", "-"), "|".join(settings()[name].choices), rng, 0.5)
        found[f"PLNCLI_{name.upper()}"] = given.replace("\0", "")
    if rng.random() < 0.2:
        found[rng.choice(("PLNCLI_TOLL", "PLNCLI_", "PLNCLI_tol", "PLNCLI_X\x1b[2J", "PLNCLI_\udcff"))] = "1"
    return found


def case(number: int) -> Case:
    """The command that a number stands for."""
    rng = random.Random(f"command {number}")
    verbs = sorted({command.split()[0] for command in COMMANDS})
    (verb,) = rng.choices(verbs, [WEIGHTS.get(verb, 1) for verb in verbs])
    command = rng.choice([command for command in COMMANDS if command.split()[0] == verb])
    model = command.split()[-1] if command.split()[-1] in MODELS else "pln"
    config = configuration(model, rng)
    words = line(command, rng, rng.choice((0.0, 0.0, 0.3, 0.8)))
    if "config" in {p.name for p in COMMANDS[command].params} and rng.random() < 0.4:
        more = words_of(rng.choice(options_of(command)), rng, 0.3) if rng.random() < 0.2 else []
        words = [*command.split(), "--config", "c.toml", *more]
    for _ in range(rng.choice((0, 0, 0, 0, 1, 1, 2))):
        words = spoilt(words, command, rng) if words else words
    return Case(words, config, environment(rng) if rng.random() < 0.1 else {}, rng.random() < 0.3)
