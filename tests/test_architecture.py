"""Imports go down the layers, never up nor sideways, and files stay small."""

import ast
import re
from pathlib import Path

import pytest

# Read from the files alone, so that it runs where nothing is installed.
ROOT = Path(__file__).parents[1] / "skdefer"
LAYERS = [
    {"exceptions", "utils", "costs"},  # prices are read by metrics too
    {"losses", "metrics", "guarantees", "calling"},
    {"experts", "policies", "neural"},
    {"base", "rejectors", "text", "datasets", "displays", "monitoring"},
    {"deferral"},
    {"acceptance", "distillation"},
    {"cli"},
]
LAYER_OF = {name: level for level, names in enumerate(LAYERS) for name in names}
MAX_LINES = 420
FILES = sorted(ROOT.rglob("*.py"))


def part_of(path):
    """The folder or top-level module of the package that a file belongs to."""
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def imports_of(path):
    """(line, part) of every import of skdefer in the file, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ["skdefer", *path.relative_to(ROOT).parts[:-1]]
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [module] if module != "skdefer" else [f"skdefer.{a.name}" for a in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "skdefer" and len(parts) > 1:
                yield node.lineno, parts[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    part = part_of(path)
    if part in ("__init__", "__main__"):  # they only re-export, or start the command line
        return
    assert part in LAYER_OF, f"{part} has no layer: give it one here and in the design"
    for line, imported in imports_of(path):
        if imported == part or (part == "cli" and imported == "__version__"):
            continue
        assert imported in LAYER_OF, f"{path}:{line} imports {imported}, which has no layer"
        assert LAYER_OF[imported] < LAYER_OF[part], (
            f"{path}:{line}: {part} (layer {LAYER_OF[part]}) imports {imported} "
            f"(layer {LAYER_OF[imported]}); imports go down"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_can_be_read_whole(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_init_files_only_export():
    for path in ROOT.rglob("__init__.py"):
        for node in ast.parse(path.read_text()).body:
            allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.FunctionDef)
            assert isinstance(node, allowed), f"{path}:{node.lineno} does more than export"


def test_nothing_machine_specific_is_committed():
    pattern = re.compile(r"/(?:home|root|tmp|work)/\w")
    for path in FILES:
        assert not pattern.search(path.read_text()), path
