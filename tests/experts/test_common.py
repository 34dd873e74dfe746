"""The contract of every expert that the package exports; a new one is found by discovery."""

import inspect
import pickle
import tempfile
import warnings

import numpy as np
import pandas as pd
import pytest

import skdefer.experts
from skdefer.calling._store import AnswerStore
from skdefer.exceptions import CapacityWarning
from skdefer.experts import Expert, as_expert
from skdefer.experts._asking import ask
from tests.experts.paid.stand_in import chat, serve

INDEX = [f"case {i}" for i in range(8)]
X = pd.DataFrame(
    {"age": [61, 45, 33, 70, 12, 5, 99, 48], "reader": ["ill", None, *["well", "ill"] * 3]},
    index=INDEX,
)
Y = np.where(X["age"] > 40, "ill", "well")


def by_age(X):
    return np.where(X["age"] > 50, "ill", "well")


FOLDER = tempfile.TemporaryDirectory()  # goes when the tests end


class AgeRule:
    classes_ = np.array(["ill", "well"])

    def predict(self, X):
        return by_age(X)


def decide_by_age(request):
    """Answer as a decision model does; the prompt shows the age alone."""
    ill = 0.9 if float(request["state"]) > 50 else 0.2
    return {"answer": {"probabilities": {"ill": ill, "well": 1 - ill}}}


def chat_by_age(path, body, headers):
    age = float(body["messages"][-1]["content"].split()[0])
    return chat("ill" if age > 50 else "well")


@pytest.fixture(scope="module", autouse=True)
def service():
    """A chat service on loopback, for the experts that need one."""
    with serve(chat_by_age) as server:
        ARGUMENTS["base_url"] = server.url
        yield


#: What the experts of the package are made of, by the name of the parameter.
ARGUMENTS = {
    "function": by_age,
    "classifier": AgeRule(),
    "column": "reader",
    "record": pd.Series(Y, index=INDEX),
    "store": FOLDER.name + "/answers.sqlite",
    "model": "m",
    "prompt": "{age}",
}
#: Parameters that are not required, but needed here.
NEEDED = {
    "DecisionExpert": {"model": decide_by_age, "prompt": "{age}"},
    "QueueExpert": {"columns": ["age"]},  # rows come with and without a reader's column
}


def experts():
    for name in skdefer.experts.__all__:
        cls = getattr(skdefer.experts, name)
        if inspect.isclass(cls) and issubclass(cls, Expert) and cls is not Expert:
            yield pytest.param(cls, id=name)


pytestmark = pytest.mark.parametrize("cls", list(experts()))


def make(cls, **facts):
    required = [
        p.name
        for p in inspect.signature(cls).parameters.values()
        if p.default is p.empty and p.kind is not p.VAR_KEYWORD
    ]
    required = {name: ARGUMENTS[name] for name in required}
    expert = cls(**required, **NEEDED.get(cls.__name__, {}), **facts)
    if hasattr(expert, "import_answers"):  # people: they have answered already
        return answered(expert.for_classes(np.unique(Y)))
    return expert.fit(X, Y) if hasattr(expert, "fit") else expert


def answered(expert):
    """Let the people behind an expert answer all rows, as far as they have capacity."""
    rows = [X, X[["age"]]]
    while any((expert.look_up(x) == None).any() for x in rows):  # noqa: E711
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CapacityWarning)
            for x in rows:
                expert.answers(x)
        cases = expert.cases()
        expert.import_answers(dict.fromkeys(cases.index[cases["state"] == "open"], "ill"))
    return expert


def answers_of(expert, rows, store=None):
    return ask("e", expert, {"e": expert}, X, np.asarray(rows), store=store).tolist()


def test_every_expert_has_the_same_facts(cls):
    expert = make(cls, name="desk", cost=0.5, capacity=3)
    assert (expert.name, expert.cost, expert.capacity) == ("desk", 0.5, 3)
    for fact in ("can_answer", "recorded"):
        assert isinstance(getattr(expert, fact), bool), fact
    assert "desk" in repr(expert)
    plain = make(cls)
    assert (plain.cost, plain.capacity, plain.max_queries) == (0.0, None, None)
    assert plain.cache_key() is None or isinstance(plain.cache_key(), str)


@pytest.mark.parametrize(
    "facts", [{"cost": -1}, {"cost": float("nan")}, {"capacity": -1}, {"capacity": 0.5}]
)
def test_bad_facts_are_refused(cls, facts):
    with pytest.raises(ValueError, match="; expected"):
        make(cls, **facts)


def test_an_expert_is_taken_as_it_is(cls):
    expert = make(cls)
    assert as_expert(expert) is expert


def test_one_answer_per_row_whatever_the_batch(cls):
    expert = make(cls)
    whole = answers_of(expert, range(8))
    assert len(whole) == 8
    if expert.can_answer:
        assert set(whole) <= {"ill", "well", None}
        assert set(whole) & {"ill", "well"}
    else:
        assert whole == [None] * 8
    order = [5, 0, 3]
    assert answers_of(expert, order) == [whole[i] for i in order]
    assert [answers_of(expert, [i])[0] for i in range(8)] == whole


def test_an_explanation_may_come_with_the_rows(cls):
    rows = X if make(cls).column else X[["age"]]
    reasons = pd.DataFrame({"reason": ["?"] * 8}, index=INDEX)
    with_reasons = make(cls).answers(rows, explanation=reasons)
    assert list(with_reasons) == list(make(cls).answers(rows))


def test_rows_are_left_alone(cls):
    before = X.copy(deep=True)
    answers_of(make(cls), range(8))
    pd.testing.assert_frame_equal(X, before)


def test_experts_travel_to_other_processes(cls):
    expert = make(cls, name="desk", cost=0.5)
    copy = pickle.loads(pickle.dumps(expert))
    assert answers_of(copy, range(8)) == answers_of(expert, range(8))
    assert (copy.name, copy.cost) == ("desk", 0.5)


def test_kept_answers_are_the_same(cls, tmp_path):
    expert = make(cls)
    store = AnswerStore(tmp_path / "answers.sqlite")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = answers_of(expert, [3, 1, 3, 0], store)
        assert answers_of(expert, [3, 1, 3, 0], store) == first
    assert first == answers_of(expert, [3, 1, 3, 0])


def test_the_docstring_explains_every_fact(cls):
    doc = inspect.getdoc(cls)
    for name in ("name", "cost", "capacity"):
        assert name in doc, name
