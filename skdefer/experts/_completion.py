"""Answers that nobody gave, drawn from a model of who would have said what."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import logit
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skdefer.experts._panel import encode_checked
from skdefer.experts._row_types import fit_row_types
from skdefer.experts._simulated import draw_answers
from skdefer.utils._rows import check_same_order, count_rows
from skdefer.utils._validation import (
    MISSING,
    check_answers,
    check_target,
    check_weights,
    decode_answers,
    encode_answers,
)

_CLIP = 1e-4  # an accuracy this near to 0 or 1 is taken at its word no further
_TRUST = 3.0  # factor of what is known of the class: a ridge penalty binds it nine times less


class AnswerCompletion(BaseEstimator):
    """Complete the answers that experts did not give, for a method that needs them all.

    It answers: what would each expert have said of the rows that it was not asked about? Most
    methods here need no such guess: they leave missing answers out, which is exact.

    - ``method="model"``: for each expert a classifier of whether it is right, from the features
      of a row and its true class, learned from the rows that the expert answered. A wrong
      answer is drawn as the expert, and where it is hardly known everybody, was wrong on that
      class.
    - ``method="em"``: a mixture, P(answer j | y, z) with ``n_types`` latent types z of rows
      within each class, fitted by EM to the answers on record. An answer is completed from what
      others said of the row; where nobody said anything, from the true class alone. No X.

    Labels are drawn from the predicted distribution. The most probable label instead would
    make every expert who is right more often than not look right always.

    Parameters
    ----------
    method : {"model", "em"}, default="model"
        What the missing answers are predicted from.
    estimator : classifier with ``predict_proba``, default=None
        For ``"model"``. A Pipeline's first steps are fitted once, on all rows and their true
        classes, so that they may turn any X into numbers, or learn an embedding; a clone of its
        last step, one for each expert, reads their output and, in a last column, three times the
        log-odds of the expert's accuracy on the true class.
        None: standardised columns and logistic regression with C=0.03. Its own ``random_state``
        counts.
    n_types : int, default=2
        For ``"em"``: types of rows of each class, such as easy and hard ones.
    max_iter : int, default=300
        For ``"em"``: most steps.
    random_state : int, RandomState instance or None, default=None
        Of the draw.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    n_completed_ : ndarray of shape (n_experts,)
        How many answers were completed.
    expert_accuracy_ : ndarray of shape (n_rows, n_experts)
        Predicted probability that the expert is right on the row, NaN where it answered and
        for an expert without any answer.
    estimators_ : list of length n_experts
        For ``"model"``: the fitted classifiers; None for an expert whose answers on record are
        all right, all wrong or none: its accuracy by class stands in.
    confusion_ : ndarray of shape (n_types, n_experts, n_classes, n_classes)
        P(answer | type, expert, true class); one type for ``"model"``.
    type_shares_ : ndarray of shape (n_classes, n_types)
        P(type | true class).
    objective_ : list of float
        For ``"em"``: penalised log-likelihood of the answers on record after each step, which
        never falls.

    References
    ----------
    Hemmer et al. (2023). Learning to Defer with Limited Expert Predictions. AAAI, arXiv
    2304.07306 (the model of an expert's correctness).
    Nguyen, Do and Carneiro (2025). Probabilistic Learning to Defer: Handling Missing Expert
    Annotations and Controlling Workload Distribution. ICLR (EM over missing answers; there
    inside the training of a network, here before it).

    Examples
    --------
    >>> import numpy as np
    >>> from skdefer.experts import AnswerCompletion
    >>> y = np.tile(["cold", "flu"], 50)
    >>> hard = np.arange(100) % 4 > 1
    >>> first = np.where(hard, y[::-1], y)  # wrong on hard rows
    >>> second = np.where(np.arange(100) < 60, first, None)  # as the first, as far as we know
    >>> completion = AnswerCompletion("em", random_state=0)
    >>> answers = completion.complete(np.column_stack([first, second]), y)
    >>> completion.n_completed_, bool((answers[:60, 1] == second[:60]).all())
    (array([ 0, 40]), True)
    >>> completion.expert_accuracy_[60:64, 1].round(2)  # the first was right, right, wrong, wrong
    array([0.88, 0.88, 0.12, 0.12])
    """

    _parameter_constraints: dict = {
        "method": [StrOptions({"model", "em"})],
        "estimator": [HasMethods(["fit", "predict_proba"]), None],
        "n_types": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        method: str = "model",
        *,
        estimator: Any = None,
        n_types: int = 2,
        max_iter: int = 300,
        random_state: Any = None,
    ):
        self.method = method
        self.estimator = estimator
        self.n_types = n_types
        self.max_iter = max_iter
        self.random_state = random_state

    def complete(
        self,
        expert_predictions: Any,
        y: Any,
        *,
        X: Any = None,
        sample_weight: Any = None,
        classes: Sequence[Any] | None = None,
    ) -> np.ndarray:
        """Fit to the answers on record and draw the missing ones.

        Parameters
        ----------
        expert_predictions : array-like, masked array or DataFrame of shape (n_rows, n_experts)
            The record, or ``(n_rows,)`` for one expert; missing is None, NaN, NA or masked.
        y : array-like of shape (n_rows,)
            The truth.
        X : array-like, sparse matrix, DataFrame or list of length n_rows, default=None
            The rows, for ``method="model"``; numbers unless ``estimator`` takes others.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows in what is learned; rows of weight 0 are completed, too.
        classes : sequence, default=None
            All labels, where ``y`` may lack some; None: those of ``y``. An answer outside them
            counts as wrong; none such is ever drawn.

        Returns
        -------
        answers : ndarray of shape (n_rows, n_experts), dtype object
            The answers on record as they came, and labels in place of the missing ones. The
            column of an expert without any answer stays as it is: nothing is known of it.

        Raises
        ------
        ValueError
            If no answer is on record, for answers that are no labels, for shapes that don't
            match, for X that is absent or not numeric where numbers are read.
        """
        self._validate_params()
        n_rows = count_rows(y)
        y = check_target(y, n_rows)
        check_same_order(expert_predictions, X)
        record, names = check_answers(expert_predictions, n_rows)
        weight = check_weights(sample_weight, n_rows)
        self.classes_ = np.unique(y if classes is None else np.asarray(classes))
        truth = encode_answers(y, self.classes_)
        if (truth < 0).any():
            unknown = np.unique(y[truth < 0].astype(str))[:5].tolist()
            raise ValueError(
                f"y has the labels {unknown}, which are not among the classes "
                f"{self.classes_.tolist()}. Pass classes= with all of them."
            )
        names = names or [f"expert_{j + 1}" for j in range(record.shape[1])]
        said = encode_checked(record, self.classes_, names, fate="count as wrong")
        missing = said == MISSING
        known = ~missing & (weight > 0)[:, None]
        if not known.any():
            raise ValueError(
                f"None of the {len(names)} experts {names[:5]} has an answer on record, on a row "
                "of positive weight, so there is nothing to complete from. Pass some answers."
            )
        answers = record.astype(object)
        answers[missing] = None
        gaps = missing & known.any(axis=0)
        self.n_completed_ = gaps.sum(axis=0)
        self.expert_accuracy_ = np.full(said.shape, np.nan)
        if gaps.any():
            n_types, max_iter = (self.n_types, self.max_iter) if self.method == "em" else (1, 2)
            types = fit_row_types(
                truth,
                said,
                weight,
                n_classes=len(self.classes_),
                n_types=n_types,
                max_iter=max_iter,
            )
            self.confusion_, self.type_shares_ = types.confusion, types.share
            self.objective_ = types.objective
            right = self.confusion_[:, :, truth, truth].transpose(0, 2, 1)  # P(right), by type
            if self.method == "model":
                given = None if sample_weight is None else weight
                self._learn(right[0], said == truth[:, None], known, gaps, X, y, given)
            accuracy = np.einsum("nt,tnj->nj", types.membership, right)
            self.expert_accuracy_[gaps] = accuracy[gaps]
            codes = self._draw(truth, right, types.membership)
            answers[gaps] = decode_answers(codes[gaps], self.classes_)
        return answers

    def _learn(self, accuracy, right, known, gaps, X, y, sample_weight):
        """Put P(right) of each expert's classifier in the place of its accuracy by class."""
        features = self._features(X, y)
        classifier = self._steps()[1]
        odds = logit(np.clip(accuracy, _CLIP, 1.0 - _CLIP))
        self.estimators_ = []
        for j, gap in enumerate(gaps.T):
            rows = np.flatnonzero(known[:, j])
            model = None
            if gap.any() and len(np.unique(right[rows, j])) == 2:
                weights = {} if sample_weight is None else {"sample_weight": sample_weight[rows]}
                both = _beside(features, _TRUST * odds[:, j])
                model = clone(classifier).fit(both[rows], right[rows, j], **weights)
                accuracy[gap, j] = model.predict_proba(both[gap])[:, 1]
            self.estimators_.append(model)

    def _draw(self, truth, right, membership):
        """Draw positions of answers of all experts to all rows, given P(right) by type."""
        _, n_rows, n_experts = right.shape
        luck = check_random_state(self.random_state).uniform(size=(n_rows, 1 + 2 * n_experts))
        # One type a row: answers drawn to the same row hang together as those on record do.
        drawn = (luck[:, :1] > membership.cumsum(axis=1)[:, :-1]).sum(axis=1)
        codes = np.empty((n_rows, n_experts), dtype=np.intp)
        for z, confusion in enumerate(self.confusion_):
            rows = drawn == z
            u, slip = np.split(luck[rows, 1:], 2, axis=1)
            codes[rows] = draw_answers(
                truth[rows], right[z, rows], u, slip, len(self.classes_), confusion
            )
        return codes

    def _steps(self):
        """What makes numbers of the rows, if anything, and the classifier that reads them."""
        if self.estimator is None:
            return None, LogisticRegression(C=0.03, max_iter=1000)
        if isinstance(self.estimator, Pipeline) and len(self.estimator) > 1:
            return self.estimator[:-1], self.estimator[-1]
        return None, self.estimator

    def _features(self, X, y):
        """Numbers that say what the rows are like."""
        if X is None:
            raise ValueError(
                'method="model" predicts answers from the rows, but X was not passed. Pass X=, or '
                'use method="em", which reads answers alone.'
            )
        if count_rows(X) != len(y):
            raise ValueError(
                f"X has {count_rows(X)} rows, but y has {len(y)} labels; pass one row a label."
            )
        encoder = self._steps()[0]
        rows = X if encoder is None else clone(encoder).fit_transform(X, y)
        if not sparse.issparse(rows):
            try:
                rows = np.asarray(rows, dtype=float).reshape(len(y), -1)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"The rows ({type(X).__name__}) are not numeric. Pass estimator=, a Pipeline "
                    'whose first steps turn them into numbers, or use method="em".'
                ) from error
        if self.estimator is None:
            if not np.isfinite(rows.data if sparse.issparse(rows) else rows).all():
                raise ValueError(
                    "X has NaN or infinity. Pass estimator=, a Pipeline that fills them or a "
                    'classifier that takes them, or use method="em".'
                )
            rows = StandardScaler(with_mean=not sparse.issparse(rows)).fit_transform(rows)
        return rows


def _beside(rows, column):
    """Put one more column beside rows of numbers, sparse or not."""
    if sparse.issparse(rows):
        return sparse.hstack([rows, sparse.csr_array(column[:, None])], format="csr")
    return np.column_stack([rows, column])
