"""Metrics of systems in which a model hands rows to experts: pure functions of arrays.

All take ``y_true``, the model's labels ``y_pred``, the experts' answers
``expert_predictions`` and either a ``deferral_score``, which ranks rows, or a ``route``,
which says who answers. A ``*_score`` is better when higher, a ``*_loss`` or ``*_cost``
when lower; a ``*_curve`` gives arrays, and a ``*_scorer`` is a ``scoring`` of scikit-learn.
"""

from skdefer.metrics._calibration import expert_calibration_loss
from skdefer.metrics._cost_curve import cost_curve
from skdefer.metrics._cost_report import cost_report
from skdefer.metrics._costs import system_cost
from skdefer.metrics._curves import (
    aurdac_score,
    aursac_score,
    deferral_curve,
    normalized_aursac_score,
)
from skdefer.metrics._estimator_report import estimator_report
from skdefer.metrics._report import deferral_report
from skdefer.metrics._scorers import (
    aurdac_scorer,
    aursac_scorer,
    deferral_rate_scorer,
    make_deferral_scorer,
    system_cost_scorer,
)
from skdefer.metrics._scores import (
    coverage_score,
    deferral_accuracy_score,
    deferral_rate,
    kept_accuracy_score,
    oracle_accuracy_score,
    system_accuracy_score,
)
from skdefer.metrics._selective import aurc_loss, risk_coverage_curve

__all__ = [
    "aurc_loss",
    "aurdac_score",
    "aurdac_scorer",
    "aursac_score",
    "aursac_scorer",
    "cost_curve",
    "cost_report",
    "coverage_score",
    "deferral_accuracy_score",
    "deferral_curve",
    "deferral_rate",
    "deferral_rate_scorer",
    "deferral_report",
    "estimator_report",
    "expert_calibration_loss",
    "kept_accuracy_score",
    "make_deferral_scorer",
    "normalized_aursac_score",
    "oracle_accuracy_score",
    "risk_coverage_curve",
    "system_accuracy_score",
    "system_cost",
    "system_cost_scorer",
]
