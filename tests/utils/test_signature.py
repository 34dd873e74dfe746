"""Keyword-only arguments passed by position: the error says what to write instead."""

import inspect

import pytest

from skdefer.utils._signature import keywords_only


class Thing:
    @keywords_only
    def act(self, X, y=None, *, weight=None, route=False):
        """Do it."""
        return X, y, weight, route


def test_right_calls_pass_through():
    assert Thing().act(1) == (1, None, None, False)
    assert Thing().act(1, 2, weight=3, route=True) == (1, 2, 3, True)
    assert Thing().act(y=2, X=1) == (1, 2, None, False)


def test_positional_keywords_are_refused_with_the_way_out():
    with pytest.raises(
        TypeError,
        match=r"act got 3 arguments by position; expected 2: X, y. .*by name: weight=, route=\.",
    ):
        Thing().act(1, 2, 3)


def test_wrong_keywords_are_refused_as_ever():
    with pytest.raises(TypeError, match="unexpected keyword argument 'nope'"):
        Thing().act(1, nope=2)


def test_the_method_looks_like_itself():
    assert Thing.act.__name__ == "act"
    assert Thing.act.__doc__ == "Do it."
    assert list(inspect.signature(Thing.act).parameters) == ["self", "X", "y", "weight", "route"]
