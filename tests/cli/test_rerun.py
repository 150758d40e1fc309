"""`plncli rerun`: a fit is repeated to the bit, or what differs is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Oaks, Ran
from tries import quickly

Cli = Callable[..., Ran]
FITS = {
    "pln": "--counts {counts} --exposure {exposure} --covariates {covariates} --formula ~tree --format parquet",
    "pln lbfgs": "--counts {counts} --exposure {exposure} --top 6 --optimizer lbfgs --vcov",
    "pln bootstrap": "--counts {counts} --exposure {exposure} --top 3 --se bootstrap --resamples 8 --workers 2",
    "linear": "--covariates {covariates} --formula distTOground~tree --format tsv",
}


@pytest.mark.parametrize("name", quickly(FITS, "pln lbfgs", "linear"))
def test_a_fit_is_repeated_to_the_bit(cli: Cli, oaks: Oaks, tmp_path: Path, name: str) -> None:
    assert cli("fit", name.split()[0], *FITS[name].format(**vars(oaks)).split(), "--out", "run").code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    ran = cli("rerun", "run", "--check")
    assert ran.code == 0 and "run is repeated to the bit: coefficients." in ran.err, ran.err
    for file in ("loss_trace.", "summary.json", "model.safetensors"):
        assert file in ran.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_differs_is_told(cli: Cli, oaks: Oaks, tmp_path: Path) -> None:
    assert (
        cli("fit", "pln", "--counts", oaks.counts, "--exposure", oaks.exposure, "--top", "4", "--out", "run").code == 0
    )
    path = tmp_path / "run/coefficients.csv"
    header, first, *rest = path.read_text().splitlines()
    cells = first.split(",")
    cells[2] = repr(float(cells[2]) * (1 + 1e-9))
    path.write_text("\n".join([header, ",".join(cells), *rest]) + "\n")
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    manifest["versions"]["torch"] = "1.0"
    (tmp_path / "run/manifest.json").write_text(json.dumps(manifest))
    ran = cli("rerun", "run", "--check")
    assert ran.code == 3 and "1 file of run not repeated to the bit: coefficients.csv" in ran.err
    assert "largest difference of a number is 1e-09 of its size" in ran.err
    assert "note: It was fitted with torch 1.0, and now with " in ran.err


def test_results_may_be_kept_and_other_things_are_refused(cli: Cli, oaks: Oaks, tmp_path: Path) -> None:
    assert cli("fit", "pln", "--counts", oaks.counts, "--top", "4", "--out", "run").code == 0
    assert cli("rerun", "run", "--out", "again").code == 0
    assert (tmp_path / "again/sigma.csv").read_bytes() == (tmp_path / "run/sigma.csv").read_bytes()
    for words, message in {
        ("rerun", "run"): "Give --check to compare with the fit, or --out DIR",
        ("rerun", "run", "--out", "again"): "again exists",
        ("rerun", "nothing", "--check"): "`nothing` is not the folder of a fit: it has no config.toml",
    }.items():
        ran = cli(*words)
        assert ran.code in (2, 3) and message in ran.err


def test_a_time_limit_is_no_part_of_what_is_repeated(cli: Cli, oaks: Oaks, tmp_path: Path) -> None:
    fit = ("fit", "pln", "--counts", oaks.counts, "--exposure", oaks.exposure)
    assert cli(*fit, "--time-limit", "1e-6", "--out", "cut").code == 4
    ran = cli("rerun", "cut", "--check")
    assert ran.code == 3 and "cut was ended by a time limit or a signal" in ran.err and "plncli resume cut" in ran.err
    assert cli("resume", "cut", "--time-limit", "600").code == 0
    config = tmp_path / "cut/config.toml"
    config.write_text(config.read_text().replace("time_limit = 600.0", "time_limit = 1e-6"))  # on a slower machine
    assert "1e-6" in config.read_text()
    assert cli("rerun", "cut", "--check").code == 0
    for content in ("[]", "{", '{"status": "converged", "findings": [7]}'):
        (tmp_path / "cut/summary.json").write_text(content)
        ran = cli("rerun", "cut", "--check")
        assert ran.code == 3 and "summary.json is damaged" in ran.err
