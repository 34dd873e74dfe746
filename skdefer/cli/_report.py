"""The report of a run: a table for the eye, files for the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skdefer.cli._options import UsageError
from skdefer.cli._system import Decisions
from skdefer.displays import DeferralCurveDisplay
from skdefer.metrics import deferral_report
from skdefer.utils._optional import import_optional

if TYPE_CHECKING:
    import pandas

_WIDEST_NAME = 26
REPORT_FORMATS = (".csv", ".json")


def make_report(decisions: Decisions, groups: np.ndarray | None) -> pandas.DataFrame:
    """Compare the strategies; see :func:`skdefer.metrics.deferral_report`.

    Parameters
    ----------
    decisions : Decisions
        Of systems on rows they had not seen.
    groups : ndarray of shape (n_rows,) or None
        Rows that are not independent of each other, for the intervals.

    Returns
    -------
    report : DataFrame
        A row per strategy.
    """
    terms = decisions.terms
    return deferral_report(
        decisions.y_true,
        decisions.y_pred,
        decisions.answers,
        decisions.score,
        decisions.route,
        cost=terms.prices,
        error_cost=terms.error_cost,
        expert_names=terms.names,
        groups=groups,
        random_state=terms.seed,
    )


def as_text(report: pandas.DataFrame) -> str:
    """Lay the report out in less than 100 columns.

    Parameters
    ----------
    report : DataFrame
        Of :func:`make_report`.

    Returns
    -------
    text : str
        A line per strategy below two of headings; no newline at the end.
    """
    per_thousand = 1000 * report["cost"]
    largest = max(float(per_thousand[np.isfinite(per_thousand)].max()), 1e-12)
    decimals = int(np.clip(2 - np.floor(np.log10(largest)), 0, 6))
    cells = [
        ["", "accuracy", "handed", "accuracy on rows", "cost of"],
        ["strategy", "(95 % interval)", "over", "kept    handed over", "1,000 rows"],
    ]
    for name, row in report.iterrows():
        ends = f"({100 * row['accuracy_low']:.1f} to {100 * row['accuracy_high']:.1f})"
        parts = f"{_percent(row['kept_accuracy'])}  {_percent(row['deferred_accuracy']):>9}"
        cells.append(
            [
                _shortened(str(name)),
                f"{_percent(row['accuracy'])} {ends:>15}",
                _percent(row["deferral_rate"]),
                parts,
                f"{1000 * row['cost']:,.{decimals}f}",
            ]
        )
    widths = [max(len(line[j]) for line in cells) for j in range(len(cells[0]))]
    lines = [
        "   ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:]))])
        for line in cells
    ]
    return "\n".join([*lines[:2], "-" * len(lines[0]), *lines[2:]])


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f} %"


def _shortened(name: str) -> str:
    """Keep the end of a strategy's name: it says which strategy it is."""
    if len(name) <= _WIDEST_NAME:
        return name
    expert, _, kind = name.rpartition(" ")
    return f"{expert[: _WIDEST_NAME - len(kind) - 4]}... {kind}"


def save_report(
    report: pandas.DataFrame, path: Path, conclusion: str, settings: dict[str, Any]
) -> None:
    """Write the report as CSV, or, with conclusion and settings, as JSON.

    Parameters
    ----------
    report : DataFrame
        Of :func:`make_report`.
    path : Path
        A ``.csv`` or ``.json`` file.
    conclusion : str
        In words.
    settings : dict
        What was asked for.

    Raises
    ------
    UsageError
        If the file can't be written.
    """
    try:
        if path.suffix.lower() == ".csv":
            report.to_csv(path, index_label="strategy")
        else:
            rows = json.loads(report.reset_index(names="strategy").to_json(orient="records"))
            content = {"conclusion": conclusion, "settings": settings, "report": rows}
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"The report can't be written: {error}") from error


def save_figure(decisions: Decisions, path: Path, title: str) -> None:
    """Draw the deferral curve.

    Parameters
    ----------
    decisions : Decisions
        Of systems on rows they had not seen.
    path : Path
        A ``.png``, ``.pdf`` or ``.svg`` file.
    title : str
        Of the figure.

    Raises
    ------
    UsageError
        If the file can't be written.
    """
    # Not by pyplot, which would choose a screen.
    figure = import_optional("matplotlib.figure", needed_for="The figure").Figure(
        figsize=(8.4, 4.6), layout="constrained"
    )
    axes = figure.subplots()
    DeferralCurveDisplay.from_predictions(
        decisions.y_true,
        decisions.y_pred,
        decisions.answers,
        decisions.score,
        route=decisions.route,
        expert_names=decisions.terms.names,
        ax=axes,
    )
    axes.set_title(title, loc="left", fontsize="medium")
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise UsageError(f"The figure can't be written: {error}") from error
