"""Kinds of plots of groups and clusters of samples."""

from __future__ import annotations

from plncli.plots import classes
from plncli.plots.components import circle
from plncli.plots.groups import clusters, discriminant, held_out
from plncli.plots.kind import DOUBLE, Kind

GROUPS = {
    ("discriminant", ""): Kind(
        discriminant.discriminants,
        discriminant.draw,
        discriminant.describe,
        "Samples on the discriminant axes",
        "How to read it: each point is a sample, in the colour of its group; the background has that of the group that "
        "is most probable there. Percentages are shares of the variance between groups. The axes were found with these "
        "samples, so their groups lie further apart than those of new samples: the more features, the more so.",
        takes=("axes",),
        data=False,
        several=True,
        table=discriminant.table,
    ),
    ("circle", ""): Kind(
        discriminant.discriminants,
        discriminant.draw_correlations,
        discriminant.describe_correlations,
        "Features and discriminant axes",
        "How to read it: where the arrow of a feature ends, or its bar, tells the correlations of its latent value "
        "with the axes, over all samples. Groups that lie the way an arrow points have more of its feature.",
        takes=("top", "axes"),
        data=False,
        several=True,
        table=circle.table,
    ),
    ("memberships", ""): Kind(
        clusters.memberships,
        clusters.draw_memberships,
        clusters.describe_memberships,
        "Samples by cluster",
        "How to read it: a column is a sample, a row a cluster; the darker, the more probable that it belongs there. "
        "Columns with several pale cells are samples between clusters.",
        DOUBLE,
        data=False,
        several=True,
        table=clusters.table_memberships,
    ),
    ("profiles", ""): Kind(
        clusters.profiles,
        clusters.draw_profiles,
        clusters.describe_profiles,
        "Features that tell clusters apart",
        "How to read it: a row is a feature, a column a cluster: red where its latent mean is above that of all "
        "clusters, blue where it is below. Features that are highest in the same cluster stand together.",
        takes=("top", "responses"),
        data=False,
        several=True,
        table=clusters.table_profiles,
    ),
    ("roc", "counts"): Kind(
        held_out.roc,
        classes.draw_roc,
        classes.describe_curves,
        "Receiver operating characteristic of held-out samples",
        "How to read it: each curve is of a group against all others, by its probability; the closer it comes to the "
        "upper left corner, the better. The diagonal is chance.",
        data=False,
    ),
    ("confusion", "counts"): Kind(
        held_out.confusion,
        classes.draw_confusion,
        classes.describe_tables,
        "Groups of held-out samples, and those predicted",
        "How to read it: a row has the samples of a group; the diagonal holds those that are assigned to it.",
        data=False,
    ),
}
"""By name, and by the kind of response where one name stands for several."""
