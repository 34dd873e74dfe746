"""The documentation runs, lists every public name, and can be found from its index."""

import doctest
import importlib
import re
import sys
from pathlib import Path

import pytest

from tests.discovery import public_names, public_objects

REPOSITORY = Path(__file__).parent.parent
DOCS = REPOSITORY / "docs"
GUIDE = DOCS / "user_guide"
BUILT = {"_build", "_templates", "generated"}
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def sources():
    """README and the pages, without what sphinx has built."""
    pages = [p for p in DOCS.rglob("*.rst") if not BUILT & set(p.relative_to(DOCS).parts)]
    return [p for p in (REPOSITORY / "README.md", *sorted(pages)) if p.exists()]


def name_of(path):
    return path.relative_to(REPOSITORY).as_posix()


def examples(path):
    """The examples of a page; in Markdown a fence ends the output, as an empty line does."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = re.sub(r"^[ \t]*```.*$", "", text, flags=re.MULTILINE)
    return doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, path.name, path, 0)


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_examples_run(path, monkeypatch, tmp_path):
    test = examples(path)
    if not test.examples:
        pytest.skip("has no example")
    if any("skdefer.displays" in example.source for example in test.examples):
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)  # an example that writes a file writes it there
    said = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    assert result.failed == 0, "".join(said)


@pytest.mark.parametrize("path", sorted(GUIDE.glob("*.rst")), ids=name_of)
def test_pages_of_the_user_guide_have_examples(path):
    assert path.stem == "index" or examples(path).examples


def listed():
    """(module, name) of every entry of docs/api.rst."""
    entries, module, in_list = set(), None, False
    for line in (DOCS / "api.rst").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = found[1]
        elif found := re.match(r"\.\. autodata:: (\S+)", line):
            entries.add((module, found[1]))
        elif line.startswith(".. autosummary::"):
            in_list = True
        elif line and not line.startswith(" "):
            in_list = False
        elif in_list and (found := re.match(r"   ([A-Za-z_]\w*)$", line)):
            entries.add((module, found[1]))
    return entries


def test_every_public_name_is_listed():
    shown = {id(getattr(importlib.import_module(m), name)) for m, name in listed()}
    absent = {o.__qualname__ for o in public_objects() if id(o) not in shown}
    absent |= {name for module, name in public_names() if id(getattr(module, name)) not in shown}
    assert not absent, f"add to docs/api.rst: {sorted(absent)}"


def contents(path):
    """Entries of the tables of contents of a page."""
    entries, in_tree = [], False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(".. toctree::"):
            in_tree = True
        elif line and not line.startswith(" "):
            in_tree = False
        elif in_tree and line.strip() and not line.strip().startswith(":"):
            entries.append(line.strip())
    return entries


@pytest.mark.parametrize("folder", [DOCS, GUIDE], ids=["docs", "user_guide"])
def test_the_index_lists_every_page(folder):
    pages = {p.stem for p in folder.glob("*.rst")} - {"index"}
    if folder == DOCS:
        pages |= {"user_guide/index"}
    assert sorted(contents(folder / "index.rst")) == sorted(pages)


def test_the_index_of_the_guide_says_what_each_page_is_about():
    text = (GUIDE / "index.rst").read_text(encoding="utf-8")
    for page in contents(GUIDE / "index.rst"):
        assert f":ref:`{page}`" in text
        assert f".. _{page}:" in (GUIDE / f"{page}.rst").read_text(encoding="utf-8")
