"""A missing optional dependency names the extra that brings it; every extra exists."""

import ast
import importlib
from pathlib import Path

import pytest

import skdefer
from skdefer.utils._optional import _EXTRA_OF, import_optional

PACKAGE = Path(skdefer.__file__).parent


def test_what_is_there_is_imported():
    pyplot = import_optional("matplotlib.pyplot", needed_for="A plot")
    assert pyplot is importlib.import_module("matplotlib.pyplot")


@pytest.mark.parametrize(("package", "extra"), sorted(_EXTRA_OF.items()))
def test_what_is_missing_names_its_extra(package, extra, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError) as caught:
        import_optional(f"{package}.part", needed_for="DeferralCurveDisplay.plot")
    assert str(caught.value) == (
        f"DeferralCurveDisplay.plot needs {package}, which is not installed. Install it with: "
        f'pip install "skdefer[{extra}]" or, in a clone, pip install ".[{extra}]".'
    )
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_every_optional_import_has_an_extra():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(getattr(node, "func", None), "id", None)
            if name == "import_optional" and isinstance(node.args[0], ast.Constant):
                assert node.args[0].value.partition(".")[0] in _EXTRA_OF, path


@pytest.mark.parametrize("extra", sorted(set(_EXTRA_OF.values())))
def test_every_extra_is_declared(extra):
    pyproject = PACKAGE.parent / "pyproject.toml"
    if not pyproject.exists():
        pytest.skip("installed without its sources")
    assert f"\n{extra} = [" in pyproject.read_text()
