"""Vectors of texts on disk: found again by the content of the text, one file per encoder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
from sklearn.utils.validation import check_memory

from skdefer.exceptions import UncachedWarning
from skdefer.utils._warn import warn_user

_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (
    text BLOB PRIMARY KEY,
    n_tokens INTEGER NOT NULL,
    vector BLOB NOT NULL
)
"""
# Where a model lay, and how it was saved, say nothing of what it does.
_NOT_CONTENT = {
    "_name_or_path",
    "_commit_hash",
    "architectures",
    "dtype",
    "torch_dtype",
    "transformers_version",
}


class VectorStore:
    """Vectors by text, in one SQLite file that several processes may use at once.

    It is a convenience: where it fails, it says so once, and everything is new.

    Parameters
    ----------
    path : Path
        The file; made with its folder if it is not there.
    """

    def __init__(self, path: Path):
        self.path = path
        self.works = True

    def read_into(self, texts: list[str], vectors: np.ndarray, n_tokens: np.ndarray) -> np.ndarray:
        """Fill in the rows of texts that are known; says which, bool of shape (n_rows,)."""
        known = np.zeros(len(texts), dtype=bool)

        def read(connection: Any) -> None:
            query = "SELECT n_tokens, vector FROM vectors WHERE text = ?"
            for i, text in enumerate(texts):
                found = connection.execute(query, (_digest(text),)).fetchone()
                if found is not None and len(found[1]) == vectors[i].nbytes:
                    n_tokens[i] = found[0]
                    vectors[i] = np.frombuffer(found[1], dtype=np.float32)
                    known[i] = True

        self._use(read)
        return known

    def write(self, texts: list[str], vectors: np.ndarray, n_tokens: np.ndarray) -> None:
        """Keep vectors, all or none of them."""
        rows = [
            (_digest(text), int(n), vector.tobytes())
            for text, vector, n in zip(texts, vectors, n_tokens, strict=True)
        ]
        self._use(lambda c: c.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows))

    def _use(self, do: Callable[[Any], object]) -> None:
        import sqlite3  # only where vectors are kept

        if not self.works:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=60.0)) as connection, connection:
                connection.execute(_SCHEMA)
                do(connection)
        except (OSError, sqlite3.Error) as error:
            self.works = False
            _warn_of_no_memory(self.path, error)


def _warn_of_no_memory(place: Any, error: Exception) -> None:
    warn_user(
        f"memory= keeps no vectors: {place} can't be used ({error}). They are computed anew. "
        "Delete that file if it is damaged, or pass a folder that can be written to.",
        UncachedWarning,
    )


def open_store(memory: Any, digest: str) -> VectorStore | None:
    """Find the store of an encoder within a ``joblib.Memory``, so that its ``clear`` clears it.

    Parameters
    ----------
    memory : str, path-like or joblib.Memory
        One without a location keeps nothing.
    digest : str
        Of what makes the vectors.

    Returns
    -------
    store : VectorStore or None
        None, with an UncachedWarning, where there can be no such folder, too.
    """
    if isinstance(memory, os.PathLike):
        memory = os.fspath(memory)
    try:
        memory = check_memory(memory)
    except (OSError, ValueError) as error:
        _warn_of_no_memory(memory, error)
        return None
    backend = getattr(memory, "store_backend", None)
    if backend is None:
        return None
    return VectorStore(Path(backend.location) / "skdefer" / "embeddings" / f"{digest}.sqlite")


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Facts(NamedTuple):
    """What must be known of an encoder to find its vectors."""

    digest: str  # of all that a vector depends on beside the text
    n_outputs: int
    max_length: int


_known: dict[tuple[Any, ...], Facts] = {}  # by files and parameters, for the life of the process


def read_facts(made_of: tuple[Any, ...], load: Callable[[], Any]) -> Facts:
    """Find the facts of an encoder; it is loaded only if its files are new to this process.

    Parameters
    ----------
    made_of : tuple
        The model, its tokenizer (or None) and all that the encoder depends on beside them.
    load : callable
        Gives the encoder.

    Returns
    -------
    facts : Facts
    """
    model, tokenizer, *rest = made_of
    files = [_list_files(place) for place in (model, tokenizer) if place is not None]
    if None in files:  # an object, or a name on a hub
        return _describe(load())
    key = (tokenizer is None, *files, *rest)
    if key not in _known:
        _known[key] = _describe(load())
    return _known[key]


def _list_files(place: Any) -> tuple[Any, ...] | None:
    """Tell the files of a folder from any that were there before; None if it is no folder."""
    try:
        path = os.path.realpath(os.path.expanduser(os.fspath(place)))
        with os.scandir(path) as entries:
            stats = [(entry.name, entry.stat()) for entry in entries]
    except (OSError, TypeError, ValueError):
        return None
    return path, *sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _describe(encoder: Any) -> Facts:
    return Facts(digest_encoder(encoder), encoder.n_outputs, encoder.max_length)


def digest_encoder(encoder: Any) -> str:
    """Digest all that a vector depends on beside the text."""
    import torch

    digest = blake2b(digest_size=16)
    for name, weight in encoder.model.state_dict().items():
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        raw = weight.detach().cpu().reshape(-1).contiguous().view(torch.uint8)
        digest.update(memoryview(raw.numpy()))
    config = encoder.model.config
    described = config.to_dict() if hasattr(config, "to_dict") else vars(config)
    content = {key: value for key, value in described.items() if key not in _NOT_CONTENT}
    parts = [type(encoder.model).__qualname__, encoder.pooling, encoder.max_length]
    parts += [content, _content_of_tokenizer(encoder.tokenizer)]
    digest.update(json.dumps(parts, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _content_of_tokenizer(tokenizer: Any) -> Any:
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        return joblib.hash(tokenizer)
    content = json.loads(fast.to_str())
    # What the last call asked for, not what the tokenizer is.
    return {key: value for key, value in content.items() if key not in ("truncation", "padding")}
