"""Tiny made files in the columns of the real ones, so that loaders are tested without data."""

import json

import numpy as np
import pandas as pd

from skdefer.datasets import (
    _chexpert_readers,
    _cifar10h_models,
    _css_llm,
    _ecg_readers,
    _frugalml,
    _ham10000_8x8,
    _medqa_llm,
    _openl2d_adult,
    _sleep_scorers,
)


def ade_corpus(rng):
    n = 60
    table = pd.DataFrame({"pmid": [str(100 + i // 4) for i in range(n)]})
    table["text"] = [f"Sentence {i} of an abstract." for i in range(n)]
    table["label"] = rng.permutation(np.resize([0, 0, 0, 1], n))
    table["drugs"] = np.where(table["label"] == 1, "a drug", None)
    table["effects"] = np.where(table["label"] == 1, "its effect", None)
    table["fold"] = np.resize(np.arange(5), n).astype(np.int8)
    for model in ("tfidf", "minilm"):
        table[f"ref_{model}_p1"] = rng.uniform(size=n).astype(np.float32)
    table["rule"] = rng.integers(2, size=n).astype(np.int8)
    return {"data.parquet": table}


def chexpert_readers(rng):
    findings = _chexpert_readers._FINDINGS
    table = pd.DataFrame(
        [(f"study{s}", f) for f in findings for s in range(20)], columns=["study", "finding"]
    )
    table["gold"] = rng.integers(2, size=len(table))
    for column in (*_chexpert_readers._READERS, "goldreader_bc1"):
        table[column] = rng.integers(2, size=len(table))
    for model in _chexpert_readers._MODELS:
        table[f"model_{model}"] = rng.uniform(size=len(table))
    return {"data.parquet": table}


def cifar10h_models(rng):
    n = 60
    table = pd.DataFrame({"index": np.arange(n), "gold": np.arange(n) % 10})
    counts = rng.multinomial(51, np.full(10, 0.1), size=n)
    for k, name in enumerate(_cifar10h_models._CLASSES):
        table[f"human_{name}"] = counts[:, k].astype(np.int16)
    table["human_draw"] = rng.integers(10, size=n)
    for model in _cifar10h_models._MODELS:
        p = rng.dirichlet(np.full(10, 0.1), size=n).round(6).astype(np.float32)
        table[[f"{model}_p{k}" for k in range(10)]] = p
    return {"data.parquet": table}


def css_llm(rng):
    parts = []
    for task in _css_llm._TASKS:
        labels = ["no", "yes"] if task == "conv_go_awry" else ["a", "b", "c"]
        options = {} if task == "conv_go_awry" else {"a": "Left", "b": "Right", "c": "Center"}
        part = pd.DataFrame({"task": task, "item": [f"{task} {i}" for i in range(30)]})
        part["text"] = [f"text {i} of {task}" for i in range(30)]
        part["gold"] = np.resize(labels, 30)
        part["gold_raw"] = part["gold"]
        part["options"] = json.dumps(options)
        for model in _css_llm._MODELS:
            part[model] = rng.choice([*labels, "invalid"], size=30)
        part.loc[3, "chatgpt"] = None
        part.loc[4, "chatgpt"] = "invalid"
        if task != "emotion":
            part["roberta"] = None
        parts.append(part)
    return {"data.parquet": pd.concat(parts)}


def ecg_readers(rng):
    n = 60
    table = pd.DataFrame({"exam": np.arange(n), "age": rng.integers(17, 90, size=n)})
    table["sex"] = np.resize(["M", "F"], n)
    who = ("gold", "cardiologist1", "cardiologist2", *_ecg_readers._READERS)
    parts = [table]
    for name in who:
        found = rng.uniform(size=(n, 6)) < 0.2
        columns = [f"{name}_{a}" for a in _ecg_readers._ABNORMALITIES]
        part = pd.DataFrame(found.astype(int), columns=columns)
        total = found.sum(axis=1)
        single = np.where(total > 1, 7, np.where(total == 0, 0, found.argmax(axis=1) + 1))
        part[f"{name}_single"] = single
        parts.append(part)
    for model in _ecg_readers._MODELS[:-1]:
        p = rng.uniform(size=(n, 6)).astype(np.float32)
        p[0] = 0.0  # the source stores exact zeros
        columns = [f"{model}_prob_{a}" for a in _ecg_readers._ABNORMALITIES]
        parts.append(pd.DataFrame(p, columns=columns))
    return {"data.parquet": pd.concat(parts, axis=1)}


def frugalml(rng):
    def task_table(task, models, n_classes):
        table = pd.DataFrame({"task": task, "item": [f"{task}_{i}" for i in range(40)]})
        table["gold"] = np.arange(40) % n_classes
        for model in models:
            known = model not in ("vader", "bixin") or model == _frugalml._FREE_MODEL[task]
            table[model] = rng.integers(n_classes, size=40).astype(float) if known else np.nan
            table[f"{model}_conf"] = rng.uniform(size=40).astype(np.float32) if known else np.nan
        return table

    sentiment = [*_frugalml._SENTIMENT_PRICES, "vader", "bixin"]
    faces = [*_frugalml._FACE_PRICES, "githubcnn"]
    return {
        "sentiment.parquet": pd.concat(
            [task_table(t, sentiment, 2) for t in ("YELP", "IMDB", "SHOP", "WAIMAI")]
        ),
        "faces.parquet": pd.concat([task_table(t, faces, 7) for t in ("FERPLUS", "RAFDB", "EXPW")]),
    }


def ham10000_8x8(rng):
    n = 70
    pixels = rng.integers(256, size=(n, 64)).astype(np.uint8)
    table = pd.DataFrame(pixels, columns=_ham10000_8x8._PIXELS)
    table["lesion_id"] = [f"HAM_{i // 2}" for i in range(n)]
    table["image_id"] = [f"ISIC_{i}" for i in range(n)]
    table["label"] = np.arange(n) % 7
    table["dx"] = [_ham10000_8x8._DIAGNOSES[k] for k in table["label"]]
    table["dx_type"] = np.resize(["histo", "follow_up", "consensus", "confocal"], n)
    table["age"] = rng.choice([5.0, 45.0, 85.0, np.nan], size=n)
    table["sex"] = np.resize(["male", "female", "unknown"], n)
    table["localization"] = np.resize(["back", "lower extremity", "unknown"], n)  # not all sites
    return {"data.parquet": table}


def medqa_llm(rng):
    parts = []
    for task in _medqa_llm._TASKS:
        options = {"bioasq": ["yes", "no"], "pubmedqa": ["yes", "no", "maybe"]}.get(task)
        letters = "ABCD" if options is None else "ABC"[: len(options)]
        part = pd.DataFrame({"dataset": task, "qid": [f"{task}-{i}" for i in range(24)]})
        part["topic"] = "anatomy"
        part["question"] = [f"Question {i} of {task}?" for i in range(24)]
        part["options"] = [
            json.dumps(dict(zip(letters, options or [f"{word} {i}" for word in "abcd"])))
            for i in range(24)
        ]
        part["gold"] = np.resize(list(letters), 24)
        for model in _medqa_llm._PRICES:
            part[model] = rng.choice([*letters, "abstain"], size=24)
            part[f"{model}_len"] = rng.integers(100, 900, size=24).astype(np.int32)
        part.loc[5, "gpt4_rag"] = "abstain"
        parts.append(part)
    table = pd.concat(parts)
    text = table.loc[table["dataset"] == "bioasq", ["qid"]].iloc[::-1]  # in an order of its own
    text["snippets"] = [f"Snippets of {qid}." for qid in text["qid"]]
    return {"data.parquet": table, "bioasq_text.parquet": text}


def openl2d_adult(rng):
    n = 80
    table = pd.DataFrame(index=range(n))
    for column in _openl2d_adult._FEATURES:
        if column in _openl2d_adult._WORDS:
            table[column] = rng.choice([f" {column} a", f" {column} b"], size=n)  # with the blanks
        else:
            table[column] = rng.integers(100, size=n)
    table["gold"] = np.arange(n) % 2
    for expert in _openl2d_adult._EXPERTS:
        table[expert] = rng.integers(2, size=n).astype(np.int8)
    return {"data.parquet": table}


def sleep_scorers(rng):
    nights = [("dodh", 0, 30), ("dodh", 1, 25), ("dodo", 0, 20)]
    table = pd.DataFrame(
        [(d, r, e) for d, r, n in nights for e in range(n)], columns=["dataset", "record", "epoch"]
    )
    for column in (*(f"scorer{k}" for k in range(1, 6)), "gold345"):
        table[column] = rng.integers(-1, 5, size=len(table)).astype(np.int8)
    for model in _sleep_scorers._MODELS:
        table[model] = rng.integers(5, size=len(table)).astype(np.int8)
    return {"data.parquet": table}


def write(name, data_home, seed=0):
    """Write the made files of one data set below ``data_home``; give the tables back."""
    tables = globals()[name](np.random.default_rng(seed))
    folder = data_home / name
    folder.mkdir()
    for file, table in tables.items():
        table.to_parquet(folder / file)
    return tables
