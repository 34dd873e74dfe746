"""The search for a threshold that keeps risks within their targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skdefer.deferral._risks import CalibrationRows, Risk, safest_threshold
from skdefer.guarantees import (
    RiskCurve,
    conformal_risk_control,
    fixed_sequence,
    holm,
    risk_curve,
    rows_needed,
)
from skdefer.policies._base import best_expert
from skdefer.policies._thresholds import candidate_thresholds

if TYPE_CHECKING:
    import pandas as pd

_MOST_NAMED = 3  # risks, or groups of rows, that a sentence names


@dataclass
class Control:
    """What is to be kept, and how it is proven; see RiskControlledDeferralClassifier."""

    risks: list[Risk]
    delta: float
    method: str
    correction: str
    prefer: str

    @property
    def confidence(self) -> str:
        """The promise's first words."""
        if self.method == "crc":
            return "On average over calibrations"
        return f"With probability {1 - self.delta:.6g}"

    def __str__(self) -> str:
        return " and ".join(f"{risk} <= {risk.target:g}" for risk in self.risks)


@dataclass
class Found:
    """The outcome of a search."""

    threshold: float | None  # None: nothing is proven
    sentence: str
    columns: dict[str, Any]  # of the table: a value per candidate, risk and stratum
    n_tested: int  # rows, or clusters of them

    @property
    def table(self) -> pd.DataFrame:
        """What was found at each candidate."""
        import pandas as pd

        return pd.DataFrame(self.columns)


@dataclass
class _Piece:
    """One risk in one stratum of the rows, at every candidate."""

    risk: Risk
    stratum: Any
    loss: np.ndarray  # (n, m)
    counted: np.ndarray  # bool (n, m)

    def curve(
        self, rows: np.ndarray, clusters: np.ndarray | None, delta: float, path: Any = None
    ) -> RiskCurve:
        """Measure the risk on some rows; along a path, by the largest loss so far."""
        loss, counted = self.loss[rows], self.counted[rows]
        if path is not None:
            loss, counted = np.maximum.accumulate(loss[:, path], axis=1), counted[:, path]
        return risk_curve(
            loss,
            target=self.risk.target,
            delta=delta,
            counted=counted,
            groups=None if clusters is None else clusters[rows],
            bound=self.risk.bound,
            binary=self.risk.binary,
        )


def find_threshold(
    rows: CalibrationRows,
    control: Control,
    *,
    pilot: np.ndarray,
    thresholds: Any,
    clusters: np.ndarray | None,
    strata: np.ndarray | None,
) -> Found:
    """Find the proven threshold that is nearest to the preferred one.

    The pilot rows say which thresholds are candidates, and at which of them the risks are most
    clearly within their targets. From there the sequence goes straight to the preferred one, so
    that the others are tested in an order that they did not choose.

    Parameters
    ----------
    rows : CalibrationRows
    control : Control
    pilot : ndarray of bool of shape (n_rows,)
        Rows that test nothing.
    thresholds : int or array-like
        How many candidates, or which.
    clusters, strata : ndarray of shape (n_rows,) or None
        Rows that depend on each other; groups in each of which the risks are to be kept.

    Returns
    -------
    found : Found
    """
    tested = ~pilot
    if control.method == "ltt" and control.correction == "holm" and np.ndim(thresholds):
        tested = np.ones_like(pilot)  # neither candidates nor an order are left to find
    n_tested = len(np.unique(clusters[tested])) if clusters is not None else int(tested.sum())
    candidates = _candidates(rows, pilot, thresholds)
    pieces = _pieces(rows, control.risks, candidates, strata)
    if not n_tested:
        sentence = f"Nothing is promised: {len(pilot)} calibration rows "
        if clusters is None:
            sentence += f"leave none to test {control}. Calibrate with more rows."
        else:
            n_groups = len(np.unique(clusters))
            sentence += (
                f"in {n_groups} group{'s' * (n_groups > 1)} leave none to test {control}, for a "
                "group counts once. Calibrate with more groups, or without where rows don't "
                "depend on each other."
            )
        nothing = np.zeros(len(candidates), dtype=bool)
        return Found(None, sentence, _columns([], [], [], candidates, nothing, None), 0)

    def worst_p(curves: list[RiskCurve]) -> np.ndarray:
        return np.max([curve.p_value for curve in curves], axis=0)

    expected = worst_p([piece.curve(pilot, clusters, control.delta) for piece in pieces])
    curves = [piece.curve(tested, clusters, control.delta) for piece in pieces]
    p_value = worst_p(curves)
    safe_first = np.arange(len(candidates))
    if safest_threshold([risk.name for risk in control.risks]) > 0:
        safe_first = safe_first[::-1]
    start = int(safe_first[expected[safe_first].argmin()])
    goal = len(candidates) - 1
    if control.prefer == "cost":
        goal = int(np.searchsorted(candidates, 0.0))
    path = np.arange(start, goal + 1) if start <= goal else np.arange(start, goal - 1, -1)
    upper = [curve.upper for curve in curves]
    valid = np.zeros(len(candidates), dtype=bool)
    if control.method == "crc":
        envelopes = [piece.curve(tested, clusters, control.delta, path) for piece in pieces]
        upper = [
            _on_path(_expected_bound(e, p.risk.bound), path, len(candidates))
            for e, p in zip(envelopes, pieces, strict=True)
        ]
        valid[path] = np.all(
            [
                conformal_risk_control(
                    np.nan_to_num(e.risk, nan=p.risk.bound),
                    int(e.n_counted[0]),
                    p.risk.target,
                    bound=p.risk.bound,
                )
                for e, p in zip(envelopes, pieces, strict=True)
            ],
            axis=0,
        )
    elif control.correction == "holm":
        valid = holm(p_value, control.delta)
    else:
        valid[path] = fixed_sequence(p_value[path], control.delta)
    chosen = None
    if valid.any():
        options = np.flatnonzero(valid)
        chosen = int(options[np.abs(options - goal).argmin()])
    columns = _columns(pieces, curves, upper, candidates, valid, chosen)
    if control.method == "crc":
        columns["p_value"] = np.full(len(columns["p_value"]), np.nan)  # nothing is tested
    unit = "rows" if clusters is None else "groups"
    if chosen is None:
        # The threshold that needs the least change of targets.
        needed = [u / piece.risk.target for u, piece in zip(upper, pieces, strict=True)]
        nearest = int(np.nanargmin(np.max(needed, axis=0)))
        sentence = _failure(
            control, pieces, curves, upper, candidates, nearest, f"{n_tested} {unit}"
        )
        return Found(None, sentence, columns, n_tested)
    each = "" if strata is None else f" in each of {len(_distinct(strata))} groups,"
    sentence = (
        f"{control.confidence}, {control}{each} on rows drawn like the {n_tested} "
        f"{'' if unit == 'rows' else 'groups '}that tested it."
    )
    return Found(float(candidates[chosen]), sentence, columns, n_tested)


def _candidates(rows: CalibrationRows, pilot: np.ndarray, thresholds: Any) -> np.ndarray:
    """List the candidates, rising: the number asked for, both ends and 0."""
    if np.ndim(thresholds) == 0:
        best = best_expert(rows.weighed.score[pilot])[1]
        given = candidate_thresholds(best, most=int(thresholds))
    else:
        given = np.asarray(thresholds, dtype=float)
        if given.ndim != 1 or np.isnan(given).any():
            raise ValueError(
                f"thresholds are {thresholds!r}; expected numbers, or how many are to be tried. "
                "Pass 100, say, or numbers that were fixed before these rows were seen."
            )
    return np.unique(np.concatenate([[-np.inf, 0.0, np.inf], given]))


def _pieces(
    rows: CalibrationRows, risks: list[Risk], candidates: np.ndarray, strata: np.ndarray | None
) -> list[_Piece]:
    served = [rows.at(threshold) for threshold in candidates]
    pieces = []
    for risk in risks:
        loss, counted = risk.losses(served)
        if strata is None:
            pieces.append(_Piece(risk, None, loss, counted))
            continue
        pieces += [
            _Piece(risk, label, loss, counted & (strata == label)[:, None])
            for label in _distinct(strata)
        ]
    return pieces


def _distinct(strata: np.ndarray) -> list[Any]:
    """List the groups in order; a label of missing ones may stand among numbers."""
    return sorted(set(strata.tolist()), key=lambda label: (type(label).__name__, label))


def _expected_bound(curve: RiskCurve, bound: float) -> np.ndarray:
    """What conformal risk control holds against the target."""
    return (curve.n_counted * np.nan_to_num(curve.risk) + bound) / (curve.n_counted + 1)


def _on_path(values: np.ndarray, path: np.ndarray, size: int) -> np.ndarray:
    everywhere = np.full(size, np.nan)
    everywhere[path] = values
    return everywhere


def _columns(
    pieces: list[_Piece],
    curves: list[RiskCurve],
    upper: list[np.ndarray],
    candidates: np.ndarray,
    valid: np.ndarray,
    chosen: int | None,
) -> dict[str, Any]:
    """Lay out what was found, piece after piece."""
    k, m = len(pieces), len(candidates)

    def joined(values: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([np.zeros(0), *values])

    def each(values: list[Any]) -> np.ndarray:
        return np.repeat(np.array([*values, None], dtype=object)[:-1], m)

    return {
        "threshold": np.tile(candidates, k),
        "risk": each([piece.risk.name for piece in pieces]),
        "pos_label": each([piece.risk.pos_label for piece in pieces]),
        "group": each([piece.stratum for piece in pieces]),
        "value": joined([curve.risk for curve in curves]),
        "n_counted": joined([curve.n_counted for curve in curves]).astype(int),
        "target": np.repeat([piece.risk.target for piece in pieces], m),
        "upper": joined(upper),
        "p_value": joined([curve.p_value for curve in curves]),
        "valid": np.tile(valid, k),
        "chosen": np.tile(np.arange(m) == (-1 if chosen is None else chosen), k),
    }


def _failure(
    control: Control,
    pieces: list[_Piece],
    curves: list[RiskCurve],
    upper: list[np.ndarray],
    candidates: np.ndarray,
    nearest: int,
    size: str,
) -> str:
    """Say what could be promised, and with how many rows."""
    how = "on average" if control.method == "crc" else f"with probability {1 - control.delta:.6g}"
    said = [f"Nothing is promised: on {size} no threshold is proven to keep {control} {how}."]
    wanting = [
        (piece, curve, bound[nearest])
        for piece, curve, bound in zip(pieces, curves, upper, strict=True)
        if not bound[nearest] <= piece.risk.target
    ]
    if not wanting:
        said.append(
            f"At {candidates[nearest]:.3g} they look kept, but the pilot rows pointed elsewhere. "
            "Calibrate with more rows, or a larger pilot_fraction."
        )
        return " ".join(said)
    said.append(f"At the nearest one, {candidates[nearest]:.3g},")
    for piece, curve, could in wanting[:_MOST_NAMED]:
        value, n = curve.risk[nearest], int(curve.n_counted[nearest])
        where = "" if piece.stratum is None else f" of group {piece.stratum!r}"
        if not n:
            said.append(f"no row{where} counts for {piece.risk}.")
            continue
        said.append(
            f"{piece.risk} is {value:.3g} on {n} that count{where}, and {could:.3g} could be "
            f"promised; {_rows_wanted(control, piece.risk, value, curve.variance[nearest])}."
        )
    if len(wanting) > _MOST_NAMED:
        said.append(f"So it is with {len(wanting) - _MOST_NAMED} more.")
    return " ".join(said)


def _rows_wanted(control: Control, risk: Risk, value: float, variance: float) -> str:
    if value >= risk.target:
        return "no number of them proves a lower target, so better experts or a better model would"
    if control.method == "crc":
        n = np.ceil((risk.bound - risk.target) / (risk.target - value))
    else:
        n = rows_needed(
            value / risk.bound,
            risk.target / risk.bound,
            delta=control.delta,
            variance=None if risk.binary else variance / risk.bound**2,
        )
    return f"about {n:,.0f} would do"
