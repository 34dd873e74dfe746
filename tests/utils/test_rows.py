"""Rows of any container: their keys depend on their content alone; some rows, some columns."""

import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from skdefer.utils._rows import check_rows, count_rows, drop_columns, row_keys, take_rows

QUICK = settings(deadline=None, max_examples=40)


def as_list(keys):
    assert keys.dtype == "S32"
    return keys.tolist()


# -- the same content, the same key -------------------------------------------------

NUMBERS = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    "rows",
    [
        *(NUMBERS.astype(t) for t in (np.int8, np.uint16, np.int64, np.float32, np.float64, bool)),
        NUMBERS.astype(object),
        NUMBERS.tolist(),
        [tuple(row) for row in NUMBERS],
        [np.array(row) for row in NUMBERS],
        np.asfortranarray(NUMBERS),
        np.repeat(NUMBERS, 2, axis=1)[:, ::2],
        NUMBERS[:, :, None],
    ],
)
def test_numbers_count_by_value(rows):
    assert as_list(row_keys(rows)) == as_list(row_keys(NUMBERS))


@pytest.mark.parametrize(
    "texts",
    [
        np.array(["a", "bcd", ""]),
        np.array(["a", "bcd", ""], dtype=object),
        np.array(["a", "bcd", "", "much longer than the others"])[:3],
        ("a", "bcd", ""),
        pd.Series(["a", "bcd", ""], index=[7, 8, 9], name="note"),
        pd.Series(["a", "bcd", ""], dtype="category"),
        pl.Series(["a", "bcd", ""]),
        np.array([["a"], ["bcd"], [""]]),
        [["a"], ["bcd"], [""]],
    ],
)
def test_texts_count_by_their_characters(texts):
    assert as_list(row_keys(texts)) == as_list(row_keys(["a", "bcd", ""]))


FRAME = {"age": [61, 45, 61], "note": ["x", "y", "z"], "dose": [0.5, 1.0, None]}


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(FRAME, index=["c", "a", "b"]),
        pd.DataFrame(FRAME).astype({"age": "float32", "dose": "Float64", "note": "string"}),
        pd.DataFrame(FRAME).astype(object),
        pd.DataFrame(FRAME).astype("category"),
        pl.DataFrame(FRAME),
    ],
)
def test_frames_count_by_their_cells(frame):
    assert as_list(row_keys(frame)) == as_list(row_keys(pd.DataFrame(FRAME)))


DENSE = np.array([[0.0, 1.5, 0.0], [0.0, 0.0, 0.0], [2.0, 0.0, -1.0]])


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "dok", "bsr"])
def test_sparse_formats_are_one(kind):
    wanted = as_list(row_keys(sparse.csr_array(DENSE)))
    assert as_list(row_keys(getattr(sparse, f"{kind}_array")(DENSE))) == wanted
    assert as_list(row_keys(getattr(sparse, f"{kind}_matrix")(DENSE))) == wanted


def test_sparse_storage_does_not_matter():
    wanted = as_list(row_keys(sparse.csr_array(DENSE)))
    explicit_zero = sparse.csr_array(([0.0, 1.5, 2.0, -1.0], [0, 1, 0, 2], [0, 2, 2, 4]))
    unsorted = sparse.csr_array(([1.5, -1.0, 2.0], [1, 2, 0], [0, 1, 1, 3]))
    twice = sparse.coo_array(([1.0, 0.5, 2.0, -1.0], ([0, 0, 2, 2], [1, 1, 0, 2])), shape=(3, 3))
    for same in (explicit_zero, unsorted, twice, sparse.csr_array(DENSE.astype(np.float32))):
        stored = same.nnz
        assert as_list(row_keys(same)) == wanted
        assert same.nnz == stored, "the caller's matrix is left alone"


def test_zeros_and_nans_have_no_sign():
    assert len(set(as_list(row_keys(np.array([0.0, -0.0]))))) == 1
    signed = np.array([np.nan, np.nan])
    signed.view(np.uint64)[1] ^= np.uint64(2**63)
    assert np.signbit(signed[0]) != np.signbit(signed[1])
    assert len(set(as_list(row_keys(signed)))) == 1


@pytest.mark.parametrize("hole", [None, np.nan, pd.NA, pd.NaT])
def test_all_missing_cells_are_one(hole):
    wanted = as_list(row_keys(pd.DataFrame({"a": ["x", None], "b": [1.0, np.nan]})))
    frame = pd.DataFrame({"a": ["x", hole], "b": pd.Series([1, hole], dtype=object)})
    assert as_list(row_keys(frame)) == wanted


# -- whatever the batch -------------------------------------------------------------

cells = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=4),
)
rows_of_cells = st.lists(st.tuples(cells, cells), min_size=1, max_size=6)


def as_objects(rows):
    array = np.empty((len(rows), 2), dtype=object)
    for i, row in enumerate(rows):
        array[i] = row
    return array


def content(row):
    """What a row says, for humans: numbers by value, all missing values alike."""
    return tuple(("text", c) if isinstance(c, str) else c for c in row)


@given(rows_of_cells)
@QUICK
def test_keys_are_equal_where_contents_are(rows):
    wanted = [content(row) for row in rows]
    array = as_objects(rows)
    for form in (array, pd.DataFrame(array, columns=["a", "b"])):
        keys = as_list(row_keys(form))
        assert len(set(keys)) == len(set(wanted))
        assert [keys.index(k) for k in keys] == [wanted.index(c) for c in wanted]


@given(rows_of_cells, st.randoms(use_true_random=False))
@QUICK
def test_a_key_depends_on_nothing_but_its_row(rows, random):
    frame = pd.DataFrame(as_objects(rows), columns=["a", "b"])
    keys = as_list(row_keys(frame))
    order = random.sample(range(len(rows)), len(rows))
    # infer_objects: a batch without text or holes has columns of numbers
    turned = frame.iloc[order].infer_objects()
    assert as_list(row_keys(turned)) == [keys[i] for i in order]
    for i in range(len(rows)):
        assert as_list(row_keys(frame.iloc[[i]].infer_objects())) == [keys[i]]


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=2), min_size=1))
@QUICK
def test_large_integers_neither_collide_nor_disturb_their_neighbours(rows):
    array = np.array(rows, dtype=np.int64)
    keys = as_list(row_keys(array))
    assert len(set(keys)) == len({tuple(r) for r in rows})
    assert [as_list(row_keys(array[[i]]))[0] for i in range(len(rows))] == keys


def test_a_hole_elsewhere_in_the_batch_does_not_change_a_key():
    whole = pd.DataFrame({"n": pd.array([1, 2, None], dtype="Int64"), "b": [True, None, False]})
    keys = as_list(row_keys(whole))
    for i in range(3):
        alone = whole.iloc[[i]].infer_objects()
        assert as_list(row_keys(alone)) == [keys[i]]


def test_another_process_agrees():
    code = (
        "from skdefer.utils._rows import row_keys; import pandas as pd;"
        "print(row_keys(pd.DataFrame({'a': [1, 2], 'b': ['x', None]}), salt='7').tolist())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = row_keys(pd.DataFrame({"a": [1, 2], "b": ["x", None]}), salt="7").tolist()
    assert out.stdout.strip() == str(here)


# -- other content, another key -----------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([["1"]], [[1]]),
        ([["a", "bc"]], [["ab", "c"]]),
        ([["a\x1fstr:b", "c"]], [["a", "b\x1fstr:c"]]),
        ([["None"]], [[None]]),
        ([["nan"]], [[np.nan]]),
        (np.array([2**53], dtype=np.int64), np.array([2**53 + 1], dtype=np.int64)),
        (np.array([0.1], dtype=np.float32), np.array([0.1])),
        (pd.DataFrame({"a": [1], "b": [2]}), pd.DataFrame({"b": [1], "a": [2]})),
        (pd.DataFrame({"a": [1], "b": [2]}), pd.DataFrame({"b": [2], "a": [1]})),
        (pd.DataFrame({"a": [1.0], "b": ["x"]}), pd.DataFrame({"a": ["x"], "b": [1.0]})),
        (pd.DataFrame({"a, b": [1]}), pd.DataFrame({"a": [1]})),
        (pd.DataFrame({"a": ["x"], "b": [None]}), pd.DataFrame({"a": [None], "b": ["x"]})),
        (sparse.csr_array([[1.0, 0.0]]), sparse.csr_array([[0.0, 1.0]])),
        ([np.arange(2000)], [np.r_[np.arange(1000), 0, np.arange(1001, 2000)]]),
        ([[1, 2], [3]], [[1, 2], [3, 4]]),
    ],
)
def test_differing_content_differs(one, other):
    assert as_list(row_keys(one))[-1] != as_list(row_keys(other))[-1]


def test_salt_changes_every_key():
    X = np.arange(6).reshape(3, 2)
    assert not set(as_list(row_keys(X))) & set(as_list(row_keys(X, salt="1")))
    assert not set(as_list(row_keys(X, salt="2"))) & set(as_list(row_keys(X, salt="1")))


@pytest.mark.parametrize(
    "empty",
    [
        np.empty((0, 3)),
        [],
        pd.DataFrame({"a": []}),
        pd.Series([], dtype=str),
        sparse.csr_array((0, 3)),
    ],
)
def test_no_rows_have_no_keys(empty):
    assert as_list(row_keys(empty)) == []


def test_rows_without_columns_are_all_alike():
    assert len(set(as_list(row_keys(pd.DataFrame(index=range(3)))))) == 1


# -- some rows, without some columns ------------------------------------------------

CONTAINERS = [
    np.arange(8).reshape(4, 2),
    np.array(["a", "b", "c", "d"]),
    pd.DataFrame({"a": [0, 1, 2, 3], "b": list("wxyz")}, index=[4, 5, 6, 7]),
    pd.Series([0, 1, 2, 3], index=[4, 5, 6, 7]),
    pl.DataFrame({"a": [0, 1, 2, 3], "b": list("wxyz")}),
    pl.Series([0, 1, 2, 3]),
    sparse.csr_array(np.eye(4)),
    sparse.csc_matrix(np.eye(4)),
    sparse.coo_array(np.eye(4)),
    ["a", "b", "c", "d"],
    ("a", "b", "c", "d"),
]


@pytest.mark.parametrize("X", CONTAINERS, ids=lambda X: f"{type(X).__module__}.{type(X).__name__}")
@pytest.mark.parametrize("rows", [[2, 0], [], [0, 1, 2, 3], [3, 3]])
def test_rows_are_taken_by_position(X, rows):
    assert count_rows(X) == 4
    taken = take_rows(X, np.array(rows, dtype=np.intp))
    assert count_rows(taken) == len(rows)
    keys = as_list(row_keys(X))
    assert as_list(row_keys(taken)) == [keys[i] for i in rows]
    if not isinstance(X, tuple) and not sparse.issparse(X):
        assert type(taken) is type(X)
    assert sparse.issparse(taken) == sparse.issparse(X)
    if hasattr(X, "iloc"):
        assert taken.index.tolist() == X.index[rows].tolist()


@pytest.mark.parametrize("X", CONTAINERS, ids=lambda X: f"{type(X).__module__}.{type(X).__name__}")
def test_rows_are_taken_by_mask(X):
    mask = np.array([True, False, False, True])
    by_mask, by_position = take_rows(X, mask), take_rows(X, np.array([0, 3]))
    assert as_list(row_keys(by_mask)) == as_list(row_keys(by_position))


@pytest.mark.parametrize("X", CONTAINERS, ids=lambda X: f"{type(X).__module__}.{type(X).__name__}")
def test_a_batch_has_rows(X):
    assert check_rows(X) == 4
    with pytest.raises(ValueError, match="X has 0 rows; expected at least one. Look for a filter"):
        check_rows(take_rows(X, np.zeros(4, dtype=bool)))


def test_no_container_has_no_rows_to_take():
    assert take_rows(None, np.arange(2)) is None


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_columns_are_dropped_by_name(frame):
    X = frame({"a": [1], "b": [2], "c": [3]})
    assert list(drop_columns(X, ["b", "absent", "b"]).columns) == ["a", "c"]
    assert drop_columns(X, ["absent"]) is X
    assert list(X.columns) == ["a", "b", "c"]


@pytest.mark.parametrize("X", [np.eye(2), sparse.eye_array(2), ["b", "a"]])
def test_what_has_no_names_is_left_as_it_is(X):
    assert drop_columns(X, ["b"]) is X
