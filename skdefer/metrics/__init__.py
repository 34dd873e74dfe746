"""Metrics of systems in which a model hands rows to experts: pure functions of arrays.

All take ``y_true``, the model's labels ``y_pred``, the experts' answers
``expert_predictions`` and either a ``deferral_score``, which ranks rows, or a ``route``,
which says who answers. A ``*_score`` is better when higher, a ``*_loss`` or ``*_cost``
when lower.
"""

from ._calibration import expert_calibration_loss
from ._costs import system_cost
from ._curves import aurdac_score, aursac_score, deferral_curve, normalized_aursac_score
from ._scores import (
    coverage_score,
    deferral_accuracy_score,
    deferral_rate,
    kept_accuracy_score,
    oracle_accuracy_score,
    system_accuracy_score,
)
from ._selective import aurc_loss, risk_coverage_curve

__all__ = []
