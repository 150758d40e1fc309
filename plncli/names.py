"""Names a user may type, known without loading torch. Tests hold them equal to the registries."""

MODEL_NAMES = ("pln", "logistic", "linear")
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
COVARIANCES = ("full", "diagonal", "spherical", "fixed")
SE_METHODS = {
    "pln": ("auto", "sandwich", "fisher", "bootstrap", "jackknife", "none"),
    "logistic": ("auto", "fisher", "robust", "hc0", "hc1", "hc2", "hc3", "bootstrap", "jackknife", "none"),
    "linear": ("auto", "fisher", "robust", "hc0", "hc1", "hc2", "hc3", "bootstrap", "jackknife", "none"),
}
"""Methods of standard errors that can be chosen for each model."""
RESAMPLING = ("bootstrap", "jackknife")
"""Those that fit again and again."""
CLUSTERED = ("sandwich", "robust", *RESAMPLING)
"""Those that can take samples of one cluster as belonging together."""
OFFSET_METHODS = ("total", "css", "rle", "rle-positive", "gmpr", "wrench", "tmm")
"""Ways to estimate an offset from the counts."""
OFFSET_SCALES = ("counts", "proportions")
PICTURES = {
    "pln": ("loss", "coefficients", "sigma", "correlation", "pca", "biplot", "fitted", "residuals", "depth", "zeros"),
    "logistic": ("loss", "coefficients", "roc", "calibration", "confusion"),
    "linear": ("loss", "coefficients", "sigma", "correlation", "residuals", "qq", "leverage"),
}
"""Kinds of pictures of a fit, by model."""
PICTURE_FORMATS = ("png", "svg", "pdf")
WIDTHS = {"single": 85.0, "double": 178.0}
"""Of pictures, in mm: a column, and a page of two."""
OF_VALIDATION = "cv"
"""The kind of picture of a table of `plncli cv`."""
COLUMNS = ("std_error", "statistic", "p_value", "q_value", "conf_low", "conf_high")
"""What there is of a coefficient beside its estimate."""
SE_CUT_SHORT = "standard-errors-cut-short"
"""Code of the finding that standard errors are not there because a limit or an interrupt came before."""
LAST_SEED = 2**63 - 1
"""The largest seed that torch takes."""
