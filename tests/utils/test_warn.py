"""A warning names the user's line, even from within scikit-learn."""

import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skdefer.utils._warn import warn_user


def warn(X):
    warn_user("look here", UserWarning)
    return X


def test_the_line_is_the_nearest_of_the_user():
    steps = make_pipeline(FunctionTransformer(warn))
    with pytest.warns(UserWarning, match="look here") as caught:
        steps.transform([[1.0]])
    assert [w.filename for w in caught] == [__file__]
    assert caught[0].lineno == warn.__code__.co_firstlineno + 1


def test_libraries_between_are_passed_over():
    step = FunctionTransformer(warn_user, kw_args={"category": UserWarning})
    with pytest.warns(UserWarning, match="look here") as caught:
        make_pipeline(step).transform("look here")
    assert [w.filename for w in caught] == [__file__]
