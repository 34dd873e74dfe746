"""A decision model in this process: loading, pickling, what it is asked."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from transformers import DecisionConfig, pipeline

from skdefer.exceptions import FailedCallsWarning
from skdefer.experts import DecisionExpert
from tests.experts.paid.stand_in import by_length, serve
from tests.experts.paid.tiny_chat import make_model, make_tokenizer, save

ROWS = ["hello", "WIN a phone!", "see you at 8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("tiny"))


class Recorder:
    """Answers as a pipeline does, and remembers what it was asked."""

    def __init__(self):
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        options = list(request["questions"]["answer"]["criteria"])
        shares = np.arange(1.0, len(options) + 1)
        return {"answer": {"probabilities": dict(zip(options, shares / shares.sum()))}}


def test_the_answers_are_the_pipelines(folder):
    decide = pipeline("decision", model=folder)
    criteria = {"ham": None, "spam": "Unwanted"}
    asked = {"type": "choice", "instructions": "Is it spam?", "criteria": criteria}
    questions = {"answer": asked}
    expected = [decide({"state": row, "questions": questions})["answer"] for row in ROWS]
    expert = DecisionExpert(
        folder,
        instructions="Is it spam?",
        classes=["ham", "spam"],
        descriptions={"spam": "Unwanted"},
    )
    expert.fit(ROWS, ["ham", "spam", "ham"])
    proba = expert.predict_proba(ROWS)
    shares = [[a["probabilities"][c] for c in ("ham", "spam")] for a in expected]
    np.testing.assert_allclose(proba, shares, atol=1e-6)
    assert expert.answers(ROWS).tolist() == [a["choice"] for a in expected]
    assert not expert.paid  # nothing is sent, so nothing is paid
    assert expert.store.spent(expert.name) == (0.0, 0, 0.0)


def test_weights_are_loaded_late_once_and_never_pickled(folder):
    expert = DecisionExpert(folder, classes=["a", "b"])
    assert not expert._live.pipelines
    expert.answers(ROWS)
    (loaded,) = expert._live.pipelines.values()
    copy = clone(expert).set_params(instructions="Which?")
    copy.answers(ROWS)
    assert list(copy._live.pipelines.values()) == [loaded]
    raw = pickle.dumps(expert)
    assert len(raw) < 4000
    assert pickle.loads(raw).answers(ROWS).tolist() == expert.answers(ROWS).tolist()


def test_a_config_goes_to_the_pipeline(folder):
    plain = DecisionExpert(folder, classes=["a", "b"]).fit(ROWS, ["a", "b", "a"])
    config = DecisionConfig(temperature={"choice": 4.0})
    mild = DecisionExpert(folder, classes=["a", "b"], decision_config=config)
    mild.fit(ROWS, ["a", "b", "a"])
    p, q = plain.predict_proba(ROWS), mild.predict_proba(ROWS)
    np.testing.assert_allclose(np.log(q[:, 0] / q[:, 1]), np.log(p[:, 0] / p[:, 1]) / 4, rtol=1e-4)


def test_a_model_that_is_not_there(tmp_path):
    expert = DecisionExpert(str(tmp_path / "nothing"), classes=["a", "b"])
    with pytest.raises(OSError):
        expert.answers(ROWS)


def test_what_is_asked():
    model = Recorder()
    X = pd.DataFrame({"age": [61], "note": [None], "dose": [0.5]})
    DecisionExpert(model, classes=[0, 1], instructions="Ill?").answers(X)
    DecisionExpert(model, classes=[0, 1], prompt="{age} years").answers(X)
    DecisionExpert(model, classes=[0, 1]).answers(["cough"])
    states = [request["state"] for request in model.requests]
    assert states == [{"age": 61, "note": None, "dose": 0.5}, "61 years", "cough"]
    asked = {"type": "choice", "instructions": "Ill?", "criteria": {"0": None, "1": None}}
    assert model.requests[0]["questions"] == {"answer": asked}


def test_rotation_turns_the_options_but_not_the_answer():
    model = Recorder()
    expert = DecisionExpert(model, classes=["a", "b", "c"], rotate_options=True)
    rows = [f"row {i}" for i in range(30)]
    expert.fit(rows, ["a", "b", "c"] * 10)
    proba = expert.predict_proba(rows)
    firsts = [next(iter(r["questions"]["answer"]["criteria"])) for r in model.requests]
    assert set(firsts) == {"a", "b", "c"}
    for shares, request in zip(proba, model.requests, strict=True):
        order = list(request["questions"]["answer"]["criteria"])
        assert [shares["abc".index(o)] for o in order] == pytest.approx([1 / 6, 2 / 6, 3 / 6])


def test_a_pipeline_that_raises_is_heard():
    def broken(request):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        DecisionExpert(broken, classes=["a", "b"]).answers(ROWS)
    with pytest.warns(FailedCallsWarning, match="3 unparsable"):
        DecisionExpert(lambda request: None, classes=["a", "b"]).answers(ROWS)


def test_a_pipeline_object_needs_a_version_to_keep_answers(tmp_path):
    with pytest.raises(ValueError, match="without a name.*Pass version="):
        DecisionExpert(Recorder(), store=tmp_path / "s.sqlite")
    DecisionExpert(Recorder(), store=tmp_path / "s.sqlite", version="1")
    made = pipeline("decision", model=make_model(t := make_tokenizer()), tokenizer=t)
    expert = DecisionExpert(made, classes=["a", "b"])
    assert set(expert.answers(ROWS)) <= {"a", "b"}


def test_names(folder):
    assert DecisionExpert("org/judge").name == "judge"
    assert DecisionExpert(folder + "/").version == folder + "/"
    assert DecisionExpert(Recorder()).name == "decision"
    assert DecisionExpert("org/judge", base_url="https://host.example").name == "org/judge"


def test_over_http_the_model_may_go_unnamed():
    with serve(by_length) as server:
        expert = DecisionExpert(base_url=server.url, classes=["no", "yes"])
        assert expert.answers(["abcd"]).tolist() == ["yes"]
        assert "model" not in server.bodies[0]
        assert DecisionExpert("m", base_url=server.url + "/v1", classes=["no", "yes"]).answers(
            pd.DataFrame({"a": [1], "b": ["x"]})
        ).tolist() == ["no"]
        assert (server.bodies[1]["model"], server.bodies[1]["state"]) == ("m", {"a": 1, "b": "x"})


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({}, ValueError, "neither model nor base_url"),
        ({"model": 3}, TypeError, "model is a int; expected a folder"),
        ({"model": 3, "base_url": "https://h.example"}, TypeError, "expected its name"),
        ({"model": "m", "key_variable": "K"}, ValueError, "with base_url alone"),
        (
            {"model": "m", "prompt": "{text} {options}"},
            ValueError,
            "gets its options by themselves",
        ),
        ({"model": "m", "instructions": 3}, TypeError, "instructions is 3"),
        ({"model": "m", "classes": range(27)}, ValueError, "at most 26"),
        (
            {"model": "m", "base_url": "https://h.example", "decision_config": "x.json"},
            ValueError,
            "not sent over HTTP",
        ),
    ],
)
def test_mistakes_are_found_at_once(options, error, says):
    with pytest.raises(error, match=says):
        DecisionExpert(**options)
