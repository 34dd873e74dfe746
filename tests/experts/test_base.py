"""What becomes an expert and what doesn't, and under which key its answers are kept."""

import functools
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdefer.experts import (
    CallableExpert,
    ClassifierExpert,
    Expert,
    ExpertProfile,
    RecordedExpert,
    as_expert,
)

X = np.array([[0.0], [1.0], [2.0], [3.0]])
Y = np.array(["no", "no", "yes", "yes"])


def module_level(X):
    return ["no"] * len(X)


class Desk:
    """Neither an Expert nor a classifier, but it can be called."""

    def __call__(self, X):
        return ["yes"] * len(X)

    def method(self, X):
        return ["no"] * len(X)


class Predictor:
    """Predicts without ever having had a fit: a rule, or a client of a service."""

    def predict(self, X):
        return np.repeat("no", len(X))


# -- what becomes an expert ---------------------------------------------------------


def test_an_expert_stays_itself():
    expert = CallableExpert(len)
    assert as_expert(expert) is expert


@pytest.mark.parametrize(
    "function", [lambda X: ["no"] * len(X), module_level, functools.partial(module_level), Desk()]
)
def test_callables(function):
    expert = as_expert(function)
    assert isinstance(expert, CallableExpert)
    assert expert.can_answer
    assert expert.function is function
    assert len(expert.answers(X)) == 4


@pytest.mark.parametrize(
    "classifier",
    [
        LogisticRegression().fit(X, Y),
        make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y),
        FrozenEstimator(LogisticRegression().fit(X, Y)),
        Predictor(),
    ],
    ids=lambda c: type(c).__name__,
)
def test_classifiers_are_used_as_they_are(classifier):
    expert = as_expert(classifier)
    assert isinstance(expert, ClassifierExpert)
    assert expert.classifier is classifier
    np.testing.assert_array_equal(expert.answers(X), classifier.predict(X))


def test_a_profile_can_be_weighed_but_not_asked():
    profile = ExpertProfile(name="dr. b", classes=[0, 1]).fit([], [])
    expert = as_expert(profile)
    assert isinstance(expert, RecordedExpert)
    assert expert.name == "dr. b"
    assert expert.profile is profile
    assert not expert.can_answer


@pytest.mark.parametrize("rows", [X, X.tolist(), sparse.csr_array(X), ["a", "b", "c", "d"]])
def test_a_record_alone_has_no_answers(rows):
    assert RecordedExpert().answers(rows).tolist() == [None] * 4


@pytest.mark.parametrize("thing", ["reader", 7, None, [len], LogisticRegression, Desk, {}])
def test_what_is_no_expert(thing):
    with pytest.raises(
        TypeError, match=r"can't be an expert; expected a callable f\(X\).*pass Col"
    ):
        as_expert(thing)


@pytest.mark.parametrize(
    "classifier", [LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())]
)
def test_experts_are_never_fitted_for_the_user(classifier):
    with pytest.raises(
        NotFittedError, match="is not fitted, and skdefer never fits an expert. Fit"
    ):
        as_expert(classifier)


def test_an_expert_must_say_how_it_answers():
    with pytest.raises(NotImplementedError, match=r"Expert does not implement answers\(X\)"):
        Expert().answers(X)


# -- its facts ----------------------------------------------------------------------


def test_facts_of_an_expert():
    expert = CallableExpert(
        len, name="desk", version="2", cost=np.float32(0.5), capacity=np.int64(3), max_queries=0
    )
    facts = (expert.name, expert.version, expert.cost, expert.capacity, expert.max_queries)
    assert facts == ("desk", "2", 0.5, 3, 0)
    assert isinstance(expert.cost, float)
    assert repr(expert) == "CallableExpert(name='desk', cost=0.5)"
    plain = CallableExpert(len)
    assert (plain.name, plain.version, plain.cost) == (None, None, 0.0)
    assert plain.capacity is plain.max_queries is None


@pytest.mark.parametrize(
    ("facts", "error", "message"),
    [
        ({"name": 7}, TypeError, "name is 7; expected a string"),
        ({"cost": -1}, ValueError, "cost of an expert is -1; expected a finite number >= 0"),
        ({"cost": np.nan}, ValueError, "cost of an expert is nan"),
        ({"cost": np.inf}, ValueError, "cost of an expert is inf"),
        ({"cost": "dear"}, ValueError, "cost of an expert is 'dear'"),
        ({"cost": [1, 2]}, ValueError, r"cost of an expert is \[1, 2\]"),
        ({"capacity": -1}, ValueError, "capacity is -1; expected an integer >= 0 or None"),
        ({"capacity": 1.5}, ValueError, "capacity is 1.5"),
        ({"max_queries": "all"}, ValueError, "max_queries is 'all'"),
    ],
)
def test_bad_facts_are_refused(facts, error, message):
    with pytest.raises(error, match=message):
        CallableExpert(len, **facts)


def test_experts_pickle():
    for expert in (
        CallableExpert(module_level, name="a", cost=0.2),
        ClassifierExpert(LogisticRegression().fit(X, Y), capacity=3),
        RecordedExpert(ExpertProfile(classes=[0, 1]).fit([], []), name="b"),
    ):
        copy = pickle.loads(pickle.dumps(expert))
        assert list(copy.answers(X)) == list(expert.answers(X))
        assert (copy.name, copy.cost, copy.capacity) == (expert.name, expert.cost, expert.capacity)


# -- under which key its answers are kept -------------------------------------------


def make_closure(limit):
    def closure(X):
        return [limit] * len(X)

    return closure


@pytest.mark.parametrize(
    "function",
    [
        lambda X: ["no"] * len(X),
        make_closure("no"),
        Desk(),
        Desk().method,
        functools.partial(module_level),
        len,
    ],
    ids=["lambda", "closure", "instance", "method", "partial", "builtin"],
)
def test_what_depends_on_more_than_its_code_is_not_kept(function):
    assert CallableExpert(function).cache_key() is None
    assert CallableExpert(function, version="7").cache_key() == "7"


SOURCE = """
import numpy as np

def expert(X, limit=0.5, *, label="yes"):
    known = lambda x: x in {"a", "b", "c"}
    return [label if np.sign(x) > limit or known(x) else "no" for x in X]
"""


def load(folder, source, name="rules"):
    """Import a module from its text, as another session would."""
    namespace = {"__name__": name}
    exec(compile(source, str(folder / f"{name}.py"), "exec"), namespace)
    return CallableExpert(namespace["expert"]).cache_key()


def test_a_module_level_function_is_known_by_its_code(tmp_path):
    key = load(tmp_path, SOURCE)
    assert key.startswith("rules.expert:")
    assert load(tmp_path, SOURCE) == key
    assert load(tmp_path / "elsewhere", SOURCE) == key
    assert load(tmp_path, "# a comment\n\n" + SOURCE.replace("known(x)", "known( x )")) == key
    assert load(tmp_path, SOURCE, name="other_rules") != key


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"no"', '"never"'),
        ("> limit", ">= limit"),
        ("np.sign", "np.ceil"),
        ("limit=0.5", "limit=0.6"),
        ('label="yes"', 'label="yeah"'),
        ('"a", "b"', '"a", "z"'),
        ("x in {", "x not in {"),
    ],
)
def test_another_code_is_another_key(tmp_path, old, new):
    assert old in SOURCE
    assert load(tmp_path, SOURCE.replace(old, new)) != load(tmp_path, SOURCE)


def test_the_key_of_a_function_is_the_same_in_every_process(tmp_path):
    (tmp_path / "rules.py").write_text(SOURCE)
    code = (
        "import rules; from skdefer.experts import CallableExpert;"
        "print(CallableExpert(rules.expert).cache_key())"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", ""), os.getcwd()])
    # The order of a set of texts depends on the seed, and this process has one of its own.
    env = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": path}
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    assert out.stdout.strip() == load(tmp_path, SOURCE)


def test_a_classifier_is_known_by_what_it_learned():
    key = ClassifierExpert(LogisticRegression().fit(X, Y)).cache_key()
    assert re.fullmatch(r"[0-9a-f]+", key)
    assert ClassifierExpert(LogisticRegression().fit(X, Y)).cache_key() == key
    assert ClassifierExpert(LogisticRegression(C=0.1).fit(X, Y)).cache_key() != key
    assert ClassifierExpert(LogisticRegression().fit(X, Y[::-1])).cache_key() != key
    assert ClassifierExpert(BaseEstimator(), version="7").cache_key() == "7"


def test_an_expert_of_ones_own_is_known_by_its_version():
    class Mine(Expert):
        def answers(self, X, explanation=None):
            return ["no"] * len(X)

    assert Mine().cache_key() is None
    assert Mine(version="1").cache_key() == "1"


def test_what_an_expert_is_unless_it_says_otherwise():
    expert = Expert()
    assert expert.for_classes(np.array(["no", "yes"])) is expert
    assert expert.max_cost is None
    assert expert.limits == ("max_queries", "max_cost")
    assert expert.check_rows(X) is None
    assert "was X transformed?" in expert.why_silent
    for fact in ("paid", "keeps_answers", "reads_explanation", "holds_capacity"):
        assert getattr(expert, fact) is False, fact
