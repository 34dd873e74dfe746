"""The command itself: help, version, warnings, interruption, progress, words."""

import io
import time
import warnings

import numpy as np
import pytest

import skdefer
from skdefer.cli import _demo, main
from skdefer.cli._conclusion import Gain, conclusion
from skdefer.cli._progress import Progress
from skdefer.cli._report import as_text, make_report
from skdefer.cli._system import Decisions, Terms


@pytest.mark.parametrize("options", [["--help"], ["demo", "--help"], ["evaluate", "--help"]])
def test_help(capsys, options):
    with pytest.raises(SystemExit) as stop:
        main(options)
    assert stop.value.code == 0
    assert "usage: skdefer" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"skdefer {skdefer.__version__}\n"


@pytest.mark.parametrize("options", [[], ["guess"], ["evaluate"], ["demo", "--nonsense"]])
def test_wrong_usage(capsys, options):
    with pytest.raises(SystemExit) as stop:
        main(options)
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_warnings_are_lines_said_once(capsys, monkeypatch, tmp_path):
    def story(args):
        for _ in range(3):
            warnings.warn("the sky is cloudy", UserWarning, stacklevel=1)
        raise _demo.UsageError("no sun")

    monkeypatch.setattr(_demo, "_breast_cancer", story)
    monkeypatch.chdir(tmp_path)
    assert main(["demo"]) == 2
    err = capsys.readouterr().err
    assert err == "skdefer demo: error: no sun\nwarning: the sky is cloudy\n"


def test_interruption(capsys, monkeypatch, tmp_path):
    def stop(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_demo, "_breast_cancer", stop)
    monkeypatch.chdir(tmp_path)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "skdefer demo: stopped\n"


# -- progress -----------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_short_run_says_nothing():
    stream = io.StringIO()
    with Progress("fold", 3, stream=stream, delay=60) as progress:
        for _ in range(3):
            progress.step()
    assert stream.getvalue() == ""


def run_slowly(stream):
    with Progress("fold", 3, stream=stream, delay=0.01) as progress:
        deadline = time.monotonic() + 10
        while not stream.getvalue() and time.monotonic() < deadline:
            time.sleep(0.005)  # the first part lasts: it is seen before it is done
        for _ in range(3):
            progress.step()
    return stream.getvalue()


def test_a_long_run_says_a_line_per_part():
    lines = run_slowly(io.StringIO()).splitlines()
    assert [line.rsplit(" (")[0] for line in lines] == ["fold 1 of 3", "fold 2 of 3", "fold 3 of 3"]


def test_on_a_terminal_one_line_is_overwritten_and_cleared():
    written = run_slowly(Terminal())
    assert "\n" not in written
    assert written.count("\r") == 4
    assert written.endswith("\r\033[K")


def test_progress_ends_with_an_error():
    stream = io.StringIO()
    progress = Progress("fold", 3, stream=stream, delay=60)
    with pytest.raises(ValueError, match="x"), progress:
        raise ValueError("x")
    progress._timer.join(timeout=10)
    assert not progress._timer.is_alive()
    assert stream.getvalue() == ""


# -- words --------------------------------------------------------------------------


def make_decisions(*, model, expert, share, price=0.05, budget=None, error_cost=1.0, sees=False):
    """2,000 rows of class 1; the expert gets the first, or, if it is seen, the model's errors."""
    n_rows = 2000
    rng = np.random.default_rng(0)
    y_true = np.ones(n_rows, dtype=int)
    y_pred = (rng.random(n_rows) < model).astype(int)
    if sees:
        y_pred.sort()
    answers = (rng.random(n_rows) < expert).astype(int).astype(object)[:, None]
    route = (np.arange(n_rows) < share * n_rows).astype(int)
    score = -np.arange(n_rows, dtype=float)[:, None]
    terms = Terms(["ann"], [price], error_cost, budget, 0)
    return Decisions(terms, y_true, y_pred, answers, score, route, np.arange(n_rows))


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"model": 0.7, "expert": 0.95, "share": 0.3, "sees": True}, ["Deferral pays: handing 30"]),
        ({"model": 0.9, "expert": 0.5, "share": 0.3}, ["Deferral does not pay here: ", "more, 95"]),
        ({"model": 0.8, "expert": 0.84, "share": 0.2}, ["It can't be told", "-"]),
        ({"model": 0.8, "expert": 0.9, "share": 0.0}, ["does not pay here: no expert's answer"]),
        (
            {"model": 0.5, "expert": 0.99, "share": 0.3},
            ["but not the best choice here", "ask ann about everything"],
        ),
        (
            {"model": 0.5, "expert": 0.99, "share": 0.3, "budget": 0.3},
            ["Deferral pays", "less than with the system, but beyond the budget"],
        ),
        ({"model": 0.7, "expert": 0.9, "share": 0.0, "budget": 0.0}, ["With a budget of 0"]),
    ],
)
def test_the_conclusion_follows_the_numbers(case, words):
    text = conclusion(make_decisions(**case), None)
    for word in words:
        assert word in text


def test_the_conclusion_names_the_differences():
    decisions = make_decisions(model=0.7, expert=0.95, share=0.3, price=0.1)
    text = conclusion(decisions, None)
    report = make_report(decisions, None)
    model, system = (report.loc[name] for name in ("model alone", "system"))
    assert f"from {100 * model['accuracy']:.1f} % to {100 * system['accuracy']:.1f} %" in text
    assert f"({100 * (system['accuracy'] - model['accuracy']):+.1f} points" in text
    assert f"from {1000 * model['cost']:.3g} to {1000 * system['cost']:.3g} " in text
    worth = (system["accuracy"] - model["accuracy"]) / 0.3
    assert f"an answer is worth {worth:.3g} on average" in text


def test_groups_widen_the_interval():
    decisions = make_decisions(model=0.7, expert=0.95, share=0.3)
    # Whole groups are handed over or kept, so that they differ more than rows do.
    width = [
        float(text.split("interval ")[1].split(" to ")[1].split(")")[0])
        - float(text.split("interval ")[1].split(" to ")[0])
        for text in (
            conclusion(decisions, None),
            conclusion(decisions, np.arange(2000) // 100),
        )
    ]
    assert width[1] > width[0]


@pytest.mark.parametrize(("ends", "verdict"), [((1, 2), 1), ((-2, -1), -1), ((-1, 1), 0)])
def test_verdict(ends, verdict):
    assert Gain(0.0, *ends).verdict == verdict


@pytest.mark.parametrize("error_cost", [1e-5, 1.0, 1e6])
def test_the_table_stays_narrow(error_cost):
    decisions = make_decisions(model=0.7, expert=1.0, share=1.0, error_cost=error_cost)
    decisions.terms.names = ["an expert with a name that is much too long for a table"]
    text = as_text(make_report(decisions, None))
    assert max(map(len, text.splitlines())) < 100
    assert "... alone" in text
    assert "100.0 %" in text
