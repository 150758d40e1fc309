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
