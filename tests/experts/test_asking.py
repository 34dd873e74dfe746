"""Asking: one batch per expert with its rows alone, nothing bought twice, nothing lost."""

import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from skdefer.calling._store import AnswerStore
from skdefer.exceptions import (
    AnswerStoreError,
    ExpertAnswerError,
    ExpertPredictionsMissingError,
    ExpertStoppedError,
    ExpertStoppedWarning,
    OutOfLabelsWarning,
    UnansweredError,
    UnansweredWarning,
    UncachedWarning,
)
from skdefer.experts import CallableExpert, ClassifierExpert, ColumnExpert, Expert, IndexExpert
from skdefer.experts._asking import answers_at_hand, ask, ask_panel, collect, open_store
from skdefer.experts._base import RecordedExpert
from skdefer.experts._panel import make_panel

X = np.arange(6.0).reshape(6, 1)
CLASSES = np.array(["no", "yes"])


class Counting:
    """Answers by a table from the row's number, and remembers its batches."""

    def __init__(self, table):
        self.table, self.batches = table, []

    def __call__(self, X):
        rows = [int(row[0]) for row in X]
        self.batches.append(rows)
        return [self.table[i] for i in rows]


YES, NO = Counting(["yes"] * 6), Counting(["no"] * 6)


@pytest.fixture(autouse=True)
def forget():
    YES.batches.clear()
    NO.batches.clear()


def ask_for(answers, n_rows=2, expert=None):
    expert = expert or CallableExpert(lambda X: answers)
    return ask("desk", expert, {"desk": expert}, X, np.arange(n_rows))


# -- what an expert may return ------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (["yes", None], ["yes", None]),
        (("yes", float("nan")), ["yes", None]),
        (np.array(["yes", "no"]), ["yes", "no"]),
        (np.array([1, 0]), [1, 0]),
        (np.array([1.0, np.nan]), [1.0, None]),
        (np.array([[1], [0]]), [1, 0]),
        ([["yes"], [None]], ["yes", None]),
        (np.array([["yes"], [None]], dtype=object), ["yes", None]),
        (np.ma.array([1, 0], mask=[False, True]), [1, None]),
        (np.ma.array([[1], [0]], mask=[[False], [True]]), [1, None]),
        (pd.Series(["yes", pd.NA], index=[7, 9]), ["yes", None]),
        (pd.DataFrame({"a": ["yes", None]}), ["yes", None]),
        (pd.Categorical(["yes", None]), ["yes", None]),
        (pd.array([1, None], dtype="Int64"), [1, None]),
        (pl.Series(["yes", None]), ["yes", None]),
        (pl.DataFrame({"a": [1, 0]}), [1, 0]),
        (range(2), [0, 1]),
    ],
    ids=lambda r: type(r).__name__,
)
def test_answers_of_every_container(returned, expected):
    got = ask_for(returned)
    assert got.dtype == object
    assert got.shape == (2,)
    assert got.tolist() == expected


def test_the_experts_own_array_is_left_alone():
    own = np.array(["yes", np.nan], dtype=object)
    ask_for(own)[0] = "changed"
    assert own[0] == "yes"
    assert own[1] is np.nan


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (["yes"], r"returned answers of shape \(1,\) for 2 rows; expected \(2,\).*Return None"),
        (np.zeros((2, 2)), r"returned answers of shape \(2, 2\)"),
        (np.zeros((1, 2)), r"returned answers of shape \(1, 2\)"),
        ([], r"returned answers of shape \(0,\)"),
        ([["a"], ["b", "c"]], r"returned answers of shape \(2, '\?'\)"),
        (None, "returned NoneType for 2 rows; expected one label per row. Return a list"),
        ("ye", "returned str for 2 rows"),
        (b"ye", "returned bytes for 2 rows"),
        (7, "returned int"),
        (np.array("yes"), "returned ndarray"),
        ({0: "yes", 1: "no"}, "returned dict"),
        ({"yes", "no"}, "returned set"),
        ((label for label in ("yes", "no")), "returned generator"),
    ],
)
def test_what_is_not_one_answer_per_row(returned, message):
    with pytest.raises(ExpertAnswerError, match=f"Expert 'desk' {message}"):
        ask_for(returned)


def test_an_expert_that_raises():
    with pytest.raises(
        ExpertAnswerError,
        match="Expert 'desk' failed on a batch of 2 rows: ZeroDivisionError: .*Mend .*return None",
    ) as caught:
        ask_for(None, expert=CallableExpert(lambda X: 1 / 0))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("text", ["The line is down.", "The line is down", "The line is down. "])
def test_an_error_ends_with_one_stop(text):
    def broke(X):
        raise OSError(text)

    with pytest.raises(ExpertAnswerError, match=r": OSError: The line is down\. Mend"):
        ask_for(None, expert=CallableExpert(broke))


@pytest.mark.parametrize(
    "kind", [ValueError, TypeError, AnswerStoreError, ImportError, FileNotFoundError]
)
def test_what_an_expert_with_a_store_refuses_stands_alone(kind):
    class Keeper(Expert):
        keeps_answers = True

        def answers(self, X, explanation=None):
            raise kind("X lacks the column 'note'. Add it.")

    with pytest.raises(
        ExpertAnswerError, match=r"^X lacks the column 'note'\. Add it\.$"
    ) as caught:
        ask_for(None, expert=Keeper())
    assert isinstance(caught.value.__cause__, kind)
    Keeper.keeps_answers = False
    with pytest.raises(ExpertAnswerError, match="'desk' failed on a batch of 2 rows"):
        ask_for(None, expert=Keeper())


def test_an_experts_own_error_is_passed_on():
    def broke(X):
        raise ExpertAnswerError("no money left", np.array([["yes"]], dtype=object))

    with pytest.raises(ExpertAnswerError, match="^no money left$") as caught:
        ask_for(None, expert=CallableExpert(broke))
    assert caught.value.answers.tolist() == [["yes"]]


@pytest.mark.parametrize(
    "rows",
    [np.array([4, 1]), np.array([False, True, False, False, True, False])],
    ids=["positions", "mask"],
)
@pytest.mark.parametrize(
    ("container", "read"),
    [
        (lambda X: X, lambda X: X[:, 0]),
        (lambda X: pd.DataFrame(X, columns=["a"], index=list("uvwxyz")), lambda X: X["a"]),
        (lambda X: pl.DataFrame(X, schema=["a"]), lambda X: X["a"]),
        (sparse.csr_array, lambda X: X.toarray()[:, 0]),
        (lambda X: X.tolist(), lambda X: [row[0] for row in X]),
        (lambda X: [f"{i}" for i in X[:, 0]], lambda X: [float(text) for text in X]),
    ],
    ids=["array", "pandas", "polars", "csr", "lists", "texts"],
)
def test_an_expert_sees_its_rows_in_the_users_container(container, read, rows):
    whole, seen = container(X), []
    expert = CallableExpert(lambda X: seen.append(X) or ["yes", "no"])
    answers = ask("desk", expert, {"desk": expert}, whole, rows)
    assert answers.tolist() == ["yes", "no"]
    assert type(seen[0]) is type(whole)
    assert list(read(seen[0])) == X[rows, 0].tolist()


def test_only_its_own_expert_sees_a_column():
    frame = pd.DataFrame({"age": [1, 2], "reader": ["yes", "no"]})
    seen = []
    panel = make_panel(
        [ColumnExpert("reader"), ("desk", lambda X: seen.append(list(X.columns)) or ["no", "no"])],
        None,
        0,
    )
    assert ask("reader", panel["reader"], panel, frame, np.arange(2)).tolist() == ["yes", "no"]
    ask("desk", panel["desk"], panel, frame, np.arange(2))
    assert seen == [["age"]]


# -- answers that are kept ----------------------------------------------------------


def module_rule(X):
    return ["no"] * len(X)


@pytest.fixture
def store(tmp_path):
    return AnswerStore(tmp_path / "answers.sqlite")


def ask_stored(expert, rows, store, name="desk", X=X):
    return ask(name, expert, {name: expert}, X, np.asarray(rows), store=store).tolist()


def test_kept_answers_are_not_asked_for_again(store):
    function = Counting(["a", "b", "c", "d", "e", "f"])
    expert = CallableExpert(function, version="1")
    assert ask_stored(expert, [4, 1], store) == ["e", "b"]
    assert ask_stored(expert, [0, 1, 3, 4], store) == ["a", "b", "d", "e"]
    assert function.batches == [[4, 1], [0, 3]]
    assert ask_stored(expert, [1, 0], AnswerStore(store.path)) == ["b", "a"]
    assert len(function.batches) == 2


def test_identical_rows_are_asked_for_once_in_their_order(store):
    function = Counting(["a", "b", "c"])
    expert = CallableExpert(function, version="1")
    twice = np.array([[2.0], [0.0], [2.0], [1.0], [0.0]])
    assert ask_stored(expert, range(5), store, X=twice) == ["c", "a", "c", "b", "a"]
    assert function.batches == [[2, 0, 1]]


def test_an_abstention_is_not_bought_twice(store):
    function = Counting([None, "b"])
    expert = CallableExpert(function, version="1")
    assert ask_stored(expert, [0, 1], store) == [None, "b"]
    assert ask_stored(expert, [0, 1], store) == [None, "b"]
    assert function.batches == [[0, 1]]


def test_another_version_or_name_is_asked_again(store):
    function = Counting(["a"])
    ask_stored(CallableExpert(function, version="1"), [0], store)
    ask_stored(CallableExpert(function, version="2"), [0], store)
    ask_stored(CallableExpert(function, version="1"), [0], store, name="other")
    assert len(function.batches) == 3
    # A name may hold anything, even what separates it from the version.
    ask_stored(CallableExpert(function, version="b|c"), [0], store, name="a")
    ask_stored(CallableExpert(function, version="c"), [0], store, name="a|b")
    assert len(function.batches) == 5


def test_without_a_store_every_row_is_asked():
    function = Counting(["a"])
    expert = CallableExpert(function, version="1")
    for _ in range(2):
        ask("desk", expert, {"desk": expert}, X, np.array([0, 0]))
    assert function.batches == [[0, 0], [0, 0]]


def test_a_failure_keeps_nothing_and_is_tried_again(store):
    function = Counting(["a"])
    with pytest.raises(ExpertAnswerError):
        ask_stored(CallableExpert(lambda X: 1 / 0, version="1"), [0], store)
    ask_stored(CallableExpert(function, version="1"), [0], store)
    assert function.batches == [[0]]


class Unpicklable:
    classes_ = CLASSES

    def predict(self, X):
        return ["no"] * len(X)

    def __reduce__(self):
        raise TypeError("holds a lock, and a secret")


@pytest.mark.parametrize(
    "expert",
    [CallableExpert(lambda X: ["no"] * len(X)), ClassifierExpert(Unpicklable())],
    ids=["lambda", "unpicklable"],
)
def test_what_can_not_be_kept_is_said_once_and_without_data(expert, store):
    with pytest.warns(UncachedWarning) as caught:
        assert ask_stored(expert, [0], store) == ["no"]
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "expert 'desk' are not kept by memory=" in text
    assert "version=..." in text
    assert "secret" not in text


@pytest.mark.parametrize(
    "expert", [ColumnExpert("a"), IndexExpert(["no", "yes"], X=pd.DataFrame({"b": [0, 1]}))]
)
def test_what_is_on_record_is_neither_kept_nor_warned_of(expert, store):
    frame = pd.DataFrame({"a": ["no", "yes"], "b": [0, 1]})
    if expert.column is None:
        frame = frame[["b"]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ask_stored(expert, [1, 0], store, X=frame) == ["yes", "no"]
    with store.transaction(write=False) as connection:
        assert connection.execute("SELECT COUNT(*) FROM replies").fetchone() == (0,)


def test_module_level_functions_are_kept_without_a_version(store):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ask_stored(CallableExpert(module_rule), [0], store) == ["no"]


def test_a_store_lies_beside_the_memory(tmp_path):
    store = open_store(joblib.Memory(tmp_path, verbose=0))
    assert store.path.is_relative_to(tmp_path)
    assert open_store(joblib.Memory(None)) is None
    assert open_store(None) is None


# -- asking whoever, and answers that come along --------------------------------------


def test_the_panel_is_asked_where_it_is_wanted():
    yes, no = Counting(["yes"] * 6), Counting(["no"] * 6)
    panel = make_panel([yes, no, RecordedExpert()], None, 0)
    where = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 0]], dtype=bool)
    answers = ask_panel(panel, X[:3], where, store=None)
    assert answers.tolist() == [["yes", None, None], [None] * 3, ["yes", None, None]]
    assert (yes.batches, no.batches) == ([[0, 2]], [])


def test_what_the_panel_said_survives_a_failure():
    panel = make_panel([Counting(["owl"] * 6), lambda X: 1 / 0], None, 0)
    with pytest.raises(ExpertAnswerError) as caught:
        ask_panel(panel, X[:2], np.ones((2, 2), dtype=bool), store=None)
    assert caught.value.answers.tolist() == [["owl", None]] * 2


def test_answers_at_hand_are_encoded():
    panel = make_panel([("a", YES), ("b", RecordedExpert())], None, 0)
    frame = pd.DataFrame({"b": ["no", "yes", None], "a": ["yes", "owl", "no"]})
    with pytest.warns(OutOfLabelsWarning, match=r"{'a': 1}. They count as missing answers"):
        codes = answers_at_hand(panel, 3, frame, CLASSES, on_missing="raise")
    assert codes.tolist() == [[1, 0], [-1, 1], [0, -1]]


def test_no_answers_at_hand_are_an_error_where_nobody_can_be_asked():
    panel = make_panel([("a", YES), ("b", RecordedExpert())], None, 0)
    with pytest.raises(
        ExpertPredictionsMissingError,
        match=r"The experts \['b'\] are known by their record.*Pass predict.*or a callable",
    ):
        answers_at_hand(panel, 2, None, CLASSES, on_missing="raise")
    for on_missing in ("model", "next"):
        with pytest.warns(UnansweredWarning, match=r"\['b'\].*answer for them"):
            codes = answers_at_hand(panel, 2, None, CLASSES, on_missing=on_missing)
        assert codes.tolist() == [[-1, -1]] * 2
    alone = make_panel(YES, None, 0)
    assert answers_at_hand(alone, 1, None, CLASSES, on_missing="raise").tolist() == [[-1]]


# -- an answer for every deferred row -----------------------------------------------


def gather(experts, route, score=None, record=None, on_missing="raise", store=None):
    """Collect on the six rows of X; the route that was and the labels of the deferred rows."""
    panel = make_panel(experts, None, 0)
    route = np.asarray(route)
    codes = np.full((len(route), len(panel)), -1) if record is None else np.array(record)
    score = np.ones(codes.shape) if score is None else np.asarray(score, dtype=float)
    wanted = route[:, None] == np.arange(1, len(panel) + 1)
    answered = collect(
        panel, X[: len(route)], wanted, score, codes, CLASSES, on_missing=on_missing, store=store
    )
    assert answered.sum(axis=1).max() <= 1
    got = np.where(answered.any(axis=1), 1 + answered.argmax(axis=1), 0)
    labels = [CLASSES[codes[i, r - 1]] if r else None for i, r in enumerate(got)]
    return got.tolist(), labels, codes


def test_each_expert_is_asked_once_for_its_rows_alone():
    route, labels, codes = gather([YES, NO], [0, 2, 1, 0, 2, 1])
    assert route == [0, 2, 1, 0, 2, 1]
    assert labels == [None, "no", "yes", None, "no", "yes"]
    assert YES.batches == [[2, 5]]
    assert NO.batches == [[1, 4]]
    assert codes[:, 0].tolist() == [-1, -1, 1, -1, -1, 1]


def test_nobody_is_asked_where_nothing_is_deferred():
    assert gather([YES, NO], [0, 0])[0] == [0, 0]
    assert YES.batches == NO.batches == []


def test_answers_on_record_are_not_bought():
    labels = gather([YES], [1, 1, 1], record=[[0], [-1], [1]])[1]
    assert labels == ["no", "yes", "yes"]
    assert YES.batches == [[1]]


def test_a_recorded_expert_is_never_asked():
    recorded = RecordedExpert()
    assert gather([recorded], [1, 0], record=[[1], [-1]])[1] == ["yes", None]
    with pytest.raises(UnansweredError):
        gather([recorded], [1, 1], record=[[1], [-1]])


def test_the_panel_that_came_in_is_left_alone():
    silent = CallableExpert(lambda X: [None] * len(X))
    wanted = np.ones((2, 1), dtype=bool)
    codes = np.full((2, 1), -1)
    panel = make_panel([silent], None, 0)
    collect(panel, X[:2], wanted, codes, codes, CLASSES, on_missing="model", store=None)
    assert wanted.all()


HALF = [None, "yes", None, "yes", None, "yes"]


def test_a_missing_answer_raises_with_what_was_bought():
    with pytest.raises(
        UnansweredError,
        match=r"2 deferred rows have no answer, by expert: {'half': 2}.*_predictions=.*Or set",
    ) as caught:
        gather([("half", Counting(HALF)), ("no", NO)], [1, 1, 1, 2, 0])
    assert caught.value.answers.tolist() == [
        [None, None],
        ["yes", None],
        [None, None],
        [None, "no"],
        [None, None],
    ]


def test_what_was_bought_before_a_failure_is_carried_by_the_error():
    def broken(X):
        raise TimeoutError

    with pytest.raises(ExpertAnswerError, match="'b' failed") as caught:
        gather([("a", YES), ("b", broken)], [1, 2, 1], record=[[-1, -1], [-1, -1], [0, -1]])
    assert caught.value.answers.tolist() == [["yes", None], [None, None], ["no", None]]


def test_the_model_may_answer_instead():
    route, labels, _ = gather([Counting(HALF)], [1, 1, 1, 0], on_missing="model")
    assert route == [0, 1, 0, 0]
    assert labels == [None, "yes", None, None]


def test_an_odd_answer_is_a_missing_one():
    odd = Counting(["unsure", "yes"])
    with pytest.warns(OutOfLabelsWarning, match=r"{'odd': 1}. They count as missing answers"):
        route = gather([("odd", odd)], [1, 1], on_missing="model")[0]
    assert route == [0, 1]


def test_a_batch_of_odd_answers_loses_nothing():
    odd = Counting(["unsure"] * 6)
    with pytest.warns(OutOfLabelsWarning, match=r"{'odd': 1}"):
        assert gather([("odd", odd)], [1], on_missing="model")[0] == [0]
    with pytest.warns(OutOfLabelsWarning), pytest.raises(UnansweredError) as caught:
        gather([("a", YES), ("odd", odd)], [1, 2])
    assert caught.value.answers.tolist() == [["yes", None], [None, "unsure"]]


# -- the next in line ---------------------------------------------------------------


def test_the_next_in_line_gains_most_of_the_rest():
    silent = Counting([None] * 6)
    score = [[3, 1, 2], [3, 2, 1], [3, -1, 0], [3, 0.0, 1]]
    route, labels, _ = gather([silent, YES, NO], [1, 1, 1, 1], score, on_missing="next")
    assert route == [3, 2, 0, 3]
    assert labels == ["no", "yes", None, "no"]
    assert silent.batches == [[0, 1, 2, 3]]
    assert YES.batches == [[1]]
    assert NO.batches == [[0, 3]]


def test_the_line_goes_on_until_someone_answers():
    silent, half = Counting([None] * 6), Counting(HALF)
    score = [[3, 2, 1]] * 2
    assert gather([silent, half, NO], [1, 1], score, on_missing="next")[0] == [3, 2]
    assert len(silent.batches) == len(half.batches) == len(NO.batches) == 1
    assert gather([silent, Counting(HALF)], [1, 1], [[2, 1]] * 2, on_missing="next")[0] == [0, 2]


def test_the_next_in_line_may_have_it_on_record():
    silent = Counting([None] * 6)
    record = [[-1, 0], [-1, -1]]
    route, labels, _ = gather([silent, YES], [1, 1], [[2, 1]] * 2, record, on_missing="next")
    assert (route, labels) == ([2, 2], ["no", "yes"])
    assert YES.batches == [[1]]


def test_an_expert_away_is_never_next():
    silent = Counting([None] * 6)
    assert gather([silent, YES], [1], [[2, -np.inf]], on_missing="next")[0] == [0]


def test_the_next_in_line_takes_no_more_than_it_can():
    silent, desk = Counting([None] * 6), CallableExpert(YES, capacity=2)
    score = [[9, 1], [9, 4], [9, 2], [9, 3]]
    route = gather([silent, desk], [1] * 4, score, on_missing="next")[0]
    assert route == [0, 2, 0, 2], "the rows that gain most"
    route = gather([silent, desk], [2, 1, 1, 1], score, on_missing="next")[0]
    assert route == [2, 2, 0, 0], "less what it has already"
    full = CallableExpert(NO, capacity=0)
    assert gather([silent, full], [1] * 2, score[:2], on_missing="next")[0] == [0, 0]


def test_rows_without_an_answer_were_work_all_the_same():
    silent, half = Counting([None] * 6), CallableExpert(Counting(HALF), capacity=2)
    # Asked for rows 0 and 2, of which it answers neither: it is full.
    route = gather([silent, half], [2, 1, 2, 1], [[1, 2]] * 4, on_missing="next")[0]
    assert route == [0, 0, 0, 0]
    assert half.function.batches == [[0, 2]]


def test_no_expert_is_asked_twice_for_a_row():
    experts = [Counting([None] * 6) for _ in range(3)]
    rng = np.random.default_rng(0)
    score = rng.normal(size=(6, 3))
    route = np.where(score.max(axis=1) > 0, score.argmax(axis=1) + 1, 0)
    got = gather(experts, route, score, on_missing="next")[0]
    assert got == [0] * 6
    for j, expert in enumerate(experts):
        asked = [row for batch in expert.batches for row in batch]
        assert sorted(asked) == np.flatnonzero(score[:, j] > 0).tolist()


def test_bought_answers_are_kept_beside_the_memory(store):
    class Slow(Expert):
        calls = 0

        def answers(self, X, explanation=None):
            type(self).calls += 1
            return ["yes"] * len(X)

    for _ in range(3):
        assert gather([Slow(version="1")], [1, 0, 1], store=store)[1] == ["yes", None, "yes"]
    assert Slow.calls == 1


# -- several experts a row ------------------------------------------------------------


def gather_panels(experts, wanted, score=None, record=None, on_missing="raise"):
    """Collect on the first rows of X; who answers, and the answers as labels."""
    panel, wanted = make_panel(experts, None, 0), np.array(wanted, dtype=bool)
    codes = np.full(wanted.shape, -1) if record is None else np.array(record)
    score = np.ones(codes.shape) if score is None else np.asarray(score, dtype=float)
    answered = collect(
        panel,
        X[: len(wanted)],
        wanted,
        score,
        codes,
        CLASSES,
        on_missing=on_missing,
        store=None,
    )
    return answered.astype(int).tolist(), codes.tolist()


def test_each_of_several_is_asked_once_for_its_rows():
    third = Counting(["yes"] * 6)
    wanted = [[1, 1, 0], [0, 0, 0], [1, 0, 1], [0, 1, 0]]
    answered, codes = gather_panels([YES, NO, third], wanted)
    assert answered == wanted
    assert codes == [[1, 0, -1], [-1, -1, -1], [1, -1, 1], [-1, 0, -1]]
    assert (YES.batches, NO.batches, third.batches) == ([[0, 2]], [[0, 3]], [[2]])


def test_a_missing_answer_is_left_out_where_another_came():
    silent = Counting([None] * 6)
    for on_missing in ("raise", "model", "next"):
        answered, _ = gather_panels([silent, NO, YES], [[1, 1, 0]], on_missing=on_missing)
        assert answered == [[0, 1, 0]]
    assert YES.batches == [], "nobody takes the place of who is silent"


def test_answers_on_record_of_who_was_not_asked_do_not_count():
    answered, _ = gather_panels([YES, NO], [[1, 0]], record=[[-1, 0]])
    assert answered == [[1, 0]]


def test_a_panel_of_which_nobody_answers():
    silent, half = Counting([None] * 6), Counting(HALF)
    wanted = [[1, 1, 0], [1, 1, 0]]
    experts = [("silent", silent), ("half", half), ("no", NO)]
    with pytest.raises(
        UnansweredError, match=r"1 deferred rows .* by expert: {'silent': 1, 'half': 1}"
    ) as caught:
        gather_panels(experts, wanted)
    assert caught.value.answers.tolist() == [[None] * 3, [None, "yes", None]]
    assert gather_panels(experts, wanted, on_missing="model")[0] == [[0, 0, 0], [0, 1, 0]]
    answered, _ = gather_panels(experts, wanted, on_missing="next")
    assert answered == [[0, 0, 1], [0, 1, 0]]
    assert NO.batches == [[0]]
    nobody = [[1, 1, 0], [1, 1, 1]]  # the next one gains nothing on the first row
    answered, _ = gather_panels(experts[:2] + [("none", silent)], wanted, nobody, on_missing="next")
    assert answered == [[0, 0, 0], [0, 1, 0]]


def test_capacity_counts_what_panels_took():
    silent, desk = Counting([None] * 6), CallableExpert(YES, capacity=2)
    wanted = [[1, 0, 0], [0, 1, 1], [1, 0, 0]]
    score = [[9, 1, -1], [9, 4, 1], [9, 2, -1]]
    answered, _ = gather_panels([silent, desk, NO], wanted, score, on_missing="next")
    assert answered == [[0, 0, 0], [0, 1, 1], [0, 1, 0]], "one place was left"


# -- experts whose calls are stopped --------------------------------------------------


class Stopped(Expert):
    """Answers the first rows of a batch, then its calls are stopped."""

    def __init__(self, n_answered, label="yes", **kwargs):
        super().__init__(**kwargs)
        self.n_answered, self.label, self.batches = n_answered, label, []

    def answers(self, X, explanation=None):
        rows = [int(row[0]) for row in X]
        self.batches.append(rows)
        if len(rows) <= self.n_answered:
            return [self.label] * len(rows)
        partial = np.full(len(rows), None, dtype=object)
        partial[: self.n_answered] = self.label
        raise ExpertStoppedError("The quota of 'service' is used up.", partial=partial)


def test_what_came_before_a_stop_is_in_the_error():
    stopped = Stopped(2)
    with pytest.raises(ExpertStoppedError, match="^The quota of 'service' is used up.$") as caught:
        gather([NO, stopped], [2, 1, 2, 2, 0])
    answers = caught.value.answers
    assert answers.tolist() == [[None, "yes"], ["no", None], [None, "yes"], *[[None, None]] * 2]
    codes = answers_at_hand(make_panel([NO, stopped], None, 0), 5, answers, CLASSES, on_missing="")
    stopped.batches.clear()
    NO.batches.clear()
    assert gather([NO, stopped], [2, 1, 2, 2, 0], record=codes)[0] == [2, 1, 2, 2, 0]
    assert (stopped.batches, NO.batches) == ([[3]], [])


def test_the_model_takes_what_a_stopped_expert_left():
    with pytest.warns(
        ExpertStoppedWarning,
        match="'service' is used up. 2 of 3 rows were answered .* The model takes the rest",
    ) as caught:
        route, labels, _ = gather([Stopped(2)], [1, 0, 1, 1], on_missing="model")
    assert len(caught) == 1
    assert route == [1, 0, 1, 0]
    assert labels == ["yes", None, "yes", None]


def test_a_stopped_expert_is_neither_asked_again_nor_next():
    silent, stopped = Counting([None] * 6), Stopped(1, label="no")
    score = [[1, 3, 2], [1, 3, 2], [3, 2, 1], [3, 2, -1]]
    with pytest.warns(
        ExpertStoppedWarning, match="The next in line, or the model, takes"
    ) as caught:
        route, labels, _ = gather(
            [silent, stopped, YES], [2, 2, 1, 1], score, on_missing="next", record=None
        )
    assert len(caught) == 1
    assert stopped.batches == [[0, 1]]
    assert route == [2, 3, 3, 0]
    assert labels == ["no", "yes", "yes", None]


def test_what_a_stopped_expert_has_on_record_still_counts():
    silent, stopped = Counting([None] * 6), Stopped(0)
    record = [[-1, -1], [-1, 1]]
    with pytest.warns(ExpertStoppedWarning):
        route, labels, _ = gather(
            [silent, stopped], [2, 1], [[0, 2], [2, 1]], record, on_missing="next"
        )
    assert (route, labels) == ([0, 2], [None, "yes"])


@pytest.mark.parametrize("partial", [None, [None, None]])
def test_a_stop_before_any_answer(partial):
    def stop(X):
        raise ExpertStoppedError("no key", partial=partial)

    with pytest.raises(ExpertStoppedError) as caught:
        ask_for(None, expert=CallableExpert(stop))
    assert caught.value.partial.tolist() == [None, None]
    with pytest.warns(ExpertStoppedWarning, match="no key 0 of 2 rows were answered"):
        assert gather([stop], [1, 1], on_missing="model")[0] == [0, 0]


def test_partial_answers_of_another_length_are_refused():
    def stop(X):
        raise ExpertStoppedError("no key", partial=["yes"])

    with pytest.raises(ExpertAnswerError, match=r"returned answers of shape \(1,\) for 2 rows"):
        ask_for(None, expert=CallableExpert(stop))


def test_what_the_panel_said_before_a_stop():
    where = np.array([[1, 1], [1, 0], [0, 1], [0, 1]], dtype=bool)
    with pytest.raises(ExpertStoppedError) as caught:
        ask_panel(make_panel([NO, Stopped(1)], None, 0), X[:4], where, store=None)
    assert caught.value.answers.tolist() == [["no", "yes"], ["no", None], *[[None, None]] * 2]


def test_the_memory_keeps_what_came_before_a_stop(store):
    twice = np.array([[2.0], [0.0], [2.0], [1.0], [0.0], [3.0]])
    expert = Stopped(2, version="1")
    store_of_one = AnswerStore(store.path)
    ask_stored(Stopped(9, version="1"), [3], store_of_one, X=twice)
    with pytest.raises(ExpertStoppedError) as caught:
        ask_stored(expert, range(6), store, X=twice)
    assert expert.batches == [[2, 0, 3]]
    assert caught.value.partial.tolist() == ["yes", "yes", "yes", "yes", "yes", None]
    again = Stopped(9, version="1")
    assert ask_stored(again, range(6), store, X=twice) == ["yes"] * 6
    assert again.batches == [[3]], "a row that was not answered is no abstention"


# -- what an expert is told -------------------------------------------------------------


class Reader(Expert):
    """Keeps what it was told of the rows."""

    reads_explanation = True

    def __init__(self, answer="yes", **kwargs):
        super().__init__(**kwargs)
        self.answer, self.told = answer, []

    def answers(self, X, explanation=None):
        self.told.append(explanation)
        return [self.answer] * len(X)


def collect_with(experts, wanted, explain, on_missing="raise"):
    panel, wanted = make_panel(experts, None, 0), np.array(wanted, dtype=bool)
    codes, score = np.full(wanted.shape, -1), np.ones(wanted.shape)
    facts = {"on_missing": on_missing, "store": None, "explain": explain}
    return collect(panel, X[: len(wanted)], wanted, score, codes, CLASSES, **facts)


def test_the_reasons_come_with_the_rows_and_are_made_once():
    made = []

    def explain():
        made.append(pd.DataFrame({"reason": list("abc")}, index=[7, 8, 9]))
        return made[-1]

    readers = [Reader(), Reader(answer=None), YES]
    collect_with(readers, [[1, 0, 0], [1, 1, 0], [0, 1, 0]], explain, "next")
    assert len(made) == 1
    assert [told.index.tolist() for told in readers[0].told] == [[7, 8], [9]]
    assert readers[1].told[0]["reason"].tolist() == ["b", "c"]


def test_no_reason_is_made_for_those_who_read_none():
    class Plain(Expert):
        def answers(self, X):  # written before there were explanations
            return ["yes"] * len(X)

    collect_with([Plain(), Reader()], [[1, 0], [1, 0]], lambda: 1 / 0)


def test_nobody_is_told_where_there_is_no_reason():
    reader = Reader()
    ask_panel(make_panel(reader, None, 0), X, np.ones((6, 1), dtype=bool), store=None)
    assert reader.told == [None]


def test_the_memory_leaves_experts_with_a_store_of_their_own_alone(store):
    class Keeper(Reader):
        keeps_answers = True

    keeper = Keeper()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            assert ask_stored(keeper, [0, 1], store) == ["yes", "yes"]
    assert len(keeper.told) == 2


# -- who is told the classes --------------------------------------------------------------


class Bound(Reader):
    def __init__(self, classes=None, **kwargs):
        super().__init__(**kwargs)
        self.classes = classes

    def for_classes(self, classes):
        return Bound(classes.tolist(), name=self.name)


def test_the_panel_holds_who_knows_the_classes():
    loose = Bound(name="service")
    panel = make_panel([loose, YES], None, 0, CLASSES)
    assert list(panel) == ["service", "expert_2"]
    assert panel["service"].classes == ["no", "yes"]
    assert panel["expert_2"].function is YES
    assert loose.classes is None
    assert make_panel(loose, None, 0)["service"] is loose


def test_who_can_not_be_asked_is_told_nothing():
    muted = Bound()
    muted.can_answer = False
    assert make_panel(muted, None, 0, CLASSES)["expert_1"] is muted
