"""A small table of a user, and a way to run commands on it."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from skdefer.cli import main
from skdefer.cli._progress import Progress


def make_table(n_rows=150, seed=0):
    """60 patients, two doctors; dr a is often right and often silent."""
    rng = np.random.default_rng(seed)
    ill = rng.random(n_rows) < 0.5
    truth = np.where(ill, "ill", "well")

    def doctor(accuracy, silent):
        said = np.where(rng.random(n_rows) < accuracy, truth, np.where(ill, "well", "ill"))
        return np.where(rng.random(n_rows) < silent, None, said.astype(object))

    return pd.DataFrame(
        {
            "patient": [f"p{i}" for i in rng.integers(60, size=n_rows)],
            "age": rng.normal(60, 10, n_rows).round(1),
            "marker": (ill + rng.normal(size=n_rows)).round(3),
            "sex": rng.choice(["f", "m"], n_rows),
            "truth": truth,
            "dr a": doctor(0.95, 0.2),
            "dr b": doctor(0.6, 0.0),
        }
    )


@pytest.fixture
def table():
    return make_table()


@pytest.fixture
def evaluate(tmp_path, monkeypatch, capsys):
    """Write a table, evaluate it, and give code, output and error."""
    monkeypatch.chdir(tmp_path)
    silent = partial(Progress, delay=1e6)  # a busy machine is no reason to fail
    monkeypatch.setattr("skdefer.cli._system.Progress", silent)
    monkeypatch.setattr("skdefer.cli._system._INNER_FOLDS", 2)

    def run(frame, *options, file="cases.csv", target="truth", experts=("dr a",)):
        if file.endswith(".csv"):
            frame.to_csv(file, index=False)
        elif file.endswith(".parquet"):
            frame.to_parquet(file)
        names = [part for expert in experts for part in ("--expert", expert)]
        few = () if "--cv" in options else ("--cv", "2")
        code = main(["evaluate", file, "--target", target, *names, *few, *options])
        return code, *capsys.readouterr()

    return run
