"""People with a work list: what is put on it, what goes out, and what comes back."""

import csv
import io
import json
import pickle
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ET
from sqlite3 import IntegrityError

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from skdefer import DeferralClassifier
from skdefer.calling._store import AnswerStore
from skdefer.exceptions import (
    CapacityWarning,
    CaseColumnsWarning,
    CaseImportWarning,
    ExpertAnswerError,
    FailedCallsWarning,
    OutOfLabelsWarning,
    SilentExpertWarning,
    UnansweredError,
)
from skdefer.experts import QueueExpert
from skdefer.experts._queue._cases import Why
from skdefer.utils._rows import row_keys
from tests.conftest import make_data

TEXTS = ["fever", "cough", "nothing"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cases.sqlite"


@pytest.fixture
def desk(path):
    return QueueExpert(path, name="desk", classes=["ill", "well"])


def queued(desk, X=TEXTS, explanation=None):
    """Put rows on the list; their cases in the order of the list."""
    desk.answers(X, explanation=explanation)
    return list(desk.cases().index)


def reasons(scores, name="desk"):
    n = len(scores)
    return pd.DataFrame(
        {
            "route": [name] * n,
            "model_answer": ["well"] * n,
            "model_confidence": np.linspace(0.5, 0.7, n),
            f"score_{name}": scores,
            "reason": [f"Handed to {name}: reason {i}" for i in range(n)],
        }
    )


# -- the list -----------------------------------------------------------------------------


def test_rows_wait_for_their_answers(desk):
    assert desk.answers(TEXTS).tolist() == [None] * 3
    a, b, c = desk.cases().index
    summary = desk.import_answers({b: "ill", c: "well"})
    assert (summary.n_imported, summary.complaint) == (2, "")
    assert desk.answers([*TEXTS, "new"]).tolist() == [None, "ill", "well", None]
    assert desk.cases()["state"].tolist() == ["open", "answered", "answered", "open"]
    assert a == desk.cases().index[0]


def test_the_same_content_is_one_case(desk):
    assert len(queued(desk, ["a", "b", "a"])) == 2
    assert len(queued(desk, pd.Series(["b", "a", "c"], index=[5, 5, 7]))) == 3
    assert len(queued(desk, np.array(["c", "a"], dtype=object))) == 3


def test_looking_up_puts_nothing_on_the_list(desk):
    (case,) = queued(desk, ["a"])
    desk.import_answers({case: "ill"})
    assert desk.look_up(["b", "a"]).tolist() == [None, "ill"]
    assert desk.look_up([]).shape == (0,)
    assert len(desk.cases()) == 1


ROWS = np.array([[1.5, -2.0], [0.0, 3.0]])


@pytest.mark.parametrize(
    ("X", "content"),
    [
        (["a", "b"], [{"text": "a"}, {"text": "b"}]),
        (pd.Series(["a", "b"], name="note"), [{"text": "a"}, {"text": "b"}]),
        (pl.Series(["a", "b"]), [{"text": "a"}, {"text": "b"}]),
        (ROWS, [{"x0": 1.5, "x1": -2.0}, {"x0": 0.0, "x1": 3.0}]),
        (ROWS.tolist(), [{"x0": 1.5, "x1": -2.0}, {"x0": 0.0, "x1": 3.0}]),
        (sparse.csr_array(ROWS), [{"x0": 1.5, "x1": -2.0}, {"x0": 0.0, "x1": 3.0}]),
        (
            pd.DataFrame(
                {"age": [61, 45], "sex": ["f", pd.NA], "on": pd.to_datetime(["2026-01-02"] * 2)}
            ),
            [
                {"age": 61, "sex": "f", "on": "2026-01-02 00:00:00"},
                {"age": 45, "sex": None, "on": "2026-01-02 00:00:00"},
            ],
        ),
        (pl.DataFrame({"age": [61, 45]}), [{"age": 61}, {"age": 45}]),
    ],
    ids=["list", "Series", "polars Series", "array", "lists", "sparse", "frame", "polars frame"],
)
def test_rows_of_any_container(desk, X, content):
    queued(desk, X)
    assert [case.content for case in desk._table.listed(only_open=True)] == content
    assert desk.answers(X).tolist() == [None, None]
    assert len(desk.cases()) == 2


def test_lists_of_other_names_and_versions_are_apart(path):
    one, other, later = (
        QueueExpert(path, name=name, version=version, classes=["ill", "well"])
        for name, version in [("a", None), ("b", None), ("a", "2")]
    )
    (case,) = queued(one, ["x"])
    one.import_answers({case: "ill"})
    for desk in (other, later):
        assert desk.look_up(["x"]).tolist() == [None]
        assert queued(desk, ["x"]) != [case]
    with pytest.warns(CaseImportWarning, match="1 for unknown cases"):
        assert other.import_answers({case: "ill"}).unknown == [case]
    assert QueueExpert(path, name="a").answers(["x"]).tolist() == ["ill"]


def test_the_list_lies_in_the_file_of_the_answers(tmp_path):
    store = AnswerStore(tmp_path / "answers.sqlite")
    keys = np.array([b"k"], dtype="S32")
    store.put("model|1", keys, np.array(["ill"], dtype=object))
    queued(QueueExpert(store, name="desk"))
    again = AnswerStore(store.path)
    assert again.get("model|1", keys)[0].tolist() == ["ill"]
    assert len(QueueExpert(again, name="desk").cases()) == 3


def test_it_pickles_with_its_list(desk):
    cases = queued(desk)
    copy = pickle.loads(pickle.dumps(desk))
    copy.import_answers({cases[0]: "ill"})
    assert desk.answers(TEXTS).tolist() == copy.answers(TEXTS).tolist() == ["ill", None, None]
    assert repr(copy) == "QueueExpert(name='desk')"


def test_bad_arguments(path):
    with pytest.raises(ValueError, match="name is ''; expected a name"):
        QueueExpert(path, name="")
    with pytest.raises(
        TypeError, match=r"columns is 'age'; expected a list of names, as \['age'\]"
    ):
        QueueExpert(path, columns="age")
    with pytest.raises(ValueError, match="expected at least two"):
        QueueExpert(path, classes=["ill"])
    with pytest.raises(ValueError, match="classes that 'people' .* are not known"):
        QueueExpert(path).label_studio_config()


FILES = pd.DataFrame({"sex": ["f", "m"], "age": [61, 45]})


@pytest.mark.parametrize("columns", [None, ["sex", "age"], ["age", "sex"]])
@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_the_order_of_columns_makes_no_new_case(path, columns, frame):
    desk, X = QueueExpert(path, columns=columns, classes=[0, 1]), frame(FILES.to_dict("list"))
    (a, _) = queued(desk, X)
    desk.import_answers({a: 1})
    turned = X[["age", "sex"]]
    again = QueueExpert(path)
    assert desk.answers(turned).tolist() == again.look_up(turned).tolist() == [1, None]
    assert len(desk.cases()) == 2


def test_columns_that_came_later_are_left_out(desk):
    (a, _) = queued(desk, FILES)
    desk.import_answers({a: "ill"})
    more = FILES.assign(note="x")[["note", "age", "sex"]]
    with pytest.warns(CaseColumnsWarning, match=r"columns \['note'\], which.*in columns="):
        assert desk.answers(more).tolist() == ["ill", None]
    with pytest.warns(CaseColumnsWarning):
        assert desk.look_up(more).tolist() == ["ill", None]
    assert len(desk.cases()) == 2
    assert desk._table.listed(only_open=True)[0].content == {"age": 45, "sex": "m"}


def test_columns_that_are_gone_make_new_cases_and_are_told_once(desk):
    queued(desk, FILES)
    with pytest.warns(
        CaseColumnsWarning,
        match=r"X lacks the columns \['age'\] of the cases so far and has \['size'\] besides, so "
        r"every row is a new case.*\['age', 'sex'\]",
    ) as caught:
        assert len(queued(desk, FILES[["sex"]].assign(size=[1, 2]))) == 4
    assert len(caught) == 1
    assert len(queued(desk, FILES[["sex"]].assign(size=[2, 2]))) == 5, "those are known now"


def test_columns_that_were_chosen_are_not_questioned(path):
    queued(QueueExpert(path), FILES)
    chosen = QueueExpert(path, columns=["age"])
    assert len(queued(chosen, FILES)) == 4


def test_cases_of_an_older_file_are_found_in_any_order(path):
    desk = QueueExpert(path, classes=[0, 1])
    key = row_keys(FILES[:1]).tolist()  # the order counted then
    desk._table.add(key, [{"sex": "f", "age": 61}], [Why()], capacity=None, labels=None)
    desk._table.add([b"text"], [{"text": "a"}], [Why()], capacity=None, labels=None)
    with desk.store.transaction(write=True) as connection:
        connection.execute("DROP TABLE case_columns")
    for X in (FILES, FILES[["age", "sex"]]):
        desk.answers(X)
    assert len(desk.cases()) == 3
    assert desk._table.layouts() == [("sex", "age")]


def test_a_missing_text_is_refused_with_its_row(desk):
    for X in (["a", None], pd.Series(["a", np.nan]), np.array(["a", None], dtype=object)):
        with pytest.raises(ValueError, match=r"1 of 2 texts are missing .* in rows 1"):
            desk.answers(X)
    assert desk.cases().empty


def test_rows_without_content_are_put_on_no_list(desk):
    with pytest.warns(FailedCallsWarning, match="2 of 3 rows have no content.*'desk'") as caught:
        assert desk.answers(["", "a", " \n"]).tolist() == [None] * 3
    assert len(caught) == 1
    frame = pd.DataFrame({"age": [61, np.nan, np.nan], "note": [None, " ", "b"]})
    with pytest.warns(FailedCallsWarning, match="1 of 3 rows"):
        desk.answers(frame)
    assert [case.content for case in desk._table.listed(only_open=True)] == [
        {"text": "a"},
        {"age": 61.0, "note": None},
        {"age": None, "note": "b"},
    ]
    assert desk.look_up(["", "a"]).tolist() == [None, None]


def test_a_relative_path_outlives_a_change_of_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    desk = QueueExpert("cases.sqlite", name="desk", classes=["ill", "well"])
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert len(queued(pickle.loads(pickle.dumps(desk)))) == len(desk.cases()) == 3
    assert [file.name for file in (tmp_path / "other").iterdir()] == []


# -- room for so many -----------------------------------------------------------------------


def test_rows_of_the_largest_gain_go_first(path):
    desk = QueueExpert(path, name="desk", capacity=2, classes=["ill", "well"])
    with pytest.warns(CapacityWarning, match="its 2 open cases .* 3 of 5 new rows were not") as w:
        desk.answers(list("abcde"), explanation=reasons([0.1, 0.5, 0.2, 0.9, 0.2]))
    assert len(w) == 1
    listed = desk._table.listed(only_open=True)
    assert [case.content["text"] for case in listed] == ["d", "b"]
    assert [case.why.reason for case in listed] == [f"Handed to desk: reason {i}" for i in (3, 1)]
    desk.import_answers({listed[0].case: "ill"})
    with pytest.warns(CapacityWarning, match="2 of 3 new rows"):
        assert desk.answers(list("abcde")).tolist() == [None, None, None, "ill", None]
    assert [c.content["text"] for c in desk._table.listed(only_open=True)] == ["b", "a"]


def test_by_another_name_the_gain_of_the_route_counts(path):
    desk = QueueExpert(path, name="people", capacity=1)
    why = reasons([0.1, 0.5], name="nurse")
    why["score_doctor"] = [0.2, 0.3]
    why["route"] = ["nurse", "doctor"]
    with pytest.warns(CapacityWarning):
        desk.answers(["a", "b"], explanation=why)
    assert desk._table.listed(only_open=True)[0].content["text"] == "b"


def test_without_room_nothing_is_put_on_the_list(path):
    desk = QueueExpert(path, capacity=0)
    with pytest.warns(CapacityWarning, match="3 of 3 new rows"):
        assert desk.answers(TEXTS).tolist() == [None] * 3
    assert desk.cases().empty


PROCESS = """
import sys, warnings
from skdefer.experts import QueueExpert
from skdefer.experts._queue._cases import Why

warnings.simplefilter("ignore")
desk = QueueExpert(sys.argv[1], name="desk", capacity=int(sys.argv[2]))
print("ready", flush=True)
for i in range(60):
    desk.answers([f"text {i}", f"text {i + 1}"])
"""


def test_a_row_that_another_process_was_faster_with_takes_no_room(desk):
    add = {"capacity": 2, "labels": None}
    assert desk._table.add([b"a"], [{"text": "a"}], [Why()], **add) == 0
    rows, contents = [b"a", b"b", b"c"], [{"text": text} for text in "abc"]
    assert desk._table.add(rows, contents, [Why()] * 3, **add) == 1
    assert [case.content["text"] for case in desk._table.listed(only_open=True)] == ["a", "b"]


def test_a_reason_alone_is_an_explanation(desk):
    desk.answers(["a"], explanation=pd.DataFrame({"reason": ["unsure"]}))
    assert desk._table.listed(only_open=True)[0].why == Why(reason="unsure")


def test_processes_share_a_list(path):
    desk = QueueExpert(path, name="desk", capacity=40)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", PROCESS, path, "40"], **pipes) as process:
        process.stdout.readline()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CapacityWarning)
            for i in range(60):
                desk.answers([f"text {i}", f"text {i + 1}"])
        error = process.communicate(timeout=120)[1]
    assert process.returncode == 0, error.decode()
    texts = [case.content["text"] for case in desk._table.listed(only_open=True)]
    assert len(texts) == len(set(texts)) == 40


# -- what people see, and what they must not ------------------------------------------------


def test_columns_limit_what_is_stored(path):
    X = pd.DataFrame({"name": ["Ann Example", "Bob Sample"], "age": [61, 61], "sex": ["f", "f"]})
    desk = QueueExpert(path, columns=["age", "sex"])
    queued(desk, X)
    assert len(desk.cases()) == 1, "people would see the same twice"
    assert desk._table.listed(only_open=True)[0].content == {"age": 61, "sex": "f"}
    desk.store.path.with_suffix(".sqlite-wal")
    stored = b"".join(f.read_bytes() for f in path.parent.iterdir())
    assert b"61" in stored
    assert b"Example" not in stored
    with pytest.raises(ValueError, match=r"columns has \['sex'\], which X lacks; it has \['age'\]"):
        desk.answers(X[["age"]])
    numbers = QueueExpert(path, name="n", columns=["x1"])
    queued(numbers, ROWS)
    assert [c.content for c in numbers._table.listed(only_open=True)] == [{"x1": -2.0}, {"x1": 3.0}]


def read_csv(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def test_the_model_is_shown_only_on_request(desk, path, tmp_path):
    queued(desk, explanation=reasons([3, 2, 1]))
    assert desk.export_csv(tmp_path / "a.csv") == 3
    head, first, *_ = read_csv(tmp_path / "a.csv")
    assert head == ["case", "text", "route", "reason", "answer"]
    assert first[1:] == ["fever", "desk", "Handed to desk: reason 0", ""]
    desk.export_label_studio(tmp_path / "a.json")
    for task in json.loads((tmp_path / "a.json").read_text()):
        assert list(task) == ["data"]
        assert set(task["data"]) == {"case", "text", "reason", "route"}
    open_desk = QueueExpert(path, name="desk", show_model_answer=True)
    open_desk.export_csv(tmp_path / "b.csv")
    table = pd.read_csv(tmp_path / "b.csv")
    assert table["model_answer"].tolist() == ["well"] * 3
    assert table["model_confidence"].tolist() == [0.5, 0.6, 0.7]


def test_an_export_is_not_written_over(desk, tmp_path):
    queued(desk)
    for export in (desk.export_csv, desk.export_label_studio):
        export(tmp_path / "cases")
        before = (tmp_path / "cases").read_bytes()
        with pytest.raises(FileExistsError, match="is there already, and may hold answers"):
            export(tmp_path / "cases")
        assert (tmp_path / "cases").read_bytes() == before
        (tmp_path / "cases").unlink()


def test_an_export_has_the_open_cases(desk, tmp_path):
    a, b, c = queued(desk)
    desk.import_answers({a: "ill"})
    desk.withdraw([b])
    assert desk.export_csv(tmp_path / "open.csv") == 1
    assert desk.export_csv(tmp_path / "all.csv", only_open=False) == 2
    assert [line[0] for line in read_csv(tmp_path / "all.csv")] == ["case", a, c]


def test_columns_that_share_a_name_with_a_fact(desk, tmp_path):
    X = pd.DataFrame({"answer": ["yes"], "case": [7], "=age": [61], "reason": [None]})
    queued(desk, X)
    desk.export_csv(tmp_path / "a.csv")
    head, line = read_csv(tmp_path / "a.csv")
    assert head[:5] == ["case", "X.answer", "X.case", "'=age", "X.reason"]
    assert line[1:5] == ["yes", "7", "61", ""]
    assert head[-1] == "answer"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\uff1d1", "'=1"])
def test_no_text_runs_as_a_formula(desk, tmp_path, text):
    queued(desk, [text])
    desk.export_csv(tmp_path / "a.csv")
    assert read_csv(tmp_path / "a.csv")[1][1] == "'" + text


def test_numbers_are_left_numbers(desk, tmp_path):
    queued(desk, np.array([[-1.5, 2.0]]))
    desk.export_csv(tmp_path / "a.csv")
    assert read_csv(tmp_path / "a.csv")[1][1:3] == ["-1.5", "2.0"]


anything = st.text(max_size=20) | st.text(alphabet="=+-@'\";,\t\r\n\0é\ud800€ a1", max_size=12)
anything = anything.filter(str.strip)  # blank ones are put on no list


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(anything, min_size=1, max_size=4, unique=True))
def test_odd_texts_come_through_a_csv_file(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("queue")
    desk = QueueExpert(AnswerStore(), classes=["no", "yes"])
    queued(desk, texts)
    desk.export_csv(folder / "a.csv")
    lines = read_csv(folder / "a.csv")[1:]
    shown = [line[1].removeprefix("'") for line in lines]
    readable = [t.replace("\0", "\ufffd").encode(errors="replace").decode() for t in texts]
    assert shown == readable
    with open(folder / "b.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["case", "text", "answer"], *([*x[:2], "yes"] for x in lines)])
    assert desk.import_csv(folder / "b.csv").n_imported == len(texts)
    assert desk.answers(texts).tolist() == ["yes"] * len(texts)


labels = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(max_examples=60, deadline=None)
@given(
    classes=st.lists(labels.filter(str.strip), min_size=2, max_size=4, unique_by=str.strip)
    | st.lists(st.integers(-5, 5), min_size=2, max_size=4, unique=True)
    | st.lists(st.floats(-5, 5).filter(bool), min_size=2, max_size=4, unique=True),
    separator=st.sampled_from(",;\t"),
)
def test_every_label_comes_back_as_it_was(tmp_path_factory, classes, separator):
    folder = tmp_path_factory.mktemp("queue")
    desk = QueueExpert(AnswerStore(), classes=classes)
    texts = [f"text {i}" for i in range(len(classes))]
    cases = queued(desk, texts)
    with open(folder / "a.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerows([["case", "answer"], *zip(cases, classes, strict=True)])
    assert desk.import_csv(folder / "a.csv").n_imported == len(classes)
    found = desk.answers(texts).tolist()
    assert found == classes
    assert list(map(type, found)) == list(map(type, classes))


# -- what comes back --------------------------------------------------------------------------


def filled(desk, path, answers, **how):
    """Export, fill in and save as a spreadsheet program might."""
    desk.export_csv(path)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table["answer"] = answers
    path.write_bytes(table.to_csv(index=False, sep=how.get("sep", ",")).encode(how["encoding"]))


@pytest.mark.parametrize(
    "how",
    [
        {"encoding": "utf-8"},
        {"encoding": "utf-8-sig", "sep": ";"},
        {"encoding": "utf-16", "sep": "\t"},
    ],
    ids=lambda how: how["encoding"],
)
def test_a_sheet_as_programs_save_it(desk, tmp_path, how):
    queued(desk, ["naïve; text, with\nlines", "b", "c", "d"])
    filled(desk, tmp_path / "a.csv", ["ill", " Well ", "", '"ILL".'], **how)
    summary = desk.import_csv(tmp_path / "a.csv")
    assert (summary.n_imported, summary.n_blank) == (3, 1)
    assert desk.answers(["naïve; text, with\nlines", "b", "c", "d"]).tolist() == [
        *("ill", "well", None, "ill")
    ]


@pytest.mark.parametrize(
    ("classes", "written", "meant"),
    [
        ([0, 1], ["1", "0.0", "1.0"], [1, 0, 1]),
        ([False, True], ["TRUE", "false", "1"], [True, False, True]),
        (["007", "7"], ["007", "7", "'007"], ["007", "7", "007"]),
        (["None", "nan"], ["None", "nan", "NaN"], ["None", "nan", "nan"]),
        (["=a", "-b"], ["=a", "'=a", "'-b"], ["=a", "=a", "-b"]),
        ([0.5, 1.5], ["0.5", "1.50", ".5"], [0.5, 1.5, 0.5]),
    ],
)
def test_labels_as_sheets_write_them(path, tmp_path, classes, written, meant):
    desk = QueueExpert(path, classes=classes)
    queued(desk)
    filled(desk, tmp_path / "a.csv", written, encoding="utf-8")
    assert desk.import_csv(tmp_path / "a.csv").n_imported == 3
    found = desk.answers(TEXTS).tolist()
    assert found == meant
    assert {type(label) for label in found} == {type(classes[0])}


@pytest.mark.parametrize("mark", ["", "\ufeff", "\ufeff\ufeff", "\ufeff\n\ufeff"])
@pytest.mark.parametrize("head", ["Case,Answer", "CASE , answer", '"case","ANSWER"'])
def test_heads_as_programs_write_them(desk, tmp_path, mark, head):
    a, *_ = queued(desk)
    (tmp_path / "a.csv").write_bytes(f"{mark}{head}\n{a},ill\n".encode())
    assert desk.import_csv(tmp_path / "a.csv").n_imported == 1


def test_a_column_that_differs_by_capitals_is_not_the_answer(desk, tmp_path):
    a, _ = queued(desk, pd.DataFrame({"Answer": ["well", "well"], "age": [61, 45]}))
    filled(desk, tmp_path / "a.csv", ["ill", "ill"], encoding="utf-8")
    assert "X.Answer" in read_csv(tmp_path / "a.csv")[0]
    assert desk.import_csv(tmp_path / "a.csv").n_imported == 2
    (tmp_path / "b.csv").write_text(f"Answer,case,answer\nwell,{a},ill\n")
    assert desk.import_csv(tmp_path / "b.csv").n_unchanged == 1


def test_what_can_not_be_taken_is_told_in_one_warning(desk):
    a, b, c = queued(desk)
    with pytest.warns(
        CaseImportWarning,
        match=r"The list of 'desk': 3 answers came, 1 blanks; 1 for unknown cases, such as "
        r"\['c9'\], left out; 1 that are none of the classes, such as 'unsure', left out "
        r"\(the summary has all\)\.$",
    ) as caught:
        summary = desk.import_answers({a: "ill", b: "unsure", c: None, "c9": "ill"})
    assert len(caught) == 1
    assert (summary.n_imported, summary.n_blank) == (1, 1)
    assert (summary.unknown, summary.out_of_labels) == (["c9"], {b: "unsure"})
    assert desk.cases()["state"].tolist() == ["answered", "open", "open"]


def test_two_answers_to_one_case_leave_it_open(desk, tmp_path):
    a, b, _ = queued(desk)
    (tmp_path / "a.csv").write_text(f"case,answer\n{a},ill\n{b},ill\n{a},well\n{b},ILL\n{b},\n")
    with pytest.warns(
        CaseImportWarning, match="came, 1 blanks; different ones for 1 cases.*else the case stays"
    ) as caught:
        summary = desk.import_csv(tmp_path / "a.csv")
    assert "replace" not in str(caught[0].message), "nothing that was imported before is meant"
    assert (summary.conflicting, summary.not_replaced) == ({a: ["ill", "well"]}, [])
    assert desk.answers(TEXTS).tolist() == [None, "ill", None]


def test_an_answer_stands_unless_it_is_to_be_replaced(desk):
    a, *_ = queued(desk)
    desk.import_answers({a: "ill"})
    before = desk.cases().loc[a, "answered"]
    again = desk.import_answers({a: "ill"})
    assert (again.n_imported, again.n_unchanged) == (0, 1)
    assert desk.cases().loc[a, "answered"] == before
    with pytest.warns(CaseImportWarning) as caught:
        summary = desk.import_answers({a: "well"})
    assert str(caught[0].message) == (
        "The list of 'desk': 1 answers came, 0 blanks; other ones for 1 cases that have an answer "
        f"already, such as [('{a}', ['ill', 'well'])], left out: to correct answers, import them "
        "with replace=True (the summary has all)."
    )
    assert summary.conflicting == {a: ["ill", "well"]}
    assert summary.not_replaced == [a]
    assert desk.look_up(TEXTS[:1]).tolist() == ["ill"]
    assert desk.import_answers({a: "well"}, replace=True).n_imported == 1
    assert desk.look_up(TEXTS[:1]).tolist() == ["well"]
    assert desk.import_answers({a: ""}, replace=True).n_blank == 1
    assert desk.look_up(TEXTS[:1]).tolist() == ["well"], "a blank takes nothing back"


@pytest.mark.parametrize(
    "pack",
    [
        dict,
        pd.Series,
        lambda answers: pd.DataFrame({"answer": pd.Series(answers)}),
        lambda answers: pd.DataFrame({"case": list(answers), "answer": list(answers.values())}),
    ],
    ids=["dict", "Series", "indexed frame", "frame"],
)
def test_answers_from_memory(desk, pack):
    a, b, c = queued(desk)
    assert desk.import_answers(pack({a: "ill", b: np.nan, c: "well"})).n_imported == 2
    assert desk.look_up(TEXTS).tolist() == ["ill", None, "well"]


@pytest.mark.parametrize("answers", [["ill"], "ill", pd.DataFrame({"a": [1]}).to_numpy()])
def test_answers_of_no_case(desk, answers):
    queued(desk)
    with pytest.raises(TypeError, match="expected a mapping of cases to answers"):
        desk.import_answers(answers)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"has the columns \[\]; expected 'case' and 'answer'"),
        (b"\n\n", "expected 'case' and 'answer'"),
        (b"case,answr\nc1,ill\n", r"has the columns \['case', 'answr'\]"),
        (b'case,answer\n"c1,ill\n', "can't be read as a table .*Save it as"),
        (b"PK\x03\x04\xff\xfe\x9c", "is a workbook .*save it as CSV"),
        (b"PK\x03\x04case,answer\n", "is a workbook .*save it as CSV"),
        (b"case,answer\nc1,\x9c\n", "is not in UTF-8"),
    ],
)
def test_files_that_are_no_sheet(desk, tmp_path, content, message):
    queued(desk)
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        desk.import_csv(tmp_path / "a.csv")


def test_nothing_is_half_imported(desk):
    a, b, c = queued(desk)
    with desk.store.transaction(write=True) as connection:
        connection.execute(
            f"CREATE TRIGGER power_cut BEFORE UPDATE ON cases WHEN NEW.\"case\" = '{c}' "
            "BEGIN SELECT RAISE(ABORT, 'power cut'); END"
        )
    with pytest.raises(IntegrityError, match="power cut"):
        desk.import_answers({a: "ill", b: "ill", c: "ill"})
    assert desk.look_up(TEXTS).tolist() == [None] * 3
    with desk.store.transaction(write=True) as connection:
        connection.execute("DROP TRIGGER power_cut")
    assert desk.import_answers({a: "ill", b: "ill", c: "ill"}).n_imported == 3


def test_what_is_withdrawn_is_forgotten(desk, tmp_path):
    a, b, _ = queued(desk)
    desk.import_answers({a: "ill"})
    assert desk.withdraw([a, b]) == 1
    assert desk.withdraw(b) == 0
    with pytest.warns(CaseImportWarning, match=r"1 unknown cases were left out, such as \['c0'\]"):
        desk.withdraw(["c0"])
    assert desk.cases()["state"].tolist() == ["answered", "withdrawn", "open"]
    assert desk.answers(TEXTS).tolist() == ["ill", None, None]
    assert desk.cases()["state"].tolist() == ["answered", "withdrawn", "open"]
    with desk.store.transaction(write=False) as connection:
        contents = connection.execute("SELECT content IS NULL FROM cases ORDER BY place").fetchall()
    assert contents == [(0,), (1,), (0,)]
    desk.import_answers({b: "well"})
    assert desk.look_up(TEXTS).tolist() == ["ill", "well", None], "an answer that came counts"


def test_what_became_of_each_case(desk):
    a, *_ = queued(desk, explanation=reasons([3, 2, 1]))
    desk.import_answers({a: "ill"})
    table = desk.cases()
    assert table.index.name == "case"
    assert table["answer"].tolist() == ["ill", None, None]
    assert table["model_answer"].tolist() == ["well"] * 3
    assert table["waited"].notna().tolist() == [True, False, False]
    assert (table["answered"] - table["deferred"]).equals(table["waited"])
    assert str(table["deferred"].dt.tz) == "UTC"
    empty = QueueExpert(AnswerStore()).cases()
    assert list(empty.columns) == list(table.columns)
    assert empty.dtypes["waited"].kind == "m"


# -- Label Studio ---------------------------------------------------------------------------------


def test_tasks_and_the_interface_fit_together(path, tmp_path):
    classes = ['a "quoted" <class>', "b & c"]
    desk = QueueExpert(path, name="desk", classes=classes, show_model_answer=True)
    why = reasons([2, 1])
    why["model_answer"] = classes[1]
    X = pd.DataFrame({"age": [61, 45], "note": ["two\nlines", None]})
    (a, _) = queued(desk, X, explanation=why)
    assert desk.export_label_studio(tmp_path / "tasks.json") == 2
    task = json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))[0]
    assert task["data"] == {
        "case": a,
        "text": "age: 61\nnote: two\nlines",
        "reason": "Handed to desk: reason 0",
        "route": "desk",
    }
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("skdefer", 0.5)
    (region,) = prediction["result"]
    config = ET.fromstring(desk.label_studio_config())
    choices = config.find("Choices")
    assert [c.get("value") for c in choices] == classes
    assert region["value"]["choices"] == [classes[1]]
    assert region["type"] == "choices"
    assert region["from_name"] == choices.get("name")
    assert region["to_name"] == choices.get("toName") == config.find("Text").get("name")
    for tag in ("Text", "Header"):  # they show data that each task has
        assert config.find(tag).get("value").removeprefix("$") in task["data"]


def annotation(choices, at="2026-03-01T10:00:00.000000Z", **facts):
    region = {
        "value": {"choices": choices},
        "id": "Dx_aB91ISN",
        "from_name": "answer",
        "to_name": "text",
        "type": "choices",
        "origin": "manual",
    }
    return {
        "id": 1,
        "completed_by": 4,
        "result": [region] if choices else [],
        "was_cancelled": False,
        "created_at": "2026-03-01T09:59:00.000000Z",
        "updated_at": at,
        "lead_time": 12.5,
        **facts,
    }


def exported(case, *annotations):
    return {"id": 7, "data": {"case": case, "text": "..."}, "annotations": list(annotations)}


def test_an_export_of_label_studio(desk, tmp_path):
    a, b, c = queued(desk)
    tasks = [
        exported(a, annotation(["ill"])),
        exported(b, annotation(["ill"], was_cancelled=True)),
        exported(c),
    ]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    summary = desk.import_label_studio(tmp_path / "export.json")
    assert (summary.n_imported, summary.n_blank) == (1, 2)
    row = desk.cases().loc[a]
    assert (row["answer"], row["answered_by"], row["seconds"]) == ("ill", "4", 12.5)
    assert row["answered"] == pd.Timestamp("2026-03-01T10:00", tz="UTC")


def test_a_short_export_of_label_studio(desk, tmp_path):
    a, b, c = queued(desk)
    facts = {"text": "...", "id": 7, "annotator": 4, "annotation_id": 1, "lead_time": 3}
    facts["updated_at"] = "2026-03-01T10:00:00.000000Z"
    tasks = [
        {"case": a, "answer": "well", **facts},
        {"case": b, "answer": {"choices": ["well", "ill"]}, **facts},
        {"case": c, **facts},
    ]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    with pytest.warns(CaseImportWarning, match="1 that are none of the classes"):
        summary = desk.import_label_studio(tmp_path / "export.json")
    assert summary.out_of_labels == {b: ["well", "ill"]}
    assert desk.look_up(TEXTS).tolist() == ["well", None, None]


def test_the_newest_of_several_annotations_stands(desk, tmp_path):
    a, b, c, d = queued(desk, [*TEXTS, "rash"])
    early, late = "2026-03-01T10:00:00Z", "2026-03-02T08:00:00+02:00"
    tasks = [
        exported(a, annotation(["ill"], late), annotation(["well"], early)),
        exported(b, annotation(["ill"], early), annotation(["well"], early)),
        exported(c, annotation(["well"], early), annotation(["well"], late)),
        exported(d, annotation(["ill"], None, created_at=None), annotation(["well"], late)),
    ]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    with pytest.warns(CaseImportWarning, match="different ones for 3 cases"):
        summary = desk.import_label_studio(tmp_path / "export.json")
    assert summary.conflicting == {a: ["well", "ill"], b: ["ill", "well"], d: ["ill", "well"]}
    assert desk.look_up([*TEXTS, "rash"]).tolist() == ["ill", None, "well", None]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("case,answer", "is no JSON .*expected what Label Studio exports"),
        ('{"case": "c1"}', "is JSON, but no list of objects"),
        ("[1]", "is JSON, but no list of objects"),
        ('[{"case": "c1"}, {"data": {"text": "a"}}]', "has no 'case' in its object 1"),
    ],
)
def test_files_that_label_studio_did_not_write(desk, tmp_path, content, message):
    queued(desk)
    (tmp_path / "export.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        desk.import_label_studio(tmp_path / "export.json")


def test_annotations_by_another_control_are_told(desk, tmp_path):
    a, b, c = queued(desk)
    other = annotation(["ill"])
    other["result"][0]["from_name"] = "triage"
    tasks = [exported(a, other, other), exported(b, annotation(["ill"])), exported(c)]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    with pytest.warns(
        CaseImportWarning,
        match="1 answers came, 3 blanks. 2 annotations have no control named 'answer'; found "
        "'triage'. Set",
    ):
        assert desk.import_label_studio(tmp_path / "export.json").n_imported == 1
    short = [{"case": a, "triage": "ill", "id": 7, "annotator": 4}, {"case": b, "answer": "ill"}]
    (tmp_path / "short.json").write_text(json.dumps(short))
    with pytest.warns(CaseImportWarning, match="1 annotations have no control.*found 'triage'"):
        desk.import_label_studio(tmp_path / "short.json")


def test_a_file_without_any_answer_is_told(desk, tmp_path):
    cases = queued(desk)
    (tmp_path / "export.json").write_text(json.dumps([exported(case) for case in cases]))
    with pytest.warns(CaseImportWarning, match="0 answers came, 3 blanks. Nothing is annotated."):
        assert desk.import_label_studio(tmp_path / "export.json").n_blank == 3
    desk.export_csv(tmp_path / "work.csv")
    with pytest.warns(CaseImportWarning, match="0 answers came, 3 blanks. Nothing is filled in."):
        desk.import_csv(tmp_path / "work.csv")


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(anything, min_size=1, max_size=4, unique=True))
def test_odd_texts_come_through_label_studio(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("queue")
    desk = QueueExpert(AnswerStore(), classes=[0, 1])
    queued(desk, texts)
    desk.export_label_studio(folder / "tasks.json")
    tasks = json.loads((folder / "tasks.json").read_bytes())
    assert [t["data"]["text"] for t in tasks] == [
        t.encode(errors="replace").decode() for t in texts
    ]
    done = [exported(t["data"]["case"], annotation(["1"])) for t in tasks]
    (folder / "export.json").write_text(json.dumps(done))
    assert desk.import_label_studio(folder / "export.json").n_imported == len(texts)
    assert desk.answers(texts).tolist() == [1] * len(texts)


# -- within an estimator ----------------------------------------------------------------------


X, Y = make_data(200)
FRAME = pd.DataFrame(X, columns=list("abcd"))
FIT, NEW = FRAME[:120], FRAME[120:]


def served(desk, **params):
    params = {"on_missing": "model", "cost": 0.05, **params}
    clf = DeferralClassifier(LogisticRegression(), desk, random_state=0, **params)
    return clf.fit(FIT, Y[:120], expert_predictions=Y[:120])


def test_today_the_model_answers_and_tomorrow_the_people(path, tmp_path):
    desk = QueueExpert(path, name="desk")
    clf = served(desk)
    assert desk.cases().empty, "a record is at hand, so fit asks nobody"
    defer = clf.predict_defer(NEW)
    assert 3 < defer.sum() < len(NEW)
    labels, route = clf.predict(NEW, return_route=True)
    np.testing.assert_array_equal(labels, clf.predict_model(NEW))
    assert not route.any()
    shown = clf.explain_defer(NEW)[defer]
    cases = desk.cases()
    assert sorted(cases["reason"]) == sorted(shown["reason"])
    assert sorted(cases["model_confidence"]) == pytest.approx(sorted(shown["model_confidence"]))

    desk.export_csv(tmp_path / "work.csv")
    work = pd.read_csv(tmp_path / "work.csv")
    truth = {tuple(row): label for row, label in zip(X.round(9), Y, strict=True)}
    work["answer"] = [truth[tuple(row)] for row in work[list("abcd")].to_numpy().round(9)]
    work.to_csv(tmp_path / "done.csv", index=False)
    # The object that the user holds knows the classes by the list alone.
    assert desk.import_csv(tmp_path / "done.csv").n_imported == defer.sum()
    labels, route = clf.predict(NEW, return_route=True)
    np.testing.assert_array_equal(route > 0, defer)
    np.testing.assert_array_equal(labels[defer], Y[120:][defer])
    assert len(desk.cases()) == defer.sum()

    record = desk.look_up(FRAME)
    assert (record[120:][defer] == Y[120:][defer]).all()
    again = clone(clf).fit(FRAME, Y, expert_predictions=record)
    assert again.experts_[0].store is desk.store
    assert int(again.profiles_[0].n_context_.sum()) == defer.sum()


def test_fit_puts_rows_on_the_list_only_within_a_limit(path):
    desk = QueueExpert(path, name="desk")
    clf = DeferralClassifier(LogisticRegression(), desk, random_state=0)
    with pytest.raises(ValueError, match="'desk' costs money.*Set max_queries, the most rows; or"):
        clf.fit(FIT, Y[:120])
    few = QueueExpert(path, name="desk", max_queries=15)
    with pytest.raises(
        ValueError,
        match="gave no answer at all.*The list of 'desk' has 15 open cases: have them answered, "
        "import the answers and fit again. Or pass",
    ) as caught:
        clone(clf).set_params(experts=few).fit(FIT, Y[:120])
    assert "IndexExpert" not in str(caught.value)
    both = clone(clf).set_params(experts=[few, ("other", lambda X: ["cat"] * len(X))])
    with pytest.warns(SilentExpertWarning, match="has 15 open cases: have them answered"):
        both.fit(FIT, Y[:120])
    cases = few.cases()
    assert len(cases) == 15
    few.import_answers(dict.fromkeys(cases.index, "cat"))
    fitted = clone(clf).set_params(experts=few).fit(FIT, Y[:120])
    assert int(fitted.profiles_[0].n_context_.sum()) == 15
    assert len(few.cases()) == 15


@pytest.mark.parametrize("record", [None, Y[:120]], ids=["none", "record"])
def test_a_wrong_name_in_columns_shows_before_anything_is_fitted(path, record):
    desk = QueueExpert(path, name="desk", columns=["a", "z"], max_queries=5)
    clf = DeferralClassifier(Untouched(), desk)
    with pytest.raises(ValueError, match=r"columns has \['z'\], which X lacks"):
        clf.fit(FIT, Y[:120], expert_predictions=record)


class Untouched(LogisticRegression):
    def fit(self, X, y):
        raise AssertionError("fitted in vain")


def test_what_the_list_refuses_stands_alone(path):
    desk = QueueExpert(path, name="desk", columns=["a"])
    clf = served(desk)
    clf.experts_[0].columns = ["z"]
    with pytest.raises(
        ExpertAnswerError, match=r"^columns has \['z'\], which X lacks.*x1, \.\.\.$"
    ):
        clf.predict(NEW)


def test_answers_are_missing_until_they_come(path):
    desk = QueueExpert(path, name="desk")
    with pytest.raises(UnansweredError, match="'desk': "):
        served(desk, on_missing="raise").predict(NEW)
    assert len(desk.cases()) > 3


def test_the_list_holds_its_capacity_under_any_policy(path, tmp_path):
    desk = QueueExpert(path, name="desk", capacity=3)
    clf = served(desk, memory=str(tmp_path / "memory"))  # fit warns of no capacity
    with pytest.warns(CapacityWarning, match="3 open cases"):
        clf.predict(NEW)
    score = clf.deferral_score(NEW)[:, 0]
    best = np.sort(score)[-3:]
    kept = desk.cases()
    assert len(kept) == 3
    shown = clf.explain_defer(NEW)
    assert set(kept["reason"]) == set(shown["reason"][shown["score_desk"] >= best[0]])


def test_with_experts_tells_the_list_its_classes(path, tmp_path):
    clf = served(QueueExpert(path, name="desk"))
    night = QueueExpert(path, name="night")
    other = clf.with_experts(night, profiles=clf.profiles_)
    other.predict(NEW)
    assert QueueExpert(path, name="night").label_studio_config().count("<Choice ") == 3


def test_labels_of_an_earlier_fit_are_missing(path):
    desk = QueueExpert(path, name="desk", classes=["cat", "owl"])
    clf = served(desk)
    rows = NEW[clf.predict_defer(NEW)]
    queued(desk, rows)
    desk.import_answers(dict.fromkeys(desk.cases().index, "owl"))
    with pytest.warns(OutOfLabelsWarning, match="'owl'"):
        labels = clf.predict(rows)
    np.testing.assert_array_equal(labels, clf.predict_model(rows))


def test_sheets_of_ten_megabytes(desk, tmp_path):
    long = "word " * 400_000
    queued(desk, [long, "b"])
    filled(desk, tmp_path / "a.csv", ["ill", "well"], encoding="utf-8")
    assert desk.import_csv(tmp_path / "a.csv").n_imported == 2
    assert io.StringIO(long).read() in (tmp_path / "a.csv").read_text(encoding="utf-8")
