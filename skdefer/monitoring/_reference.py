"""What a monitor holds a system against: rates that were promised, or measured with an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skdefer.guarantees import risk_upper_bound
from skdefer.monitoring._streams import Stream, quantities


def find_reference(
    given: Mapping[str, Any],
    streams: Mapping[str, Stream],
    names: Sequence[str],
    delta: float,
    tolerance: float,
) -> tuple[dict[str, tuple[float, float, float]], dict[str, float]]:
    """Find the range in which each quantity counts as unmoved, and the chance left to its tests.

    Parameters
    ----------
    given : mapping of str to float
        Rates that were promised; taken for exact.
    streams : mapping of str to Stream
        Values of held-out rows.
    names : sequence of str
        The experts.
    delta : float
        Chance of any false alarm, shared by the quantities that are given or measured.
    tolerance : float
        Added to the range on both sides.

    Returns
    -------
    reference : dict of str to (rate, lowest, highest)
    shares : dict of str to float
        Chance of a false alarm left to the test of a rise, and to that of a fall. Of a measured
        rate half its share covers the error of the measurement.
    """
    watched = quantities(names)
    _check_given(given, [q for q in watched if not q.startswith("score_")])
    measured = {q: s for q, s in streams.items() if q not in given and len(s.values)}
    if not given and not measured:
        raise ValueError(
            "There is no reference: expected rates in reference=, or held-out rows. Pass "
            "fit(**observe(estimator, X, y, expert_predictions=...)) rows that the estimator "
            "was not fitted on."
        )
    share = delta / (len(given) + len(measured))
    reference, shares = {}, {}
    for name in watched:
        if name in given:
            rate = low = high = float(given[name])
            shares[name] = share / 2
        elif name in measured:
            values = measured[name].values
            rate = float(values.mean())
            low, high = _interval(values, share / 2, is_quantile=name.startswith("score_"))
            shares[name] = share / 4
        else:
            continue
        reference[name] = (
            rate,
            float(max(low - tolerance, 0.0)),
            float(min(high + tolerance, 1.0)),
        )
    return reference, shares


def _check_given(given: Mapping[str, Any], allowed: Sequence[str]) -> None:
    for name, rate in given.items():
        is_rate = isinstance(rate, (int, float, np.number)) and bool(0 <= rate <= 1)
        if name not in allowed or not is_rate:
            raise ValueError(
                f"reference has {name!r}: {rate!r}; expected rates in [0, 1] of {allowed}. Scores "
                "are measured in fit; experts are named there, fit(names=[...])."
            )


def _interval(values: np.ndarray, delta: float, *, is_quantile: bool) -> tuple[float, float]:
    """Bound a rate by held-out rows: Clopper-Pearson, or a band around the whole distribution."""
    n, rate = len(values), values.mean()
    if is_quantile:  # its place was chosen by the same rows (Massart, 1990)
        width = np.sqrt(np.log(2.0 / delta) / (2 * n))
        return rate - width, rate + width
    low, high = risk_upper_bound([1.0 - rate, rate], n, delta=delta / 2)
    return 1.0 - low, high
