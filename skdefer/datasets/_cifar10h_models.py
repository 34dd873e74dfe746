"""CIFAR-10 test images labelled by people and by five networks."""

from __future__ import annotations

import os
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import Bunch, check_random_state

from skdefer.datasets._base import DatasetFacts, check_option, make_bunch, read_table

_CLASSES = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
]
_MODELS = ("cleanlab_cv", "densenet190", "preresnet110", "resnet110", "vgg_or_other")
_SMALLEST_STORED = 1e-6

_FACTS = DatasetFacts(
    name="cifar10h_models",
    title="CIFAR-10 test images, about 51 human labels each, five networks' probabilities",
    files={"data.parquet": "04fd5f398bbbcb3d2def98a0cb339a5a4e3d07e8fdb9e08cf8762f1d0651d2fb"},
    source=(
        "github.com/jcpeterson/cifar-10h at 48da312b (people); "
        "Networks-Learning/improve-expert-predictions-conformal-prediction at 6ae15a4f (networks); "
        "cleanlab/label-errors at 6d5d6b31 (cleanlab_cv)"
    ),
    licence=(
        "CIFAR-10H: CC BY-NC-SA 4.0; networks: not stated; label-errors: Apache-2.0; "
        "images are not included"
    ),
    citation="Peterson et al., Human uncertainty makes classification more robust, ICCV 2019",
    notes="""
10,000 images, 1,000 of each class. 511,000 labels of people, 51 an image, mean accuracy .952. No
annotator's id is known: the "expert" is another, randomly drawn person on every image, so
it has the skill of the crowd's average member and no habits of its own.

Accuracy of the networks: resnet110 .939, preresnet110 .951, densenet190 .967, vgg_or_other .889,
cleanlab_cv .929 (fitted by cross-validation on the other test images). Models and people are
both strong: what deferral gains is small, but real.""",
)


def load_cifar10h_models(
    *,
    data_home: str | os.PathLike[str] | None = None,
    model: str = "vgg_or_other",
    n_humans: int = 1,
    include_networks: bool = False,
    random_state: Any = 0,
    verify: bool = True,
) -> Bunch:
    """Read ten-class image labels of people and networks.

    Use it for profiles over many classes, calibration, and experts as good as the model. The data
    are the user's own copy; see :func:`~skdefer.datasets.get_data_home`.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder that holds ``cifar10h_models/data.parquet``.
    model : str, default="vgg_or_other"
        The network whose log-probabilities are the features: cleanlab_cv, densenet190,
        preresnet110, resnet110 or vgg_or_other (the weakest).
    n_humans : int, default=1
        How many people answer each image. The first is the draw stored with the data;
        the others are drawn here from the image's label counts, with replacement.
    include_networks : bool, default=False
        Whether the most probable classes of the other four networks are experts too.
    random_state : int, RandomState instance or None, default=0
        Draws the people after the first.
    verify : bool, default=True
        Compare the sha256 of the file with the known one.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        ``data`` : DataFrame of float of shape (10000, 10)
            Natural logarithm of the network's probability of each class, at least
            log(1e-6), the finest that the source stores.
        ``target`` : ndarray of int
            Class, 0 to 9.
        ``expert_predictions`` : DataFrame of int
            ``human_draw``, ``human_2``, ..., then networks; none missing.
        ``human_counts`` : ndarray of int of shape (10000, 10)
            How many people gave each label. No feature: it holds the experts' answers.
        ``target_names``, ``feature_names``, ``model_name``, ``name``, ``DESCR``
            ``groups`` and ``costs`` are None.

    Raises
    ------
    DatasetNotFoundError
        If the file is not there.
    ValueError
        For an unknown ``model``, an ``n_humans`` that is no integer >= 1, or a file that is
        not the known one.

    Notes
    -----
    Licence of the people's labels: CC BY-NC-SA 4.0, so not for commercial use.

    Examples
    --------
    >>> from skdefer.datasets import load_cifar10h_models
    >>> images = load_cifar10h_models(n_humans=3)  # doctest: +SKIP
    >>> list(images.expert_predictions)  # doctest: +SKIP
    ['human_draw', 'human_2', 'human_3']
    """
    import pandas

    check_option("model", model, _MODELS)
    if not isinstance(n_humans, Integral) or isinstance(n_humans, bool) or n_humans < 1:
        raise ValueError(f"n_humans is {n_humans!r}; expected an integer >= 1.")
    used = [m for m in _MODELS if include_networks or m == model]
    count_columns = [f"human_{name}" for name in _CLASSES]
    probabilities = {m: [f"{m}_p{k}" for k in range(len(_CLASSES))] for m in used}
    table = read_table(
        _FACTS,
        data_home=data_home,
        verify=verify,
        columns=(
            "gold",
            "human_draw",
            *count_columns,
            *(p for m in used for p in probabilities[m]),
        ),
    )
    counts = table[count_columns].to_numpy(dtype=np.int64)
    answers = {"human_draw": table["human_draw"].to_numpy(dtype=np.int64)}
    rng = check_random_state(random_state)
    for person in range(2, n_humans + 1):
        answers[f"human_{person}"] = _draw_person(counts, rng)
    for other in used:
        if other != model:
            answers[other] = table[probabilities[other]].to_numpy().argmax(axis=1)
    data = np.log(table[probabilities[model]].astype(float).clip(lower=_SMALLEST_STORED))
    data.columns = [f"log p({name})" for name in _CLASSES]
    return make_bunch(
        _FACTS,
        data=data,
        target=table["gold"].to_numpy(dtype=np.int64),
        expert_predictions=pandas.DataFrame(answers),
        target_names=list(_CLASSES),
        model_name=model,
        human_counts=counts,
    )


def _draw_person(counts: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Draw one label per row, in proportion to the row's counts."""
    cumulative = counts.cumsum(axis=1)
    drawn = rng.uniform(size=len(counts)) * cumulative[:, -1]
    return (drawn[:, None] >= cumulative).sum(axis=1)
