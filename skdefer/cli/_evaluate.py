"""``skdefer evaluate``: whether deferral would help on a user's own table, and by how much."""

from __future__ import annotations

import argparse
from pathlib import Path
from textwrap import fill
from typing import Any

from skdefer.cli._conclusion import conclusion
from skdefer.cli._features import MODELS, automatic_model
from skdefer.cli._options import (
    UsageError,
    add_deferral_options,
    check_figure_path,
    check_folder,
    missing_matplotlib,
    prices_of,
    print_remarks,
    whole_number,
)
from skdefer.cli._report import REPORT_FORMATS, as_text, make_report, save_figure, save_report
from skdefer.cli._system import Terms, decide, make_folds
from skdefer.cli._table import load_table

_WIDTH = 98


def add_parser(commands: Any) -> None:
    """Add the command.

    Parameters
    ----------
    commands : subparsers action
        Of the main parser.
    """
    parser = commands.add_parser(
        "evaluate",
        help="would deferral help on your own table, and by how much?",
        description="Cross-validates a model with experts on a table of yours: a row per case, a "
        "column with the truth, and a column with the answers of each expert, empty where there "
        "is none.",
    )
    parser.add_argument("table", type=Path, metavar="TABLE", help="a CSV, TSV or Parquet file")
    parser.add_argument("--target", required=True, metavar="COL", help="column of the truth")
    for flag, text in {
        "--expert": "column of an expert's answers, labels like the target's; repeat for several",
        "--text": "column of text for the model; repeat for several",
        "--drop": "column that the model may not see; repeat for several",
    }.items():
        parser.add_argument(
            flag,
            action="append",
            default=[],
            required=flag == "--expert",
            metavar="COL",
            help=text,
        )
    parser.add_argument(
        "--group", metavar="COL", help="column of what rows belong to, such as the patient"
    )
    parser.add_argument(
        "--model",
        choices=sorted(MODELS),
        default="logistic",
        help="logistic regression or gradient-boosted trees (default: logistic)",
    )
    parser.add_argument(
        "--cv", type=_folds, default=5, metavar="N", help="number of folds (default: 5)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the report, as .csv or .json"
    )
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="draw the deferral curve (.png, .pdf or .svg)"
    )
    add_deferral_options(parser, cost_default="0")
    parser.set_defaults(run=run)


def _folds(text: str) -> int:
    return whole_number(text, least=2)


def run(args: argparse.Namespace) -> None:
    """Run the command.

    Parameters
    ----------
    args : Namespace
        The arguments.

    Raises
    ------
    UsageError
        If the table, a column, a price or a file can't be used.
    """
    _check_files(args)
    table = load_table(
        args.table,
        target=args.target,
        experts=args.expert,
        text=args.text,
        group=args.group,
        drop=args.drop,
    )
    print_remarks(table.remarks)
    prices = prices_of(args.cost, args.expert, [0.0] * len(args.expert))
    names = [str(name) for name in table.answers]
    terms = Terms(names, prices, args.error_cost, args.budget, args.seed)
    folds = make_folds(table.X, table.y, table.answers, table.groups, args.cv, args.seed)
    model = automatic_model(table.features, args.model, args.seed)
    decisions = decide(folds, len(folds), model, terms)
    groups = None if table.groups is None else table.groups[decisions.row]
    report = make_report(decisions, groups)
    verdict = conclusion(decisions, groups)
    print(fill(_setting(args, table, terms), _WIDTH), end="\n\n")
    print(as_text(report), end="\n\n")
    print(fill(verdict, _WIDTH))
    if args.output is not None:
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
        del settings["run"]
        save_report(report, args.output, verdict, settings)
        print(f"\nThe report is in {args.output}.")
    if args.figure is not None:
        save_figure(decisions, args.figure, f"{args.table.name}: {args.target}")
        print(f"\nThe deferral curve is in {args.figure}.")


def _check_files(args: argparse.Namespace) -> None:
    """Refuse what can't be written before any work is done."""
    if args.output is not None:
        if args.output.suffix.lower() not in REPORT_FORMATS:
            raise UsageError(
                f"--output {args.output} has the extension {args.output.suffix!r}; expected one "
                f"of {', '.join(REPORT_FORMATS)}."
            )
        check_folder(args.output)
    if args.figure is not None:
        check_figure_path(args.figure)
        message = missing_matplotlib()
        if message is not None:
            raise UsageError(message)


def _setting(args: argparse.Namespace, table: Any, terms: Terms) -> str:
    by = "" if args.group is None else f", rows of one {args.group!r} kept together"
    allowed = "" if args.budget is None else f" At most {100 * args.budget:g} % are handed over."
    return (
        f"{args.table.name}: {len(table.y):,} rows, target {args.target!r} with "
        f"{len(set(table.y.tolist()))} classes. Model: {MODELS[args.model]} on "
        f"{table.features}. Prices of an answer: {terms.price_list}; a wrong answer costs "
        f"{args.error_cost:g}.{allowed} {args.cv}-fold cross-validation{by}: every row is judged "
        "by a system that has not seen it."
    )
