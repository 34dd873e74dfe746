"""Demo: real data, an honest split, a table, a figure, and words that follow the numbers."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch

from skdefer.cli import _demo, main
from skdefer.exceptions import DatasetNotFoundError
from tests.cli.conftest import make_table


@pytest.fixture
def demo(tmp_path, monkeypatch, capsys):
    """Run the demo, once over, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_demo, "_REPEATS", 1)
    monkeypatch.setattr(_demo, "_FOLDS", 2)
    monkeypatch.setattr("skdefer.cli._system._INNER_FOLDS", 2)

    def run(*options):
        code = main(["demo", *options])
        return code, *capsys.readouterr()

    return run


def test_the_command_itself(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "skdefer", "demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert (tmp_path / "skdefer_demo.png").read_bytes().startswith(b"\x89PNG")
    assert "The deferral curve is in skdefer_demo.png." in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 100
    words = " ".join(done.stdout.split())
    assert "The expert is a model too, trained on other rows: it stands in for a person" in words
    assert "Deferral pays: handing" in words
    accuracy = {
        name: float(re.search(rf"^{name} +([\d.]+) %", done.stdout, re.M).group(1))
        for name in ("model alone", "full examination alone", "system", "oracle")
    }
    assert accuracy["model alone"] < accuracy["system"] <= accuracy["oracle"]


def test_rows_of_the_expert_of_the_system_and_of_the_test_are_apart():
    from sklearn.datasets import load_breast_cancer

    every, y = load_breast_cancer(return_X_y=True, as_frame=True)
    trained = []

    class Spy:
        def fit(self, X, y):
            trained.append(set(X.index))
            return self

        def predict(self, X):
            return np.zeros(len(X))

    original, _demo._linear_model = _demo._linear_model, Spy
    try:
        folds = list(_demo._three_way_folds(every, every, y.to_numpy(), seed=0))
    finally:
        _demo._linear_model = original
    assert len(folds) == _demo._FOLDS * _demo._REPEATS
    for fold, of_expert in zip(folds, trained, strict=True):
        of_system, of_test = set(fold.train), set(fold.test)
        assert len(of_expert) + len(of_system) + len(of_test) == len(y)
        assert len(of_expert | of_system | of_test) == len(y)
    tested = np.concatenate([fold.test for fold in folds])
    np.testing.assert_array_equal(np.bincount(tested), _demo._REPEATS)


def test_says_when_it_does_not_pay(demo):
    code, out, _ = demo("--cost", "3")
    assert code == 0
    assert "Deferral does not pay here" in out
    assert "answer costs 3" in " ".join(out.split())


def test_budget(demo):
    out = demo("--budget", "0")[1]
    assert "With a budget of 0 nothing is handed over" in out


def test_without_matplotlib_the_table_is_still_printed(demo, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, _ = demo()
    assert code == 0
    assert "model alone" in out
    assert 'pip install "skdefer[plot]"' in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--output", "nowhere/curve.png"], "no folder nowhere"),
        (["--output", "curve.txt"], "extension '.txt'"),
        (["--dataset", "nonsense"], "expected one of ade_corpus, chexpert_readers"),
        (["--dataset", "ecg_readers", "--data-home", "nowhere"], "there is no such file"),
        (["--cost", "bob=1"], "--cost names ['bob']"),
    ],
)
def test_refusals(demo, options, word):
    code, out, err = demo(*options)
    assert (code, out) == (2, "")
    assert err.startswith("skdefer demo: error: ")
    assert word in err


def test_a_set_without_experts_is_refused(demo, monkeypatch):
    alone = Bunch(
        data=pd.DataFrame({"x": [0.0, 1.0]}), expert_predictions=pd.DataFrame(index=[0, 1])
    )
    monkeypatch.setattr("skdefer.cli._demo.load_dataset", lambda name, **options: alone)
    code, _, err = demo("--dataset", "ade_corpus")
    assert code == 2
    assert "ade_corpus has no answers of experts" in err


def test_an_output_that_cannot_be_written(demo, monkeypatch):
    from matplotlib.figure import Figure

    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    code, out, err = demo()
    assert code == 2
    assert "model alone" in out
    assert "The figure can't be written: No space left" in err


def loaded(**changes):
    """What a loader gives."""
    table = make_table(240)
    fields = {
        "data": table[["age", "marker"]],
        "target": table["truth"].to_numpy(),
        "expert_predictions": table[["dr a", "dr b"]].copy(),
        "groups": table["patient"].to_numpy(),
        "costs": {"dr a": 0.02, "dr b": 0.01},
        "cost_unit": "US$ per answer",
        "DESCR": "clinic: patients, two doctors\n\nMore.",
    }
    return Bunch(**{**fields, **changes})


@pytest.fixture
def dataset(monkeypatch):
    """Put a made set in the place of a loader's."""

    def put(bunch):
        monkeypatch.setattr(_demo, "load_dataset", lambda name, data_home: bunch)

    return put


def test_a_set_of_the_loaders(demo, dataset):
    dataset(loaded())
    code, out, err = demo("--dataset", "ecg_readers")
    assert code == 0, err
    words = " ".join(out.split())
    assert words.startswith("clinic: patients, two doctors. 240 rows of 240, 2 classes.")
    assert "(US$ per answer): dr a 0.02, dr b 0.01" in words
    assert "groups whole" in words
    assert "dr a alone" in out


def test_a_set_of_texts_without_prices_or_groups(demo, dataset):
    target = make_table(240)["truth"].to_numpy()
    answers = pd.DataFrame({"llm": target.astype(object)})
    answers.loc[:10, "llm"] = "invalid"
    answers.loc[11:20, "llm"] = None
    texts = [f"{'fever' if label == 'ill' else 'routine'} visit" for label in target]
    dataset(
        loaded(
            data=texts,
            expert_predictions=answers,
            costs=None,
            groups=None,
        )
    )
    code, out, err = demo("--dataset", "css_llm", "--max-rows", "200")
    assert code == 0, err
    words = " ".join(out.split())
    assert "200 rows of 240" in words
    assert "on 1 text column." in words
    assert "(of the price of an error): llm 0.05" in words
    assert "groups whole" not in words
    assert "are no label of the target" in err


def test_a_set_that_is_not_there(demo, monkeypatch):
    def absent(name, data_home):
        raise DatasetNotFoundError(f"{name} was looked for in {data_home}")

    monkeypatch.setattr(_demo, "load_dataset", absent)
    code, _, err = demo("--dataset", "ecg_readers", "--data-home", "there")
    assert code == 2
    assert "ecg_readers was looked for in there" in err


@pytest.mark.parametrize("name", ["ecg_readers", "chexpert_readers"])
def test_real_sets(demo, data_home, name):
    code, out, err = demo("--dataset", name, "--data-home", str(data_home), "--max-rows", "500")
    assert code == 0, err
    assert "model alone" in out
