"""`plncli plot RUN KIND`: pictures of finished fits."""

from __future__ import annotations

from typing import Annotated

import typer

from plncli.cli.options import MOVED, CoefficientScale, Quiet, with_moved
from plncli.console import Console
from plncli.names import ELLIPSES, LAST_SEED, OF, SCALES
from plncli.names import PLOT_FORMATS as FORMATS
from plncli.verbs.plot import OFFERED

LOOK = "Size and format"
OFFERED_TEXT = "; ".join(f"{model}: {', '.join(names)}" for model, names in OFFERED.items())
Words = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN... KIND [NAME...]",
        help=f"Folder that `plncli fit` wrote (loss: one or several; cv: the file of `plncli cv --out`), and the kind "
        f"of picture; after `feature`, names of features. {OFFERED_TEXT}; all: each of these; cv.",
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="FILE|DIR",
        help="Write it there: .png, .svg or .pdf; for all, a folder. Kinds of components, stability and recovery write "
        "their numbers, of all features, samples or pairs, to .csv, .tsv, .parquet or .feather. [default: "
        "RUN-KIND.png, RUN-pictures]",
        show_default=False,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file or folder of --out if there is one.")]
Top = Annotated[
    int | None,
    typer.Option(
        "--top",
        metavar="N",
        min=1,
        help="How many: coefficients of each term, features of effects (50), correlation, sigma and adjacency (all), "
        "names of volcano and ma (10) and of the network (150), arrows of the biplot (10), loadings at each end (5), "
        "contributions and cos2 (20), rows of stability (30).",
        show_default=False,
    ),
]
Terms = Annotated[
    list[str] | None,
    typer.Option(
        "--term", metavar="NAME", help="Coefficients of this term alone; may be repeated.", show_default=False
    ),
]
Contrasts = Annotated[
    list[str] | None,
    typer.Option(
        "--contrast",
        metavar="TEXT",
        help="A contrast, as `plncli test` reads it: `tree[a] - tree[b]`; may be repeated.",
        show_default=False,
    ),
]
MaxQ = Annotated[
    float | None,
    typer.Option(
        "--max-q", metavar="Q", min=0.0, max=1.0, help="Volcano, ma: mark q below this (0.05).", show_default=False
    ),
]
MinEffect = Annotated[
    float | None,
    typer.Option(
        "--min-effect",
        metavar="X",
        min=0.0,
        help="Volcano, ma: and estimates of this size at least, on the scale that is drawn.",
        show_default=False,
    ),
]
By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="COLUMN",
        help="Feature: the covariate along the axis. [default: the first factor of the formula, or number]",
        show_default=False,
    ),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        "--group-by",
        metavar="RANK",
        help="Effects: features by taxon of this rank, such as phylum, rather than clustered. Network: its colours.",
        show_default=False,
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="NAME", help="This feature or response alone; may be repeated.", show_default=False),
]
Color = Annotated[
    str | None,
    typer.Option(
        "--color",
        metavar="COLUMN",
        help="Colour samples by a column of the covariates of the fit, or of --covariates.",
        show_default=False,
    ),
]
Remove = Annotated[
    bool | None,
    typer.Option(
        "--remove-covariates/--keep-covariates",
        help="Pca, biplot: components of M - XB, the part that covariates don't explain, or of M, the latent means. "
        "[default: pln-pca: its own components, which are without covariates; else of M]",
        show_default=False,
    ),
]
Axes = Annotated[
    str | None,
    typer.Option(
        "--axes",
        metavar="K,K",
        help="Components to draw: two of pca and biplot (1,2), 2 to 6 of pairs (1,2,3,4), any of loadings, "
        "contributions and cos2, of which several are added up (1,2).",
        show_default=False,
    ),
]
Ellipse = Annotated[
    str | None,
    typer.Option(
        "--ellipse",
        metavar="|".join(ELLIPSES),
        help="Pca, about each level of the factor in colours: what holds 95 % of its samples, if they are normal with "
        "their mean and covariance (normal), or a 95 % confidence region of its mean (mean, Hotelling's T²). "
        "[default: normal]",
        show_default=False,
    ),
]
Of = Annotated[
    str | None,
    typer.Option(
        "--of", metavar="|".join(OF), help="Contributions, cos2: of what. [default: features]", show_default=False
    ),
]
Truth = Annotated[
    str | None,
    typer.Option(
        "--truth",
        metavar="DIR|FILE",
        help="Recovery: the true edges, of a folder that `plncli simulate --graph` wrote, or a table with the columns "
        "feature_a and feature_b.",
        show_default=False,
    ),
]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", min=0, max=LAST_SEED, help="Of residuals.", show_default=False)
]
Width = Annotated[
    str | None,
    typer.Option(
        "--width",
        metavar="single|double|MM",
        help="Of a column (85 mm), a page (178 mm), or in mm. [default: what suits the kind]",
        rich_help_panel=LOOK,
        show_default=False,
    ),
]
Dpi = Annotated[
    int, typer.Option("--dpi", metavar="N", min=30, max=2400, help="Pixels an inch of png.", rich_help_panel=LOOK)
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="|".join(FORMATS),
        help="Without --out FILE, whose suffix tells it. [default: png]",
        rich_help_panel=LOOK,
        show_default=False,
    ),
]


@with_moved(*(name for name in MOVED if name != "offset_blocks"))
def plot(
    words: Words,
    out: Out = None,
    overwrite: Overwrite = False,
    top: Top = None,
    term: Terms = None,
    contrast: Contrasts = None,
    scale: CoefficientScale = SCALES[0],
    max_q: MaxQ = None,
    min_effect: MinEffect = None,
    only: Only = None,
    by: By = None,
    group_by: GroupBy = None,
    color: Color = None,
    remove_covariates: Remove = None,
    axes: Axes = None,
    ellipse: Ellipse = None,
    of: Of = None,
    truth: Truth = None,
    seed: Seed = None,
    width: Width = None,
    dpi: Dpi = 300,
    format: Format = None,
    *,
    moved: dict[str, str],
    quiet: Quiet = False,
) -> int:
    """Draw pictures of finished fits.

    How a fit ended, coefficients, covariances, components, and whether the model holds. Pictures of data read the
    tables of the fit again, which must not have changed.
    """
    from plncli.verbs.plot import asked

    wanted = {
        "top": top,
        "terms": tuple(term or ()),
        "responses": tuple(only or ()),
        "contrasts": tuple(contrast or ()),
        "scale": None if scale == SCALES[0] else scale,
        "max_q": max_q,
        "min_effect": min_effect,
        "by": by,
        "group_by": group_by,
        "color": color,
        "remove_covariates": remove_covariates,
        "axes": axes,
        "ellipse": ellipse,
        "of": of,
        "truth": truth,
        "seed": seed,
    }
    pictures = asked(words, wanted, moved, out=out, overwrite=overwrite, width=width, dpi=dpi, format=format)
    from plncli.plots import verb

    return verb.plot(pictures, Console(quiet))
