"""How fast are TextStatistics, against CountVectorizer on the same texts?

Abstracts are the sentences of the ADE corpus, joined by abstract and repeated until there are
100,000; both read them in turns on one core. Seconds are those of the processor, so that other
work on the machine matters little.

    SKDEFER_DATA=<folder of the data sets> python benchmarks/text_statistics.py
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from common import table, write
from sklearn.feature_extraction.text import CountVectorizer

from skdefer.datasets import load_ade_corpus
from skdefer.text import TextStatistics

N_ABSTRACTS = 100_000
TURNS = 3


def abstracts():
    bunch = load_ade_corpus()
    sentences = {}
    for pmid, text in zip(bunch.groups.tolist(), bunch.data, strict=True):
        sentences.setdefault(pmid, []).append(text)
    texts = [" ".join(parts) for parts in sentences.values()]
    return (texts * (N_ABSTRACTS // len(texts) + 1))[:N_ABSTRACTS]


def main():
    texts = abstracts()
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    readers = {"TextStatistics": TextStatistics(), "CountVectorizer": CountVectorizer()}
    seconds = {(name, step): [] for name in readers for step in ("fit", "transform")}
    for _ in range(TURNS):
        for name, reader in readers.items():
            for step in ("fit", "transform"):
                start = time.process_time()
                getattr(reader, step)(texts)
                seconds[name, step].append(time.process_time() - start)
    rows = [
        {
            "what": f"{name}.{step}",
            "seconds": f"{np.median(taken):.1f}",
            "MB/s": f"{megabytes / np.median(taken):.1f}",
            "texts/s": f"{len(texts) / np.median(taken):,.0f}",
        }
        for (name, step), taken in seconds.items()
    ]
    one = texts[:1]
    start = time.process_time()
    for _ in range(1000):
        readers["TextStatistics"].transform(one)
    single = (time.process_time() - start) / 1000
    print(f"{len(texts):,} abstracts, {megabytes:.0f} MB; one alone {single * 1e6:.0f} µs")
    print(table(rows, list(rows[0])))
    write(
        "text_statistics",
        n_texts=len(texts),
        megabytes=megabytes,
        seconds={" ".join(key): taken for key, taken in seconds.items()},
        seconds_alone=single,
    )


if __name__ == "__main__":
    main()
