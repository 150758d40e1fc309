"""Models by name. Adding one is a folder and a line here; what it declares is known without torch (`models.spec`).

What may enter: a model's declaration, its objective, and what it alone can answer of a finished fit.
Never: optimizers, files, options of verbs.
"""

from __future__ import annotations

from plncli.models.lda.spec import LDA
from plncli.models.mixture.spec import MIXTURE
from plncli.models.network.spec import NETWORK
from plncli.models.pca.spec import PCA
from plncli.models.pln.spec import PLN
from plncli.models.regression.spec import LINEAR, LOGISTIC
from plncli.models.spec import Spec

MODELS: dict[str, Spec] = {spec.name: spec for spec in (PLN, PCA, NETWORK, MIXTURE, LDA, LOGISTIC, LINEAR)}
