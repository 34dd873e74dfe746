"""Reviews and faces labelled by paid services and a free model."""

from __future__ import annotations

import os

import numpy as np
from sklearn.utils import Bunch

from skdefer.datasets._base import DatasetFacts, check_option, make_bunch, one_hot, read_table

_SENTIMENTS = ["negative", "positive"]
# The source's codes; the counts of RAFDB are those that its authors publish by name.
_EMOTIONS = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
# US$ for 10,000 calls. The source lists YELP, SHOP and FERPLUS; a service's price does not
# depend on the corpus.
_SENTIMENT_PRICES = {"google": 2.5, "baidu": 3.5, "amazon": 0.75}
_FACE_PRICES = {"google": 15.0, "facepp": 5.0, "microsoft": 10.0}
_FREE_PRICE = 0.001
_CALLS_PER_PRICE = 10_000

# task -> the model that is nearly free
_FREE_MODEL = {
    "YELP": "vader",
    "IMDB": "vader",
    "SHOP": "bixin",
    "WAIMAI": "bixin",
    "FERPLUS": "githubcnn",
    "RAFDB": "githubcnn",
    "EXPW": "githubcnn",
}

_FACTS = DatasetFacts(
    name="frugalml",
    title="reviews and faces, the labels of paid services with their prices, and of a free model",
    files={
        "sentiment.parquet": "b22b7db76c2089d35960d75cbd592aed4ad47536fcbfd666f883aca37cc57232",
        "faces.parquet": "7d59be47416253cfe64db20d9292d4caa56d7cb9466fa43279f5ac62ed7941f6",
    },
    source="github.com/lchen001/FrugalML at 96712f67",
    licence=(
        "Apache-2.0 (repository); the corpora have terms of their own; texts and images are not "
        "included"
    ),
    citation="Chen, Zaharia, Zou: FrugalML, NeurIPS 2020",
    notes="""
Sentiment, 2 classes: YELP 20,000 rows and IMDB 25,000 (English), SHOP 62,774 and WAIMAI 11,987
(Chinese). Faces, 7 emotions: FERPLUS 6,358, RAFDB 15,339, EXPW 31,510.

There are no features of the items: the model sees the label and the confidence of a free model
(vader, bixin, githubcnn), so only post-hoc methods apply. Prices in US$ for 10,000 calls:
google 2.5, baidu 3.5, amazon .75 (sentiment); google 15, facepp 5, microsoft 10 (faces); the
free model .001. The source lists them for YELP, SHOP and FERPLUS.

Accuracy of the free model, and of the best service: YELP .745, google .957; IMDB .693, google .864;
SHOP .780, baidu .922; WAIMAI .643, baidu .890; FERPLUS .651, microsoft .814; RAFDB .600,
microsoft .717; EXPW .564, microsoft .728. baidu on the English corpora is near chance: an expert
that is never worth its price. On faces google never answers disgust or fear. A logistic regression
on the free model's output is better than its label (YELP .83, SHOP .81, FERPLUS .72).""",
)


def load_frugalml(
    *,
    data_home: str | os.PathLike[str] | None = None,
    task: str = "FERPLUS",
    verify: bool = True,
) -> Bunch:
    """Read one corpus, with paid services as experts at their real prices.

    Use it for money: prices per expert, budget curves, many rows. The data are the user's own
    copy; see :func:`~skdefer.datasets.get_data_home`.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder that holds ``frugalml/sentiment.parquet`` and ``frugalml/faces.parquet``.
    task : str, default="FERPLUS"
        YELP, IMDB, SHOP or WAIMAI (sentiment), FERPLUS, RAFDB or EXPW (faces).
    verify : bool, default=True
        Compare the sha256 of the file with the known one.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        ``data`` : DataFrame of float of shape (n_rows, 2 * n_classes)
            The free model's label one-hot, then the same with its confidence for the 1.
        ``target`` : ndarray of int
            0 negative, 1 positive; or emotion 0 to 6.
        ``expert_predictions`` : DataFrame of int
            A column per paid service; none missing.
        ``costs`` : dict of str to float
            US$ per answer (per row), by service. Take ``error_cost`` in US$ too.
        ``cost_unit`` : str
            ``"US$ per answer"``.
        ``model_cost`` : float
            US$ per row of the free model.
        ``free_label`` : ndarray of int
            What the free model itself answers.
        ``item`` : ndarray of str
            The row's file name in the corpus.
        ``target_names``, ``feature_names``, ``model_name``, ``name``, ``DESCR``
            ``groups`` is None.

    Raises
    ------
    DatasetNotFoundError
        If the file is not there.
    ValueError
        For an unknown ``task``, or a file that is not the known one.

    Notes
    -----
    Licence: Apache-2.0 for the answers; the corpora have terms of their own.

    Examples
    --------
    >>> from skdefer.datasets import load_frugalml
    >>> faces = load_frugalml(task="FERPLUS")  # doctest: +SKIP
    >>> faces.costs  # doctest: +SKIP
    {'google': 0.0015, 'facepp': 0.0005, 'microsoft': 0.001}
    """
    import pandas

    check_option("task", task, _FREE_MODEL)
    free = _FREE_MODEL[task]
    if free == "githubcnn":
        file, prices, target_names = "faces.parquet", _FACE_PRICES, _EMOTIONS
    else:
        file, prices, target_names = "sentiment.parquet", _SENTIMENT_PRICES, _SENTIMENTS
    table = read_table(
        _FACTS,
        file,
        data_home=data_home,
        verify=verify,
        columns=("task", "item", "gold", free, f"{free}_conf", *prices),
    )
    table = table[table["task"] == task]
    label = table[free].to_numpy(dtype=np.int64)
    indicator = one_hot(label, len(target_names)).astype(float)
    # One slope per label: "sure of negative" and "sure of positive" pull apart.
    confidence = indicator * table[f"{free}_conf"].to_numpy(dtype=float)[:, None]
    data = pandas.DataFrame(
        np.hstack([indicator, confidence]),
        columns=[f"{what} {name}" for what in ("label", "confidence") for name in target_names],
    )
    return make_bunch(
        _FACTS,
        data=data,
        target=table["gold"].to_numpy(dtype=np.int64),
        expert_predictions=table[list(prices)].astype(np.int64),
        target_names=list(target_names),
        costs={service: price / _CALLS_PER_PRICE for service, price in prices.items()},
        cost_unit="US$ per answer",
        model_name=free,
        model_cost=_FREE_PRICE / _CALLS_PER_PRICE,
        free_label=label,
        item=table["item"].to_numpy(dtype=str),
    )
