"""Public docstrings say what comes in, what goes out, and have an example that runs."""

import doctest
import importlib
import inspect

import pytest

from tests.discovery import modules, public_objects

NO_EXAMPLE_NEEDED = ("Base",)  # prefixes: abstract bases are shown by their children


def issubclass_of(thing, base):
    return inspect.isclass(thing) and issubclass(thing, base)


def documented_functions():
    """Public functions, and the public methods that public classes define here."""
    for thing in public_objects():
        if inspect.isfunction(thing):
            yield pytest.param(thing, id=thing.__qualname__)
            continue
        for name, method in inspect.getmembers(thing, inspect.isfunction):
            here = method.__module__.startswith("skdefer")
            if here and not name.startswith("_") and thing.__module__ == method.__module__:
                yield pytest.param(method, id=method.__qualname__)


@pytest.mark.parametrize("function", list(documented_functions()))
def test_every_parameter_is_documented(function):
    doc = inspect.getdoc(function)
    assert doc, f"{function.__qualname__} has no docstring"
    if ":meth:`" in doc or "see " in doc.lower().split("\n")[0]:
        return  # documented where the method is defined first
    names = [n for n in inspect.signature(function).parameters if n not in ("self", "cls")]
    for name in names:
        assert name in doc, f"{function.__qualname__}: parameter {name} is not documented"
    if names:
        assert "Parameters" in doc, f"{function.__qualname__} has no Parameters section"


@pytest.mark.parametrize("thing", public_objects(), ids=lambda t: t.__qualname__)
def test_every_class_documents_its_parameters(thing):
    doc = inspect.getdoc(thing)
    assert doc, f"{thing.__qualname__} has no docstring"
    first = doc.splitlines()[0]
    assert first.endswith("."), f"{thing.__qualname__}: the first line is no sentence: {first!r}"
    if inspect.isclass(thing) and not issubclass(thing, Exception):
        signature = inspect.signature(thing)
        for name, parameter in signature.parameters.items():
            if parameter.kind is not parameter.VAR_KEYWORD:
                assert name in doc, f"{thing.__qualname__}: {name} is not documented"


@pytest.mark.parametrize("thing", public_objects(), ids=lambda t: t.__qualname__)
def test_every_public_thing_has_an_example(thing):
    if thing.__name__.startswith(NO_EXAMPLE_NEEDED) or issubclass_of(thing, Exception):
        return
    assert ">>> " in inspect.getdoc(thing), f"{thing.__qualname__} has no example"


@pytest.mark.parametrize("name", modules())
def test_examples_run(name):
    module = importlib.import_module(name)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testmod(module, optionflags=flags)
    assert result.failed == 0
