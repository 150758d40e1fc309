"""What unchanged.py runs: commands that do, all in all, what the program can, and small tables for them."""

from __future__ import annotations

import os
import re
import shlex
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd

from plncli.cli.examples import VERBS
from plncli.models import MODELS
from plncli.models.pln.spec import COVARIANCES, PLN
from plncli.names import OPTIMIZER_NAMES

OAKS = "--counts oaks.csv --exposure depth.csv --covariates trees.csv"
ODD = "--counts odd.csv --covariates groups.csv --formula '~ group' --all-zero drop"
CASES = "--response cases.csv --covariates patients.csv --formula '~ marker1 + site'"
YIELDS = "--response yields.csv --covariates plots.csv --formula '~ soil2 + soil3'"
NEW = "--covariates new-trees.csv --exposure new-depth.csv"
FORMATS = ("parquet", "xlsx", "h5ad", "biom", "json", "h5")
CONVERSIONS = "\n".join(f"convert oaks.csv made.{name}\nconvert made.{name} from-{name}.csv" for name in FORMATS)
PYTHON = (
    "import pandas as pd; from plncli import *; "
    "a, b, c = (pd.read_csv(f'{name}.csv', index_col=0) for name in ('oaks', 'depth', 'trees')); "
    "data = Dataset(counts=a, exposure=b, covariates=c, formula='~ tree'); one = fit('pln', data); print(one); "
    "one.predict(c, exposure=b, interval='confidence').to_csv('frame.csv'); one.save('frames'); "
    "print(cv('pln', data, covariance='diagonal', folds=3), offsets(a, method='rle-positive'), one.diagnose())"
)

COMMANDS = f"""
fit pln {OAKS} --formula '~ tree' --vcov -v --out run
fit pln {OAKS} --out one --json --threads auto --no-latent
fit pln {OAKS} --formula '~ 0 + tree + bs(distTOground, df=4)' --covariance diagonal --format tsv --out diagonal
fit pln {OAKS} --formula '~ tree' --covariance fixed --precision precision.csv --format feather --out fixed
fit pln {OAKS} --formula '~ tree' --dtype float32 --out float32
fit pln {OAKS} --formula '~ tree' --init one --tol 1e-9 --se fisher --out begun
fit pln {OAKS} --formula '~ tree' --weights weight --cluster block --level 0.8 --out weighted
fit pln {OAKS} --cluster block --se jackknife --out clustered
fit pln {OAKS} --top 5 --filter "tree == 'resistant' or distTOground > 150" --min-depth 90 --min-prevalence .2 --out few
fit pln {OAKS} --samples samples.txt --features features.txt --formula '~ tree:log(distTOground)' --out named
fit pln --counts holes.csv --exposure depth.csv --missing keep --vcov --out kept
fit pln --counts holes.csv --covariance spherical --missing drop --min-total 100 --out dropped
fit pln --counts oaks.csv --offset-method tmm --offset-blocks blocks.csv --out blocks
fit pln --counts oaks.csv --offset-method gmpr --offset-scale proportions --out gmpr
fit pln --counts oaks.csv --covariates trees.csv --formula '~ offset(log(distTOground))' --out offset
fit pln --counts - --transpose --out turned < turned.csv
fit pln --counts bare.csv --no-sample-names --offset-method total --out bare
fit pln {OAKS} --formula '~ tree + distTOground' --covariance diagonal --hidden 8 --out learnt
plot learnt partial --out partial.csv
fit pln {ODD} --out odd
fit pln {ODD} --covariance diagonal --se bootstrap --resamples 20 --out odd-bootstrap
fit pln --config run/config.toml --covariance spherical --out again
fit pln-lda {OAKS} --groups tree --folds 3 --out groups
fit pln {OAKS} --dry-run
fit pln {OAKS} --print-config
4: fit pln {OAKS} --max-iter 2 --out cut
resume cut
rerun run --check
fit logistic --covariates patients.csv --formula 'case ~ marker1 + marker2' --weights weight --out case
fit logistic {CASES} --cluster site --vcov --out cases
fit logistic --covariates patients.csv --formula 'sure ~ marker1' --out sure
fit linear --covariates plots.csv --formula 'harvest ~ soil1 + soil2' --filter 'soil3 < 1' --cluster field --out harvest
fit linear {YIELDS} --vcov --dtype float32 --format parquet --out yields
3: fit pln --counts bad.csv
3: fit pln --counts oaks.csv --covariates trees.csv --formula '~ tre'
3: fit pln --counts odd.csv
2: fit pln --counts oaks.csv --covariances full
2: fit linear {YIELDS} --se sandwich
3: predict run --covariates groups.csv --exposure 1
show run
show odd --json
predict run {NEW} --interval confidence --interval prediction
predict run {NEW} --wide marginal --out marginal.tsv
predict run {NEW} --counts new.csv --out fitted.parquet
predict run {NEW} --given given.csv --interval prediction
predict odd --covariates groups.csv --interval confidence
predict case --covariates patients.csv --interval confidence
predict yields --covariates plots.csv --interval confidence --interval prediction --level 0.9 --json
transform run {NEW} --counts new.csv --sd sd.csv --out latent.csv
transform diagonal {NEW} --counts new.csv --remove-covariates
classify groups {NEW} --counts new.csv
test run --terms all --equal tree --contrast 'tree[resistant] - tree[susceptible] = 0.5'
test yields --terms soil2 --out tests.csv
compare run one diagonal again
compare run one --json
3: compare run odd
cv pln {OAKS} --formula '~ 1' --formula '~ tree' --covariance full --covariance diagonal --folds 3 --out scores.csv
cv pln {OAKS} --entries 0.1 --folds 3 --json
cv logistic --covariates patients.csv --formula 'case ~ marker1' --folds 4 --cluster site
cv linear {YIELDS} --folds 4 --workers 2
diagnose run --out checked --residuals
diagnose diagonal --json
diagnose cases --out checked-cases
diagnose yields --out checked-yields --format parquet
plot run all --format svg --out pictures
plot run again loss --out loss.svg
plot run pca --color orientation --remove-covariates --out pca.pdf
plot cases all --format png --dpi 50 --out pictures-cases
plot yields all --format pdf --out pictures-yields
plot scores.csv cv --out cv.svg
report run --multiqc multiqc --out report.html
report cases --no-diagnose --out cases.html
simulate --n 30 --p 6 --levels 3 --depth 500 --zeros 0.4 --seed 4 --out made
simulate logistic --n 50 --p 2 --out made-logistic --format parquet
simulate linear --n 50 --p 3 --numeric 2 --covariance diagonal --json --out made-linear
simulate --from run --n 20 --no-latent --out like-run
fit pln --config made/config.toml --out made-fit
offsets --counts oaks.csv --json
offsets --counts oaks.csv --offset-method css --log --out css.csv
offsets --counts new.csv --from blocks
validate pln {OAKS} --formula '~ tree'
validate pln {ODD} --json
3: validate pln --counts bad.csv --covariates trees.csv --formula '~ tre'
validate logistic {CASES} --json
convert oaks.csv turned.tsv.gz --transpose
convert oaks.csv folder
convert folder from-folder.csv
{CONVERSIONS}
graph pln
graph linear --dot --fused
sample-data oaks --out sample
sample-data
info --schema summary
info --json
python "{PYTHON}"
""".strip().splitlines()
"""Each after its exit code, where that is not 0, and before its standard input, `< FILE`."""

# Every optimizer, every kind of standard error, and every help.
for name, se, covariance, suffix in zip(
    OPTIMIZER_NAMES, cycle(PLN.se_methods), cycle(COVARIANCES[:3]), cycle(("csv", "tsv", "feather")), strict=False
):
    kind = f"--optimizer {name} --se {se} --covariance {covariance} --format {suffix} --tol 1e-4 --resamples 9"
    COMMANDS.append(f"fit pln {OAKS} --top 4 {kind} --allow-unconverged --out pln-{name}")
for model, tables_of in (("logistic", CASES), ("linear", YIELDS)):
    methods = [method for method in MODELS[model].se_methods if method != "profile"]  # goes with a penalty
    for name, se in zip([name for name in OPTIMIZER_NAMES if name != "vem"], methods, strict=True):
        kind = f"--optimizer {name} --se {se} --resamples 9"
        COMMANDS.append(f"fit {model} {tables_of} {kind} --allow-unconverged --out {model}-{name}")
COMMANDS += ["help fit pln"]
COMMANDS += [
    f"{verb} --help"
    for verb in (*sum(VERBS.values(), ()), *(f"fit {model}" for model in MODELS), "cv pln", "graph pln")
]


def chosen(only: str) -> list[tuple[str, int, list[str], str]]:
    """Commands with a text in them, and those before that write what these read: line, exit code, words, and input."""
    wanted, needed = [], set()
    for command in reversed(COMMANDS):
        made = re.search(r"--out (\S+)|^convert \S+ (\S+)", command)
        if only in command or (made and {*made.groups()} & needed):
            code, line, source = re.fullmatch(r"(?:(\d): )?(.*?)(?: < (\S+))?", command).groups()
            words = shlex.split(line)
            wanted.append((command, int(code or 0), words, source or os.devnull))
            needed |= {word.partition("/")[0] for word in words}
    return wanted[::-1]


def tables(folder: Path, samples: Path) -> None:
    """Small tables: of the sample data, and one with separated cells and features no more variable than Poisson."""
    oaks, depth, trees = (
        pd.read_csv(samples / "oaks" / f"{name}.csv", index_col=0) for name in ("counts", "exposure", "covariates")
    )
    row, names = np.arange(len(oaks)), oaks.sum().nlargest(60).index[[*range(7), 40, 59]]
    oaks, depth = oaks[names], depth[names]
    trees = trees.assign(weight=row // 3 % 3, block=[f"b{k}" for k in row % 13])
    patients = pd.read_csv(samples / "logistic" / "patients.csv", index_col=0)
    patients = patients.assign(site=list("abcde") * 20, weight=[1, 2] * 50, sure=patients["marker1"] > 0.2)
    high = np.where(patients["marker2"] + patients["case"] > 0.3, "yes", "no")
    plots = pd.read_csv(samples / "linear" / "plots.csv", index_col=0).assign(field=list("abcdefghij") * 10)
    chance = np.random.default_rng(5)
    odd = pd.DataFrame(chance.poisson(np.exp(chance.normal(2.0, 1.0, (40, 4)))), columns=list("abcd"))
    odd = odd.assign(even=chance.binomial(9, 0.5, 40), flat=chance.poisson(3, 40), half=odd["a"] + 1, never=0)
    odd.loc[20:, "half"] = 0
    odd.index = [f"s{k}" for k in range(40)]
    old, new = slice(None, None, 3), slice(1, None, 9)
    for name, table in {
        "oaks": oaks[old],
        "depth": depth[old],
        "trees": trees[old],
        "new": oaks[new],
        "given": oaks.iloc[new, :4],
        "new-depth": depth[new],
        "new-trees": trees[new],
        "turned": oaks[old].T,
        "holes": oaks[old].mask(np.add.outer(row[old], np.arange(9)) % 14 == 0).astype("Int64"),
        "bad": oaks[old].astype(object).replace({0: "-2", 1: "many"}),
        "precision": pd.DataFrame(0.5 * np.eye(9) + 0.1, names, names),
        "blocks": pd.DataFrame({"block": names.str[0]}, names),
        "odd": odd,
        "groups": pd.DataFrame({"group": ["x"] * 20 + ["y"] * 20}, odd.index),
        "patients": patients,
        "cases": pd.DataFrame({"case": patients["case"], "high": high}),
        "plots": plots,
        "yields": plots[["harvest", "soil1"]],
    }.items():
        table.to_csv(folder / f"{name}.csv", index_label="name")
    oaks[old].to_csv(folder / "bare.csv", index=False)
    (folder / "samples.txt").write_text("\n".join(oaks.index[::6]))
    (folder / "features.txt").write_text("\n".join(names[[0, 2, 4, 8]]))
