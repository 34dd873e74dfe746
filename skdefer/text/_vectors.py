"""Vectors of texts on disk: found again by the content of the text, one file per encoder."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.utils.validation import check_memory

from skdefer.exceptions import UncachedWarning

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
            warnings.warn(
                f"memory= keeps no vectors: {self.path} can't be used ({error}). They are computed "
                "anew. Delete that file if it is damaged, or pass a folder that can be written to.",
                UncachedWarning,
                stacklevel=2,
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
    """
    memory = check_memory(os.fspath(memory) if isinstance(memory, os.PathLike) else memory)
    backend = getattr(memory, "store_backend", None)
    if backend is None:
        return None
    return VectorStore(Path(backend.location) / "skdefer" / "embeddings" / f"{digest}.sqlite")


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


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
