"""A real service: ``transformers serve`` with a chat model of a few weights, both routes."""

import logging
import socket
import time

import numpy as np
import pytest
from transformers import pipeline
from transformers.cli.serve import Serve
from transformers.cli.serving.model_manager import TimedModel

from skdefer.exceptions import ExpertStoppedError, FailedCallsWarning
from skdefer.experts import ChatExpert, DecisionExpert
from tests.experts.paid.tiny_chat import make_model, make_tokenizer, teach

ROWS = ["hello", "WIN a phone!", "see you at 8", "🎬 film {x}"]
CLASSES = ["ham", "spam"]


@pytest.fixture(scope="module")
def tiny():
    tokenizer = make_tokenizer()
    return make_model(tokenizer), tokenizer


@pytest.fixture(scope="module")
def served(tiny):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    level = logging.getLogger("transformers").level
    served = Serve(
        host="127.0.0.1", port=port, device="cpu", non_blocking=True, log_level="critical"
    )
    # As it loads one itself, but loading needs accelerate.
    served._model_manager.loaded_models["tiny@main"] = TimedModel(tiny[0], -1, tiny[1])
    until = time.monotonic() + 60
    while not served.server.started:
        assert time.monotonic() < until, "transformers serve did not start"
        time.sleep(0.02)
    try:
        yield served
    finally:
        served.kill_server()
        served._thread.join(30)
        logging.getLogger("transformers").setLevel(level)
    assert not served._thread.is_alive()


@pytest.fixture(scope="module")
def url(served):
    return f"http://127.0.0.1:{served.server.config.port}"


def test_decisions_over_http_are_those_of_the_pipeline(url, tiny):
    options = {
        "instructions": "Is it spam?",
        "classes": CLASSES,
        "descriptions": {"spam": "Unwanted advertising"},
    }
    there = DecisionExpert("tiny", base_url=url, **options).fit(ROWS, CLASSES * 2)
    here = pipeline("decision", model=tiny[0], tokenizer=tiny[1])
    here = DecisionExpert(here, **options).fit(ROWS, CLASSES * 2)
    proba = there.predict_proba(ROWS)
    np.testing.assert_allclose(proba, here.predict_proba(ROWS), atol=1e-6)
    assert len(np.unique(proba.round(6), axis=0)) == len(ROWS)
    frame = there.store.to_frame()
    assert (frame["outcome"] == "ok").all()
    assert (frame["input_tokens"] > 20).all()
    assert there.predict(ROWS).tolist() == there.answers(ROWS).tolist()


def test_a_model_that_babbles_gives_no_answer(url):
    expert = ChatExpert("tiny", base_url=url, prompt="{text}", classes=CLASSES, max_tokens=8)
    with pytest.warns(FailedCallsWarning, match="no answer to 4 of 4 rows"):
        assert expert.answers(ROWS).tolist() == [None] * 4
    frame = expert.store.to_frame()
    assert set(frame["outcome"]) <= {"truncated", "unparsable", "out_of_labels"}
    assert (frame["output_tokens"] <= 8).all()
    assert (frame["input_tokens"] > 0).all()


def test_a_model_that_has_learned_what_to_say(url, served, tiny):
    answers = ["ham", "spam", "ham", "spam"]
    expert = ChatExpert("taught", base_url=url, prompt="Spam? {text}", classes=CLASSES)
    questions = expert._questions(ROWS, expert._options())
    lessons = [
        (expert._body(question)["messages"], f'{{"answer": "{answer}"}}')
        for question, answer in zip(questions, answers, strict=True)
    ]
    model = teach(make_model(tiny[1]), tiny[1], lessons)
    served._model_manager.loaded_models["taught@main"] = TimedModel(model, -1, tiny[1])
    assert expert.answers(ROWS).tolist() == answers
    assert expert.store.to_frame()["text"].str.startswith('{"answer": "').all()


def test_logprobs_that_the_service_does_not_give(url):
    expert = ChatExpert("tiny", base_url=url, prompt="{text}", classes=CLASSES, probabilities=True)
    with pytest.raises(ExpertStoppedError, match="gives none of this model"):
        expert.answers(ROWS)
    assert len(expert.store.to_frame()) == 1
