"""Make the committed runs that every later version must still read: `python tests/reference/make.py VERSION`.

Run once for a version, from the root of the repository, with that version installed; never for one that is there.
`NAME-expected.csv` is what `plncli predict` of that version said of its own samples.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
OAKS = "sample_data/oaks"
KEPT = {"model.safetensors", "manifest.json", "summary.json"}
COUNTS = "--counts oaks.csv --all-zero drop"
FITS = {
    "pln": (
        f"pln {COUNTS} --exposure oaks-exposure.csv --covariates trees.csv --formula ~tree+distTOground",
        "--covariates trees.csv --exposure oaks-exposure.csv",
    ),
    "pln-estimated": (
        f"pln {COUNTS} --offset-method tmm --covariance diagonal --top 4 --se fisher",
        "--exposure oaks-exposure.csv",
    ),
    "logistic": (
        "logistic --covariates patients.csv --formula case~marker1+marker2",
        "--covariates patients.csv",
    ),
    "linear": (
        "linear --covariates plots.csv --formula harvest~soil1+soil2",
        "--covariates plots.csv",
    ),
}


def plncli(*words: str, where: Path) -> None:
    subprocess.run([sys.executable, "-m", "plncli", *words], cwd=where, check=True)


def main(version: str) -> None:
    folder = HERE / version
    folder.mkdir()
    root = Path.cwd()
    for name in ("patients", "plots"):
        source = next(root.glob(f"sample_data/*/{name}.csv"))
        (folder / source.name).write_text(source.read_text())
    for source, target in (("counts", "oaks"), ("covariates", "trees"), ("exposure", "oaks-exposure")):
        lines = (root / OAKS / f"{source}.csv").read_text().splitlines()[:49]
        (folder / f"{target}.csv").write_text("".join(",".join(line.split(",")[:9]) + "\n" for line in lines))
    for name, (fit, new) in FITS.items():
        plncli("fit", *fit.split(), "--out", name, where=folder)
        plncli("predict", name, *new.split(), "--out", f"{name}-expected.csv", where=folder)
        for path in (folder / name).iterdir():
            if path.name not in KEPT:
                path.unlink()
        manifest = json.loads((folder / name / "manifest.json").read_text())
        manifest |= dict.fromkeys(("host", "platform", "executable"), "example") | {"folder": ".", "devices": {}}
        (folder / name / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
