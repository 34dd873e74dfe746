"""Data are found, checked and read; every refusal says what to do."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skdefer.datasets import get_data_home
from skdefer.datasets._base import DatasetFacts, check_option, one_hot, read_table
from skdefer.exceptions import DatasetNotFoundError


def facts_of(digest="0" * 64):
    return DatasetFacts(
        name="toy",
        title="a toy",
        files={"data.parquet": digest},
        source="example.org/toy",
        licence="not stated",
        citation="Nobody (2020)",
        notes="Two rows.",
    )


@pytest.fixture
def toy_home(tmp_path):
    (tmp_path / "toy").mkdir()
    frame = pd.DataFrame({"x": [1.0, 2.0], "gold": [0, 1]}, index=[7, 9])
    frame.to_parquet(tmp_path / "toy" / "data.parquet")
    return tmp_path


def test_data_home_argument_then_environment_then_home(monkeypatch, tmp_path):
    monkeypatch.setenv("SKDEFER_DATA", str(tmp_path / "env"))
    assert get_data_home(tmp_path / "given") == tmp_path / "given"
    assert get_data_home() == tmp_path / "env"
    monkeypatch.delenv("SKDEFER_DATA")
    assert get_data_home() == Path.home() / "skdefer_data"
    assert get_data_home("~/x") == Path.home() / "x"


def test_data_home_must_be_a_path():
    with pytest.raises(TypeError, match="data_home is 3; expected the path of a folder"):
        get_data_home(3)


def test_absent_file_says_what_where_whence_and_what_to_do(tmp_path):
    with pytest.raises(DatasetNotFoundError) as caught:
        read_table(facts_of(), data_home=tmp_path)
    message = str(caught.value)
    for part in (str(tmp_path / "toy" / "data.parquet"), "example.org/toy", "SKDEFER_DATA"):
        assert part in message
    assert "data_home=" in message
    assert isinstance(caught.value, FileNotFoundError)


def test_right_digest_is_read_and_rows_are_numbered_from_0(toy_home):
    digest = hashlib.sha256((toy_home / "toy" / "data.parquet").read_bytes()).hexdigest()
    table = read_table(facts_of(digest), data_home=toy_home)
    assert table.index.tolist() == [0, 1]
    assert table["gold"].tolist() == [0, 1]


def test_wrong_digest_is_refused_unless_told_otherwise(toy_home):
    with pytest.raises(ValueError, match=r"sha256 .* expected 0000.*verify=False"):
        read_table(facts_of(), data_home=toy_home)
    assert len(read_table(facts_of(), data_home=toy_home, verify=False)) == 2


def test_absent_columns_are_named(toy_home):
    with pytest.raises(ValueError, match=r"lacks the columns \['y', 'z'\]"):
        read_table(facts_of(), data_home=toy_home, verify=False, columns=["z", "x", "y"])


def test_missing_pyarrow_names_the_extra(toy_home, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"skdefer\[parquet\]"):
        read_table(facts_of(), data_home=toy_home, verify=False)


def test_description_has_source_licence_and_citation():
    text = facts_of().description
    assert all(part in text for part in ("Two rows.", "example.org", "not stated", "Nobody"))


def test_unknown_option_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"task is 'x'; expected one of \['a', None\]"):
        check_option("task", "x", ["a", None])


def test_one_hot_of_any_shape_and_of_negative_codes():
    codes = np.array([[0, 2], [-1, 1]])
    np.testing.assert_array_equal(
        one_hot(codes, 3), [[[1, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 1, 0]]]
    )
