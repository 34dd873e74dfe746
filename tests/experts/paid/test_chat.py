"""What a ChatExpert sends, and how it gets along with services that can do less."""

import json
import threading

import numpy as np
import pandas as pd
import pytest

from skdefer.exceptions import ExpertStoppedError, FailedCallsWarning
from skdefer.experts import AnswerStore, ChatExpert
from tests.experts.paid.stand_in import by_length, chat, row_of, serve

PROMPT = "Long? {text}"


def make(server, **options):
    options = {"prompt": PROMPT, "classes": ["no", "yes"], **options}
    return ChatExpert("m", base_url=server.url, **options)


@pytest.fixture
def server():
    with serve(by_length) as server:
        yield server


def test_what_is_sent(server):
    expert = make(
        server,
        system="Be brief.",
        descriptions={"yes": "Longer than three letters"},
        extra_body={"seed": 7},
        extra_headers={"X-Team": "triage"},
    )
    assert expert.answers(["abcd", "abc"]).tolist() == ["yes", "no"]
    body = next(b for b in server.bodies if row_of(b) == "abcd")
    text = (
        "Long? abcd\n\nOptions:\n- no\n- yes: Longer than three letters\n\n"
        'Answer with one of the options only, as JSON: {"answer": "..."}'
    )
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": text},
    ]
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["answer"]["enum"] == ["no", "yes"]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0.0, 64)
    assert body["seed"] == 7
    assert "stream" not in body
    assert "logprobs" not in body
    assert server.headers[0]["X-Team"] == "triage"
    assert "Authorization" not in server.headers[0]


def test_options_stand_where_the_prompt_wants_them(server):
    make(server, prompt="Long? {text}\n\nOf {options}:").answers(["abcd"])
    assert server.bodies[0]["messages"][0]["content"].startswith(
        "Long? abcd\n\nOf - no\n- yes:\n\nAnswer with"
    )


def test_what_is_none_is_not_sent(server):
    make(server, temperature=None, max_tokens=None, structured=False).answers(["abcd"])
    assert set(server.bodies[0]) == {"model", "messages"}


def test_the_address_may_have_a_path_or_none(server):
    paths = []

    def answer(path, body, headers):
        paths.append(path)
        return chat("yes")

    with serve(answer) as other:
        for base in (other.url, other.url + "/", other.url + "/v1", other.url + "/openai/"):
            ChatExpert("m", base_url=base, prompt=PROMPT, classes=["no", "yes"]).answers(["a"])
    assert paths == ["/v1/chat/completions"] * 3 + ["/openai/chat/completions"]


@pytest.mark.parametrize("status", [400, 422])
def test_a_service_that_knows_no_structure_is_asked_without(status):
    def answer(path, body, headers):
        if "response_format" in body:
            return status, {"error": {"message": "Unknown field: response_format"}}
        return chat("Yes." if len(row_of(body)) > 3 else "no")

    with serve(answer) as server:
        expert = make(server, n_workers=1)
        assert expert.answers(["abcd", "a", "b"]).tolist() == ["yes", "no", "no"]
        assert ["response_format" in body for body in server.bodies] == [True, *[False] * 3]
        # A copy has learned it too.
        expert.for_classes(["no", "yes"]).answers(["c"])
        assert len(server.bodies) == 5
        # Who insists gets what the service says.
        strict = make(server, structured=True)
        with pytest.warns(FailedCallsWarning, match="bad_request.*Unknown field"):
            assert strict.answers(["abcd"]).tolist() == [None]


def test_a_request_that_is_wrong_anyhow_is_no_lesson():
    def answer(path, body, headers):
        return 400, {"error": {"message": "temperature is not supported"}}

    with serve(answer) as server:
        expert = make(server)
        with pytest.warns(FailedCallsWarning, match="1 bad_request"):
            expert.answers(["abcd"])
        assert ("structured", server.url, "m") not in expert._live.abilities
        assert len(server.bodies) == 2
        # But the same complaint is not answered by a second call again.
        with pytest.warns(FailedCallsWarning, match="1 bad_request"):
            expert.answers(["abc"])
        assert len(server.bodies) == 3


def test_another_model_that_answers_is_named():
    for model, text in (("m-2026-01-01", "yes"), ("other", "(from other) yes"), (None, "yes")):
        with serve(lambda *asked, model=model: chat("yes", model=model)) as server:
            expert = make(server)
            assert expert.answers(["abcd"]).tolist() == ["yes"]
            assert expert.store.to_frame()["text"].tolist() == [text]


def test_probabilities_come_from_letters(server):
    expert = make(server, probabilities=True, descriptions={"yes": "More than three"})
    expert = expert.fit(["a", "abcd"], ["no", "yes"])
    np.testing.assert_allclose(expert.predict_proba(["a", "abcd"]), [[0.8, 0.2], [0.1, 0.9]])
    assert expert.predict(["abcd", "a"]).tolist() == ["yes", "no"]
    assert expert.answers(["abcd"]).tolist() == ["yes"]
    assert len(server.bodies) == 2
    body = server.bodies[0]
    assert (body["logprobs"], body["top_logprobs"]) == (True, 20)
    assert "response_format" not in body
    text = body["messages"][0]["content"]
    assert text.endswith(
        "Options:\nA. no\nB. yes: More than three\n\nAnswer with the letter of one option only."
    )


def test_without_probabilities_there_is_no_classifier(server):
    expert = make(server)
    for method in ("predict_proba", "predict"):
        assert not hasattr(expert, method)
        assert hasattr(make(server, probabilities=True), method)


@pytest.mark.parametrize("refuses", [False, True])
def test_a_service_without_logprobs_is_found_out_by_one_call(refuses):
    def answer(path, body, headers):
        if refuses:
            return 400, {"error": {"message": "logprobs are not available"}}
        return chat("B")

    with serve(answer) as server:
        expert = make(server, probabilities=True)
        says = "logprobs are not available" if refuses else "had none, but is kept"
        with pytest.warns() if refuses else _quiet(), pytest.raises(ExpertStoppedError) as error:
            expert.answers([f"row {i}" for i in range(50)])
        assert says in str(error.value)
        assert "probabilities=False" in str(error.value)
        assert error.value.partial.tolist() == [None] * 50
        assert len(server.bodies) == 1
        assert len(expert.store.to_frame()) == (0 if refuses else 1)


def _quiet():
    from contextlib import nullcontext

    return nullcontext()


def test_rotated_options_are_one_question_a_row():
    orders, lock = {}, threading.Lock()

    def answer(path, body, headers):
        lines = body["messages"][0]["content"].splitlines()
        with lock:
            orders.setdefault(row_of(body), []).append([x[2:] for x in lines if x[:2] == "- "])
        return chat(json.dumps({"answer": "b"}))

    rows = [f"row {i}" for i in range(40)]
    with serve(answer) as server:
        expert = make(server, classes=["a", "b", "c"], rotate_options=True)
        assert set(expert.answers(rows)) == {"b"}
        assert set(expert.answers(rows[::-1])) == {"b"}
    assert all(len(seen) == 1 for seen in orders.values())
    starts = {seen[0][0] for seen in orders.values()}
    assert starts == {"a", "b", "c"}
    assert all(seen[0] in (list("abc"), list("bca"), list("cab")) for seen in orders.values())


def test_labels_keep_their_type(server):
    def answer(path, body, headers):
        return chat(json.dumps({"answer": "1" if len(row_of(body)) > 3 else "0"}))

    store = AnswerStore()
    with serve(answer) as numbers:
        texts = make(numbers, classes=["0", "1"], store=store).answers(["abcd", "a"])
        assert texts.tolist() == ["1", "0"]
        for classes in ([0, 1], np.array([0, 1])):
            labels = make(numbers, classes=classes, store=store).answers(["abcd", "a"]).tolist()
            assert labels == [1, 0]
            assert type(labels[0]) is int


def test_frames_and_the_key(monkeypatch):
    monkeypatch.setenv("SERVICE_KEY", "sk-0123456789")

    def answer(path, body, headers):
        assert headers["Authorization"] == "Bearer sk-0123456789"
        return chat("ill" if "61" in body["messages"][0]["content"] else "well")

    X = pd.DataFrame({"age": [61, 45], "note": ["cough {x}", "fit"], "unread": [None, 1]})
    with serve(answer) as server:
        expert = make(
            server,
            prompt="{age} years: {note}",
            classes=["ill", "well"],
            key_variable="SERVICE_KEY",
        )
        assert expert.answers(X).tolist() == ["ill", "well"]
        assert expert.answers(X.drop(columns="unread").iloc[::-1]).tolist() == ["well", "ill"]
        assert len(server.bodies) == 2
        assert any("61 years: cough {x}" in b["messages"][0]["content"] for b in server.bodies)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"prompt": "no row"}, ValueError, "no placeholder of a row"),
        ({"prompt": None}, TypeError, "prompt is a NoneType"),
        ({"structured": "maybe"}, ValueError, "structured is 'maybe'; expected"),
        ({"max_tokens": 0}, ValueError, "max_tokens is 0; expected"),
        ({"classes": ["a"]}, ValueError, "at least two"),
        ({"classes": [str(i) for i in range(27)], "probabilities": True}, ValueError, "at most 26"),
        ({"descriptions": {"maybe": ""}}, ValueError, "not among the classes"),
        ({"max_cost": 1.0}, ValueError, "price is unknown"),
        ({"max_cost": 1.0, "price": (1, 2), "max_tokens": None}, ValueError, "any length"),
        ({"max_cost": -1.0, "price": 1}, ValueError, "max_cost is -1.0; expected"),
        ({"price": -1}, ValueError, "price is -1; expected"),
        ({"n_workers": 0}, ValueError, "n_workers is 0; expected"),
        ({"max_retries": -1}, ValueError, "max_retries is -1; expected"),
        ({"max_characters": 0}, ValueError, "max_characters is 0; expected"),
        ({"deadline": 0}, ValueError, "deadline is 0; expected"),
        ({"base_url": "host/v1"}, ValueError, "address"),
        ({"base_url": None}, ValueError, "base_url is None"),
        ({"base_url": "https://host.example/v1?x=1"}, ValueError, "after '\\?'"),
        ({"base_url": "http://host.example", "key_variable": "K"}, ValueError, "over http"),
        ({"extra_headers": {"api-key": "x"}}, ValueError, "key_variable"),
        ({"extra_body": {"stream": True}}, ValueError, "fills in"),
        ({"name": 3}, TypeError, "name is 3"),
        ({"rate_limiter": 60}, TypeError, "rate_limiter is 60; expected"),
        ({"cost": -1.0}, ValueError, "cost of an expert"),
    ],
)
def test_mistakes_are_found_before_anything_is_asked(options, error, says):
    options = {"base_url": "https://host.example/v1", "prompt": PROMPT, **options}
    with pytest.raises(error, match=says):
        ChatExpert("m", **{"classes": ["no", "yes"], **options})


def test_the_model_has_a_name():
    with pytest.raises(TypeError, match="model is None"):
        ChatExpert(None, base_url="https://host.example/v1", prompt=PROMPT)
