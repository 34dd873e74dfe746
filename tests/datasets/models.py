"""The plain model that data sets are tried with."""

from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def plain_model(data, **options):
    """A logistic regression; frames of numbers alone may have no gaps, those with words may."""
    words = make_column_selector(dtype_include="category")
    numbers = StandardScaler()
    if words(data):
        numbers = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), words),
            remainder=make_pipeline(SimpleImputer(), StandardScaler()),
        )
    return make_pipeline(numbers, LogisticRegression(**options))
