"""Embeddings of texts by an encoder of transformers, as an ordinary transformer."""

from __future__ import annotations

import copy
import numbers
import os
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skdefer.neural._pickling import portable_state
from skdefer.text._vectors import Facts, VectorStore, open_store, read_facts
from skdefer.utils._clone import clone_sharing
from skdefer.utils._optional import import_optional
from skdefer.utils._texts import as_texts

_BATCHES_AT_ONCE = 64  # tokenized together, and kept together: what an interrupt may lose


class _Loaded:
    """An encoder in use, loaded when it is needed."""

    def __init__(self, made_of: tuple[Any, ...], load: Callable[[], Any]):
        self.made_of = made_of  # the parameters that it depends on
        self.load = load
        self.warned = False  # of texts that are cut off

    @cached_property
    def encoder(self) -> Any:
        return self.load()

    @cached_property
    def facts(self) -> Facts:
        return read_facts(self.made_of, lambda: self.encoder)

    def describe(self, memory: Any) -> Any:
        """Give what has ``n_outputs`` and ``max_length``; without a memory it has to be loaded."""
        return self.encoder if memory is None else self.facts


class TransformerEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn texts into vectors by an encoder of transformers, which stays as it is.

    A step for pipelines: what follows is a classifier of numbers. To train the encoder on the task,
    see :class:`TransformerClassifier`, which is better and takes many times as long.

    Parameters
    ----------
    model : str, path-like or Module
        The folder of a saved model, the name of one on a hub, or an encoder already made. For a
        name, transformers looks in its own cache and then on the hub, unless ``HF_HUB_OFFLINE=1``
        is in the environment.
    tokenizer : str, path-like or tokenizer, default=None
        What brings texts to tokens. None: that of ``model``, where it is a folder or a name.
    pooling : {"mean", "cls", "max"}, default="mean"
        How features of tokens make those of a text; see
        :class:`~skdefer.neural.TransformerBackbone`.
    normalize : bool, default=False
        Whether vectors are brought to length 1, as most models of sentences expect.
    max_length : int, default=None
        The most tokens of a text, special ones too; its end is cut off. None: as in
        :class:`~skdefer.neural.TransformerBackbone`.
    batch_size : int, default=32
        Texts at a time. Those of a batch are of similar length.
    dtype : {"float32", "float16", "bfloat16"} or None, default=None
        In what the encoder computes; None: float32. Half precision costs digits. It is for GPUs,
        bfloat16 for the CPUs that have it, too; float16 on a CPU takes many times as long.
        Vectors are float32 all the same.
    device : as in :func:`~skdefer.neural.resolve_device`, default="auto"
        Where to compute.
    memory : str, path-like, joblib.Memory or None, default=None
        A folder in which vectors are kept, by the content of the text and of the model: a text
        met before is not encoded again, in whatever fold, order or process it comes.

    Raises
    ------
    ImportError
        When first used, without transformers and torch; the extra is "text".
    OSError
        When first used, if there is no such model, or it can't be reached.
    ValueError
        For anything but a column of texts, a missing one, or a model that is no encoder.

    Warns
    -----
    TruncatedTextWarning
        If texts are cut off, with their number; of the calls of one embedder, the first alone.
    UncachedWarning
        If ``memory`` can't be made, read or written; vectors are then computed.

    Notes
    -----
    The model is loaded when it is first used, and is in no pickle, clone or hash of the embedder,
    which have its folder or name; whoever opens a pickle must have the model there. A Module that
    is passed as ``model`` is a parameter like any other: it is pickled, hashed, and shared by
    clones. It is copied before it is used.

    Equal texts are encoded once per call. What is kept in ``memory`` is a vector of float32
    per text (4 bytes per feature) in one SQLite file per model: ``joblib.Memory`` keeps whole
    calls, which no other fold repeats, and would write two files per text. The key is a digest
    of the weights, the configuration, the tokenizer, ``pooling``, ``max_length`` and ``dtype``,
    so a model that is moved is the same and one that is trained further is not. That of a folder
    is found once per process, as long as names, sizes and times of its files stay, and a model
    whose texts are all kept is not loaded. ``Memory.clear`` removes the vectors.

    Examples
    --------
    A tiny encoder that knows three words:

    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
    >>> from skdefer.text import TransformerEmbedder
    >>> words = Tokenizer(models.WordLevel({"?": 0, "good": 1, "bad": 2, "film": 3}, "?"))
    >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?")
    >>> config = BertConfig(vocab_size=4, hidden_size=8, num_hidden_layers=1,
    ...                     num_attention_heads=2, intermediate_size=8)
    >>> embedder = TransformerEmbedder(BertModel(config), tokenizer=tokenizer, device="cpu")
    >>> embedder.fit_transform(["good film", "a bad bad film"]).shape
    (2, 8)
    >>> embedder.get_feature_names_out()[:2]
    array(['transformerembedder0', 'transformerembedder1'], dtype=object)
    """

    _parameter_constraints: dict = {
        "model": "no_validation",  # transformers says what it can't load
        "tokenizer": "no_validation",
        "pooling": [StrOptions({"mean", "cls", "max"})],
        "normalize": ["boolean"],
        "max_length": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(numbers.Integral, 1, None, closed="left")],
        "dtype": [StrOptions({"float32", "float16", "bfloat16"}), None],
        "device": "no_validation",
        "memory": [str, os.PathLike, HasMethods(["cache"]), None],
    }

    _in_use: _Loaded | None = None

    def __init__(
        self,
        model,
        *,
        tokenizer=None,
        pooling="mean",
        normalize=False,
        max_length=None,
        batch_size=32,
        dtype=None,
        device="auto",
        memory=None,
    ):
        self.model = model
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.normalize = normalize
        self.max_length = max_length
        self.batch_size = batch_size
        self.dtype = dtype
        self.device = device
        self.memory = memory

    def fit(self, X, y=None):
        """Look whether the model is there and these are texts. There is nothing to learn.

        Parameters
        ----------
        X : list, tuple, Series or array of str, of shape (n_rows,) or (n_rows, 1)
            The texts.
        y : None
            Not read.

        Returns
        -------
        self : TransformerEmbedder
        """
        as_texts(X)
        self._load()
        return self

    def transform(self, X):
        """Turn texts into vectors; without ``fit`` too.

        Parameters
        ----------
        X : list, tuple, Series or array of str, of shape (n_rows,) or (n_rows, 1)
            The texts. An empty one has a vector, too.

        Returns
        -------
        vectors : ndarray of float32 of shape (n_rows, n_features)
        """
        texts = as_texts(X)
        loaded = self._load()
        from skdefer.neural._transformer import warn_of_long_texts

        place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        vectors, n_tokens = self._embed(list(place), loaded)
        rows = np.fromiter((place[text] for text in texts), dtype=np.intp, count=len(texts))
        max_length = loaded.describe(self.memory).max_length
        loaded.warned = loaded.warned or warn_of_long_texts(n_tokens[rows], max_length)
        if self.normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors[rows]

    def _load(self) -> _Loaded:
        """Load the encoder, unless it is loaded already or what it would say is known."""
        self._validate_params()
        made_of = (self.model, self.tokenizer, self.pooling, self.max_length, self.dtype)
        if self._in_use is None or self._in_use.made_of != made_of:
            self._in_use = _Loaded(made_of, self._new_encoder)
        self._in_use.describe(self.memory)
        return self._in_use

    def _new_encoder(self) -> Any:
        import_optional("transformers", needed_for=type(self).__name__)
        import_optional("torch", needed_for=type(self).__name__)
        import torch

        from skdefer.neural import TransformerBackbone

        model = self.model
        if isinstance(model, torch.nn.Module):
            model = copy.deepcopy(model)
        encoder = TransformerBackbone(
            model, self.tokenizer, pooling=self.pooling, max_length=self.max_length
        )
        return encoder.to(getattr(torch, self.dtype or "float32")).eval()

    def _embed(self, texts: list[str], loaded: _Loaded) -> tuple[np.ndarray, np.ndarray]:
        """Vectors and numbers of tokens of texts that are all different."""
        n_outputs = loaded.describe(self.memory).n_outputs
        vectors = np.empty((len(texts), n_outputs), dtype=np.float32)
        n_tokens = np.zeros(len(texts), dtype=np.int64)
        store: VectorStore | None = None
        new = np.arange(len(texts))
        if self.memory is not None:
            store = open_store(self.memory, loaded.facts.digest)
        if store is not None:
            new = np.flatnonzero(~store.read_into(texts, vectors, n_tokens))
        # The longest first, so that memory that does not suffice is found out at once.
        n_characters = np.fromiter((len(texts[i]) for i in new), dtype=np.int64, count=len(new))
        new = new[np.argsort(-n_characters, kind="stable")]
        step = _BATCHES_AT_ONCE * self.batch_size
        for start in range(0, len(new), step):
            rows = new[start : start + step]
            some = [texts[i] for i in rows]
            vectors[rows], n_tokens[rows] = self._compute(some, loaded.encoder)
            if store is not None:
                store.write(some, vectors[rows], n_tokens[rows])
        return vectors, n_tokens

    def _compute(self, texts: list[str], encoder: Any) -> tuple[np.ndarray, np.ndarray]:
        from skdefer.neural import predict_in_batches

        tokens, n_tokens = encoder.tokenize(texts)
        lengths = encoder.row_lengths(tokens)
        vectors = predict_in_batches(
            encoder, tokens, batch_size=self.batch_size, device=self.device, lengths=lengths
        )
        return vectors, n_tokens

    @property
    def _n_features_out(self) -> int:
        """Read by ``get_feature_names_out``."""
        return self._load().describe(self.memory).n_outputs

    def __sklearn_clone__(self):
        return clone_sharing(self, "model")

    def __getstate__(self):
        state = dict(super().__getstate__())
        state.pop("_in_use", None)
        return portable_state(state)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = []
        return tags
