"""The figure of profiles shows their posteriors, and gives them back."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from skdefer import DeferralClassifier, ExpertProfile
from skdefer.displays import ExpertProfileDisplay
from skdefer.rejectors import ProfileRejector
from tests.conftest import make_data

Y = np.array(["cat", "dog", "eel"] * 20)


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


def make_answers(n_experts=2, seed=0):
    rng = np.random.default_rng(seed)
    answers = np.where(
        rng.random((len(Y), n_experts)) < 0.7, Y[:, None], rng.permutation(Y)[:, None]
    ).astype(object)
    answers[rng.random(answers.shape) < 0.2] = None
    return pd.DataFrame(answers, columns=[f"dr {j}" for j in range(n_experts)])


def test_frame_is_the_posterior():
    answers = make_answers()
    profiles = [ExpertProfile(name=name).fit(answers[name], Y) for name in answers]
    frame = ExpertProfileDisplay.from_profiles(profiles, level=0.9).frame()
    assert list(frame.columns) == ["expert", "class", "mean", "lower", "upper", "n_answers"]
    for profile in profiles:
        rows = frame[frame["expert"] == profile.name]
        assert rows["class"].tolist() == ["cat", "dog", "eel"]
        np.testing.assert_array_equal(rows["mean"], profile.mean_)
        np.testing.assert_array_equal(rows[["lower", "upper"]], profile.interval(0.9))
        np.testing.assert_array_equal(rows["n_answers"], profile.n_context_)


def test_all_ways_to_make_one_agree():
    X, _ = make_data(n_rows=60)
    answers = make_answers()
    model = DeferralClassifier(rejector=ProfileRejector(), cv=2)
    model.fit(X, Y, expert_predictions=answers)
    of_estimator = ExpertProfileDisplay.from_estimator(model)
    of_profiles = ExpertProfileDisplay.from_profiles(model.profiles_, expert_names=["dr 0", "dr 1"])
    of_answers = ExpertProfileDisplay.from_predictions(Y, answers)
    for other in (of_profiles, of_answers):
        pd.testing.assert_frame_equal(of_estimator.frame(), other.frame())


def test_one_profile_needs_no_list():
    profile = ExpertProfile().fit(make_answers()["dr 0"], Y)
    frame = ExpertProfileDisplay.from_profiles(profile).frame()
    assert set(frame["expert"]) == {"expert_1"}


def test_profiles_of_different_classes_show_all():
    one = ExpertProfile(name="one").fit(["a", "b"], ["a", "b"])
    two = ExpertProfile(name="two").fit(["b", "c"], ["b", "c"])
    frame = ExpertProfileDisplay.from_profiles([one, two]).frame().set_index(["expert", "class"])
    assert frame["n_answers"].to_dict() == {
        ("one", "a"): 1,
        ("one", "b"): 1,
        ("one", "c"): 0,
        ("two", "a"): 0,
        ("two", "b"): 1,
        ("two", "c"): 1,
    }


def test_what_is_drawn():
    answers = make_answers(n_experts=3)
    figure, ax = plt.subplots()
    display = ExpertProfileDisplay.from_predictions(Y, answers, ax=ax, class_names={"eel": "Aal"})
    assert (display.ax_, display.figure_) == (ax, figure)
    assert len(display.lines_) == 3
    for container, mean in zip(display.lines_, display.mean, strict=True):
        np.testing.assert_array_equal(container[0].get_xdata(), mean)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cat", "dog", "Aal"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["dr 0", "dr 1", "dr 2"]
    low, high = ax.get_ylim()
    assert low > high  # the first class on top
    assert display.plot() is display
    assert display.figure_ is not figure


def test_the_figure_grows_with_classes():
    few = ExpertProfileDisplay.from_predictions([0, 1], [0, 1])
    many = ExpertProfileDisplay.from_predictions(range(40), range(40))
    assert many.figure_.get_figheight() > 3 * few.figure_.get_figheight()


@pytest.mark.parametrize(
    ("profiles", "options", "error", "match"),
    [
        ([], {}, ValueError, "empty"),
        ([ExpertProfile()], {}, NotFittedError, "not fitted"),
        ([ExpertProfile().fit([0], [0])], {"expert_names": ["a", "b"]}, ValueError, "1 profiles"),
        ([ExpertProfile().fit([0], [0])], {"level": 1.5}, ValueError, "level"),
    ],
)
def test_refusals(profiles, options, error, match):
    with pytest.raises(error, match=match):
        ExpertProfileDisplay.from_profiles(profiles, **options)


def test_an_estimator_without_profiles_is_refused():
    with pytest.raises(TypeError, match="no profiles_"):
        ExpertProfileDisplay.from_estimator(DeferralClassifier())


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"ExpertProfileDisplay needs .*skdefer\[plot\]"):
        ExpertProfileDisplay.from_predictions([0, 1], [0, 1])
