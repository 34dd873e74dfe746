"""What both paid experts promise: named outcomes, no loss, no double pay, no leak of the key."""

import copy
import dataclasses
import io
import json
import pickle
import sys
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from joblib import Parallel, delayed
from sklearn.base import clone, is_classifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from sklearn.utils._repr_html.estimator import estimator_html_repr

from skdefer import ChatExpert, DecisionExpert, DeferralClassifier
from skdefer.calling._breaker import CircuitBreaker
from skdefer.exceptions import (
    BudgetExhaustedError,
    ExpertAnswerError,
    ExpertStoppedError,
    ExpertStoppedWarning,
    FailedCallsWarning,
)
from skdefer.experts import AnswerStore, RateLimiter
from tests.calling.fault_server import FAULTS, FaultServer
from tests.experts.paid.stand_in import by_length, chat, row_of, serve

SECRET = "sk-live-0123456789abcdef"
CLASSES = ["no", "yes"]
ROWS = ["a", "abcd", "ab", "abcde", "abcdef", "abc"]
TRUTH = ["no", "yes", "no", "yes", "yes", "no"]
KINDS = pytest.mark.parametrize("kind", [ChatExpert, DecisionExpert])


def make(kind, url, **options):
    options = {"classes": CLASSES, "base_url": url, **options}
    if kind is ChatExpert:
        options.setdefault("prompt", "Long? {text}")
    return kind("m", **options)


@pytest.fixture
def server():
    with serve(by_length) as server:
        yield server


# What becomes of each fault; for a decision model the last four are no faults, or others.
OUTCOMES = {
    "429": "rate_limited",
    "429_retry_after": "rate_limited",
    "quota": "stopped: quota",
    "401": "stopped: auth",
    "500": "server_error",
    "503_retry_after": "server_error",
    "html_200": "server_error",
    "cut_json": "server_error",
    "cut_chunks": "server_error",
    "invalid_json": "unparsable",
    "empty": "server_error",
    "error_200": "rate_limited",
    "content_filter": "refused",
    "context_length": "truncated",
    "null_content": "unparsable",
    "content_number": "unparsable",
    "content_list": "unparsable",
    "no_choices": "unparsable",
    "json_list": "unparsable",
    "slow": "timeout",
    "slow_headers": "timeout",
    "hang": "timeout",
    "reset": "server_error",
    "reset_early": "server_error",
    "redirect": "server_error",
    "huge": "unparsable",
    "no_usage": "ok",
    "refusal": "refused",
    "length": "truncated",
}


def test_every_fault_is_expected():
    assert set(OUTCOMES) == set(FAULTS)


@pytest.mark.filterwarnings("ignore::skdefer.exceptions.FailedCallsWarning")
@KINDS
def test_every_fault_has_its_outcome_and_the_key_stays_secret(kind, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("PAID_KEY", SECRET)
    caplog.set_level("DEBUG")
    seen, faults = [], list(FAULTS)
    with FaultServer(drip=0.005, echo="authorization") as server:
        server.faults = lambda request: faults[int(request.row.partition("Long? ")[2][:2] or 0)]
        if kind is DecisionExpert:
            server.faults = lambda request: faults[int(request.row[:2])]
        for i, fault in enumerate(faults):
            expert = make(
                kind,
                server.url,
                key_variable="PAID_KEY",
                max_retries=0,
                deadline=0.3 if OUTCOMES[fault] == "timeout" else 5.0,
                store=tmp_path / "store.sqlite",
                price=0.01,
            )
            expected = OUTCOMES[fault]
            if kind is DecisionExpert and fault in ("refusal", "length"):
                expected = "ok"  # no text, so nothing is refused or cut off in it
            try:
                replies = expert._replies([f"{i:02d} row"])
                outcome = str(replies[0].outcome)
                assert (replies[0].answer in CLASSES) == (expected == "ok")
                seen.append(repr(replies))
            except ExpertStoppedError as error:
                outcome = f"stopped: {str(error).split(': ')[1]}"
                seen += [str(error), repr(error)]
            assert outcome == expected, fault
        assert all(r.headers["authorization"] == f"Bearer {SECRET}" for r in server.requests)
    frame = expert.store.to_frame()
    kept = [f for f in FAULTS if OUTCOMES[f] in ("ok", "refused", "truncated", "unparsable")]
    assert len(frame) == len(kept)
    # Errors with a status cost nothing; what may have been answered is uncertain.
    assert expert.store.spent("m").known == pytest.approx(0.01 * (len(kept) - 2))
    assert expert.store.spent("m").uncertain > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # to_csv of lists
        seen += [frame.to_csv()]
    seen += [repr(expert), estimator_html_repr(expert), str(expert.get_params()), caplog.text]
    seen += [str(vars(expert)), repr(expert.store)]
    dumped = io.BytesIO()
    joblib.dump(expert, dumped)
    raw = [pickle.dumps(expert), dumped.getvalue()]
    raw += [path.read_bytes() for path in tmp_path.iterdir()]
    assert not [text for text in seen if SECRET in text]
    assert not [content for content in raw if SECRET.encode() in content]


@KINDS
def test_nothing_is_paid_for_twice(kind, server, tmp_path):
    path = tmp_path / "answers.sqlite"
    expert = make(kind, server.url, store=path, price=0.01)
    assert expert.answers(ROWS).tolist() == TRUTH
    assert expert.answers(pd.Series(ROWS[::-1] * 2)).tolist() == TRUTH[::-1] * 2
    again = make(kind, server.url, store=path)  # another run
    assert again.answers(np.array(ROWS, dtype=object)).tolist() == TRUTH
    assert len(server.bodies) == len(ROWS)
    assert expert.store.spent("m").known == pytest.approx(0.06)
    # Whatever changes the question is asked anew: prompt, version, options.
    for changed in ({"version": "2"}, {"classes": CLASSES[::-1]}, {"descriptions": {"no": "x"}}):
        make(kind, server.url, store=path, **changed).answers(ROWS[:2])
    assert len(server.bodies) == len(ROWS) + 6


@KINDS
def test_rows_that_need_no_call(kind, server):
    expert = make(kind, server.url, max_characters=100)
    rows = ["", " \n", "abcd", "x" * 101, "🎬" * 100]
    with pytest.warns(FailedCallsWarning, match=r"to 3 of 5 rows: 2 empty \(not asked\), 1 longer"):
        answers = expert.answers(rows)
    assert answers.tolist() == [None, None, "yes", None, "yes"]
    assert len(server.bodies) == 2
    with pytest.raises(ValueError, match=r"1 of 2 texts are missing .* in rows 1"):
        expert.answers(["a", None])
    with pytest.raises(ValueError, match="of type int"):
        expert.answers([1, 2])
    assert len(server.bodies) == 2


def test_a_huge_text_is_not_paid_for(server):
    with pytest.warns(FailedCallsWarning, match="1 longer than max_characters"):
        assert make(ChatExpert, server.url).answers(["x" * 10_000_000]).tolist() == [None]
    assert not server.bodies


@KINDS
def test_the_estimate_is_what_it_will_cost(kind, server, tmp_path):
    options = {"price": 0.01, "max_cost": 1.0, "store": tmp_path / "s.sqlite"}
    expert = make(kind, server.url, **options)
    expert.answers(ROWS[:2])
    estimate = expert.estimate([*ROWS, ROWS[-1], ""])
    assert not len(server.bodies) > 2
    assert (estimate.n_rows, estimate.n_known, estimate.n_not_asked, estimate.n_calls) == (
        8,
        2,
        1,
        4,
    )
    assert estimate.price == pytest.approx(0.04)
    assert estimate.left == pytest.approx(0.98)
    assert estimate.output_tokens == (4 * 64 if kind is ChatExpert else 0)
    expert.answers(ROWS)
    assert len(server.bodies) == 2 + estimate.n_calls
    assert expert.estimate(ROWS).price == 0
    for part in ("8 rows: 2 known, 4 calls to make", "price about 0.04", "0.98 left of max_cost"):
        assert part in str(estimate)
    with pytest.raises(dataclasses.FrozenInstanceError):
        estimate.price = 0


def test_an_unknown_price_is_unknown(server):
    expert = make(ChatExpert, server.url)
    assert expert.estimate(ROWS).price is None
    assert "price unknown" in str(expert.estimate(ROWS))
    assert expert.paid
    assert expert.cost == 0.0
    expert.answers(ROWS)
    assert expert.store.spent("m") == (0.0, len(ROWS), 0.0)
    by_token = make(ChatExpert, server.url, price=(1.0, 10.0))
    estimate = by_token.estimate(ROWS)
    assert estimate.price == pytest.approx(
        (estimate.input_tokens + 10 * estimate.output_tokens) / 1e6
    )
    by_token.answers(ROWS[:1])
    assert by_token.store.spent("m").known == pytest.approx((100 + 10 * 10) / 1e6)
    assert (
        make(ChatExpert, server.url, price=(1.0, 1.0), max_tokens=None).estimate(ROWS).price is None
    )
    assert not make(ChatExpert, server.url, price=0).paid
    assert make(ChatExpert, server.url, price=0.2).cost == 0.2
    assert make(ChatExpert, server.url, price=0.2, cost=0.5).cost == 0.5


@KINDS
def test_options_must_be_known(kind, server):
    expert = make(kind, server.url, classes=None)
    for ask in (expert.answers, expert.estimate):
        with pytest.raises(ValueError, match="does not know its options. Pass classes="):
            ask(ROWS)
    bound = expert.for_classes(np.array(CLASSES))
    assert bound.answers(ROWS).tolist() == TRUTH
    assert bound.store is expert.store
    assert make(kind, server.url).for_classes(CLASSES[::-1]).classes == CLASSES
    with pytest.raises(ValueError, match="written '1'"):
        expert.for_classes(np.array(["1", 1], dtype=object))


@KINDS
def test_max_cost_stops_in_time_and_nothing_is_lost(kind, server, tmp_path):
    options = {"price": 0.01, "store": tmp_path / "s.sqlite", "n_workers": 2}
    expert = make(kind, server.url, max_cost=0.035, **options)
    with pytest.raises(BudgetExhaustedError, match="max_cost=0.035 could be exceeded") as error:
        expert.answers(["", *ROWS])
    assert len(server.bodies) == 3
    partial = error.value.partial.tolist()
    assert partial[0] is None
    assert sum(answer is not None for answer in partial) == 3
    assert [p for p in partial if p] == [
        t for t, p in zip(["", *TRUTH], partial, strict=True) if p is not None
    ]
    with pytest.raises(BudgetExhaustedError) as error:
        expert.answers([ROWS[0], *ROWS[::-1]])
    assert sum(answer is not None for answer in error.value.partial[1:]) == 3
    assert error.value.partial[0] == error.value.partial[-1]
    assert len(server.bodies) == 3
    assert make(kind, server.url, max_cost=1.0, **options).answers(ROWS).tolist() == TRUTH
    assert len(server.bodies) == len(ROWS)


@KINDS
def test_the_variable_of_the_key_must_be_set(kind, server, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    expert = make(kind, server.url, key_variable="NO_SUCH_KEY")
    assert expert.estimate(ROWS).n_calls == len(ROWS)
    with pytest.raises(ValueError, match="NO_SUCH_KEY"):
        expert.answers(ROWS)
    assert not server.bodies
    monkeypatch.setenv("NO_SUCH_KEY", SECRET)
    expert.answers(ROWS)
    monkeypatch.delenv("NO_SUCH_KEY")
    assert expert.answers(ROWS).tolist() == TRUTH  # of what is in the store nobody is asked


@KINDS
def test_without_urllib3_nothing_is_asked(kind, server, monkeypatch):
    monkeypatch.setitem(sys.modules, "urllib3", None)
    expert = make(kind, server.url, price=0.01)
    with pytest.raises(ImportError, match=r'pip install "skdefer\[http\]"'):
        expert.answers(ROWS)
    assert expert.store.spent("m") == (0.0, 0, 0.0)


@KINDS
def test_a_server_that_is_not_there(kind):
    with serve(by_length) as server:
        url = server.url
    expert = make(kind, url, price=0.01)
    expert._live.breaker = CircuitBreaker(threshold=3, cooldown=0.01)
    with pytest.raises(ExpertStoppedError, match="fails call after call.*refused") as error:
        expert.answers([f"row {i}" for i in range(1000)])
    assert error.value.partial.tolist() == [None] * 1000
    assert expert.store.spent("m") == (0.0, 0, 0.0)
    with serve(by_length) as server:  # it is back, under another address
        expert.set_params(base_url=server.url)
        assert expert.answers(ROWS).tolist() == TRUTH


@KINDS
def test_copies_share_what_is_live(kind, server):
    limiter = RateLimiter(requests_per_minute=1000)
    expert = make(kind, server.url, rate_limiter=limiter, price=0.01)
    expert.answers(ROWS)
    for copied in (copy.copy(expert), copy.deepcopy([expert])[0]):
        assert copied is not expert
        assert copied.store is expert.store
        copied.set_params(name="n")
        assert expert.name == "m"
    twin = clone(expert)
    assert twin is not expert
    assert twin.get_params() == expert.get_params()
    assert twin.store is expert.store
    assert twin.rate_limiter is limiter
    assert twin.answers(ROWS).tolist() == TRUTH
    assert len(server.bodies) == len(ROWS)
    assert kind(**expert.get_params()).get_params() == expert.get_params()
    twin.set_params(store=None, model="other")
    assert (twin.name, twin.version, expert.name) == ("other", "other", "m")
    assert len(twin.store.to_frame()) == 0
    assert len(expert.store.to_frame()) == len(ROWS)


@KINDS
def test_a_pickle_goes_on_where_the_store_is(kind, server, tmp_path):
    expert = make(kind, server.url, store=tmp_path / "s.sqlite")
    expert.answers(ROWS)
    loaded = pickle.loads(pickle.dumps(expert))
    assert loaded.answers(ROWS).tolist() == TRUTH
    assert len(server.bodies) == len(ROWS)
    assert joblib.hash(loaded) == joblib.hash(expert)
    in_memory = pickle.loads(pickle.dumps(make(kind, server.url).for_classes(CLASSES)))
    assert in_memory.answers(ROWS).tolist() == TRUTH


def ask_in_a_process(expert, rows):
    return expert.answers(rows).tolist()


def ask_and_listen(expert, rows):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        expert.answers(rows)
    return [str(w.message) for w in said]


@pytest.mark.slow  # starts processes
def test_a_process_without_a_store_on_disk_says_so(server):
    for price, says in ((0.01, "no store on disk"), (0, "")):
        expert = make(ChatExpert, server.url, price=price)
        assert not ask_and_listen(expert, ["abcd"])
        (said,) = Parallel(n_jobs=2)(delayed(ask_and_listen)(expert, ROWS) for _ in range(1))
        assert says in " ".join(said)
        assert bool(said) == bool(says)


@pytest.mark.slow  # starts processes
def test_processes_share_the_store(server, tmp_path):
    expert = make(ChatExpert, server.url, store=tmp_path / "s.sqlite", price=0.01, n_workers=2)
    rows = [f"{'x' * (i % 7)}{i}" for i in range(40)]
    jobs = Parallel(n_jobs=2)(delayed(ask_in_a_process)(expert, rows) for _ in range(3))
    assert jobs[0] == jobs[1] == jobs[2]
    assert len(server.bodies) == 40
    assert expert.store.spent("m").known == pytest.approx(0.4)


def test_answers_without_an_answer_are_missing_and_counted():
    said = {"a": chat(None, finish="content_filter"), "b": chat("maybe"), "c": chat("no or yes")}

    def answer(path, body, headers):
        return said.get(row_of(body), chat("yes"))

    with serve(answer) as server:
        expert = make(ChatExpert, server.url)
        with pytest.warns(FailedCallsWarning, match="no answer to 3 of 4 rows") as record:
            assert expert.answers(["a", "b", "c", "d"]).tolist() == [None, None, None, "yes"]
        for outcome in ("1 refused", "1 out_of_labels", "1 unparsable"):
            assert outcome in str(record[0].message)
        assert len(record) == 1
        frame = expert.store.to_frame().set_index("text")
        assert frame.loc["maybe", "outcome"] == "out_of_labels"


# ---- as a classifier


@KINDS
def test_probabilities_in_the_order_of_the_classes(kind, server):
    more = {"probabilities": True} if kind is ChatExpert else {}
    expert = make(kind, server.url, classes=["yes", "no"], **more)
    assert is_classifier(expert)
    if kind is DecisionExpert:
        with pytest.raises(sklearn.exceptions.NotFittedError):
            expert.predict_proba(ROWS)
    expert.fit(ROWS, TRUTH)
    assert expert.classes_.tolist() == ["no", "yes"]
    yes = np.where(np.array(TRUTH) == "yes", 0.9, 0.2)
    np.testing.assert_allclose(expert.predict_proba(ROWS), np.column_stack([1 - yes, yes]))
    assert expert.predict(ROWS).tolist() == TRUTH
    assert expert.score(ROWS, TRUTH) == 1.0
    assert len(server.bodies) == len(ROWS)
    with pytest.raises(ValueError, match=r"y has the labels \['odd'\]"):
        expert.fit(ROWS, ["odd", *TRUTH[1:]])
    assert make(kind, server.url, classes=None).fit(ROWS, TRUTH).classes_.tolist() == CLASSES


def test_a_row_without_an_answer_is_as_uncertain_as_can_be():
    def answer(path, body, headers):
        if body["state"] == "bad":
            return 200, {"answers": {"answer": {"probabilities": {"no": 2.0, "yes": 1.0}}}}
        return by_length(path, body, headers)

    with serve(answer) as server:
        expert = make(DecisionExpert, server.url).fit(ROWS, TRUTH)
        with pytest.warns(FailedCallsWarning, match=r"1 unparsable, 1 empty \(not asked\)"):
            proba = expert.predict_proba(["abcd", "bad", ""])
        np.testing.assert_allclose(proba, [[0.1, 0.9], [0.5, 0.5], [0.5, 0.5]])


def test_a_call_that_failed_is_no_probability():
    with FaultServer(faults=["500"] * 2) as server:
        expert = make(DecisionExpert, server.url, max_retries=0, n_workers=1).fit(ROWS, TRUTH)
        with pytest.warns(FailedCallsWarning), pytest.raises(ExpertAnswerError) as error:
            expert.predict_proba(ROWS)
        assert "gave no probabilities of 2 of 6 rows: 2 server_error" in str(error.value)
        assert len(expert.store.to_frame()) == 4
        assert expert.predict_proba(ROWS).shape == (6, 2)
        assert server.n_completed == 6


def texts(n, seed=0):
    rng = np.random.default_rng(seed)
    words = np.array(["a", "bb", "ccc", "dddd", "eeeee", "ffffff"])
    rows = [" ".join(rng.choice(words, size=rng.integers(1, 3))) + str(i) for i in range(n)]
    return rows, ["yes" if len(row) > 5 else "no" for row in rows]


@pytest.mark.parametrize("routing", [False, True], ids=["routing_off", "routing_on"])
def test_as_estimator_of_a_system_in_searches(server, routing):
    rows, y = texts(60)
    with sklearn.config_context(enable_metadata_routing=routing):
        model = make(DecisionExpert, server.url)
        system = DeferralClassifier(model, lambda X: ["no"] * len(X), cv=2)
        search = GridSearchCV(system, {"cost": [0.0, 0.1, 0.9]}, cv=2, error_score="raise")
        search.fit(rows, y)
        assert search.predict(rows).shape == (60,)
        # It passes codes instead of labels.
        proba = cross_val_predict(model, rows, y, method="predict_proba", cv=3)
        assert np.array(CLASSES)[proba.argmax(1)].tolist() == [
            "yes" if len(row) > 3 else "no" for row in rows
        ]
        assert (
            cross_val_predict(model, rows, y, cv=3).tolist()
            == model.fit(rows, y).predict(rows).tolist()
        )
    assert len(server.bodies) == 60  # each row once, whatever the folds


@KINDS
def test_as_expert_of_a_system(kind, server):
    rows, y = texts(80)
    expert = make(kind, server.url, classes=None, price=0.01, max_queries=50)
    base = make_pipeline(TfidfVectorizer(), LogisticRegression())
    system = DeferralClassifier(base, expert, cv=2, random_state=0).fit(rows, y)
    assert len(server.bodies) == 50
    assert system.routes_ == ["model", "m"]
    assert system.experts_[0].store is expert.store
    other = clone(system).fit(rows, y)
    assert len(server.bodies) == 50
    route = other.predict(rows, return_route=True)[1]
    asked = {row_of(body) for body in server.bodies}
    assert {row for row, r in zip(rows, route, strict=True) if r} <= asked
    assert len(server.bodies) == len(asked)
    with pytest.raises(ValueError, match="costs money"):
        DeferralClassifier(base, make(kind, server.url, classes=None)).fit(rows, y)


def test_a_system_goes_on_when_the_money_is_spent(server):
    rows, y = texts(80)
    expert = make(ChatExpert, server.url, classes=None, price=0.01, max_cost=0.4)
    base = make_pipeline(TfidfVectorizer(), LogisticRegression())
    with pytest.warns(ExpertStoppedWarning, match="40 of 80 rows were bought"):
        DeferralClassifier(base, expert, cv=2).fit(rows, y)
    expert.set_params(max_queries=30, max_cost=0.7)  # those are other rows
    system = DeferralClassifier(base, expert, cv=2, on_missing="model", random_state=0).fit(rows, y)
    more = texts(200, seed=1)[0]
    with pytest.warns(ExpertStoppedWarning):
        assert system.predict(more).shape == (200,)
    assert expert.store.spent("m").known == pytest.approx(0.7)


CHECKS = (
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_valid_tag_types",
)


@pytest.mark.parametrize("check", CHECKS)
@KINDS
def test_scikit_learn_checks_that_need_no_numbers(kind, check):
    expert = make(kind, "http://127.0.0.1:9", **_more(kind))
    getattr(estimator_checks, check)(kind.__name__, expert)


def _more(kind):
    return {"probabilities": True} if kind is ChatExpert else {}


def test_a_system_shows_its_expert():
    expert = make(ChatExpert, "http://127.0.0.1:9", price=0.01)
    shown = repr(DeferralClassifier(experts=expert))
    assert shown.startswith("DeferralClassifier(experts=ChatExpert(base_url='http://127.0.0.1:9'")
    assert "prompt='Long? {text}'" in shown
    assert "prompt" in estimator_html_repr(DeferralClassifier(experts=expert))


def test_progress_is_written_to_standard_error(server, capsys):
    make(ChatExpert, server.url, verbose=1, price=0.01).answers(ROWS)
    said = capsys.readouterr()
    assert said.out == ""
    assert "m: 6 of 6 rows, spent 0.06" in said.err


def test_a_store_can_be_shared_by_experts(server):
    store = AnswerStore()
    one = make(ChatExpert, server.url, store=store, name="one", price=0.01)
    two = make(DecisionExpert, server.url, store=store, name="two", price=0.02)
    one.answers(ROWS)
    two.answers(ROWS)
    assert store.spent().known == pytest.approx(0.18)
    frame = store.to_frame("two")
    assert set(frame["answer"]) == {"no", "yes"}
    assert json.loads(frame["text"][0])["answer"]["probabilities"]
