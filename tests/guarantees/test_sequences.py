"""Sequences of confidence and bets on a change: what they promise, by simulation."""

import pickle

import numpy as np
import pytest
from scipy.stats import binom

from skdefer.guarantees import ChangeState, change_e_process, confidence_sequence
from skdefer.guarantees import _sequences as sequences


def same_state(one, other):
    return all(np.array_equal(getattr(one, k), getattr(other, k)) for k in vars(one))


def most_allowed(n_runs, delta):
    """The upper end of the 99 % binomial limit."""
    return binom.ppf(0.99, n_runs, delta)


def exact_e_process(values, rate):
    """By the definition: one bet per size and start, each followed from its start."""
    n = np.arange(len(values) + 1)
    unbegun = 1 / (1 + np.log(1 + n))
    log_e = []
    for t in range(1, len(values) + 1):
        made = 0.0
        for k in sequences._FRACTIONS:
            bets = 1 + k * (values[:t] / rate - 1)
            for start in range(t):
                made += (unbegun[start] - unbegun[start + 1]) * np.prod(bets[start:])
        log_e.append(np.log(made / len(sequences._FRACTIONS) + unbegun[t]))
    return np.array(log_e)


@pytest.mark.parametrize("greater", [True, False])
@pytest.mark.parametrize("upper", [1.0, 5.0])
def test_it_is_the_sum_over_starts_and_bets(greater, upper):
    values = np.random.default_rng(0).random(25) * upper
    log_e, state = change_e_process(values, 0.3 * upper, greater=greater, upper=upper)
    gains = values if greater else upper - values
    exact = exact_e_process(gains, (0.3 if greater else 0.7) * upper)
    np.testing.assert_allclose(log_e, exact, rtol=1e-9)
    assert state.n == 25
    assert state.total == pytest.approx(values.sum())


@pytest.mark.parametrize("sizes", [[1] * 60, [7, 0, 20, 33], [59, 1]])
def test_portions_make_no_difference(sizes, monkeypatch):
    monkeypatch.setattr(sequences, "_BLOCK", 16)
    rng = np.random.default_rng(0)
    values, at = (rng.random(60) < 0.3).astype(float), np.cumsum(rng.integers(1, 4, size=60))
    whole, state = change_e_process(values, 0.2, at=at)
    parts, portions = None, []
    for i, j in zip(np.cumsum([0, *sizes]), np.cumsum(sizes)):
        log_e, parts = change_e_process(values[i:j], 0.2, at=at[i:j], state=parts)
        portions.append(log_e)
    np.testing.assert_array_equal(np.concatenate(portions), whole)
    assert same_state(parts, state)
    assert same_state(pickle.loads(pickle.dumps(state)), state)


def test_starting_afresh_every_block_changes_nothing_but_rounding(monkeypatch):
    values = (np.random.default_rng(0).random(300) < 0.3).astype(float)
    one, state = change_e_process(values, 0.2)
    monkeypatch.setattr(sequences, "_BLOCK", 16)
    other, again = change_e_process(values, 0.2)
    np.testing.assert_allclose(one, other, atol=1e-9)
    assert state.onset() == again.onset()


def test_a_rise_and_a_fall_mirror_each_other():
    values = (np.random.default_rng(0).random(200) < 0.3).astype(float)
    rise, one = change_e_process(values, 0.2)
    fall, other = change_e_process(1 - values, 0.8, greater=False)
    np.testing.assert_allclose(rise, fall, atol=1e-9)
    assert one.onset()[0] == other.onset()[0]


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_what_was_promised_never_to_happen_is_noticed_at_once(rate):
    values = np.full(50, rate)
    values[40] = 1 - rate
    log_e, _ = change_e_process(values, rate, greater=rate == 0)
    assert log_e[:40].max() <= 0
    assert log_e[40] > np.log(1000)
    assert change_e_process(values[:41], rate, greater=rate == 0)[1].onset() == (40, 1 - rate)


def test_before_the_first_value():
    log_e, state = change_e_process([], 0.1)
    assert len(log_e) == 0
    assert same_state(state, ChangeState.start())
    assert state.onset()[0] == 0
    assert np.isnan(state.onset()[1])


def test_false_alarms_are_rare_however_often_one_looks():
    rng = np.random.default_rng(0)
    alarms = sum(
        change_e_process(rng.random(1000) < 0.1, 0.1)[0].max() >= np.log(1 / 0.1)
        for _ in range(200)
    )
    assert 0 < alarms <= most_allowed(200, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("greater", [True, False])
@pytest.mark.parametrize("kind", ["rare", "even", "weighted"])
def test_false_alarms_over_ten_thousand_looks(kind, greater):
    rng, alarms, n_runs = np.random.default_rng(0), 0, 500
    for _ in range(n_runs):
        if kind == "weighted":  # errors of rows drawn with a share of .1
            values = (rng.random(10_000) < 0.1) * (rng.random(10_000) < 0.2) * 10.0
            log_e, _ = change_e_process(values, 0.2, greater=greater, upper=10.0)
        else:
            rate = 0.02 if kind == "rare" else 0.5
            log_e, _ = change_e_process(rng.random(10_000) < rate, rate, greater=greater)
        alarms += log_e.max() >= np.log(1 / 0.05)
    assert 0 < alarms <= most_allowed(n_runs, 0.05)


def test_the_onset_is_near_the_change():
    rng = np.random.default_rng(0)
    found, means = [], []
    for _ in range(40):
        values = np.r_[rng.random(1500) < 0.1, rng.random(400) < 0.4]
        log_e, _ = change_e_process(values, 0.1)
        alarm = int(np.argmax(log_e >= np.log(1 / 0.01)))
        since, mean = change_e_process(values[: alarm + 1], 0.1)[1].onset()
        assert since <= alarm
        found.append(since)
        means.append(mean)
    assert 1480 <= np.median(found) <= 1520
    assert 0.35 <= np.median(means) <= 0.6  # chosen to look large


def test_confidence_sequences_hold_at_all_times():
    rng, missed = np.random.default_rng(0), 0
    n = np.arange(1, 1001)
    for _ in range(200):
        lower, upper = confidence_sequence(np.cumsum(rng.random(1000) < 0.2), n, 0.1)
        missed += ((lower > 0.2) | (upper < 0.2)).any()
    assert 0 < missed <= most_allowed(200, 0.1)


def test_confidence_sequences_narrow_and_mirror():
    lower, upper = confidence_sequence([0, 1, 10, 100, 1000], [1, 10, 100, 1000, 10_000])
    assert (np.diff(upper - lower) < 0).all()
    mirrored = confidence_sequence([1, 9, 90, 900, 9000], [1, 10, 100, 1000, 10_000])
    np.testing.assert_allclose(lower, 1 - mirrored[1], atol=1e-12)
    assert confidence_sequence(0, 0) == (0.0, 1.0)
    np.testing.assert_allclose(
        confidence_sequence([50.0], 100, upper=10.0),
        10 * np.array(confidence_sequence([5.0], 100)),
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: change_e_process([0.5, 2.0], 0.5), r"expected all of them in \[0, 1.0\]"),
        (lambda: change_e_process([0.5, np.nan], 0.5), r"expected all of them in \[0, 1.0\]"),
        (lambda: change_e_process([0.5], 1.5), "rate is 1.5"),
        (lambda: confidence_sequence(3, 2), "expected sums between 0 and n"),
        (lambda: confidence_sequence(-1, 2), "expected sums between 0 and n"),
        (lambda: confidence_sequence(1, 2, 0.0), "delta is 0.0; expected a chance between 0 and 1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
