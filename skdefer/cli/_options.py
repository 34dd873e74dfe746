"""Options that the commands share, and the error for what the user can mend."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from skdefer.utils._optional import import_optional

_FIGURE_FORMATS = (".png", ".pdf", ".svg")


class UsageError(Exception):
    """What the user gave can't be used; the message says why, and what to do."""


def add_deferral_options(parser: argparse.ArgumentParser, *, cost_default: str) -> None:
    """Add prices, budget and seed.

    Parameters
    ----------
    parser : ArgumentParser
        Of a command.
    cost_default : str
        What experts cost if nothing is said, for the help.
    """
    parser.add_argument(
        "--cost",
        action="append",
        type=_price,
        default=[],
        metavar="PRICE | NAME=PRICE",
        help="price of one answer, in the unit of --error-cost: of every expert, or, repeated, "
        f"of the expert NAME (default: {cost_default})",
    )
    parser.add_argument(
        "--error-cost",
        type=_positive,
        default=1.0,
        metavar="PRICE",
        help="price of a wrong answer (default: 1)",
    )
    parser.add_argument(
        "--budget",
        type=_share,
        metavar="SHARE",
        help="hand over at most this share of the rows, in [0, 1] (default: whatever pays)",
    )
    parser.add_argument(
        "--seed",
        "--random-state",
        type=_seed,
        default=0,
        help="of splits, models and intervals (default: 0)",
    )


def prices_of(
    given: Sequence[tuple[str | None, float]], names: Sequence[str], default: Sequence[float]
) -> list[float]:
    """Bring ``--cost`` to a price per expert.

    Parameters
    ----------
    given : sequence of (name, price)
        As read; no name: the price of everybody who is not named.
    names : sequence of str
        The experts.
    default : sequence of float
        Their prices where nothing was given.

    Returns
    -------
    prices : list of float
        One per expert.

    Raises
    ------
    UsageError
        For a name that is no expert, or a price given twice or only to some.
    """
    table: dict[str | None, float] = {}
    for name, price in given:
        if name in table:
            raise UsageError(f"--cost gives {name or 'a price for all'} twice; give it once.")
        table[name] = price
    unknown = [name for name in table if name is not None and name not in names]
    if unknown:
        raise UsageError(f"--cost names {unknown}, but the experts are {list(names)}.")
    if not table:
        return list(default)
    unpriced = [name for name in names if name not in table]
    if unpriced and None not in table:
        raise UsageError(
            f"--cost has no price for {unpriced}. Add --cost {unpriced[0]}=PRICE, or one "
            "--cost PRICE for all who are not named."
        )
    return [table[name if name in table else None] for name in names]


def print_remarks(remarks: Sequence[str]) -> None:
    """Tell the user what was noticed, on standard error.

    Parameters
    ----------
    remarks : sequence of str
        A sentence each.
    """
    for remark in remarks:
        print(f"note: {remark}", file=sys.stderr)


def check_figure_path(path: Path) -> None:
    """Refuse a figure that can't be written, before any work is done.

    Parameters
    ----------
    path : Path
        Where the figure is to go.

    Raises
    ------
    UsageError
        For an unknown format or a folder that is not there.
    """
    if path.suffix.lower() not in _FIGURE_FORMATS:
        raise UsageError(
            f"The figure {path} has the extension {path.suffix!r}; expected one of "
            f"{', '.join(_FIGURE_FORMATS)}."
        )
    check_folder(path)


def check_folder(path: Path) -> None:
    """Refuse a file to be written in a folder that is not there.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    UsageError
        If its folder does not exist, or the file is itself a folder.
    """
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} for {path.name}. Make it first.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; expected the name of a file.")


def missing_matplotlib() -> str | None:
    """Say how to get matplotlib, if it is not there.

    Returns
    -------
    message : str or None
        None if figures can be drawn.
    """
    try:
        import_optional("matplotlib", needed_for="The figure")
    except ImportError as error:
        return str(error)
    return None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def _price(text: str) -> tuple[str | None, float]:
    name, equals, number = text.rpartition("=")
    price = _number(number)
    if not (np.isfinite(price) and price >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no price; expected a finite number >= 0")
    return (name if equals else None), price


def _positive(text: str) -> float:
    value = _number(text)
    if not (np.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; expected a number in [0, 1]")
    return value


def _seed(text: str) -> int:
    return whole_number(text, least=0)


def whole_number(text: str, least: int) -> int:
    """Read an integer of some size.

    Parameters
    ----------
    text : str
        What the user wrote.
    least : int
        The smallest that is fine.

    Returns
    -------
    value : int
        The number.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is none.
    """
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r}; expected an integer >= {least}")
    return int(text)
