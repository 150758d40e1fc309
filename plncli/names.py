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
    "pln": ("auto", "sandwich", "fisher", "none"),
    "logistic": ("auto", "fisher", "robust", "hc0", "hc1", "hc2", "hc3", "none"),
    "linear": ("auto", "fisher", "robust", "hc0", "hc1", "hc2", "hc3", "none"),
}
"""Methods of standard errors that can be chosen for each model."""
