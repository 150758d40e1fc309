"""What starting costs: `plncli fit pln` on the oaks, files to files, against imports alone; and the slowest imports.

`python -m benchmarks.startup [--repeats 7]` prints a table and writes it to benchmarks/results/startup.md.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import machine
from benchmarks.launch import launch
from benchmarks.problems import OAKS

RESULTS = Path(__file__).parent / "results"
LIMIT = 120.0


def main() -> None:
    """Measure the commands in turn, then the imports of one fit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join([_table(_commands(Path(folder)), repeats), "", _imports(_fit(Path(folder)), 20), ""])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "startup.md").write_text(text, encoding="utf-8")
    print(text)


def _fit(folder: Path) -> list[str]:
    tables = ["--counts", str(OAKS / "counts.csv"), "--exposure", str(OAKS / "exposure.csv")]
    return ["-m", "plncli", "fit", "pln", *tables, "--out", str(folder / "oaks"), "--overwrite", "--quiet"]


def _commands(folder: Path) -> dict[str, list[str]]:
    return {
        "plncli fit pln (oaks)": _fit(folder),
        "plncli --help": ["-m", "plncli", "--help"],
        'python -c "import torch, pandas"': ["-c", "import torch, pandas"],
        'python -c "import torch"': ["-c", "import torch"],
        'python -c "pass"': ["-c", "pass"],
    }


def _table(commands: dict[str, list[str]], repeats: int) -> str:
    """Medians of whole processes, taken in turn after one round that is not counted."""
    runs: dict[str, list[dict]] = {name: [] for name in commands}
    for turn in range(repeats + 1):
        for name, arguments in commands.items():
            figures = launch([sys.executable, *arguments], LIMIT)
            if figures["exit_code"] != 0:
                raise SystemExit(f"{name}: exit code {figures['exit_code']}\n{figures['stderr']}")
            if turn:
                runs[name].append(figures)
    base = statistics.median(run["seconds"] for run in runs['python -c "import torch, pandas"'])
    lines = [
        f"Whole processes in turn, medians of {repeats}. {machine.describe()}.",
        "",
        "| command | seconds | fastest | CPU seconds | peak MB | seconds beyond `import torch, pandas` |",
        "|---|---|---|---|---|---|",
    ]
    for name, figures in runs.items():
        wall, cpu, peak = (
            statistics.median(run[key] for run in figures) for key in ("seconds", "cpu_seconds", "peak_mb")
        )
        fastest = min(run["seconds"] for run in figures)
        lines.append(f"| `{name}` | {wall:.3f} | {fastest:.3f} | {cpu:.3f} | {peak:.0f} | {wall - base:+.3f} |")
    return "\n".join(lines)


def _imports(arguments: list[str], most: int) -> str:
    """The modules that take longest to import in one fit, by what they bring in themselves and with theirs."""
    finished = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True
    )
    rows = []
    for line in finished.stderr.splitlines():
        if line.startswith("import time:") and "[us]" not in line:
            own, total, name = line.removeprefix("import time:").split("|")
            rows.append((int(own) / 1e3, int(total) / 1e3, name))
    top = sorted((row for row in rows if not row[2].startswith("   ")), key=lambda row: -row[1])[:most]
    heavy = sorted(rows, reverse=True)[:most]
    return "\n".join(
        [
            f"{len(rows)} modules are imported. Outermost imports, with all that they bring in:",
            "",
            *_columns([(total, name) for _, total, name in top]),
            "",
            "Single modules, by their own time:",
            "",
            *_columns([(own, name) for own, _, name in heavy]),
        ]
    )


def _columns(rows: list[tuple[float, str]]) -> list[str]:
    return ["| ms | module |", "|---|---|", *(f"| {time:.1f} | `{name.strip()}` |" for time, name in rows)]


if __name__ == "__main__":
    main()
