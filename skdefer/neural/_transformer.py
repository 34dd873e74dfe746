"""Texts to features: an encoder of transformers, as a backbone that is trained with the rest."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import nn

from skdefer.exceptions import TruncatedTextWarning
from skdefer.utils._folders import find_folder, no_folder
from skdefer.utils._optional import import_optional
from skdefer.utils._texts import as_texts
from skdefer.utils._warn import warn_user

_NOTHING = -1  # where a text has no token
_NO_LIMIT = int(1e30)  # what tokenizers that know of none say
_POOLINGS = ("mean", "cls", "max")


class TransformerBackbone(nn.Module):
    """Turn texts into features by a transformers encoder, for ``backbone=`` of a network.

    The estimator gives it the texts as they came, calls :meth:`encode` once per fit or
    prediction, and trains the encoder together with its own layers. Batches are made of texts of
    similar length, since an encoder works as long on each as on the longest. Small learning
    rates (2e-5 to 1e-4), small batches (16 to 32) and few epochs (2 to 10) are usual.

    Parameters
    ----------
    model : str, path-like or Module
        The folder of a saved model, the name of one on a hub, or an encoder already made. For a
        name, transformers looks in its own cache and then on the hub, unless ``HF_HUB_OFFLINE=1``
        is in the environment.
    tokenizer : str, path-like or tokenizer, default=None
        What brings texts to tokens: a folder, a name or an object. None: that of ``model``,
        where it is a folder or a name.
    pooling : {"mean", "cls", "max"}, default="mean"
        How features of tokens make those of a text: their mean, those of the first token (which
        models of the BERT kind give to the whole text), or the largest.
    max_length : int, default=None
        The most tokens of a text, special ones too; its end is cut off. None: what the model
        and its tokenizer can take, or fewer where the folder of ``model`` says that it was made
        for fewer (``max_seq_length`` in ``sentence_bert_config.json``).

    Attributes
    ----------
    n_outputs : int
        Number of features of a text.
    max_length : int
        The most tokens of a text.

    Raises
    ------
    ImportError
        Without transformers; the extra is "text".
    OSError
        If there is no such model, or it can't be reached. A path to no folder is not looked up.
    ValueError
        For a model that is no encoder, or parameters that do not fit.

    Notes
    -----
    Any module with a method ``encode(X)``, which gives an array with an entry per row, is used in
    the same way: rows reach it unchecked, and ``forward`` reads what it made of them. With
    ``row_lengths(encoded)``, too, rows of similar length share a batch.

    Examples
    --------
    A tiny encoder that knows three words:

    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
    >>> from skdefer.neural import TransformerBackbone
    >>> words = Tokenizer(models.WordLevel({"?": 0, "good": 1, "bad": 2, "film": 3}, "?"))
    >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?")
    >>> config = BertConfig(vocab_size=4, hidden_size=8, num_hidden_layers=1,
    ...                     num_attention_heads=2, intermediate_size=8)
    >>> backbone = TransformerBackbone(BertModel(config), tokenizer, max_length=4)
    >>> tokens = backbone.encode(["good film", "a bad bad film"])
    >>> tokens
    array([[ 1,  3, -1, -1],
           [ 0,  2,  2,  3]], dtype=int32)
    >>> import torch
    >>> backbone(torch.from_numpy(tokens)).shape
    torch.Size([2, 8])
    """

    _warned = False  # of texts that are cut off

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        pooling: str = "mean",
        max_length: int | None = None,
    ):
        super().__init__()
        if pooling not in _POOLINGS:
            raise ValueError(f"pooling={pooling!r}; expected one of {list(_POOLINGS)}.")
        transformers = import_optional("transformers", needed_for=type(self).__name__)
        if tokenizer is None:
            if isinstance(model, nn.Module):
                raise ValueError(
                    f"model is a {type(model).__name__} that is already made, and there is no "
                    "tokenizer. Pass tokenizer=, the folder or name that the model came from."
                )
            tokenizer = model
        made_for = _NO_LIMIT
        if not isinstance(model, nn.Module):
            made_for = _read_length(model)
            # Some are saved in half precision, in which Adam's steps get lost.
            model = _load(transformers.AutoModel, "model", model).float()
        if not callable(tokenizer):
            tokenizer = _load(transformers.AutoTokenizer, "tokenizer", tokenizer)
        config: Any = getattr(model, "config", None)
        if not hasattr(config, "hidden_size") or getattr(model, "decoder", None) is not None:
            raise ValueError(
                f"model is a {type(model).__name__}; expected an encoder of transformers, which "
                "gives features of tokens (last_hidden_state). Pass what AutoModel makes of an "
                "encoder, or get_encoder() of a model that has a decoder, too."
            )
        self.model = model
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.n_outputs = int(config.hidden_size)
        self.max_length = _find_max_length(max_length, tokenizer, model, made_for)
        pad = getattr(tokenizer, "pad_token_id", None)
        self.pad = 0 if pad is None else int(pad)

    def encode(self, X: Any) -> np.ndarray:
        """Bring texts to tokens.

        Parameters
        ----------
        X : list, tuple, Series or array of str, of shape (n_rows,) or (n_rows, 1)
            The texts. A frame has one column.

        Returns
        -------
        tokens : ndarray of int32 of shape (n_rows, max_length)
            Positions in the vocabulary, then -1.

        Raises
        ------
        ValueError
            For anything but a column of texts, or a missing one.

        Warns
        -----
        TruncatedTextWarning
            If texts are cut off for the first time, with their number.
        """
        cut, n_tokens = self.tokenize(as_texts(X))
        self._warned = self._warned or warn_of_long_texts(n_tokens, self.max_length)
        tokens = np.full((len(cut), self.max_length), _NOTHING, dtype=np.int32)
        tokens[:, : cut.shape[1]] = cut
        return tokens

    def tokenize(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Bring texts to tokens, as many columns as the longest needs, and count them.

        Parameters
        ----------
        texts : list of str
            The texts.

        Returns
        -------
        tokens : ndarray of int32 of shape (n_rows, n_columns)
            At most ``max_length`` positions in the vocabulary, then -1.
        n_tokens : ndarray of int of shape (n_rows,)
            Tokens of each text, those cut off too.
        """
        ids = self._ids(texts)
        n_tokens = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        long = np.flatnonzero(n_tokens > self.max_length)
        if len(long):
            # Again, so that the tokens that end a text are still there.
            cut = self._ids([texts[i] for i in long], truncation=True, max_length=self.max_length)
            for i, row in zip(long, cut, strict=True):
                ids[i] = row
        n_kept = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        n_columns = max(int(n_kept.max(initial=0)), 1)
        tokens = np.full((len(texts), n_columns), _NOTHING, dtype=np.int32)
        flat = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=n_kept.sum())
        tokens[np.arange(n_columns) < n_kept[:, None]] = flat
        tokens[n_kept == 0, 0] = self.pad  # there must be something to pool
        return tokens, n_tokens

    def _ids(self, texts: list[str], **options: Any) -> list[list[int]]:
        if not texts:
            return []
        options |= {
            "padding": False,
            "return_attention_mask": False,
            "return_token_type_ids": False,
            "verbose": False,  # it would warn of long texts by itself
        }
        try:
            return list(self.tokenizer(texts, **options)["input_ids"])
        except (TypeError, UnicodeError):
            # Halves of a character, which broken JSON leaves, are no Unicode and no token.
            whole = [text.encode("utf-8", "replace").decode() for text in texts]
            return list(self.tokenizer(whole, **options)["input_ids"])

    def row_lengths(self, tokens: np.ndarray) -> np.ndarray:
        """Count the tokens of each text.

        Parameters
        ----------
        tokens : ndarray of int of shape (n_rows, max_length)
            What ``encode`` gave.

        Returns
        -------
        lengths : ndarray of int of shape (n_rows,)
        """
        return (tokens != _NOTHING).sum(axis=1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Make features of texts; what else is in the batch makes no difference.

        Parameters
        ----------
        tokens : int Tensor of shape (n_rows, n_tokens)
            What ``encode`` gave: -1 where there is nothing, at the end alone.

        Returns
        -------
        features : Tensor of shape (n_rows, n_outputs)
        """
        there = tokens != _NOTHING
        width = max(int(there.any(0).sum()), 1)
        there = there[:, :width]
        ids = tokens[:, :width].long().masked_fill(~there, self.pad)
        output = self.model(input_ids=ids, attention_mask=there.long())
        features = getattr(output, "last_hidden_state", None)
        if features is None:
            raise ValueError(
                f"model, a {type(self.model).__name__}, gives no last_hidden_state; expected an "
                "encoder, such as AutoModel makes, without a head for some task."
            )
        if features.dtype.itemsize < 4:  # half precision can't hold a sum of many
            features = features.float()
        if self.pooling == "cls":
            return features[:, 0]
        there = there[..., None]
        if self.pooling == "max":
            return features.masked_fill(~there, -torch.inf).amax(1)
        return (features * there).sum(1) / there.sum(1)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out that it warned: a copy warns anew."""
        return {name: value for name, value in self.__dict__.items() if name != "_warned"}


def _load(maker: Any, what: str, name: Any) -> Any:
    if not isinstance(name, (str, os.PathLike)):
        raise ValueError(
            f"{what} is a {type(name).__name__}; expected a folder, the name of a model, or the "
            f"{what} itself."
        )
    path = find_folder(what, name)
    try:
        with _no_progress_bar():
            return maker.from_pretrained(path)
    except (OSError, ValueError) as error:
        from huggingface_hub.constants import HF_HUB_OFFLINE

        gone = "" if os.path.isdir(path) else f": {no_folder(path)}, and no hub gave it"
        offline = " HF_HUB_OFFLINE is set, so nothing was downloaded." if HF_HUB_OFFLINE else ""
        raise OSError(
            f"{what}={os.fspath(name)!r} could not be loaded{gone}.{offline} Pass the folder of a "
            "saved model and tokenizer (save_pretrained makes it), or a name that transformers has "
            f"in its cache or can download. It said: {error}"
        ) from error


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Load without a bar: a search loads a model for each of its fits."""
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def warn_of_long_texts(n_tokens: np.ndarray, max_length: int) -> bool:
    """Warn of texts that are cut off, if any; says whether there are."""
    n_long = int((n_tokens > max_length).sum())
    if n_long:
        warn_user(
            f"{n_long} of {len(n_tokens)} texts have more than max_length={max_length} tokens (up "
            f"to {n_tokens.max()}); their ends are cut off.",
            TruncatedTextWarning,
        )
    return n_long > 0


def _read_length(model: Any) -> int:
    """Read for how many tokens a model of sentence-transformers was made."""
    try:
        path = os.path.join(os.path.expanduser(os.fspath(model)), "sentence_bert_config.json")
        with open(path, encoding="utf-8") as file:
            length = json.load(file)["max_seq_length"]
    except (OSError, TypeError, KeyError, ValueError):  # none, or it says nothing
        return _NO_LIMIT
    return length if isinstance(length, int) and length > 0 else _NO_LIMIT


def _find_max_length(max_length: Any, tokenizer: Any, model: nn.Module, made_for: int) -> int:
    """Find the most tokens of a text: what was asked for, or else what can be had."""
    positions = _n_positions(model)
    special = tokenizer.num_special_tokens_to_add()
    if max_length is None:
        limit = min(tokenizer.model_max_length, positions, made_for)
        if limit == _NO_LIMIT:
            raise ValueError(
                "Neither the model nor the tokenizer says how long a text may be. Pass "
                "max_length=, such as 512."
            )
        return int(limit)
    if not isinstance(max_length, Integral) or not special < max_length <= positions:
        most = f" and at most {positions}, what the model can take" if positions < _NO_LIMIT else ""
        raise ValueError(
            f"max_length={max_length!r}; expected an integer above {special}, the special tokens "
            f"of a text{most}."
        )
    return int(max_length)


def _n_positions(model: Any) -> int:
    """Count the positions that a model can tell apart."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is None:
        return _NO_LIMIT
    # Models of the RoBERTa kind count from behind the position of padding.
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return positions if padding is None else positions - padding - 1
