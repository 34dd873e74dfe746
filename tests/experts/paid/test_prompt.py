"""Prompts and options: what is refused before anything is paid, and what a row turns into."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdefer.experts._options import Options, undress
from skdefer.experts._paid._prompt import Prompt, is_blank, read_states

TEXTS = ["good film", "a {bad} film", "odd 🎬 film"]


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("Is this spam?", "no placeholder of a row"),
        ("One of {options}?", "no placeholder of a row"),
        ("{text} {options} {options}", "2 times"),
        ("{text.__class__}", "expected a plain name"),
        ("{text[0]}", "expected a plain name"),
        ("{text!r}", "expected a plain name"),
        ("{text:>10}", "expected a plain name"),
        ("{text:{width}}", "expected a plain name"),
        ("{0}", "by name, not by position"),
        ("{}", "by name, not by position"),
        ("{ }", "by name, not by position"),
        ('{text} {"answer": 1}', "literal braces"),
        ("{text} {", "Literal braces are written {{"),
        ("{text} }", "Literal braces are written {{"),
    ],
)
def test_a_template_that_would_waste_money_is_refused(template, says):
    with pytest.raises(ValueError, match="prompt") as error:
        Prompt(template)
    assert says in str(error.value)


def test_a_template_is_a_text():
    with pytest.raises(TypeError, match="prompt is a list; expected a text"):
        Prompt(["{text}"])


def test_literal_braces_and_braces_of_rows():
    prompt = Prompt('{text} as {{"a": {text}}}')
    assert prompt.render(("{x}}",)) == '{x}} as {"a": {x}}}'


@given(st.text(), st.text(), st.text())
def test_content_is_put_in_as_it_is(before, content, after):
    def escape(text):
        return text.replace("{", "{{").replace("}", "}}")

    prompt = Prompt(f"{escape(before)}{{text}}{escape(after)}{{options}}")
    assert prompt.render((content,), "- a\n- b") == f"{before}{content}{after}- a\n- b"


@pytest.mark.parametrize(
    "X",
    [
        TEXTS,
        tuple(TEXTS),
        pd.Series(TEXTS, index=[7, 7, 9]),
        np.array(TEXTS, dtype=object),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object)[:, None],
        pd.DataFrame({"note": TEXTS}),
        pd.DataFrame({"text": TEXTS, "age": [1, 2, 3]}),
        pd.Series(TEXTS, dtype="category"),
    ],
    ids=["list", "tuple", "series", "objects", "strings", "column", "frame", "wide", "category"],
)
def test_one_text_is_one_question_in_any_container(X):
    assert Prompt("Q: {text}").read(X) == [(text,) for text in TEXTS]


def test_polars_reads_as_pandas_does():
    data = {"note": ["a", "b"], "age": [61, 45], "dose": [0.1, 2.0], "ill": [True, False]}
    prompt = Prompt("{note} {age} {dose} {ill} {note}")
    expected = [("a", "61", "0.1", "True"), ("b", "45", "2.0", "False")]
    assert prompt.read(pd.DataFrame(data)) == prompt.read(pl.DataFrame(data)) == expected
    assert prompt.render(expected[0]) == "a 61 0.1 True a"
    assert Prompt("{text}").read(pl.DataFrame({"note": ["a"]})) == [("a",)]
    assert Prompt("{text}").read(pl.Series(["a"])) == [("a",)]


def test_cells_read_as_a_frame_shows_them():
    X = pd.DataFrame(
        {
            "single": np.array([0.1], dtype=np.float32),
            "day": pd.to_datetime(["2020-02-01"]),
            "whole": pd.array([3], dtype="Int64"),
            "kind": pd.Categorical(["x"]),
        }
    )
    prompt = Prompt("{single}|{day}|{whole}|{kind}")
    assert prompt.render(prompt.read(X)[0]) == "0.1|2020-02-01 00:00:00|3|x"


@pytest.mark.parametrize(
    ("X", "says"),
    [
        (["a", None], r"1 of 2 texts are missing .* in rows 1,"),
        (np.array(["a", np.nan], dtype=object), "1 of 2 texts are missing"),
        ([1, 2.0], "2 of 2 rows are of type int, float"),
        ([["a"], ["b", "c"]], "of type list"),
        (np.zeros((2, 3)), r"shape \(2, 3\) and no names of columns.*DataFrame"),
        (np.zeros(2), "2 of 2 rows are of type float"),
        ("a text", "single str"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), r"\{text\}, which X lacks; its columns are"),
    ],
)
def test_rows_that_are_no_texts_are_refused(X, says):
    with pytest.raises(ValueError, match=says):
        Prompt("{text}").read(X)


def test_placeholders_are_columns():
    with pytest.raises(ValueError, match=r"reads \{age\}, but X has no columns with names"):
        Prompt("{text} {age}").read(["a"])
    with pytest.raises(ValueError, match=r"reads \{sex\}, which X lacks; its columns are"):
        Prompt("{age} {sex}").read(pd.DataFrame({"age": [1], "b": [2]}))
    missing = pd.DataFrame({"age": [1.0, None], "unread": [None, None]})
    with pytest.raises(ValueError, match="1 of 2 cells of the column 'age' are missing.*rows 1"):
        Prompt("{age}").read(missing)
    assert Prompt("{age}").read(missing[:1]) == [("1.0",)]
    with pytest.raises(ValueError, match="two columns of that name"):
        Prompt("{age}").read(pd.DataFrame([[1, 2]], columns=["age", "age"]))


def test_whole_rows_as_states():
    X = pd.DataFrame({"a": [1, 2], "b": [0.5, np.inf], "c": ["x", None]})
    assert read_states(X) == [{"a": 1, "b": 0.5, "c": "x"}, {"a": 2, "b": "inf", "c": None}]
    assert read_states(["t"]) == ["t"]
    with pytest.raises(ValueError, match="two columns of one name"):
        read_states(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_blank_rows():
    assert is_blank((" \n", ""))
    assert is_blank("")
    assert is_blank({"a": None, "b": " "})
    assert not is_blank((" ", "0"))
    assert not is_blank("x")
    assert not is_blank({"a": 0})


def test_options_come_back_as_the_very_labels():
    options = Options(np.array([0, 1]))
    assert options.labels == [0, 1]
    assert type(options.labels[0]) is int
    assert Options([True, False]).texts == ["True", "False"]
    assert Options([0.5, "x"]).labels == [0.5, "x"]


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (["a"], "1 labels; expected at least two"),
        (["1", 1], "written '1'"),
        (["a", " a"], "written 'a'"),
        (["a", ""], "empty text"),
        (["a", None], "a NoneType"),
        ("ab", "expected a list of labels"),
        (3, "expected a list of labels"),
    ],
)
def test_classes_that_can_not_be_told_apart(classes, says):
    with pytest.raises(ValueError, match=says):
        Options(classes)


def test_descriptions():
    options = Options(["no", "yes"], {"yes": "It is spam"})
    assert options.listed() == "- no\n- yes: It is spam"
    assert options.rotated(1).listed(letters=True) == "A. yes: It is spam\nB. no"
    assert Options([0, 1], {1: "ill"}).descriptions == ["", "ill"]
    with pytest.raises(ValueError, match="not among the classes"):
        Options(["no", "yes"], {"maybe": "?"})
    with pytest.raises(ValueError, match="expected a text for each"):
        Options(["no", "yes"], {"yes": 1})
    with pytest.raises(ValueError, match="expected a mapping"):
        Options(["no", "yes"], ["a", "b"])


@given(
    st.lists(st.text(min_size=1), min_size=2, unique_by=undress).filter(
        lambda texts: all(map(undress, texts))
    )
)
def test_every_option_is_found_whatever_its_dress(texts):
    options = Options(texts)
    for i, text in enumerate(texts):
        for dressed in (text, f' "{text}". ', f"**{text}**\n"):
            assert options.find(dressed) == i


def test_dress_alone_does_not_decide():
    options = Options(["Yes", "yes", "no"])
    assert (options.find("Yes"), options.find("yes"), options.find("YES")) == (0, 1, None)
    assert options.find("NO.") == 2
