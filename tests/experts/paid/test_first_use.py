"""What a new user stumbles on: wrong addresses, classes, files, keys, folders; and what is said."""

import json
import os
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skdefer import ChatExpert, DecisionExpert, DeferralClassifier
from skdefer.exceptions import (
    AnswerStoreError,
    BudgetExhaustedError,
    ExpertStoppedError,
    FailedCallsWarning,
    OutOfLabelsWarning,
)
from tests.experts.paid.stand_in import by_length, chat, row_of, serve
from tests.experts.paid.test_paid import KINDS, ROWS, TRUTH, make, texts


@pytest.fixture
def server():
    with serve(by_length) as server:
        yield server


def base():
    return make_pipeline(TfidfVectorizer(), LogisticRegression())


# ---- the store


@KINDS
def test_an_estimate_makes_no_file(kind, tmp_path):
    expert = make(kind, "http://127.0.0.1:9", store=tmp_path / "x" / "s.sqlite", price=1)
    assert expert.estimate(ROWS).n_known == 0
    assert list(tmp_path.iterdir()) == []


def test_a_table_named_as_store_is_left_alone(server, tmp_path):
    path = tmp_path / "patients.csv"
    path.write_text("age,note\n61,cough\n")
    expert = make(ChatExpert, server.url, store=path)
    for ask in (expert.estimate, expert.answers):
        with pytest.raises(AnswerStoreError, match="nothing in it was touched"):
            ask(ROWS)
    assert path.read_text() == "age,note\n61,cough\n"
    assert not server.bodies


@KINDS
def test_a_relative_store_is_one_file_wherever_one_is(kind, server, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    expert = make(kind, server.url, store="s.sqlite")
    raw = pickle.dumps(expert)
    expert.answers(ROWS)
    monkeypatch.chdir(tmp_path / "elsewhere")
    for other in (expert, clone(expert), pickle.loads(raw), kind(**expert.get_params())):
        assert other.answers(ROWS).tolist() == TRUTH
        assert other.get_params()["store"] == str(tmp_path / "s.sqlite")
    assert len(server.bodies) == len(ROWS)
    assert os.listdir() == []


# ---- services without a usable answer


@pytest.mark.parametrize("as_estimator", [False, True])
def test_a_decision_service_of_another_kind_is_found_out(as_estimator):
    with serve(lambda *asked: (200, {"result": "yes"})) as server:
        expert = make(DecisionExpert, server.url, price=0.01).fit(ROWS, TRUTH)
        rows = texts(100)[0]
        with pytest.raises(ExpertStoppedError) as error:
            (expert.predict_proba if as_estimator else expert.answers)(rows)
        assert len(server.bodies) == 20
        said = str(error.value)
        assert '20 unparsable (such as \'no "answers": {"result": "yes"}\')' in said
        assert "20 of 100 rows" in said
        assert error.value.partial.tolist() == [None] * 100


def test_a_model_that_thinks_too_long_is_found_out_in_fit():
    rows, y = texts(100)
    with serve(lambda *asked: chat("Let me think", finish="length")) as server:
        expert = make(ChatExpert, server.url, max_queries=60)
        with pytest.raises(ExpertStoppedError, match=r"20 truncated .*larger max_tokens"):
            DeferralClassifier(base(), expert, random_state=0).fit(rows, y)
        assert len(server.bodies) == 20
        assert "20 truncated" in expert.why_silent
        assert "max_tokens" in expert.why_silent


@KINDS
def test_why_an_expert_may_be_silent(kind, server):
    assert "No reply of 'm' is kept" in make(kind, server.url).why_silent


@KINDS
def test_a_budget_counts_the_rows_that_were_known(kind, server):
    rows = texts(50)[0]
    expert = make(kind, server.url, price=0.01)
    expert.answers(rows[:21])
    expert.set_params(max_cost=0.21)
    with pytest.raises(BudgetExhaustedError, match="21 of 50 rows have a reply") as error:
        expert.answers(rows)
    assert "0 is left, and the next call may cost 0.01 at its dearest" in str(error.value)


# ---- classes


@KINDS
def test_options_that_are_no_classes(kind, server):
    rows, y = texts(60)
    for classes, says in (
        (["0", "1"], r"has none of the estimator's classes, \['no', 'yes'\]\. Pass"),
        ([True, False], "has none of"),
    ):
        expert = make(kind, server.url, classes=classes, max_queries=10)
        with pytest.raises(ValueError, match=says):
            DeferralClassifier(base(), expert).fit(rows, y)
    expert = make(kind, server.url, classes=["0", "1"])
    with pytest.raises(ValueError, match="written alike, but these are str"):
        expert.for_classes(np.array([0, 1]))
    assert not server.bodies


def test_options_beyond_the_classes_are_told_once(server):
    rows, y = texts(60)
    expert = make(ChatExpert, server.url, classes=["no", "yes", "maybe"], max_queries=30)
    with pytest.warns(OutOfLabelsWarning, match=r"has \['maybe'\].* count as wrong") as said:
        system = DeferralClassifier(base(), expert, cv=2, random_state=0).fit(rows, y)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        system.predict(rows)
    with pytest.warns(OutOfLabelsWarning) as said:
        system.with_experts(expert)
    assert len(said) == 1


@KINDS
def test_options_that_are_the_classes_are_no_matter(kind, server):
    expert = make(kind, server.url, classes=["yes", "no"])
    for classes in (["no", "yes"], ["maybe", "no", "yes"]):
        assert expert.for_classes(np.array(classes)) is expert


# ---- addresses and keys


@pytest.mark.parametrize("end", ["/chat/completions", "/systemone", "/chat/completions/"])
@KINDS
def test_an_address_that_says_too_much(kind, end):
    with pytest.raises(ValueError, match=r"which is added to it. Pass 'https://h.example/v1'"):
        make(kind, f"https://h.example/v1{end}")


def test_what_is_not_there_is_asked_for_once():
    with serve(lambda *asked: (404, {"error": {"message": "No such model"}})) as server:
        with pytest.warns(FailedCallsWarning) as said:
            make(ChatExpert, server.url + "/v1").answers(["a"])
        assert len(server.bodies) == 1
        where = f"HTTP 404 from {server.url}/v1/chat/completions, check base_url and model: No"
        assert where in str(said[0].message)


@KINDS
def test_a_key_passed_as_its_name_is_never_shown(kind):
    key = "sk-proj-4xampl3K3yAbCdEf"
    with pytest.raises(ValueError, match="could be the key itself") as error:
        make(kind, "https://h.example", key_variable=key)
    assert key not in str(error.value)
    expert = make(kind, "https://h.example")
    with pytest.raises(ValueError, match="could be the key itself"):
        expert.set_params(key_variable=key)
    assert key not in repr(expert) + str(expert.get_params()) + str(vars(expert))


# ---- what stops before any call


@KINDS
def test_errors_before_any_call_stand_alone(kind, server, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    rows, y = texts(60)
    expert = make(kind, server.url, key_variable="NO_SUCH_KEY", max_queries=20)
    with pytest.raises(Exception, match="'NO_SUCH_KEY' is not set") as error:
        DeferralClassifier(base(), expert).fit(rows, y)
    assert ".." not in str(error.value).replace("...", "")
    assert str(error.value).endswith((".", "key."))
    assert not server.bodies


def test_rows_are_looked_at_before_anything_is_fitted(server):
    frame = pd.DataFrame({"age": [61, 45], "note": [None, "fit"]})
    expert = make(ChatExpert, server.url, prompt="{age}: {note}")
    expert.check_rows(frame[:1])  # a missing note is no matter here
    with pytest.raises(ValueError, match=r"prompt reads \{age\}, which X lacks"):
        expert.check_rows(frame[["note"]][:1].assign(x=1))
    with pytest.raises(ValueError, match="no columns with names"):
        expert.check_rows(["a text"])
    make(ChatExpert, server.url).check_rows(["a text"])
    make(DecisionExpert, server.url).check_rows(frame[:1])
    with pytest.raises(ValueError, match="no names of columns"):
        make(DecisionExpert, server.url).check_rows(np.zeros((1, 3)))


@pytest.mark.parametrize("name", ["nothing", "./nothing", "a/b/nothing", "here/nothing", "{}/no"])
def test_a_folder_that_is_not_there_is_named(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "here").mkdir()
    name = name.format(tmp_path)
    expert = DecisionExpert(name, classes=["a", "b"])
    with pytest.raises(FileNotFoundError) as error:
        expert.answers(ROWS)
    assert repr(name) in str(error.value)


# ---- replies that can't be read


def test_what_a_decision_service_said_is_kept():
    shares = {"a": {"no": 0.3, "yes": 0.69}, "b": {"nein": 0.5, "ja": 0.5}, "c": {"no": "x"}}
    shares["c"]["yes"] = 0.5

    def answer(path, body, headers):
        if (row := row_of(body)) not in shares:
            return 200, {"detail": "x" * 3000, "choices": []}
        return 200, {"id": 7, "answers": {"answer": {"probabilities": shares[row]}}}

    with serve(answer) as server:
        expert = make(DecisionExpert, server.url)
        with pytest.warns(FailedCallsWarning, match="4 unparsable"):
            expert.answers(["a", "b", "c", "d"])
        said = sorted(expert.store.to_frame()["text"])
    assert said[0].startswith('no "answers": {"detail": "xxx')
    assert len(said[0]) < 2100
    assert said[1].startswith("probabilities of ['nein', 'ja'], not of ['no', 'yes']: {\"id\": 7")
    assert said[2].startswith("probabilities that are no numbers: ")
    assert said[3].startswith("probabilities whose sum is 0.99: ")
    assert json.loads(said[3].partition(": ")[2])["id"] == 7


@pytest.mark.parametrize("number", [np.float32, np.float64, np.float16])
def test_numbers_of_numpy_are_numbers(number):
    def pipeline(request):
        return {"answer": {"probabilities": {"no": number(0.25), "yes": number(0.75)}}}

    expert = DecisionExpert(pipeline, classes=["no", "yes"]).fit(ROWS, TRUTH)
    assert expert.predict_proba(ROWS[:1]).tolist() == [[0.25, 0.75]]
