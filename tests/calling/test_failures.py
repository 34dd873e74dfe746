"""What services say of a failure, and which outcome it is; made-up results, no network."""

import math
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdefer.calling._failures import read_failure, read_retry_after
from skdefer.calling._http import HttpResult
from skdefer.calling._outcomes import Outcome, Reply


def outcome_of(status, data=None, text="", **more):
    reply = read_failure(HttpResult(status, data, text, **more))
    return None if reply is None else str(reply.outcome)


def error(message="", **fields):
    return {"error": {"message": message, **fields}}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((400, "bad_request"), (401, "auth"), (402, "quota"), (403, "auth")),
        *((404, "bad_request"), (405, "bad_request"), (408, "timeout"), (409, "bad_request")),
        *((413, "truncated"), (418, "bad_request"), (422, "bad_request")),
        *((429, "rate_limited"), (500, "server_error"), (502, "server_error")),
        *((503, "server_error"), (504, "timeout"), (524, "timeout"), (529, "server_error")),
        *(
            (301, "server_error"),
            (307, "server_error"),
            (101, "server_error"),
            (999, "server_error"),
        ),
    ],
)
def test_statuses_without_a_word(status, outcome):
    assert outcome_of(status) == outcome
    assert outcome_of(status, text="<html>no</html>", problem="not_json") == outcome


# Taken from what well-known services document or send; a family each.
@pytest.mark.parametrize(
    ("status", "data", "outcome"),
    [
        (429, error("You exceeded your current quota", code="insufficient_quota"), "quota"),
        (
            429,
            error("Rate limit reached", code="rate_limit_exceeded"),
            "rate_limited",
        ),
        (429, error("You exceeded your current quota, check your plan and billing"), "quota"),
        (
            429,
            error(
                "You exceeded your current quota. Please retry in 22.5s.",
                status="RESOURCE_EXHAUSTED",
            ),
            "rate_limited",
        ),
        (
            429,
            [error("exceeded your current quota", details=[{"quotaId": "RequestsPerMinute"}])],
            "rate_limited",
        ),
        (400, error("Your credit balance is too low", type="invalid_request_error"), "quota"),
        (402, {"detail": "pay"}, "quota"),
        (403, error("billing not active", code="billing_not_active"), "quota"),
        (400, error("API key not valid.", status="INVALID_ARGUMENT"), "auth"),
        (403, error("requires moderation and your input was flagged"), "refused"),
        (400, error("filtered", code="content_filter"), "refused"),
        (400, error("triggering Azure's content management policy", code=None), "refused"),
        (400, error("rejected by our safety system", code="content_policy_violation"), "refused"),
        (400, error("too long", code="context_length_exceeded"), "truncated"),
        (400, error("This model's maximum context length is 4096 tokens"), "truncated"),
        (400, error("prompt is too long: 210000 tokens > 200000 maximum"), "truncated"),
        # Mistakes of the request are not kept as the row's answer.
        (
            400,
            error("max_tokens is too large: 9000. At most 4096 tokens"),
            "bad_request",
        ),
        (400, error("Invalid value for 'safety_identifier'"), "bad_request"),
        (400, error("Invalid content type"), "bad_request"),
        (404, error("The model does not exist", code="model_not_found"), "bad_request"),
        (422, {"detail": [{"loc": ["body", "model"], "msg": "Field required"}]}, "bad_request"),
        (500, error("content filter crashed"), "server_error"),
        (503, error("Overloaded", type="overloaded_error"), "server_error"),
    ],
)
def test_what_services_say(status, data, outcome):
    assert outcome_of(status, data, text=str(data)) == outcome


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (error("slow down", code=429), "rate_limited"),
        (error("slow down", code="429"), "rate_limited"),
        (error("slow down", code="rate_limit_exceeded"), "rate_limited"),
        (error("no money", code="insufficient_quota"), "quota"),
        (error("no money", type="insufficient_credits"), "quota"),
        (error("who?", type="authentication_error"), "auth"),
        (error("who?", code="invalid_api_key"), "auth"),
        (error("oh", code=503), "server_error"),
        (error("oh", type="server_error"), "server_error"),
        (error("no provider answered", code=504), "timeout"),
        (error("late", code="timeout"), "timeout"),
        (error("what?", type="invalid_request_error"), "bad_request"),
        (error("no", code="content_filter"), "refused"),
        (error("maximum context length is 8"), "truncated"),
        ({"error": "something broke"}, "server_error"),
        ({"error": 7}, "server_error"),
        ({"error": ["a"]}, "server_error"),
        ({"error": True}, "server_error"),
        ({"object": "error", "message": "no such model", "code": 404}, "bad_request"),
        (
            {"type": "error", "error": {"type": "overloaded_error"}},
            "server_error",
        ),
        ([error("slow down", code=429)], "rate_limited"),
        ({"detail": "broken"}, "server_error"),
        # No errors: what they hold is the expert's to read.
        ({"error": None, "choices": []}, None),
        ({"error": {}, "choices": []}, None),
        *((value, None) for value in ({}, [], [1], None, 7, "text", True, {"choices": None})),
    ],
)
def test_an_error_object_with_status_200_is_read_by_its_code(data, outcome):
    assert outcome_of(200, data) == outcome


@pytest.mark.parametrize(
    ("result", "outcome", "price"),
    [
        (HttpResult(None, problem="unreachable"), "server_error", 0.0),
        (HttpResult(None, problem="connect_timeout"), "timeout", 0.0),
        (HttpResult(None, problem="timeout"), "timeout", None),
        (HttpResult(None, problem="cut"), "server_error", None),
        (HttpResult(200, problem="timeout"), "timeout", None),
        (HttpResult(200, problem="cut"), "server_error", None),
        (HttpResult(200, problem="page"), "server_error", None),
        (HttpResult(200, problem="not_json"), "unparsable", None),
        (HttpResult(200, problem="too_long"), "unparsable", None),
        (HttpResult(429), "rate_limited", 0.0),
        (HttpResult(500, problem="cut"), "server_error", 0.0),
        (HttpResult(504), "timeout", None),
        (HttpResult(200, error("x", code=500)), "server_error", 0.0),
    ],
)
def test_what_may_have_been_paid_for(result, outcome, price):
    reply = read_failure(result)
    assert (str(reply.outcome), reply.price) == (outcome, price)


def test_the_text_says_what_the_service_said_and_is_short():
    text = read_failure(HttpResult(404, error("No such\n  model", code="not_found"))).text
    assert text == "HTTP 404: No such model (not_found)"
    assert read_failure(HttpResult(500)).text == "HTTP 500: no reason given"
    assert len(read_failure(HttpResult(500, text="x" * 10_000)).text) == 300
    redirect = read_failure(HttpResult(308, headers={"location": "https://other.example/"}))
    assert "sends us on to https://other.example/" in redirect.text


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "7200"}, 7200.0),
        ({"retry-after": "inf"}, 86400.0),
        ({"retry-after": "1e400"}, 86400.0),
        ({"retry-after": "-inf"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        (
            {
                "retry-after": "Fri, 31 Dec 1999 23:59:59 GMT",
                "date": "Fri, 31 Dec 1999 23:59:29 GMT",
            },
            30.0,
        ),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 86400.0),
        ({"retry-after": "Fri, 99 Dec 1999 99:59:59 GMT"}, None),
    ],
)
def test_retry_after(headers, seconds):
    assert read_retry_after(headers) == seconds


def test_a_date_without_the_servers_clock_is_counted_from_ours():
    then = format_datetime(datetime.now(timezone.utc) + timedelta(minutes=10), usegmt=True)
    assert 500 < read_retry_after({"retry-after": then}) <= 600


def test_only_failures_that_may_pass_carry_a_wait():
    headers = {"retry-after": "3"}
    for status, waits in ((429, 3.0), (503, 3.0), (401, None), (400, None)):
        assert read_failure(HttpResult(status, headers=headers)).retry_after == waits
    assert read_failure(HttpResult(200, error("x", code=429), headers=headers)).retry_after == 3.0


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(
                st.sampled_from(["error", "code", "type", "status", "message", "detail", "object"]),
                st.text(max_size=5),
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@given(
    status=st.one_of(st.none(), st.integers(100, 999)),
    data=json_values,
    text=st.text(max_size=50),
    problem=st.sampled_from(
        [None, "unreachable", "connect_timeout", "timeout", "cut", "too_long", "not_json"]
    ),
    headers=st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "date", "location"]), st.text(max_size=40)
    ),
)
def test_whatever_comes_is_one_outcome_or_an_answer(status, data, text, problem, headers):
    if status is None and problem is None:
        problem = "cut"
    reply = read_failure(HttpResult(status, data, text, problem, "said", headers))
    if reply is None:
        assert 200 <= status < 300
        assert problem is None
        return
    assert isinstance(reply, Reply)
    assert isinstance(reply.outcome, Outcome)
    assert reply.outcome not in (Outcome.OK, Outcome.OUT_OF_LABELS)
    assert reply.answer is None
    assert reply.price in (0.0, None)
    assert len(reply.text) <= 300
    wait = reply.retry_after
    assert wait is None or (0 <= wait <= 86400 and not math.isnan(wait))
