"""Evaluate: the report of a user's table is right, and bad input gets one clear line."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skdefer.cli import main
from skdefer.cli._table import read_frame
from tests.cli.conftest import make_table


def flat(out):
    """The output without its line breaks."""
    return " ".join(out.split())


def strategies(out):
    """The table of the output, by strategy."""
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("---")) + 1
    stop = start + lines[start:].index("")
    return {re.split(r"\s{3,}", line)[0]: line for line in lines[start:stop]}


def test_prints_the_report_and_a_conclusion(evaluate, table):
    code, out, err = evaluate(
        table, "--group", "patient", "--cost", "0.1", experts=["dr a", "dr b"]
    )
    assert code == 0
    assert err == ""
    assert max(map(len, out.splitlines())) < 100
    found = strategies(out)
    assert {"model alone", "dr a alone", "system", "oracle"} <= set(found)
    right = np.where(table["dr a"].isna(), False, table["dr a"] == table["truth"])
    deferred = right.sum() / table["dr a"].notna().sum()
    assert f"{100 * deferred:.1f} %" in found["dr a alone"]
    assert "150 rows, target 'truth' with 2 classes" in out
    assert "2 numeric, 1 categorical columns" in flat(out)
    assert "2-fold cross-validation, rows of one 'patient' kept together" in flat(out)
    assert "Deferral pays: handing" in out


def test_a_good_expert_pays_and_a_dear_one_does_not(evaluate, table):
    assert "Deferral pays" in evaluate(table, "--cost", "0.05")[1]
    out = evaluate(table, "--cost", "2")[1]
    assert "Deferral does not pay here: no expert's answer" in out
    assert "hands nothing over" in flat(out)


def test_an_expert_who_should_answer_everything(evaluate, table):
    table["dr c"] = table["truth"]
    table.loc[:4, "dr c"] = "well"
    table["marker"] = 0.0
    out = evaluate(table, experts=["dr c"])[1]
    assert "Giving every row to dr c would cost" in flat(out)
    assert "Deferral pays" in out or "ask dr c about everything" in flat(out)


def test_report_as_csv(evaluate, table):
    code, out, _ = evaluate(table, "--output", "report.csv", experts=["dr a", "dr b"])
    assert code == 0
    assert "The report is in report.csv" in out
    report = pd.read_csv("report.csv", index_col="strategy")
    assert {"model alone", "dr a alone", "dr b alone", "system"} <= set(report.index)
    row = report.loc["dr b alone"]
    assert row["accuracy"] == pytest.approx((table["dr b"] == table["truth"]).mean())
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]


def test_report_as_json(evaluate, table):
    evaluate(table, "--output", "report.json", "--cost", "dr a=0.2", "--budget", "0.1")
    content = json.loads(Path("report.json").read_text())
    assert content["conclusion"]
    assert content["settings"]["budget"] == 0.1
    report = pd.DataFrame(content["report"]).set_index("strategy")
    assert report.loc["system", "deferral_rate"] <= 0.1
    alone = report.loc["dr a alone"]
    paid = 0.2 * table["dr a"].notna().mean()
    assert alone["cost"] == pytest.approx(1 - alone["accuracy"] + paid)


def test_the_same_seed_gives_the_same_answer(evaluate, table):
    one, same, other = (evaluate(table, "--seed", seed)[1] for seed in "334")
    assert one == same != other


def test_error_cost_scales_the_cost(evaluate, table):
    evaluate(table, "--output", "one.csv", "--cost", "0.1")
    evaluate(table, "--output", "ten.csv", "--cost", "1", "--error-cost", "10")
    one, ten = (pd.read_csv(f, index_col="strategy") for f in ("one.csv", "ten.csv"))
    np.testing.assert_allclose(ten["cost"], 10 * one["cost"])
    np.testing.assert_allclose(ten["accuracy"], one["accuracy"])


def test_a_price_for_all_but_one(evaluate, table):
    experts = ["dr a", "dr b"]
    out = evaluate(table, "--cost", "0.1", "--cost", "dr b=0.3", experts=experts)[1]
    assert "dr a 0.1, dr b 0.3" in out


def test_draws_a_figure(evaluate, table, tmp_path):
    code, out, _ = evaluate(table, "--figure", "curve.png")
    assert code == 0
    assert "curve.png" in out
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_parquet_and_semicolons_give_what_a_csv_gives(evaluate, table):
    expected = evaluate(table)[1]
    assert evaluate(table, file="cases.parquet")[1].replace("parquet", "csv") == expected
    table.to_csv("other.tsv", index=False, sep="\t")
    assert evaluate(table, file="other.tsv")[1].replace("other.tsv", "cases.csv") == expected
    table.to_csv("german.csv", index=False, sep=";", decimal=",")
    german = read_frame(Path("german.csv"))
    pd.testing.assert_frame_equal(german, read_frame(Path("cases.csv")))


@pytest.mark.parametrize("model", ["logistic", "boosting"])
def test_text_and_model(evaluate, table, model):
    rng = np.random.default_rng(0)
    word = np.where(table["truth"] == "ill", "fever", "routine")
    table["note"] = [f"{w} visit {rng.integers(9**9)}" for w in word]
    table = table[["note", "age", "truth", "dr b"]]
    code, out, _ = evaluate(
        table, "--text", "note", "--model", model, "--cv", "2", experts=["dr b"]
    )
    assert code == 0
    assert "1 numeric, 1 text columns" in flat(out)
    share = float(re.split(r"\s{3,}|%", strategies(out)["model alone"])[1])
    assert share > 90


def test_numbers_as_labels_with_gaps(evaluate, table):
    table["truth"] = (table["truth"] == "ill").astype(int)
    table["dr a"] = table["dr a"].map({"ill": 1, "well": 0})  # floats, for the gaps
    code, out, err = evaluate(table)
    assert code == 0, err
    assert "Deferral pays" in out


def test_one_odd_answer_turns_a_column_into_strings(evaluate, table):
    table["truth"] = (table["truth"] == "ill").astype(int)
    table["dr a"] = table["dr a"].map({"ill": "1", "well": "0.0"}).str.replace(".0", "")
    table.loc[3, "dr a"] = "unsure"
    code, out, err = evaluate(table)
    assert code == 0, err
    assert "1 of " in err
    assert "are no label of the target, and count as wrong" in err
    assert "warning" not in err
    assert "Deferral pays" in out


def test_missing_cells_everywhere(evaluate, table):
    rng = np.random.default_rng(0)
    for column in ("age", "marker", "sex", "truth", "dr a"):
        table.loc[rng.random(len(table)) < 0.15, column] = None
    table.loc[0, "age"] = np.inf
    code, _, err = evaluate(table)
    assert code == 0
    assert "rows without a 'truth' are left out" in err


def test_an_expert_with_few_answers(evaluate, table):
    table.loc[6:, "dr a"] = None
    code, _, err = evaluate(table, experts=["dr a", "dr b"])
    assert code == 0, err


def test_an_expert_column_called_model(evaluate, table):
    code, out, err = evaluate(
        table.rename(columns={"dr a": "model"}), "--cost", "model=0.1", experts=["model"]
    )
    assert code == 0, err
    assert "model (expert) alone" in out


def test_columns_that_give_the_answer_away_are_left_out(evaluate, table):
    table.insert(0, "case_id", np.arange(len(table)) * 3 + 5)
    table["row"] = np.arange(len(table))
    table["code"] = table["truth"].map({"ill": "C50", "well": "Z00"})
    table["second look"] = table["dr a"]
    table["remark"] = [f"remark {i}" for i in range(len(table))]
    table["nothing"] = np.nan
    table["when"] = "2024-01-01"
    table["outcome"] = (table["truth"] == "ill") * 5 + table["marker"] / 100
    code, out, err = evaluate(table)
    assert code == 0
    for column in ("case_id", "row", "code", "second look", "remark", "nothing"):
        assert f"The column {column!r} is left out" in err
    assert "gives the target away" in err
    assert "copy of the answers of 'dr a'" in err
    assert "pass --text remark" in err
    assert "'outcome' alone separates the classes" in err  # suspected, and kept
    assert "'dr b' holds labels of the target" in err  # another expert, perhaps
    # age, marker, outcome; patient, sex, when, dr b
    assert "3 numeric, 4 categorical columns" in flat(out)
    _, out, err = evaluate(table, "--drop", "outcome", "--drop", "code")
    assert "outcome" not in err
    assert "code" not in err


def test_date_columns_are_left_out(evaluate, table):
    table["seen"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(table.index, unit="D")
    code, _, err = evaluate(table, file="cases.parquet")
    assert code == 0
    assert "'seen' is left out: it holds dates" in err


def expect_refusal(result, *words):
    code, out, err = result
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    error = err.splitlines()[-1]
    assert error.startswith("skdefer evaluate: error: ")
    for word in words:
        assert word in error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"file": "absent.csv_"}, ["extension", ".csv", ".parquet"]),
        ({"file": "cases.xlsx"}, ["extension '.xlsx'", ".parquet"]),
        ({"target": "trüth"}, ["--target trüth", "no such column", "'dr a'", "'truth'"]),
        ({"experts": ["dr c"]}, ["--expert dr c", "no such column", "'dr a'"]),
        ({"experts": ["dr a", "dr a"]}, ["'dr a' is both"]),
        ({"experts": ["truth"]}, ["'truth' is both --target and --expert"]),
        ({"experts": ["age"]}, ["'age' never gives a label", "['ill', 'well']"]),
    ],
)
def test_refused_roles(evaluate, table, options, words):
    expect_refusal(evaluate(table, **options), *words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--group", "clinic"], ["--group clinic", "no such column"]),
        (["--text", "note"], ["--text note", "no such column"]),
        (["--cost", "dr c=1"], ["--cost names ['dr c']", "['dr a', 'dr b']"]),
        (["--cost", "dr a=1"], ["no price for ['dr b']"]),
        (["--cost", "1", "--cost", "2"], ["twice"]),
        (["--output", "report.xlsx"], [".csv, .json"]),
        (["--output", "nowhere/report.csv"], ["no folder nowhere"]),
        (["--figure", "curve.bmp"], [".png, .pdf, .svg"]),
        (["--figure", "nowhere/curve.png"], ["no folder nowhere"]),
        (["--cv", "100"], ["too few for 100 folds"]),
    ],
)
def test_refused_options(evaluate, table, options, words):
    expect_refusal(evaluate(table, *options, experts=["dr a", "dr b"]), *words)


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("--cost", "cheap", "'cheap' is no number"),
        ("--cost", "dr a=cheap", "'cheap' is no number"),
        ("--cost", "-1", "is no price"),
        ("--cost", "nan", "is no price"),
        ("--error-cost", "0", "not above 0"),
        ("--budget", "1.5", "expected a number in [0, 1]"),
        ("--budget", "-0.1", "expected a number in [0, 1]"),
        ("--cv", "1", "expected an integer >= 2"),
        ("--seed", "x", "expected an integer >= 0"),
        ("--model", "oracle", "invalid choice"),
    ],
)
def test_arguments_that_cannot_be_read(capsys, option, value, word):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "cases.csv", "--target", "t", "--expert", "e", f"{option}={value}"])
    assert stop.value.code == 2
    assert word in capsys.readouterr().err


def test_refused_tables(evaluate, table, tmp_path):
    expect_refusal(evaluate(table.assign(truth="ill")), "one class only, ['ill']")
    expect_refusal(evaluate(table.assign(truth=None)), "no row with a 'truth'")
    expect_refusal(evaluate(table.assign(**{"dr a": None})), "never gives a label", "is empty")
    expect_refusal(evaluate(table[:0]), "no row")
    expect_refusal(evaluate(table[["truth", "dr a"]]), "No column is left")
    expect_refusal(evaluate(table[:6], "--cv", "5"), "rows, too few for 5 folds")
    expect_refusal(
        evaluate(table.assign(patient=table["truth"]), "--group", "patient"), "groups, too few"
    )
    table.loc[[1, 2], "patient"] = None
    expect_refusal(evaluate(table, "--group", "patient"), "--group patient is missing on 2 rows")


def test_a_target_of_measurements(evaluate, table):
    table["truth"] = table["dr b"] = table["marker"]
    expect_refusal(evaluate(table, experts=["dr b"]), "expected classes")


def test_a_class_in_one_group_only(evaluate):
    table = make_table(200)
    table["patient"] = [f"p{i % 40}" for i in range(200)]
    table.loc[table["patient"].isin(["p0", "p1"]), "truth"] = "rare"
    expect_refusal(evaluate(table, "--group", "patient"), "'rare' stands in too few groups")
    expect_refusal(evaluate(table, "--cv", "3", "--group", "patient"), "'rare' has 2 groups")


def test_files_that_cannot_be_read(evaluate, table, tmp_path):
    for name, content in [("empty.csv", b""), ("bad.parquet", b"no"), ("bad.csv", b"\xff\xfe\x00")]:
        (tmp_path / name).write_bytes(content)
        code = main(["evaluate", name, "--target", "t", "--expert", "e"])
        assert code == 2
    (tmp_path / "folder.csv").mkdir()
    assert main(["evaluate", "folder.csv", "--target", "t", "--expert", "e"]) == 2
    assert main(["evaluate", "absent.csv", "--target", "t", "--expert", "e"]) == 2


def test_parquet_without_pyarrow(evaluate, table, monkeypatch):
    Path("cases.pq").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    expect_refusal(evaluate(table, file="cases.pq"), "Reading cases.pq", "skdefer[parquet]")


def test_figure_without_matplotlib_is_refused_before_the_work(evaluate, table, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    expect_refusal(evaluate(table, "--figure", "curve.png"), "skdefer[plot]")
    assert evaluate(table)[0] == 0


def test_nullable_and_categorical_columns(evaluate, table):
    rng = np.random.default_rng(0)
    ill = table["truth"] == "ill"
    table["truth"] = ill.astype("Int64")
    table["dr a"] = pd.array(np.where(rng.random(len(ill)) < 0.95, ill, ~ill), dtype="Int64")
    table["sex"] = table["sex"].astype("category")
    table["smoker"] = pd.array(rng.random(len(ill)) < 0.5, dtype="boolean")
    table["age"] = table["age"].astype("Float64")
    table.loc[3:9, ["dr a", "sex", "smoker", "age"]] = pd.NA
    code, out, err = evaluate(table, "--drop", "dr b", file="cases.parquet")
    assert code == 0, err
    assert "3 numeric, 2 categorical columns" in flat(out)


def test_true_and_false_as_labels(evaluate, table):
    truth = table["truth"] == "ill"
    table["truth"] = truth
    table["dr a"] = truth.astype(object)
    table.loc[:9, "dr a"] = ~truth[:10]
    table.loc[10:15, "dr a"] = None
    code, out, err = evaluate(table, "--drop", "dr b")
    assert code == 0, err
    assert "no label" not in err
    assert "Deferral pays" in out
