"""Profiles that take what is known of other experts for their prior, and keep it."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from skdefer.experts import ExpertProfile, PopulationPrior
from skdefer.experts._profile import always_right
from tests.experts.test_profile import ANSWERS, LABELS, Y, assert_same, small_records


def population(n_components=2, seed=0, n_experts=8):
    """Prior learned from experts who know one class or two."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(5), 12)
    profiles = []
    for _ in range(n_experts):
        knows = np.isin(y, rng.choice(5, 2)) | (rng.random(len(y)) < 0.3)
        profiles.append(ExpertProfile().fit(np.where(knows, y, (y + 1) % 5), y))
    return PopulationPrior(n_components).fit(profiles)


PRIOR = population()


def test_the_prior_of_a_population_takes_the_place_of_the_uniform_one():
    plain = ExpertProfile(name="dr. b").fit(ANSWERS, Y)
    profile = plain.with_prior(PRIOR)
    assert (profile.name, plain.prior_) == ("dr. b", None)
    right, total = plain.counts_.diagonal(), plain.counts_.sum(axis=1)
    np.testing.assert_allclose(
        (profile.mean_, profile.variance_), PRIOR.posterior(right, total), rtol=1e-9
    )
    np.testing.assert_allclose(
        (profile.prior_alpha_, profile.prior_beta_), PRIOR.posterior_beta([0] * 3, [0] * 3)
    )
    assert profile.n_context_.tolist() == plain.n_context_.tolist()
    assert_same(plain, ExpertProfile().fit(ANSWERS, Y))  # the profile itself is left alone


def test_without_answers_an_expert_is_like_the_others():
    profile = ExpertProfile(classes=LABELS).fit([], []).with_prior(PRIOR)
    shares = PRIOR.type_shares_ @ PRIOR.component_shares_
    mean = shares @ (PRIOR.alpha_ / (PRIOR.alpha_ + PRIOR.beta_))
    np.testing.assert_allclose(profile.mean_, mean)


@pytest.mark.parametrize("n_components", [1, 2])
def test_confusion_under_a_prior_keeps_the_mean_on_its_diagonal(n_components):
    answers = ANSWERS.copy()
    answers[:3] = "owl"
    profile = ExpertProfile().fit(answers, Y).with_prior(population(n_components))
    np.testing.assert_allclose(profile.confusion_.diagonal(), profile.mean_)
    np.testing.assert_allclose(profile.confusion_.sum(axis=1), 1.0)
    assert (profile.confusion_ > 0).all()
    if n_components == 1:  # a Dirichlet mean, as under any Beta prior
        b0 = profile.prior_beta_
        wanted = profile.counts_[:, :-1] + ((b0 + profile.counts_[:, -1]) / 2)[:, None]
        np.fill_diagonal(wanted, profile.alpha_)
        strength = (profile.alpha_ + profile.beta_)[:, None]
        np.testing.assert_allclose(profile.confusion_, wanted / strength)


@given(small_records, st.integers(0, 30), st.sampled_from([1.0, 0.9, 0.3]))
@settings(deadline=None, max_examples=30)
def test_the_prior_stays_while_answers_come_in(record, cut, decay):
    answers, y = (np.array(column, dtype=object) for column in zip(*record))
    whole = ExpertProfile(decay=decay, classes=LABELS).fit(answers, y).with_prior(PRIOR)
    grown = ExpertProfile(decay=decay, classes=LABELS).fit(answers[:cut], y[:cut])
    grown = grown.with_prior(PRIOR).partial_fit(answers[cut:], y[cut:])
    assert_same(whole, grown, rtol=1e-7)


def test_a_copy_under_a_prior_grows_alone():
    plain = ExpertProfile().fit(ANSWERS, Y)
    profile = plain.with_prior(PRIOR)
    mean = profile.mean_.copy()
    plain.partial_fit(ANSWERS, Y)
    np.testing.assert_array_equal(profile.mean_, mean)
    assert profile.partial_fit(ANSWERS, Y).prior_ is not None
    assert_same(plain, clone(plain).fit([*ANSWERS] * 2, [*Y] * 2))


def test_alignment_under_a_prior():
    plain = ExpertProfile().fit(ANSWERS, Y)
    for classes in ([*LABELS, "owl"], ["cat", "eel"]):
        early, late = plain.with_prior(PRIOR).align(classes), plain.align(classes).with_prior(PRIOR)
        assert_same(early, late)
        assert_same(early.partial_fit(["cat"], ["cat"]), late.partial_fit(["cat"], ["cat"]))


def test_rounding_in_an_alignment_makes_no_negative_counts():
    rng, kept = np.random.default_rng(0), [0, 2, 5, 7, 9, 11]
    for _ in range(100):
        profile = ExpertProfile(classes=range(12)).fit([], []).with_prior(PRIOR)
        y, answers = rng.choice(kept, size=(2, 30))  # nothing is left outside
        fewer = profile.partial_fit(answers, y, rng.random(30) ** 4).align(kept)
        assert (fewer.counts_ >= 0).all()
        assert np.isfinite(fewer.mean_).all()


def test_what_was_said_of_the_expert_itself_stands():
    belief = {"cat": 0.9, "dog": 0.5, "eel": 0.1}
    told = ExpertProfile(prior_accuracy=belief).fit(ANSWERS, Y)
    assert_same(told.with_prior(PRIOR), told)
    # A confidence of 0 is no word; nor is anything said of a class that comes later.
    unsure = ExpertProfile(
        prior_accuracy=belief, prior_confidence={"cat": 1.0, "dog": 0.0, "eel": 1.0}
    ).fit(ANSWERS, Y)
    under = unsure.with_prior(PRIOR)
    np.testing.assert_allclose(under.mean_[[0, 2]], unsure.mean_[[0, 2]])
    wanted = PRIOR.posterior(under.counts_.diagonal(), under.n_context_)[0]
    assert under.mean_[1] == pytest.approx(wanted[1])
    wider = under.align([*LABELS, "owl"])
    np.testing.assert_allclose(wider.mean_[:3], under.mean_)
    nothing = ExpertProfile(classes=["owl"]).fit([], []).with_prior(PRIOR)
    assert wider.mean_[3] != pytest.approx(0.5, abs=0.01)
    assert wider.prior_alpha_[3] == pytest.approx(nothing.prior_alpha_[0])
    sure = always_right(LABELS).with_prior(PRIOR)
    assert sure.mean_.tolist() == [1.0] * 3
    np.testing.assert_array_equal(sure.confusion_, np.eye(3))


def test_another_prior_takes_the_place_of_the_first():
    plain = ExpertProfile().fit(ANSWERS, Y)
    other = population(1, seed=5)
    assert_same(plain.with_prior(PRIOR).with_prior(other), plain.with_prior(other))


def test_a_later_fit_of_the_prior_changes_nothing():
    prior = population()
    profile = ExpertProfile().fit(ANSWERS, Y).with_prior(prior)
    prior.fit([])
    assert_same(profile.partial_fit([], []), ExpertProfile().fit(ANSWERS, Y).with_prior(PRIOR))


def test_copies_keep_the_prior_and_a_new_fit_forgets_it():
    profile = ExpertProfile(decay=0.9).fit(ANSWERS, Y).with_prior(PRIOR)
    for twin in (pickle.loads(pickle.dumps(profile)), copy.deepcopy(profile), copy.copy(profile)):
        assert_same(twin, profile)
        more = twin.partial_fit(["cat", "dog"], ["cat", "cat"])
        assert_same(more, copy.deepcopy(profile).partial_fit(["cat", "dog"], ["cat", "cat"]))
    plain = ExpertProfile(decay=0.9).fit(ANSWERS, Y)
    assert_same(clone(profile).fit(ANSWERS, Y), plain)
    assert_same(profile.fit(ANSWERS, Y), plain)
    assert profile.prior_ is None


def test_answers_needed_to_correct_the_prior_in_place():
    alike = PopulationPrior(1).fit([ExpertProfile().fit([0] * 200, [0] * 200)] * 200)
    profile = ExpertProfile(classes=[0, 1]).fit([], [])
    plain, under = (
        p.required_to_correct(0.2, 0.1, 0.5) for p in (profile, profile.with_prior(alike))
    )
    strength = alike.alpha_[0] + alike.beta_[0]
    pull = strength * (2 * abs(alike.alpha_[0] / strength - 0.2) / 0.1 - 1)
    assert under.tolist() == [max(np.ceil(pull), plain[0])] * 2


@pytest.mark.parametrize("odd", [None, "mixture", ExpertProfile(classes=[0]).fit([], [])])
def test_what_is_no_prior_is_refused(odd):
    with pytest.raises(ValueError, match="expected a fitted PopulationPrior"):
        ExpertProfile().fit(ANSWERS, Y).with_prior(odd)
