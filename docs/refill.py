"""Write what the examples give today into the pages: ``python docs/refill.py [PAGE ...]``.

Read the diff before you commit it: a number that moved is a question, not a typing error. Examples
that raise, those marked ``+SKIP`` and outputs with ``...`` are left alone; all but the second kind
are named if they fail.
"""

import doctest
import os
import sys
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


class Refill(doctest.DocTestRunner):
    """Collects the outputs that differ."""

    def __init__(self):
        super().__init__(optionflags=FLAGS, verbose=False)
        self.changes = []

    def report_failure(self, out, test, example, got):
        if "..." in example.want:
            print(f"{test.filename}:{example.lineno + 1}: gives\n{got}", file=sys.stderr)
        else:
            self.changes.append((example, got))

    def report_unexpected_exception(self, out, test, example, exc_info):
        print(f"{test.filename}:{example.lineno + 1}: {exc_info[1]!r}", file=sys.stderr)


def refill(page):
    """Rewrite one page; give the number of outputs that changed."""
    text = page.read_text(encoding="utf-8")
    test = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, page.name, page, 0)
    runner = Refill()
    runner.run(test, out=lambda line: None)
    lines = text.split("\n")
    for example, got in reversed(runner.changes):
        start = example.lineno + example.source.count("\n")
        indent = " " * example.indent
        new = [indent + (line if line.strip() else "<BLANKLINE>") for line in got.splitlines()]
        lines[start : start + example.want.count("\n")] = new
    page.write_text("\n".join(lines), encoding="utf-8")
    return len(runner.changes)


if __name__ == "__main__":
    docs = Path(__file__).parent
    for path in map(Path, sys.argv[1:] or sorted(map(str, docs.glob("user_guide/*.rst")))):
        print(path.name, refill(path))
