"""A price is known, or it isn't: never 0 by accident."""

import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdefer.calling._outcomes import Outcome, Reply
from skdefer.calling._price import CallPrice


def reply(n_input=None, n_output=None):
    return Reply(Outcome.OK, input_tokens=n_input, output_tokens=n_output)


def test_unknown_is_none_and_not_zero():
    price = CallPrice.read(None)
    assert not price.known
    assert price.of(reply(10, 10)) is None
    assert price.at_most(100, 10) is None


@pytest.mark.parametrize("value", [0, 0.0, 0.25, 3, np.float32(0.5), np.int64(2), Fraction(1, 4)])
def test_a_number_is_the_price_of_any_call(value):
    price = CallPrice.read(value)
    assert price.known
    assert price.of(reply()) == price.of(reply(10**6, 10**6)) == float(value)
    assert price.at_most(10**6, None) == float(value)


@pytest.mark.parametrize("pair", [(2.0, 8.0), [2, 8]])
def test_a_pair_is_per_million_tokens(pair):
    price = CallPrice.read(pair)
    assert price.known
    assert price.of(reply(1_000_000, 0)) == 2.0
    assert price.of(reply(500_000, 250_000)) == 3.0
    assert price.at_most(500_000, 250_000) == 3.0


def test_a_token_price_without_a_count_is_unknown():
    price = CallPrice.read((2.0, 8.0))
    assert price.known
    assert price.of(reply(n_input=10)) is None
    assert price.of(reply(n_output=10)) is None
    assert price.at_most(10, None) is None


def test_what_is_free_needs_no_count():
    assert CallPrice.read((2.0, 0.0)).of(reply(n_input=500_000)) == 1.0
    assert CallPrice.read((0, 0)).of(reply()) == 0.0
    assert CallPrice.read((2.0, 0)).at_most(500_000, None) == 1.0


@pytest.mark.parametrize(
    "value",
    [
        *(True, False, -1, -0.01, math.nan, math.inf, "free", "0.1", {}, (), (1.0,)),
        *((1.0, 2.0, 3.0), (1.0, None), (1.0, -2.0), (True, 1.0), (math.nan, 1.0), 1j, [[1, 2]]),
    ],
)
def test_other_prices_are_refused(value):
    with pytest.raises(ValueError, match="price is .*; expected the price of one call"):
        CallPrice.read(value)


def test_reading_twice_copying_and_comparing():
    price = CallPrice.read((1, 2))
    assert CallPrice.read(price) is price
    assert pickle.loads(pickle.dumps(price)) == price == CallPrice.read([1.0, 2.0])


@given(
    price=st.one_of(
        st.none(),
        st.floats(0, 1e6),
        st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)),
    ),
    n_characters=st.integers(0, 10**7),
    limit=st.integers(0, 10**6),
    data=st.data(),
)
def test_no_call_costs_more_than_was_reserved(price, n_characters, limit, data):
    n_input = data.draw(st.integers(0, n_characters))
    n_output = data.draw(st.integers(0, limit))
    price = CallPrice.read(price)
    cost, most = price.of(reply(n_input, n_output)), price.at_most(n_characters, limit)
    assert (cost is None) == (most is None) == (not price.known)
    if cost is not None:
        assert 0 <= cost <= most
