"""Names a user may type, known without loading torch. Tests hold them equal to the registries."""

OPTIMIZER_NAMES = (
    "newton-cg",
    "lbfgs",
    "vem",
    "rprop",
    "adam",
    "nadam",
    "radam",
    "adamax",
    "adagrad",
    "rmsprop",
    "sgd",
)
TRAINED = ("early_stopped", "stationary")
"""How fits end that were trained: no certificate can judge them."""
CRITERIA = ("aic", "bic", "icl")
"""Of any model: smaller is better."""
RESAMPLING = ("bootstrap", "jackknife")
"""Those that fit again and again."""
PROFILE = "profile"
"""Tests and intervals by likelihood ratios, beside model-based standard errors."""
CLUSTERED = ("sandwich", "robust", *RESAMPLING)
"""Those that can take samples of one cluster as belonging together."""
OFFSET_METHODS = ("total", "css", "rle", "rle-positive", "gmpr", "wrench", "tmm")
"""Ways to estimate an offset from the counts."""
OFFSET_SCALES = ("counts", "proportions")
PLOTS = (
    ("loss", "", ()),
    ("coefficients", "", ()),
    ("volcano", "", ()),
    ("ma", "counts", ()),
    ("effects", "", ()),
    ("feature", "", ()),
    ("sigma", "", ("Sigma",)),
    ("correlation", "", ("Sigma",)),
    ("network", "", ("edges",)),
    ("adjacency", "", ("edges",)),
    ("stability", "", ("edges", "frequencies")),
    ("recovery", "", ("edges",)),
    ("path", "", ()),
    ("partial", "", ("network_scale",)),
    ("scree", "", ("C", "U", "share")),
    ("pca", "", ("M",)),
    ("pairs", "", ("C", "U", "share")),
    ("biplot", "", ("M",)),
    ("loadings", "", ("C", "U", "share")),
    ("contributions", "", ("C", "U", "share")),
    ("cos2", "", ("C", "U", "share")),
    ("discriminant", "", ("axes", "scores")),
    ("circle", "", ("axes", "correlations")),
    ("memberships", "", ("tau",)),
    ("profiles", "", ("tau", "mu")),
    ("fitted", "counts", ("M", "S")),
    ("residuals", "counts", ("Sigma",)),
    ("depth", "counts", ("M", "Sigma")),
    ("zeros", "counts", ("Sigma",)),
    ("roc", "counts", ("classification",)),
    ("confusion", "counts", ("confusion",)),
    ("roc", "classes", ()),
    ("calibration", "classes", ()),
    ("confusion", "classes", ()),
    ("residuals", "numbers", ("Sigma",)),
    ("qq", "numbers", ("Sigma",)),
    ("leverage", "numbers", ("Sigma",)),
)
"""Kinds of plots of a fit: name, kind of response it is for (any where there is none), symbols or tables it shows."""
OF_PATH = "path"
"""The kind of plot that only models have which may be fitted along a path."""
ELLIPSES = ("normal", "mean", "none")
"""About the samples of a level: what holds 95 % of them, or a confidence region of their mean."""
OF = ("features", "samples")
"""What contributes to components, or is represented by them."""
PLOT_FORMATS = ("png", "svg", "pdf")
DRAWN_COVARIANCES = ("full", "diagonal", "spherical")
"""Those that tables of a design can be drawn with."""
TABLE_FORMATS = ("csv", "tsv", "parquet", "feather")
"""Of the tables of a folder."""
SCHEMAS = ("summary", "manifest")
"""Files of a run of which there is a JSON Schema."""
WIDTHS = {"single": 85.0, "double": 178.0}
"""Of plots, in mm: a column, and a page of two."""
OF_VALIDATION = "cv"
"""The kind of plot of a table of `plncli cv`."""
SCALES = ("log", "log2", "ratio")
"""On which coefficients are told; files keep natural logarithms."""
COLUMNS = ("std_error", "statistic", "p_value", "q_value", "conf_low", "conf_high")
"""What there is of a coefficient beside its estimate."""
SE_CUT_SHORT = "standard-errors-cut-short"
"""Code of the finding that standard errors are not there because a limit or an interrupt came before."""
BY_POSITION = "matched-by-position"
"""Code of the finding that rows were matched by their position, on request."""
INPUT, SELECTION, MODEL, OPTIMIZER = "Input", "Subset of samples and features", "Model", "Optimizer"
INFERENCE, RUNTIME, OUTPUT = "Standard errors", "Where it runs", "Output"
PANELS = (INPUT, SELECTION, MODEL, OPTIMIZER, INFERENCE, RUNTIME, OUTPUT)
"""Of the settings of a fit, in the order of the help."""
LAST_SEED = 2**63 - 1
"""The largest seed that torch takes."""
