"""Promises about risks: p-values, bounds and multiple testing, as functions of arrays."""

from skdefer.guarantees._betting import betting_p_value
from skdefer.guarantees._curve import RiskCurve, risk_curve, risk_upper_bound, rows_needed
from skdefer.guarantees._p_values import binomial_p_value, hoeffding_bentkus_p_value
from skdefer.guarantees._sequences import ChangeState, change_e_process, confidence_sequence
from skdefer.guarantees._testing import conformal_risk_control, fixed_sequence, holm

__all__ = [
    "ChangeState",
    "RiskCurve",
    "betting_p_value",
    "binomial_p_value",
    "change_e_process",
    "confidence_sequence",
    "conformal_risk_control",
    "fixed_sequence",
    "hoeffding_bentkus_p_value",
    "holm",
    "risk_curve",
    "risk_upper_bound",
    "rows_needed",
]
