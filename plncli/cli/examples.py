"""What to type: the verbs in the order in which a user meets them, and two or three examples of each.

Examples run one after the other, in a folder where `plncli sample-data` has written the tables; tests do.
"""

from __future__ import annotations

VERBS = {
    "Start": ("sample-data", "validate"),
    "Fit": ("fit", "resume", "rerun"),
    "Look": ("show", "test", "plot", "report"),
    "Check": ("diagnose", "compare", "cv"),
    "New samples": ("predict", "transform", "classify"),
    "Tables": ("offsets", "convert", "simulate"),
    "Tools": ("help", "info", "graph"),
}
OAKS = "--counts oaks/counts.csv --exposure oaks/exposure.csv"
LEAVES = "--covariates oaks/covariates.csv"
TREE = f'{LEAVES} --formula "~ tree"'
TREES = f"{OAKS} {TREE}"
PATIENTS = "--covariates logistic/patients.csv --formula"
PLOTS = "--covariates linear/plots.csv --formula"
GROUPS = f"{OAKS} {LEAVES} --groups tree"
BOTH = f'{LEAVES} --formula "~ 1" --formula "~ tree"'
EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "plncli sample-data oaks",
        f"plncli fit pln --counts oaks/counts.csv --offset-method total {TREE} --out first-fit",
        "plncli report first-fit",
    ),
    "sample-data": ("plncli sample-data", "plncli sample-data oaks", "plncli sample-data logistic --out patients"),
    "validate": (f"plncli validate pln {TREES}",),
    "validate pln": (
        "plncli validate pln --counts oaks/counts.csv",
        f"plncli validate pln {TREES} --reference tree=resistant",
    ),
    "validate pln-pca": (f"plncli validate pln-pca {OAKS} --rank 3",),
    "validate pln-network": (f"plncli validate pln-network {OAKS}",),
    "validate pln-mixture": (f"plncli validate pln-mixture {OAKS} --clusters 3",),
    "validate pln-lda": (f"plncli validate pln-lda {GROUPS}",),
    "validate logistic": (f'plncli validate logistic {PATIENTS} "case ~ marker1 + marker2"',),
    "validate linear": (f'plncli validate linear {PLOTS} "harvest ~ soil1 + soil2"',),
    "fit": (
        "plncli fit pln --counts oaks/counts.csv --offset-method total",
        f'plncli fit logistic {PATIENTS} "case ~ marker1 + marker2" --out markers',
        f'plncli fit linear {PLOTS} "harvest ~ soil1 + soil2" --out soil',
    ),
    "fit pln": (
        f"plncli fit pln {OAKS} --out oaks-one",
        f"plncli fit pln {TREES} --out oaks-tree",
        "plncli fit pln --config oaks-tree/config.toml --covariance diagonal --out oaks-diagonal",
    ),
    "fit pln-pca": (
        f"plncli fit pln-pca {OAKS} --rank 3 --out oaks-three",
        f"plncli fit pln-pca {TREES} --rank 3 --out oaks-tree-three",
    ),
    "fit pln-network": (
        f"plncli fit pln-network {OAKS} --penalty 0.6:0.8:3 --out oaks-network",
        f"plncli fit pln-network {TREES} --penalty 0.6 --out oaks-tree-network",
    ),
    "fit pln-mixture": (
        f"plncli fit pln-mixture {OAKS} --clusters 1:4 --out oaks-clusters",
        f"plncli fit pln-mixture {OAKS} --clusters 3 --covariance full --out oaks-three-clusters",
    ),
    "fit pln-lda": (
        f"plncli fit pln-lda {GROUPS} --out oaks-groups",
        f'plncli fit pln-lda {OAKS} {LEAVES} --groups orientation --formula "~ tree" --folds 5 --out oaks-sides',
    ),
    "fit logistic": (
        f'plncli fit logistic {PATIENTS} "case ~ marker1" --out one-marker',
        f'plncli fit logistic {PATIENTS} "case ~ marker1 * marker2" --se robust --out both-markers',
    ),
    "fit linear": (
        f'plncli fit linear {PLOTS} "harvest ~ soil1" --out one-soil',
        f'plncli fit linear {PLOTS} "harvest ~ ." --se robust --out all-soils',
    ),
    "resume": ("plncli resume oaks-long", "plncli resume oaks-long --time-limit 3600"),
    "rerun": ("plncli rerun oaks-tree --check", "plncli rerun oaks-tree --out oaks-again"),
    "show": (
        "plncli show oaks-tree",
        "plncli show oaks-tree --top 5 --scale ratio",
        "plncli show oaks-tree --coefficients --scale log2 --out log2.csv",
    ),
    "test": (
        "plncli test oaks-tree --terms tree",
        'plncli test oaks-tree --contrast "tree[susceptible] - tree[resistant]" --scale ratio --out contrast.csv',
    ),
    "plot": (
        "plncli plot oaks-tree coefficients",
        "plncli plot oaks-tree pca --color tree --out trees.svg",
        "plncli plot oaks-tree all --out pictures",
    ),
    "report": ("plncli report oaks-tree", "plncli report oaks-one oaks-tree --out both.html"),
    "diagnose": ("plncli diagnose oaks-tree", "plncli diagnose oaks-tree --out diagnosis --residuals"),
    "compare": ("plncli compare oaks-one oaks-tree oaks-diagonal",),
    "cv": (f'plncli cv pln {OAKS} {BOTH}',),
    "cv pln": (
        f'plncli cv pln {OAKS} {BOTH} --folds 3 --out folds.csv',
        f"plncli cv pln {TREES} --covariance full --covariance diagonal --entries 0.1 --folds 2",
    ),
    "cv pln-pca": (f"plncli cv pln-pca {OAKS} --rank 1 --rank 2 --folds 3",),
    "cv pln-network": (f"plncli cv pln-network {OAKS} --penalty 0.7 --penalty 0.6 --folds 3",),
    "cv pln-mixture": (f"plncli cv pln-mixture {OAKS} --clusters 2 --clusters 3 --folds 3",),
    "cv pln-lda": (f"plncli cv pln-lda {GROUPS} --covariance full --covariance diagonal --folds 3",),
    "cv logistic": (f'plncli cv logistic {PATIENTS} "case ~ marker1" --formula "case ~ marker1 + marker2"',),
    "cv linear": (f'plncli cv linear {PLOTS} "harvest ~ soil1" --formula "harvest ~ ."',),
    "predict": (
        f"plncli predict oaks-tree {LEAVES} --exposure 1000",
        f"plncli predict oaks-tree {LEAVES} --exposure 1000 --interval prediction --out predicted.csv",
        "plncli predict markers --covariates logistic/patients.csv",
    ),
    "transform": (
        f"plncli transform oaks-tree {OAKS} {LEAVES} --out latent.csv",
    ),
    "classify": (
        f"plncli classify oaks-groups {OAKS}",
        f"plncli classify oaks-groups {OAKS} {LEAVES} --out classified.csv",
    ),
    "offsets": (
        "plncli offsets --counts oaks/counts.csv",
        "plncli offsets --counts oaks/counts.csv --offset-method gmpr --out sizes.csv",
    ),
    "convert": (
        "plncli convert oaks/counts.csv counts.parquet",
        "plncli convert oaks/counts.csv features-in-rows.tsv --transpose",
    ),
    "simulate": (
        "plncli simulate pln --n 50 --p 10 --levels 2 --out simulated",
        "plncli simulate --from oaks-tree --out like-oaks",
    ),
    "help": ("plncli help", "plncli help fit pln"),
    "info": ("plncli info", "plncli info --json"),
    "graph": ("plncli graph pln", "plncli graph logistic --dot"),
    "graph pln": ("plncli graph pln", "plncli graph pln --dot"),
    "graph pln-pca": ("plncli graph pln-pca",),
    "graph pln-network": ("plncli graph pln-network",),
    "graph pln-mixture": ("plncli graph pln-mixture",),
    "graph pln-lda": ("plncli graph pln-lda",),
    "graph logistic": ("plncli graph logistic",),
    "graph linear": ("plncli graph linear",),
}  # fmt: skip
"""By the words after `plncli`."""
