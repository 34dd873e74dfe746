"""An encoder of texts, fine-tuned with a linear layer on top of it, as a classifier."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted

from skdefer.neural._held_out import check_enough_to_calibrate, hold_out
from skdefer.neural._pickling import portable_state
from skdefer.neural._temperature import check_temperature, fit_temperature
from skdefer.text._target import check_two_classes, class_weights, read_target
from skdefer.utils._clone import clone_sharing
from skdefer.utils._optional import import_optional
from skdefer.utils._rows import check_rows
from skdefer.utils._texts import as_texts
from skdefer.utils._validation import check_weights


class TransformerClassifier(ClassifierMixin, BaseEstimator):
    """Fine-tune an encoder of transformers to tell classes of texts apart.

    Features of a text (those of its tokens, pooled) go through one linear layer to the logits of
    the classes; the whole is trained with Adam on the cross-entropy. It is a classifier like
    any other, alone, in searches, or as the ``estimator`` of
    :class:`~skdefer.DeferralClassifier`. To train the encoder together with the hand-over, see
    ``backbone=`` of :class:`~skdefer.JointDeferralClassifier`.

    Parameters
    ----------
    model : str, path-like or Module
        The folder of a saved model, the name of one on a hub, or an encoder already made. It
        is only read: each fit starts from it anew.
    tokenizer : str, path-like or tokenizer, default=None
        What brings texts to tokens. None: that of ``model``, where it is a folder or a name.
    pooling : {"mean", "cls", "max"}, default="mean"
        How features of tokens make those of a text; see
        :class:`~skdefer.neural.TransformerBackbone`.
    max_length : int, default=None
        The most tokens of a text, special ones too; its end is cut off. None: as in
        :class:`~skdefer.neural.TransformerBackbone`. Time grows with it.
    classes : array-like of shape (n_classes,), default=None
        The classes. Needed where ``y`` is an array of probabilities: the label of each column.
        With labels: all that there may be, of which two or more must be in ``y``; None: those
        that ``y`` has.
    freeze : sequence of str, default=()
        Beginnings of the names of the encoder's weights that are not trained, such as
        ``["embeddings", "encoder.layer.0."]``.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class in the loss, 1 where a dict has none; "balanced": so that all classes
        have the same total. It moves the probabilities; ``calibration`` moves them back in part.
    learning_rate_init : float, default=1e-4
        Largest step size. Those that suit networks without a past (1e-3) destroy what an encoder
        knows.
    warmup : float or None, default=0.1
        Share of the steps in which the step size rises to ``learning_rate_init``, to fall to 0
        at the end of ``max_iter``. None: it stays the same.
    weight_decay : float, default=0.0
        Weight of the squared norm of all weights, halved, that is added to the loss.
    batch_size : int, default=16
        Rows per step, and at a time in predictions.
    max_iter : int, default=3
        Epochs.
    early_stopping : bool, default=True
        Whether to hold rows out, and to keep the weights of the epoch whose probabilities are
        best there (least cross-entropy).
    validation_fraction : float, default=0.1
        Share of the rows held out, classes in their shares, for early stopping and calibration.
    tol : float, default=1e-4
        What counts as an improvement, of the held-out cross-entropy with early stopping, else of
        the loss.
    n_iter_no_change : int or inf, default=inf
        Training ends after so many epochs in a row without improvement.
    calibration : {"temperature"} or None, default=None
        Whether the probabilities are made to fit the held-out rows by one temperature: fine-tuned
        networks are too sure of themselves. Needs scikit-learn 1.8.
    device : as in :func:`~skdefer.neural.resolve_device`, default="auto"
        Where to train and predict.
    random_state : int, RandomState or None, default=None
        Seeds the rows held out, the order of the rows and dropout. The same seed on the same
        machine gives the same network.
    verbose : int, default=0
        Above 0: a line per epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    module_ : Module
        The fine-tuned network: ``module_.backbone``, a
        :class:`~skdefer.neural.TransformerBackbone`, and ``module_.head``.
    calibrator_ : estimator or None
        Holds the temperature.
    n_iter_ : int
        Epochs that were finished.
    loss_curve_ : list of float
        Mean loss of each epoch.
    validation_scores_ : list of float or None
        Minus the loss of the held-out rows after each epoch; None without early stopping.
    device_ : str
        Where it was trained.

    Raises
    ------
    ImportError
        In ``fit``, without transformers and torch; the extra is "text".
    OSError
        In ``fit``, if there is no such model.
    ValueError
        In ``fit`` and ``predict``, for anything but a column of texts, or none; in ``fit`` for a
        ``y`` that does not fit, a single class, or too few rows to hold any out: each class needs
        a row to learn from. In ``score`` for probabilities as ``y``.

    Warns
    -----
    TruncatedTextWarning
        If texts are cut off, with their number; once per ``fit``, in which it shows or else in
        the first prediction that cuts some.

    Notes
    -----
    A pickle has the fine-tuned weights, since nothing else has them. Those of the base model are in
    it only where ``model`` is a Module; a folder or a name stays a folder or a name. Clones
    share ``model``.

    Examples
    --------
    A tiny encoder that knows three words, trained from nothing:

    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
    >>> from skdefer.neural import seeded
    >>> from skdefer.text import TransformerClassifier
    >>> words = Tokenizer(models.WordLevel({"?": 0, "good": 1, "bad": 2, "film": 3}, "?"))
    >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?")
    >>> config = BertConfig(vocab_size=4, hidden_size=8, num_hidden_layers=1,
    ...                     num_attention_heads=2, intermediate_size=8)
    >>> with seeded(0):
    ...     encoder = BertModel(config)
    >>> clf = TransformerClassifier(encoder, tokenizer=tokenizer, learning_rate_init=0.01,
    ...                             max_iter=20, device="cpu", random_state=0)
    >>> texts = ["good film", "a bad film", "a good", "film so bad"] * 20
    >>> clf = clf.fit(texts, ["yes", "no", "yes", "no"] * 20)
    >>> clf.predict(["a good one", "bad"])
    array(['yes', 'no'], dtype='<U3')

    It learns from probabilities as well, those of a larger model say:

    >>> import pandas as pd
    >>> soft = pd.DataFrame({"no": [0.1, 0.8, 0.1, 0.8] * 20, "yes": [0.9, 0.2, 0.9, 0.2] * 20})
    >>> clf.fit(texts, soft).predict_proba(["good", "bad"]).round(1)
    array([[0.1, 0.9],
           [0.8, 0.2]])
    """

    _parameter_constraints: dict = {
        "model": "no_validation",  # transformers says what it can't load
        "tokenizer": "no_validation",
        "pooling": [StrOptions({"mean", "cls", "max"})],
        "max_length": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "classes": ["array-like", None],
        "freeze": ["array-like"],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "learning_rate_init": [Interval(numbers.Real, 0, None, closed="neither")],
        "warmup": [Interval(numbers.Real, 0, 1, closed="left"), None],
        "weight_decay": [Interval(numbers.Real, 0, None, closed="left")],
        "batch_size": [Interval(numbers.Integral, 1, None, closed="left")],
        "max_iter": [Interval(numbers.Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(numbers.Real, 0, 1, closed="neither")],
        "tol": [Interval(numbers.Real, 0, None, closed="left")],
        "n_iter_no_change": [
            Interval(numbers.Integral, 1, None, closed="left"),
            Options(numbers.Real, {np.inf}),
        ],
        "calibration": [StrOptions({"temperature"}), None],
        "device": "no_validation",
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model,
        *,
        tokenizer=None,
        pooling="mean",
        max_length=None,
        classes=None,
        freeze=(),
        class_weight=None,
        learning_rate_init=1e-4,
        warmup=0.1,
        weight_decay=0.0,
        batch_size=16,
        max_iter=3,
        early_stopping=True,
        validation_fraction=0.1,
        tol=1e-4,
        n_iter_no_change=np.inf,
        calibration=None,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.max_length = max_length
        self.classes = classes
        self.freeze = freeze
        self.class_weight = class_weight
        self.learning_rate_init = learning_rate_init
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.calibration = calibration
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y, sample_weight=None):
        """Fine-tune the encoder.

        Parameters
        ----------
        X : list, tuple, Series or array of str, of shape (n_rows,) or (n_rows, 1)
            The texts.
        y : array-like of shape (n_rows,), or of floats of shape (n_rows, n_classes)
            The class of each, or its probability of each class: a DataFrame whose columns are the
            classes, or an array, with ``classes``.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.

        Returns
        -------
        self : TransformerClassifier
        """
        self._validate_params()
        import_optional("transformers", needed_for=type(self).__name__)
        import_optional("torch", needed_for=type(self).__name__)
        if self.calibration:
            check_temperature()
        texts = as_texts(X)
        n_rows = check_rows(texts)
        target = read_target(y, n_rows, self.classes)
        weight = check_weights(sample_weight, n_rows)
        counted = np.flatnonzero(weight)
        if not len(counted):
            raise ValueError("Every sample_weight is zero; expected one weight above 0 at least.")
        check_two_classes(target, counted)
        from skdefer.neural import resolve_device, seeded, train
        from skdefer.text._network import objective

        device = resolve_device(self.device)
        rng = check_random_state(self.random_state)
        taught, held_out = counted, counted[:0]
        if self.early_stopping or self.calibration:
            taught, held_out = hold_out(
                target.likeliest(), None, counted, self.validation_fraction, rng
            )
        if self.calibration:
            check_enough_to_calibrate(held_out)
        seeds = rng.randint(2**31 - 1, size=2)
        per_class = class_weights(self.class_weight, target, taught)

        self.classes_, self.device_, self.calibrator_ = target.classes, str(device), None
        with seeded(int(seeds[0])):  # some models draw weights that their folder lacks
            module = self.module_ = self._new_module(target, taught, weight, per_class)
        tokens = module.backbone.encode(texts)
        lengths = module.backbone.row_lengths(tokens)
        held = tokens[held_out], target.proba()[held_out], weight[held_out]
        watched = tokens[held_out], target.proba()[held_out] * per_class, weight[held_out]
        history = train(
            module,
            *objective(tokens[taught], target.values[taught], per_class, device),
            sample_weight=weight[taught],
            lengths=lengths[taught],
            max_iter=self.max_iter,
            batch_size=self.batch_size,
            learning_rate_init=self.learning_rate_init,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            validate=(lambda: self._fit_of(*watched)) if self.early_stopping else None,
            random_state=int(seeds[1]),
            device=device,
            verbose=self.verbose,
        )
        self.n_iter_, self.loss_curve_ = history.n_iter, history.loss_curve
        self.validation_scores_ = history.validation_scores
        if self.calibration:
            self.calibrator_ = self._fit_calibrator(*held)
        return self

    def _new_module(self, target, taught, weight, per_class) -> Any:
        """Load the encoder, and put a last layer on it, which knows how frequent classes are."""
        from skdefer.text._network import new_network

        return new_network(
            self.model,
            self.tokenizer,
            pooling=self.pooling,
            max_length=self.max_length,
            freeze=self.freeze,
            mass=per_class * (target.proba()[taught] * weight[taught, None]).sum(axis=0),
        )

    def _fit_of(self, tokens: np.ndarray, wanted: np.ndarray, weight: np.ndarray) -> float:
        """Minus the loss of rows that are not learned from."""
        log_proba = log_softmax(self._logits(tokens), axis=1)
        return float(np.average((wanted * log_proba).sum(axis=1), weights=weight))

    def _fit_calibrator(self, tokens: np.ndarray, proba: np.ndarray, weight: np.ndarray) -> Any:
        # A row of several probable classes counts as a part of a row of each.
        rows, codes = np.nonzero(proba)
        logits = self._logits(tokens)[rows]
        return fit_temperature(logits, codes, weight[rows] * proba[rows, codes])

    def _logits(self, tokens: np.ndarray) -> np.ndarray:
        from skdefer.neural import predict_in_batches, resolve_device

        try:
            device = resolve_device(self.device)
        except ValueError:  # fitted elsewhere: weights serve on whatever is here
            device = resolve_device("auto")
        lengths = self.module_.backbone.row_lengths(tokens)
        return predict_in_batches(
            self.module_, tokens, batch_size=self.batch_size, device=device, lengths=lengths
        ).astype(np.float64)

    def predict_proba(self, X):
        """Tell how probable each class is.

        Parameters
        ----------
        X : list, tuple, Series or array of str, of shape (n_rows,) or (n_rows, 1)
            The texts.

        Returns
        -------
        proba : ndarray of shape (n_rows, n_classes)
            In the order of ``classes_``.
        """
        check_is_fitted(self)
        texts = as_texts(X)
        check_rows(texts)
        logits = self._logits(self.module_.backbone.encode(texts))
        if self.calibrator_ is not None:
            return self.calibrator_.predict_proba(logits)
        return softmax(logits, axis=1)

    def predict(self, X):
        """Give the most probable class of each text.

        Parameters
        ----------
        X : list, tuple, Series or array of str, of shape (n_rows,) or (n_rows, 1)
            The texts.

        Returns
        -------
        labels : ndarray of shape (n_rows,)
        """
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def score(self, X, y, sample_weight=None):
        """Give the share of right labels.

        Parameters
        ----------
        X : list, tuple, Series or array of str, of shape (n_rows,) or (n_rows, 1)
            The texts.
        y : array-like of shape (n_rows,)
            The class of each. Probabilities have no accuracy.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.

        Returns
        -------
        accuracy : float
        """
        shape = np.shape(y)
        if len(shape) == 2 and shape[1] > 1:
            raise ValueError(
                f"y has shape {shape}, a probability per class; expected a label per row. Score "
                "the likeliest ones, or compare y with predict_proba(X) yourself."
            )
        return super().score(X, y, sample_weight)

    def __sklearn_clone__(self):
        return clone_sharing(self, "model")

    def __getstate__(self):
        return portable_state(super().__getstate__())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags
