"""The store of answers: what goes in comes out, in another process too; holes never do."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdefer.calling._store import AnswerStore
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
