"""What a reply of a model says: an option for certain, or a failure with a name."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdefer.calling._outcomes import Outcome
from skdefer.experts._options import Options
from skdefer.experts._paid._reading import read_answer, read_chat, read_decision, read_letter

# They share first words, first tokens and prefixes.
OPTIONS = Options(["no", "not sure", "none", "no one"])
OK, OUT, UNPARSABLE = Outcome.OK, Outcome.OUT_OF_LABELS, Outcome.UNPARSABLE


@pytest.mark.parametrize(
    ("text", "outcome", "label"),
    [
        ("none", OK, "none"),
        (" No.\n", OK, "no"),
        ('"not sure"', OK, "not sure"),
        ("**None**", OK, "none"),
        ("Answer: no one", OK, "no one"),
        ("**Answer:** none.", OK, "none"),
        ("The answer is: no", OK, "no"),
        ('{"answer": "none"}', OK, "none"),
        ('{"Answer": "NONE"}', OK, "none"),
        ('```json\n{"answer": "no one"}\n```', OK, "no one"),
        ("```\nnone\n```", OK, "none"),
        ('Sure! {"answer": "no", "why": "none was named"}', OK, "no"),
        ('{"why": {"answer": "none"}, "answer": "no"}', OK, "no"),
        ('{"answer": "no"} {"answer": "no"}', OK, "no"),
        ("<think>none? no: not sure</think>\nnone", OK, "none"),
        ("none? no</think>\n\nno", OK, "no"),
        ("maybe", OUT, None),
        ('{"answer": "maybe"}', OUT, None),
        ("nonetheless", OUT, None),
        ("n", OUT, None),
        ("", UNPARSABLE, None),
        (" \n", UNPARSABLE, None),
        ('""', UNPARSABLE, None),
        ("no or none", UNPARSABLE, None),
        ("no, not sure", UNPARSABLE, None),
        ("I would say no", UNPARSABLE, None),
        ("It is not none", UNPARSABLE, None),
        ('{"answer": "no"', UNPARSABLE, None),
        ('{"answer": null}', UNPARSABLE, None),
        ('{"answer": ["no"]}', UNPARSABLE, None),
        ('{"label": "no"}', UNPARSABLE, None),
        ('{"answer": "no", "answer": "none"}', UNPARSABLE, None),
        ('{"answer": "no"} {"answer": "none"}', UNPARSABLE, None),
        ('{"answer": "no"} or {answer: none}', UNPARSABLE, None),
        ('{"a":' * 5000, UNPARSABLE, None),
        ("<think>no, none", UNPARSABLE, None),
        ("Answer:", OUT, None),
    ],
)
def test_nothing_is_guessed(text, outcome, label):
    found, position = read_answer(text, OPTIONS)
    assert (found, position) == (outcome, None if label is None else OPTIONS.texts.index(label))


def test_labels_that_are_no_texts():
    assert read_answer('{"answer": 1}', Options([0, 1])) == (OK, 1)
    assert read_answer('{"answer": "1"}', Options([0, 1])) == (OK, 1)
    assert read_answer('{"answer": true}', Options([False, True])) == (OK, 1)
    assert read_answer('{"answer": true}', Options([0, 1])) == (OUT, None)


@given(st.text())
def test_any_text_has_an_outcome(text):
    for read in (read_answer, read_letter):
        outcome, position = read(text, OPTIONS)
        assert (outcome is OK) == (position is not None)
        assert outcome in (OK, OUT, UNPARSABLE)


@pytest.mark.parametrize(
    ("text", "outcome", "position"),
    [
        ("B", OK, 1),
        (" (b).", OK, 1),
        ("<think>A</think>C", OK, 2),
        ("E", OUT, None),
        ("?", OUT, None),
        ("A or B", UNPARSABLE, None),
        ("AB", UNPARSABLE, None),
        ("", UNPARSABLE, None),
    ],
)
def test_letters(text, outcome, position):
    assert read_letter(text, OPTIONS) == (outcome, position)


def chat(content="none", finish="stop", **message):
    message = {"role": "assistant", "content": content, **message}
    usage = {"prompt_tokens": 12, "completion_tokens": 3}
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (chat(), OK),
        (chat([{"type": "text", "text": "no"}, {"type": "text", "text": "ne"}]), OK),
        (chat(finish=None), OK),
        (chat(None, refusal="I can't"), Outcome.REFUSED),
        (chat("", refusal="I can't"), Outcome.REFUSED),
        (chat(None, "content_filter"), Outcome.REFUSED),
        (chat('{"answer": "none"}', "length"), Outcome.TRUNCATED),
        (chat(None, "length"), Outcome.TRUNCATED),
        (chat(None), UNPARSABLE),
        (chat(None, "tool_calls", tool_calls=[{}]), UNPARSABLE),
        (chat("none", "tool_calls"), UNPARSABLE),
        (chat([{"type": "image"}]), UNPARSABLE),
        (chat(7), UNPARSABLE),
        ({"choices": []}, UNPARSABLE),
        ({"choices": [None]}, UNPARSABLE),
        ({"choices": {"0": 1}}, UNPARSABLE),
        ({}, UNPARSABLE),
        ([], UNPARSABLE),
        (None, UNPARSABLE),
        ("none", UNPARSABLE),
    ],
)
def test_each_kind_of_reply_has_its_name(body, outcome):
    reply = read_chat(body, OPTIONS, letters=False)
    assert reply.outcome is outcome
    assert reply.answer == ("none" if outcome is OK else None)
    assert reply.price is None


def test_tokens_are_counted_where_the_service_says_so():
    reply = read_chat(chat(), OPTIONS, letters=False)
    assert (reply.input_tokens, reply.output_tokens, reply.text) == (12, 3, "none")
    for usage in (
        None,
        [],
        {"prompt_tokens": "12", "completion_tokens": -1},
        {"prompt_tokens": True},
    ):
        reply = read_chat({**chat(), "usage": usage}, OPTIONS, letters=False)
        assert (reply.outcome, reply.input_tokens, reply.output_tokens) == (OK, None, None)


def first_token(*listed, content="A"):
    top = [{"token": token, "logprob": math.log(share)} for token, share in listed]
    body = chat(content, "length")
    body["choices"][0]["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    return body


def test_probabilities_of_letters():
    body = first_token(("B", 0.5), (" B", 0.1), ("A", 0.2), ("The", 0.1), ("C", 0.05), ("D", 0.05))
    reply = read_chat(body, OPTIONS, letters=True)
    assert (reply.outcome, reply.answer) == (OK, "not sure")
    assert reply.probabilities == pytest.approx(
        {"no": 0.2 / 0.9, "not sure": 0.6 / 0.9, "none": 0.05 / 0.9, "no one": 0.05 / 0.9}
    )


def test_an_option_that_is_not_listed_gets_what_it_can_have_at_the_most():
    reply = read_chat(first_token(("A", 0.8), ("B", 0.1)), OPTIONS, letters=True)
    assert reply.probabilities["none"] == pytest.approx(0.05)  # half of what is left
    reply = read_chat(first_token(("A", 0.6), ("B", 0.01)), OPTIONS, letters=True)
    assert reply.probabilities["none"] == pytest.approx(0.01 / 0.63)  # that of the last one listed
    reply = read_chat(first_token(("A", 1.0)), OPTIONS, letters=True)
    assert list(reply.probabilities.values()) == [1.0, 0.0, 0.0, 0.0]


def test_a_model_that_names_no_letter_gives_no_answer():
    assert read_chat(first_token(("I", 0.9), ("A", 0.05)), OPTIONS, letters=True).outcome is OUT
    assert read_chat(first_token(("I", 0.9)), OPTIONS, letters=True).outcome is OUT


def test_a_letter_without_probabilities_is_an_answer_all_the_same():
    for logprobs in (None, [], {"content": None}, {"content": [{"token": 1, "logprob": "x"}]}):
        body = chat("C", "length")
        body["choices"][0]["logprobs"] = logprobs
        reply = read_chat(body, OPTIONS, letters=True)
        assert (reply.outcome, reply.answer, reply.probabilities) == (OK, "none", None)


def decision(probabilities):
    return {"answer": {"type": "choice", "probabilities": probabilities}}


YES_NO = Options(["no", "yes"])


def test_a_decision():
    reply = read_decision(
        {
            "answers": decision({"yes": 0.75, "no": 0.2496}),
            "usage": {"input_tokens": 9, "output_tokens": 0},
        },
        YES_NO,
    )
    assert (reply.outcome, reply.answer, reply.input_tokens, reply.output_tokens) == (
        OK,
        "yes",
        9,
        0,
    )
    assert sum(reply.probabilities.values()) == pytest.approx(1.0, abs=1e-15)
    assert list(reply.probabilities) == ["no", "yes"]
    assert json.loads(reply.text) == decision({"yes": 0.75, "no": 0.2496})


@pytest.mark.parametrize(
    "answers",
    [
        None,
        [],
        {"answer": "yes"},
        decision(None),
        decision({"yes": 1.0}),
        decision({"yes": 0.5, "no": 0.5, "maybe": 0.0}),
        decision({"yes": 0.5, "maybe": 0.5}),
        decision({"yes": math.nan, "no": 0.5}),
        decision({"yes": 1.5, "no": -0.5}),
        decision({"yes": 0.6, "no": 0.6}),
        decision({"yes": "0.5", "no": 0.5}),
        decision({"yes": True, "no": 0.0}),
    ],
)
def test_a_decision_that_makes_no_sense(answers):
    reply = read_decision({"answers": answers}, YES_NO)
    assert (reply.outcome, reply.answer, reply.probabilities) == (UNPARSABLE, None, None)
