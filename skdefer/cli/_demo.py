"""``skdefer demo``: deferral on data that scikit-learn ships, or on a set of the loaders."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skdefer.cli._conclusion import conclusion
from skdefer.cli._features import automatic_model, choose_features, prepared
from skdefer.cli._options import (
    UsageError,
    add_deferral_options,
    check_figure_path,
    missing_matplotlib,
    prices_of,
    print_remarks,
    whole_number,
)
from skdefer.cli._report import as_text, make_report, save_figure
from skdefer.cli._system import Decisions, Fold, Terms, decide, make_folds
from skdefer.cli._table import check_experts
from skdefer.datasets import list_datasets, load_dataset
from skdefer.exceptions import DatasetNotFoundError

if TYPE_CHECKING:
    import pandas

_PRICE = 0.05
_FOLDS = 5
_REPEATS = 3
_EXPERT = "full examination"
_WIDTH = 98

#: Title, story, what was decided, and which rows are not independent.
_Run: TypeAlias = "tuple[str, str, Decisions, np.ndarray | None]"


def add_parser(commands: Any) -> None:
    """Add the command.

    Parameters
    ----------
    commands : subparsers action
        Of the main parser.
    """
    parser = commands.add_parser(
        "demo",
        help="see deferral at work on real data, in seconds",
        description="A screening model for breast cancer reads ten measurements and hands hard "
        "cases to an expert who reads thirty and costs something. Prints who does how well, and "
        "draws the deferral curve.",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("skdefer_demo.png"),
        metavar="FILE",
        help="where the figure goes (default: skdefer_demo.png)",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="use another set, with real experts, from --data-home: " + ", ".join(list_datasets()),
    )
    parser.add_argument("--data-home", type=Path, help="folder of the sets (default: SKDEFER_DATA)")
    parser.add_argument(
        "--max-rows",
        type=_row_count,
        default=5000,
        metavar="N",
        help="take so many rows of a larger set at random (default: 5000)",
    )
    add_deferral_options(parser, cost_default=f"what the set says, or {_PRICE}")
    parser.set_defaults(run=run)


def _row_count(text: str) -> int:
    return whole_number(text, least=100)


def run(args: argparse.Namespace) -> None:
    """Run the command.

    Parameters
    ----------
    args : Namespace
        The arguments.

    Raises
    ------
    UsageError
        If a set is not there, or the figure can't be written.
    """
    check_figure_path(args.output)
    make = _breast_cancer if args.dataset is None else _recorded
    title, story, decisions, groups = make(args)
    print(fill(story, _WIDTH), end="\n\n")
    print(as_text(make_report(decisions, groups)), end="\n\n")
    print(fill(conclusion(decisions, groups), _WIDTH), end="\n\n")
    message = missing_matplotlib()
    if message is None:
        save_figure(decisions, args.output, title)
        message = f"The deferral curve is in {args.output}."
    print(message)


def _terms(args: argparse.Namespace, names: list[str], default: list[float]) -> Terms:
    prices = prices_of(args.cost, names, default)
    return Terms(names, prices, args.error_cost, args.budget, args.seed)


def _breast_cancer(args: argparse.Namespace) -> _Run:
    table = load_breast_cancer(as_frame=True)
    every = table.data
    y = table.target_names[table.target.to_numpy()]
    screening = every[[name for name in every if name.startswith("mean ")]]
    terms = _terms(args, [_EXPERT], [_PRICE])
    folds = _three_way_folds(every, screening, y, args.seed)
    decisions = decide(folds, _FOLDS * _REPEATS, _linear_model(), terms)
    story = (
        f"Breast cancer, {len(y)} tissue samples, benign or malignant (ships with scikit-learn). "
        f"A screening model, a logistic regression, reads the {screening.shape[1]} 'mean' "
        f"measurements. The expert reads all {every.shape[1]}, and an answer costs "
        f"{terms.prices[0]:g}, where a wrong answer costs {args.error_cost:g}. The expert is a "
        "model too, trained on other rows: it stands in for a person, whom these data do not have. "
        f"{_FOLDS}-fold cross-validation, {_REPEATS} times: some rows train the expert, others "
        "fit the system, and only the rest, which neither has seen, is counted."
    )
    # A sample comes once in each repeat, so it is the samples that are independent.
    return "Breast cancer: screening model and expert", story, decisions, decisions.row


def _three_way_folds(
    every: pandas.DataFrame, screening: pandas.DataFrame, y: np.ndarray, seed: int
) -> Iterator[Fold]:
    """Share rows out between the expert's training, the system's, and the test."""
    import pandas as pd

    for repeat in range(_REPEATS):
        splitter = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed + repeat)
        for rest, test in splitter.split(every, y):
            of_expert, of_system = train_test_split(
                rest, test_size=0.5, stratify=y[rest], random_state=seed + repeat
            )
            expert = _linear_model().fit(every.iloc[of_expert], y[of_expert])
            answers = pd.DataFrame({_EXPERT: expert.predict(every).astype(object)})
            yield Fold(screening, y, None, answers, of_system, test)


def _linear_model() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression())


def _recorded(args: argparse.Namespace) -> _Run:
    if args.dataset not in list_datasets():
        raise UsageError(
            f"There is no data set {args.dataset!r}; expected one of {', '.join(list_datasets())}."
        )
    try:
        bunch = load_dataset(args.dataset, data_home=args.data_home)
    except (DatasetNotFoundError, ImportError, ValueError) as error:
        raise UsageError(str(error)) from error
    if not len(bunch.expert_predictions.columns):
        raise UsageError(
            f"{args.dataset} has no answers of experts, so there is nothing to hand over to. It is "
            "there to simulate experts on (see its loader); choose another set."
        )
    frame, text = _as_frame(bunch.data)
    rows = np.arange(len(frame))
    if len(rows) > args.max_rows:  # of all groups, so that as many as possible are seen
        rows = np.sort(np.random.default_rng(args.seed).permutation(rows)[: args.max_rows])
    frame, y = frame.iloc[rows].reset_index(drop=True), bunch.target[rows]
    answers = bunch.expert_predictions.iloc[rows].reset_index(drop=True).astype(object)
    answers = answers.where(answers.notna(), None)
    groups = None if bunch.groups is None else bunch.groups[rows]
    features = choose_features(frame, y, answers, text)
    print_remarks(check_experts(y, answers) + features.remarks)
    names = [str(name) for name in answers]
    own = bunch.costs or dict.fromkeys(names, _PRICE)
    terms = _terms(args, names, [own[name] for name in names])
    folds = make_folds(prepared(frame, features), y, answers, groups, _FOLDS, args.seed)
    model = automatic_model(features, "logistic", args.seed)
    decisions = decide(folds, _FOLDS, model, terms)
    unit = bunch.cost_unit if bunch.costs else "of the price of an error"
    title = bunch.DESCR.splitlines()[0]
    story = (
        f"{title}. {len(y):,} rows of {len(bunch.target):,}, {len(np.unique(y))} classes. "
        f"Model: logistic regression on {features}. Prices of an answer ({unit}): "
        f"{terms.price_list}; a wrong answer costs {args.error_cost:g}. {_FOLDS}-fold "
        f"cross-validation{'' if groups is None else ', groups whole'}: every row is judged by a "
        "system that has not seen it."
    )
    return title, story, decisions, None if groups is None else groups[decisions.row]


def _as_frame(data: Any) -> tuple[pandas.DataFrame, list[str]]:
    import pandas as pd

    if hasattr(data, "columns"):
        return data, []
    return pd.DataFrame({"text": data}), ["text"]
