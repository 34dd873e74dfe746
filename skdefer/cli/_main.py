"""Reads the command, starts it, and turns what the user can mend into one clear line."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence

from skdefer import __version__
from skdefer.cli._demo import add_parser as add_demo
from skdefer.cli._evaluate import add_parser as add_evaluate
from skdefer.cli._options import UsageError

_OK, _BAD_INPUT, _INTERRUPTED = 0, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, as ``python -m skdefer`` does.

    Parameters
    ----------
    argv : sequence of str, default=None
        The arguments; those of the process if None.

    Returns
    -------
    code : int
        0 where all went well, 2 where something the user gave can't be used (standard
        error says what), 130 where the user stopped it.

    Raises
    ------
    SystemExit
        By ``--help``, ``--version`` (code 0), and arguments that can't be read (code 2).

    Examples
    --------
    >>> from skdefer.cli import main
    >>> main(["demo", "--output", "curve.png"])  # doctest: +SKIP
    0
    """
    parser = _make_parser()
    args = parser.parse_args(argv)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            args.run(args)
            code = _OK
        except UsageError as error:
            print(f"{parser.prog} {args.command}: error: {error}", file=sys.stderr)
            code = _BAD_INPUT
        except KeyboardInterrupt:
            print(f"{parser.prog} {args.command}: stopped", file=sys.stderr)
            code = _INTERRUPTED
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        print(f"warning: {message}", file=sys.stderr)
    return code


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skdefer",
        description="Learning to defer: a model answers what it answers well, and hands the "
        "other rows to whoever is worth their price there.",
    )
    parser.add_argument("--version", action="version", version=f"skdefer {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_demo(commands)
    add_evaluate(commands)
    return parser
