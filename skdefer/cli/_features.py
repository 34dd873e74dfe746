"""Which columns of a table a model may read, and a model that reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skdefer.cli._labels import as_text

if TYPE_CHECKING:
    import pandas

MODELS = {"logistic": "logistic regression", "boosting": "gradient-boosted trees"}
_ID_NAME = re.compile(r"(^|[\W_])(id|idx|index|uuid|guid|key|no|nr|number)$|^unnamed", re.I)
_FEW_ROWS = 20  # of fewer, different values in every row say nothing
_MOST_LEVELS = 50
_MISSING = "(missing)"
_WORDS_OF_TREES = 300


@dataclass
class Features:
    """Columns by kind, and the remarks on those left out or suspected."""

    numeric: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """All columns that the model reads."""
        return [*self.numeric, *self.categorical, *self.text]

    def __str__(self) -> str:
        counts = [
            (len(self.numeric), "numeric"),
            (len(self.categorical), "categorical"),
            (len(self.text), "text"),
        ]
        plural = "" if len(self.columns) == 1 else "s"
        return ", ".join(f"{n} {kind}" for n, kind in counts if n) + f" column{plural}"


def choose_features(
    frame: pandas.DataFrame, target: np.ndarray, answers: pandas.DataFrame, text: Sequence[str]
) -> Features:
    """Sort columns by kind, and leave out identifiers and copies of what is to be predicted.

    Parameters
    ----------
    frame : DataFrame
        The columns that might be read.
    target : ndarray of shape (n_rows,)
        The truth.
    answers : DataFrame of shape (n_rows, n_experts)
        The experts' answers.
    text : sequence of str
        Columns known to be text.

    Returns
    -------
    features : Features
        The choice.
    """
    from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

    features = Features(text=list(text))
    for name in map(str, frame.columns.difference(text, sort=False)):
        column, reason = frame[name], None
        if column.isna().all():
            reason = "it is empty"
        elif is_datetime64_any_dtype(column):
            reason = "it holds dates"
        else:
            reason = _identifier(column) or _copy(column, target, answers)
        if reason:
            features.remarks.append(f"The column {name!r} is left out: {reason}.")
        elif is_numeric_dtype(column):
            features.numeric.append(name)
            if _separates(column.to_numpy(dtype=float, na_value=np.nan), target):
                features.remarks.append(
                    f"The column {name!r} alone separates the classes without an error. If it is "
                    f"known only once the truth is, pass --drop {name}."
                )
        else:
            features.categorical.append(name)
            if np.isin(column.dropna().astype(object).map(as_text), target).all():
                features.remarks.append(
                    f"The column {name!r} holds labels of the target. If these are another "
                    f"expert's answers, pass --expert or --drop {name}."
                )
    return features


def _identifier(column: pandas.Series) -> str | None:
    """Say why a column names the row rather than describing it, if it does."""
    from pandas.api.types import is_integer_dtype, is_numeric_dtype

    n_rows, n_values = int(column.notna().sum()), int(column.nunique())
    if n_rows < _FEW_ROWS:
        return None
    if not is_numeric_dtype(column):
        if n_values <= n_rows / 2:
            return None
        return (
            f"{n_values} different values in {n_rows} rows look like an identifier; if it is "
            f"text to be read, pass --text {column.name}"
        )
    if not is_integer_dtype(column) or n_values < n_rows:
        return None
    counts_up = column.max() - column.min() == n_rows - 1
    if counts_up or _ID_NAME.search(str(column.name)):
        return "a different whole number in every row looks like an identifier"
    return None


def _copy(column: pandas.Series, target: np.ndarray, answers: pandas.DataFrame) -> str | None:
    """Say whether a column is the target, or an expert's answers, in other words."""
    import pandas as pd

    known = column.notna().to_numpy()
    value = pd.factorize(column)[0]
    for what, labels in [
        ("gives the target away", pd.Series(target)),
        *((f"is a copy of the answers of {name!r}", answers[name]) for name in answers),
    ]:
        both = known & labels.notna().to_numpy()
        code = pd.factorize(labels)[0]
        if both.mean() < 0.5 or len(np.unique(code[both])) < 2:
            continue
        n_pairs = len(np.unique(np.column_stack([value, code])[both], axis=0))
        n_values, n_labels = len(np.unique(value[both])), len(np.unique(code[both]))
        if n_pairs == n_values == n_labels:
            return f"it {what}: each of its values stands for one label"
    return None


def _separates(values: np.ndarray, target: np.ndarray) -> bool:
    """Whether the ranges of the classes do not overlap."""
    known = np.isfinite(values)
    classes = np.unique(target)
    ranges = [values[known & (target == label)] for label in classes]
    if any(len(r) < _FEW_ROWS for r in ranges):
        return False
    ends = sorted((r.min(), r.max()) for r in ranges)
    return all(high < low for (_, high), (low, _) in pairwise(ends))


def prepared(frame: pandas.DataFrame, features: Features) -> pandas.DataFrame:
    """Bring columns to floats and strings, row by row, so that nothing is learned here.

    Parameters
    ----------
    frame : DataFrame
        The table.
    features : Features
        What is read of it.

    Returns
    -------
    frame : DataFrame
        The columns read, numbered from 0.
    """
    import pandas as pd

    columns: dict[str, Any] = {}
    for name in features.numeric:
        values = frame[name].to_numpy(dtype=float, na_value=np.nan)
        columns[name] = np.where(np.isinf(values), np.nan, values)
    for names, missing in ((features.categorical, _MISSING), (features.text, "")):
        for name in names:
            column = frame[name].astype(object)
            columns[name] = column.where(column.notna(), missing).astype(str).to_numpy(object)
    return pd.DataFrame(columns)


def automatic_model(features: Features, kind: str, seed: int) -> Pipeline:
    """Build a sensible classifier for a table.

    Parameters
    ----------
    features : Features
        The columns by kind.
    kind : {"logistic", "boosting"}
        What predicts.
    seed : int
        Of the model.

    Returns
    -------
    model : Pipeline
        Not fitted. Numbers are imputed and scaled, categories one-hot, texts TF-IDF.
    """
    linear = kind == "logistic"
    numbers = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True, add_indicator=True),
        StandardScaler(),
    )
    categories = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=_MOST_LEVELS)
    texts = TfidfVectorizer(
        sublinear_tf=True, ngram_range=(1, 2), max_features=50_000 if linear else _WORDS_OF_TREES
    )
    parts: list[tuple[str, Any, Any]] = []
    if features.numeric:
        parts.append(("numbers", numbers if linear else "passthrough", features.numeric))
    if features.categorical:
        parts.append(("categories", categories, features.categorical))
    parts += [(f"text {name}", texts, name) for name in features.text]
    classifier = (
        LogisticRegression(max_iter=2000)
        if linear
        else HistGradientBoostingClassifier(random_state=seed)
    )
    # Trees read dense arrays only.
    columns = ColumnTransformer(parts, sparse_threshold=0.3 if linear else 0)
    return make_pipeline(columns, classifier)
