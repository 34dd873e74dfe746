"""The store of answers: what goes in comes out, in another process too; holes never do."""

import errno
import math
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdefer.calling._outcomes import Outcome, Reply
from skdefer.calling._store import AnswerStore
from skdefer.exceptions import AnswerStoreError, AnswerStoreWarning
from skdefer.utils._rows import row_keys


@pytest.fixture
def store(tmp_path):
    return AnswerStore(tmp_path / "memory" / "answers.sqlite")


def objects(values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


KEYS = row_keys(np.arange(8))


@pytest.mark.parametrize(
    ("answers", "back"),
    [
        (["a", "", "naïve\n'quote\" \\ \x00", "日本", "null", "1", "true", "a|b"], None),
        ([0, 1, -5, 2**80, 10, 3, 4, 5], None),
        ([0.5, 1.0, -1e300, float("inf"), 0.1, 2.0, 3.0, 4.0], None),
        ([True, False] * 4, None),
        (list(np.array(["a", "bc"] * 4)), ["a", "bc"] * 4),
        (list(np.arange(8)), list(range(8))),
        (list(np.linspace(0, 1, 8)), np.linspace(0, 1, 8).tolist()),
        (list(np.array([True, False] * 4)), [True, False] * 4),
    ],
    ids=["text", "int", "float", "bool", "numpy text", "numpy int", "numpy float", "numpy bool"],
)
def test_answers_come_back_as_they_went_in(store, answers, back):
    back = answers if back is None else back
    store.put("desk|1", KEYS, objects(answers))
    got, _ = store.get("desk|1", KEYS)
    assert got.tolist() == back
    assert [type(a) for a in got] == [type(a) for a in back]
    assert AnswerStore(store.path).get("desk|1", KEYS[::-1])[0].tolist() == back[::-1]


@given(
    st.lists(
        st.one_of(st.none(), st.text(), st.integers(), st.booleans(), st.floats(allow_nan=False)),
        min_size=8,
        max_size=8,
    )
)
@settings(deadline=None, max_examples=20)
def test_any_label_round_trips(tmp_path_factory, answers):
    store = AnswerStore(tmp_path_factory.mktemp("store") / "answers.sqlite")
    store.put("e", KEYS, objects(answers))
    assert store.get("e", KEYS)[0].tolist() == answers


def test_abstentions_are_kept(store):
    store.put("e", KEYS[:2], objects([None, "a"]))
    answers, known = store.get("e", KEYS[:3])
    assert answers.tolist() == [None, "a", None]
    assert known.tolist() == [True, True, False]


def test_what_would_come_back_as_something_else_is_not_kept(store):
    store.put("e", KEYS[:3], objects([("a", "b"), b"bytes", "a"]))
    assert store.get("e", KEYS[:3])[0].tolist() == [None, None, "a"]


def test_a_later_answer_replaces_an_earlier_one(store):
    store.put("e", KEYS[:1], objects(["old"]))
    store.put("e", KEYS[:1], objects(["new"]))
    assert store.get("e", KEYS[:1])[0].tolist() == ["new"]


def test_experts_and_versions_are_kept_apart(store):
    store.put("desk|1", KEYS[:1], objects(["a"]))
    store.put("desk|2", KEYS[:1], objects(["b"]))
    assert store.get("desk|1", KEYS[:1])[0].tolist() == ["a"]
    assert store.get("desk|2", KEYS[:1])[0].tolist() == ["b"]
    assert store.get("desk", KEYS[:1])[0].tolist() == [None]


def test_no_rows(store):
    store.put("e", KEYS[:0], objects([]))
    assert store.get("e", KEYS[:0])[0].tolist() == []


def test_threads_write_side_by_side(tmp_path):
    path = tmp_path / "answers.sqlite"
    errors = []

    def work(i):
        try:
            store = AnswerStore(path)  # the file itself may be made by any of them
            for j in range(5):
                keys = row_keys(np.array([[i, j]]))
                store.put("e", keys, objects([f"{i}-{j}"]))
                assert store.get("e", keys)[0].tolist() == [f"{i}-{j}"]
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    pairs = np.array([[i, j] for i in range(8) for j in range(5)])
    assert AnswerStore(path).get("e", row_keys(pairs))[0].tolist() == [f"{i}-{j}" for i, j in pairs]


WRITER = """
import sys, numpy as np
from skdefer.calling._store import AnswerStore
from skdefer.utils._rows import row_keys
store, me = AnswerStore(sys.argv[1]), int(sys.argv[2])
for i in range(40):
    answers = np.array([me], dtype=object)
    store.put("own", row_keys(np.array([[me, i]])), answers)
    store.put("shared", row_keys(np.array([[i]])), answers)
"""


def test_processes_write_side_by_side(tmp_path):
    path = str(tmp_path / "answers.sqlite")
    command = [sys.executable, "-c", WRITER, path]
    workers = [
        subprocess.Popen([*command, str(i)], stderr=subprocess.PIPE, text=True) for i in range(2)
    ]
    for worker in workers:
        assert worker.communicate(timeout=120)[1] == ""
        assert worker.returncode == 0
    store = AnswerStore(path)
    for i in range(2):
        rows = np.array([[i, j] for j in range(40)])
        assert store.get("own", row_keys(rows))[0].tolist() == [i] * 40
    assert set(store.get("shared", row_keys(np.arange(40)))[0]) <= {0, 1}


# -- paid replies -----------------------------------------------------------------------

KEY = ("gpt", "2026-07", "a prompt")
ROW = b"0123456789abcdef"
LABELS = st.one_of(st.text(), st.integers(), st.booleans(), st.floats(allow_nan=False))
COUNTS = st.none() | st.integers(0, 2**62)
REPLIES = st.builds(
    Reply,
    st.sampled_from([outcome for outcome in Outcome if outcome.replied]),
    LABELS | st.none(),
    st.none() | st.dictionaries(LABELS, st.floats(0, 1), max_size=4),
    st.text(),
    COUNTS,
    COUNTS,
    st.none() | st.floats(0, 1e9),
    st.floats(0, 1e6),
)


@given(st.dictionaries(st.binary(min_size=1, max_size=32), REPLIES, max_size=5))
@settings(deadline=None, max_examples=60)
def test_any_reply_round_trips(replies):
    store = AnswerStore()
    store.keep(KEY, replies.items())
    found = store.replies(KEY, [*replies, b"never asked"])
    assert found == replies
    for row, reply in replies.items():
        assert type(found[row].answer) is type(reply.answer)
        assert list(map(type, found[row].probabilities or ())) == list(
            map(type, reply.probabilities or ())
        )
    spent = store.spent("gpt")
    assert math.isclose(spent.known, math.fsum(r.price or 0 for r in replies.values()))
    assert spent.n_unpriced == sum(r.price is None for r in replies.values())


def test_text_that_is_no_text_is_no_reason_to_lose_a_reply():
    store = AnswerStore()
    store.keep(KEY, [(ROW, Reply(Outcome.OK, "a\ud83d", text="half an emoji: \ud83d"))])
    assert store.replies(KEY, [ROW])[ROW].answer == "a\ud83d"
    assert store.replies(KEY, [ROW])[ROW].text == "half an emoji: ?"


@pytest.mark.parametrize("part", range(3), ids=["expert", "version", "prompt"])
def test_whatever_is_asked_differently_is_asked_anew(part):
    store = AnswerStore()
    store.keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])
    other = [*KEY]
    other[part] += "!"
    assert store.replies(other, [ROW]) == {}
    assert store.replies(KEY, [ROW])[ROW].answer == "a"


@pytest.mark.parametrize("outcome", [o for o in Outcome if not o.replied])
def test_a_failure_is_not_kept_and_replaces_nothing(outcome):
    store = AnswerStore()
    store.keep(KEY, [(ROW, Reply(outcome, price=1.0))])
    assert store.replies(KEY, [ROW]) == {}
    store.keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])
    store.keep(KEY, [(ROW, Reply(outcome))])
    assert store.replies(KEY, [ROW])[ROW].answer == "a"


def test_the_first_answer_stays_and_both_are_charged():
    store = AnswerStore()
    store.keep(KEY, [(ROW, Reply(Outcome.REFUSED, price=1.0))])
    store.keep(KEY, [(ROW, Reply(Outcome.OK, "first", price=1.0))])
    store.keep(KEY, [(ROW, Reply(Outcome.OK, "second", price=1.0))])
    store.keep(KEY, [(ROW, Reply(Outcome.UNPARSABLE, price=1.0))])
    assert store.replies(KEY, [ROW])[ROW].answer == "first"
    assert store.spent("gpt").known == 4.0


def test_all_of_a_batch_is_kept_or_nothing():
    store = AnswerStore()
    batch = [(b"1", Reply(Outcome.OK, "a", price=1.0)), (b"2", Reply(Outcome.OK, object()))]
    with pytest.raises(TypeError, match="expected a string, bool, int or float"):
        store.keep(KEY, batch)
    assert store.replies(KEY, [b"1"]) == {}
    assert store.spent() == (0.0, 0, 0.0)


def test_money_is_counted_by_expert():
    store = AnswerStore()
    store.keep(KEY, [(ROW, Reply(Outcome.OK, "a", price=1.0))])
    store.keep(("gpt", "2", "another prompt"), [(ROW, Reply(Outcome.OK, "a", price=2.0))])
    store.keep(("desk", "1", ""), [(ROW, Reply(Outcome.OK, "a"))])
    store.charge("desk", uncertain=0.5)
    assert store.spent("gpt") == (3.0, 0, 0.0)
    assert store.spent("desk") == (0.0, 1, 0.5)
    assert store.spent() == (3.0, 1, 0.5)
    assert store.spent("nobody") == (0.0, 0, 0.0)


def test_what_is_no_answer_can_be_forgotten_but_not_its_price():
    store = AnswerStore()
    outcomes = [Outcome.OK, Outcome.REFUSED, Outcome.TRUNCATED, Outcome.TRUNCATED]
    answers = ["yes", None, None, None]
    replies = [Reply(o, a, price=0.1) for o, a in zip(outcomes, answers, strict=True)]
    store.keep(("gpt", "1", ""), [(bytes([i]), reply) for i, reply in enumerate(replies)])
    store.keep(("other", "1", ""), [(b"a", replies[2])])
    assert store.forget("gpt", ["truncated"]) == 2
    assert store.to_frame("gpt")["outcome"].tolist() == ["ok", "refused"]
    assert store.forget("gpt") == 1
    assert store.forget("gpt") == 0
    assert store.to_frame()["outcome"].tolist() == ["ok", "truncated"]
    assert store.spent("gpt").known == pytest.approx(0.4)
    with pytest.raises(ValueError, match="never forgotten"):
        store.forget("gpt", ["ok"])


def test_a_frame_of_what_was_bought():
    store = AnswerStore()
    assert len(store.to_frame()) == 0
    reply = Reply(Outcome.OK, 1, {1: 0.7, "b": 0.3}, "1", 10, 2, 0.5, 1.5)
    store.keep(KEY, [(ROW, reply), (b"\xff" * 16, Reply(Outcome.REFUSED, text="no"))])
    store.put("desk|1", KEYS[:1], objects([None]))
    frame = store.to_frame()
    assert list(frame.columns) == [
        *("expert", "version", "prompt", "row", "outcome", "answer", "probabilities", "price"),
        *("input_tokens", "output_tokens", "seconds", "asked_at", "text"),
    ]
    assert frame["expert"].tolist() == ["gpt", "gpt", "desk|1"]
    assert frame["row"].tolist()[:2] == [ROW.decode(), "ff" * 16]
    assert frame["outcome"].tolist() == ["ok", "refused", "ok"]
    assert frame["answer"].tolist() == [1, None, None]
    assert frame["probabilities"].tolist()[:2] == [{1: 0.7, "b": 0.3}, None]
    assert frame["price"].isna().tolist() == [False, True, True]
    assert frame["input_tokens"].tolist()[0] == 10
    assert abs(frame["asked_at"][0] - pd.Timestamp.now("UTC")) < pd.Timedelta("1h")
    assert frame.loc[1, "text"] == "no"
    assert len(store.to_frame("gpt")) == 2


# -- transactions, threads, processes ---------------------------------------------------


def test_other_tables_live_in_the_same_file(store):
    with store.transaction() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS cases (row BLOB PRIMARY KEY)")
        connection.execute("INSERT INTO cases VALUES (?)", (ROW,))
        store.keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])  # part of it
    again = AnswerStore(store.path)
    with again.transaction(write=False) as connection:
        assert connection.execute("SELECT row FROM cases").fetchall() == [(ROW,)]
    assert again.replies(KEY, [ROW])[ROW].answer == "a"


def test_an_error_takes_the_whole_transaction_back(store):
    def work():
        with store.transaction():
            store.keep(KEY, [(ROW, Reply(Outcome.OK, "a", price=1.0))])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert store.replies(KEY, [ROW]) == {}
    assert store.spent("gpt").known == 0.0


def test_a_transaction_that_only_reads_holds_no_write(store):
    with store.transaction(write=False), pytest.raises(AnswerStoreError, match="only reads"):
        store.keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])


def test_threads_share_a_store():
    store = AnswerStore()  # in memory, so that it is one connection

    def work(i):
        for j in range(50):
            store.keep(KEY, [(b"%d-%d" % (i, j), Reply(Outcome.OK, j, price=1.0))])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.to_frame()) == store.spent("gpt").known == 200


def test_a_store_pickles_by_its_path(store):
    store.keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])
    copy = pickle.loads(pickle.dumps(AnswerStore(store.path, durable=True, timeout=3.0)))
    assert copy.replies(KEY, [ROW])[ROW].answer == "a"
    assert (copy.durable, copy.timeout) == (True, 3.0)
    memory = AnswerStore()
    memory.keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])
    assert pickle.loads(pickle.dumps(memory)).replies(KEY, [ROW]) == {}


def test_a_store_can_be_closed_and_goes_on(store):
    store.keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])
    store.close()
    store.close()
    assert not Path(f"{store.path}-wal").exists()
    assert store.replies(KEY, [ROW])[ROW].answer == "a"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_opens_the_file_itself(store):
    store.keep(KEY, [(b"before", Reply(Outcome.OK, "a"))])
    with store.transaction():  # the child must not wait for the lock of the parent's thread
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests
            child = os.fork()
        if child == 0:
            code = 1
            try:
                assert store.replies(KEY, [b"before"])[b"before"].answer == "a"
                code = 0
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.keep(KEY, [(b"after", Reply(Outcome.OK, "b"))])
    assert set(store.replies(KEY, [b"before", b"after"])) == {b"before", b"after"}


@pytest.mark.parametrize(("durable", "level"), [(False, 1), (True, 2)])
def test_durable_waits_for_the_disk(tmp_path, durable, level):
    store = AnswerStore(tmp_path / "answers.sqlite", durable=durable)
    with store.transaction() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    AnswerStore("~/answers.sqlite").keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])
    assert (tmp_path / "answers.sqlite").exists()


# -- files in trouble -------------------------------------------------------------------


def test_a_locked_file_says_so(store):
    store.keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])
    hasty = AnswerStore(store.path, timeout=0.05)
    with store.transaction():
        with pytest.raises(AnswerStoreError, match=r"locked by another process for more than 0.05"):
            hasty.keep(KEY, [(b"2", Reply(Outcome.OK, "b"))])
        assert hasty.replies(KEY, [ROW])[ROW].answer == "a"  # reading waits for nobody
    hasty.keep(KEY, [(b"2", Reply(Outcome.OK, "b"))])
    assert set(store.replies(KEY, [ROW, b"2"])) == {ROW, b"2"}


def test_a_file_that_is_locked_from_the_start(store):
    store.path.parent.mkdir()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(AnswerStoreError, match="locked"):
            AnswerStore(store.path, timeout=0.05).spent()
        other.execute("ROLLBACK")
    assert store.spent().known == 0


def test_a_file_system_without_locks_on_folders(store, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    store.keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])
    assert store.replies(KEY, [ROW])[ROW].answer == "a"


def test_a_read_only_file_says_so(store, monkeypatch):
    store.keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])
    store.close()
    connect = sqlite3.connect

    def read_only(path, **options):  # permissions don't stop root, who may run the tests
        return connect(f"{Path(path).as_uri()}?mode=ro", uri=True, **options)

    monkeypatch.setattr(sqlite3, "connect", read_only)
    assert store.replies(KEY, [ROW])[ROW].answer == "a"
    with pytest.raises(AnswerStoreError, match="read-only"):
        store.keep(KEY, [(b"2", Reply(Outcome.OK, "b"))])


def test_a_full_disk_says_so_and_what_was_kept_stays(store):
    store.keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])
    with store.transaction() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(AnswerStoreError, match="full"):
        store.keep(KEY, [(b"2", Reply(Outcome.OK, "b", text="x" * 100_000))])
    assert set(store.replies(KEY, [ROW, b"2"])) == {ROW}


def test_a_folder_that_can_not_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AnswerStoreError, match="folder of the answer store"):
        AnswerStore(tmp_path / "file" / "answers.sqlite").charge("gpt", spent=1.0)
    with pytest.raises(AnswerStoreError, match="can't be opened"):
        AnswerStore(tmp_path).spent()


FIRST_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    expert TEXT NOT NULL,
    row BLOB NOT NULL,
    answer TEXT NOT NULL,
    PRIMARY KEY (expert, row)
) WITHOUT ROWID
"""


def first_store(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(FIRST_SCHEMA)
        rows = [("desk|1", key, f"{i}") for i, key in enumerate(KEYS.tolist())]
        connection.executemany("INSERT INTO answers VALUES (?, ?, ?)", [*rows[1:]])
        connection.execute("INSERT INTO answers VALUES ('desk|1', ?, 'null')", (KEYS[0].item(),))


def test_a_store_of_the_first_version_is_brought_up_to_date(store):
    first_store(store.path)
    answers, known = store.get("desk|1", KEYS)
    assert known.all()
    assert answers.tolist() == [None, 1, 2, 3, 4, 5, 6, 7]
    store.keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])
    assert AnswerStore(store.path).get("desk|1", KEYS)[0].tolist() == answers.tolist()
    assert AnswerStore(store.path).to_frame("desk|1")["asked_at"].isna().all()


def test_a_migration_that_fails_changes_nothing(store, monkeypatch):
    from skdefer.calling import _schema

    first_store(store.path)
    with monkeypatch.context() as patch:
        patch.setattr(_schema, "_FROM_FIRST", (*_schema._FROM_FIRST, "not a statement"))
        with pytest.raises(AnswerStoreError, match="can't be used"):
            store.get("desk|1", KEYS)
    assert store.get("desk|1", KEYS)[1].all()


def test_a_store_of_a_later_version_is_left_alone(store):
    store.spent()
    with store.transaction() as connection:
        connection.execute("PRAGMA user_version = 99")
    store.close()
    before = store.path.read_bytes()
    with pytest.raises(AnswerStoreError, match="Upgrade skdefer"):
        AnswerStore(store.path).spent()
    assert store.path.read_bytes() == before


def test_a_file_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "contacts.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE contacts (name)")
    before = path.read_bytes()
    with pytest.raises(AnswerStoreError, match="something else"):
        AnswerStore(path).spent()
    assert path.read_bytes() == before


def moved_aside(path):
    found = sorted(path.parent.glob(f"{path.name}.damaged-*"))
    return [path for path in found if not path.name.endswith(("-wal", "-shm"))]


def test_what_is_no_store_is_moved_aside(store):
    store.path.parent.mkdir()
    content = bytes(range(256)) * 4
    store.path.write_bytes(content)
    with pytest.warns(AnswerStoreWarning, match=r"moved to .*damaged-.*max_cost counts from 0"):
        store.keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])
    assert [p.read_bytes() for p in moved_aside(store.path)] == [content]
    assert AnswerStore(store.path).replies(KEY, [ROW])[ROW].answer == "a"


def damage(store, n_rows=300):
    """Fill a store, and overwrite all of its pages but the first."""
    many = [(b"%016d" % i, Reply(Outcome.OK, "a", text="x" * 200)) for i in range(n_rows)]
    store.keep(KEY, many)
    store.close()
    with open(store.path, "r+b") as file:
        size = file.seek(0, 2)
        file.seek(4096)
        file.write(b"\x55" * (size - 4096))
    return [row for row, _ in many]


def test_damage_found_while_reading(store):
    rows = damage(store)
    with pytest.warns(AnswerStoreWarning, match="malformed"):
        assert store.replies(KEY, rows) == {}
    assert len(moved_aside(store.path)) == 1
    store.keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])
    assert AnswerStore(store.path).replies(KEY, [ROW])[ROW].answer == "a"


def test_damage_found_while_keeping_loses_nothing_of_the_batch(store):
    rows = damage(store)
    with pytest.warns(AnswerStoreWarning, match="malformed"):
        store.keep(KEY, [(rows[7], Reply(Outcome.OK, "b", price=1.0))])
    assert store.replies(KEY, rows[7:8])[rows[7]].answer == "b"
    assert store.spent("gpt").known == 1.0


def test_damage_within_a_transaction_of_ones_own_says_to_run_it_again(store):
    rows = damage(store)
    find = "SELECT answer FROM replies WHERE text = ?"
    with (
        pytest.warns(AnswerStoreWarning, match="malformed"),
        pytest.raises(AnswerStoreError, match="Run it again"),
        store.transaction() as connection,
    ):
        connection.execute(find, ("y",)).fetchall()
    with store.transaction() as connection:
        assert connection.execute(find, ("y",)).fetchall() == []
    assert store.replies(KEY, rows) == {}


def test_a_damaged_file_is_moved_once_by_all_who_find_it(store):
    rows = damage(store)
    others = [AnswerStore(store.path) for _ in range(3)]
    for other in others:
        other.replies(KEY, [])  # opened before anybody knows

    def work():
        for i, other in enumerate(others):
            assert other.replies(KEY, rows) == {}
            other.keep(KEY, [(b"%d" % i, Reply(Outcome.OK, "a"))])

    with pytest.warns(AnswerStoreWarning) as caught:
        work()
    assert len(caught) == len(moved_aside(store.path)) == 1
    assert len(AnswerStore(store.path).replies(KEY, [b"0", b"1", b"2"])) == 3


@pytest.mark.parametrize("content", ["row;answer\n1;yes\n", "año\n", "x", "日本" * 3000])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_text_is_left_alone(tmp_path, content, encoding):
    path = tmp_path / "patients.csv"
    path.write_bytes(raw := content.encode(encoding, "ignore") or b"a")
    for use in (lambda s: s.spent(), lambda s: s.charge("gpt", spent=1.0)):
        with pytest.raises(AnswerStoreError, match="patients.csv is no store .* Name another file"):
            use(AnswerStore(path))
    assert path.read_bytes() == raw
    assert [p.name for p in tmp_path.iterdir()] == ["patients.csv"]


def test_looking_makes_no_file(tmp_path):
    store = AnswerStore(tmp_path / "folder" / "answers.sqlite")
    assert store.spent() == (0.0, 0, 0.0)
    assert store.replies(KEY, [ROW]) == {}
    assert len(store.to_frame()) == 0
    with store.transaction(write=False) as connection:
        assert connection.execute("SELECT COUNT(*) FROM replies").fetchone() == (0,)
        assert store.spent().known == 0  # within
    assert list(tmp_path.iterdir()) == []
    store.keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])
    assert store.replies(KEY, [ROW])[ROW].answer == "a"


def test_a_relative_path_stays_where_it_was_meant(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    store = AnswerStore("answers.sqlite")
    dumped = pickle.dumps(store)
    monkeypatch.chdir(tmp_path / "other")
    store.keep(KEY, [(ROW, Reply(Outcome.OK, "a"))])
    assert pickle.loads(dumped).replies(KEY, [ROW])[ROW].answer == "a"
    assert list((tmp_path / "other").iterdir()) == []


def test_one_outcome_can_be_named_to_be_forgotten():
    store = AnswerStore()
    store.keep(KEY, [(ROW, Reply(Outcome.REFUSED))])
    for wrong in ("refusal", ["refused", "timeout"], "r"):
        with pytest.raises(ValueError, match=r"expected some of \['refused', 'truncated', 'unp"):
            store.forget("gpt", wrong)
    with pytest.raises(ValueError, match="never forgotten"):
        store.forget("gpt", "ok")
    assert store.forget("gpt", "refused") == 1
