"""Epochs of sleep staged by human scorers and six networks."""

from __future__ import annotations

import os
from numbers import Integral

import numpy as np
from sklearn.utils import Bunch

from skdefer.datasets._base import DatasetFacts, check_option, make_bunch, one_hot, read_table

_STAGES = ["wake", "N1", "N2", "N3", "REM"]
_SCORERS = ("scorer1", "scorer2")
_MODELS = (
    "m_chambon",
    "m_deepsleepnet",
    "m_mixedneuralnetwork",
    "m_seqsleepnet",
    "m_simplenet",
    "m_tsinalis",
)

_FACTS = DatasetFacts(
    name="sleep_scorers",
    title="30-second epochs of sleep, two human scorers, six networks",
    files={"data.parquet": "a4c115c5f0eb7a2da14a1be9e2591f85e2e7d410c273d4d5f45cd94569ce92a6"},
    source="github.com/Dreem-Organization/dreem-learning-evaluation at 1e4c142d (DOD-H, DOD-O)",
    licence="MIT (repository); signals are not included",
    citation="Guillot et al., Dreem Open Datasets, IEEE TNSRE 28 (2020)",
    notes="""
75,416 epochs of 77 nights (dodh 22 healthy, dodo 55 apnea). Gold is the majority of scorers 3, 4
and 5; the 2 % of epochs on which they do not agree are left out here. Scorers 1 and 2 had no part
in it and are the experts; a few epochs they did not score are missing. Share of each
stage: wake .176, N1 .057, N2 .497, N3 .102, REM .168 (.022 without a majority).

The networks' labels are hard, so the features are the labels of one network around the epoch.
The networks were trained leave-one-night-out on the scorers' consensus, so they know the habits
of those who define gold, which scorers 1 and 2 need not share. Split by night (`groups`).

Accuracy: scorer1 .812, scorer2 .820, m_tsinalis .745, m_simplenet .865; of a logistic regression on
the window of m_tsinalis, out of fold by night, .75 to .77 on samples of 12,000 epochs.""",
)


def load_sleep_scorers(
    *,
    data_home: str | os.PathLike[str] | None = None,
    model: str = "m_tsinalis",
    window: int = 4,
    include_networks: bool = False,
    verify: bool = True,
) -> Bunch:
    """Read epochs of sleep with two human scorers as experts.

    Use it for many rows, five classes, whole nights as groups, and a weak (``m_tsinalis``) or a
    strong (``m_simplenet``) model before the same experts. The data are the user's own copy;
    see :func:`~skdefer.datasets.get_data_home`.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder that holds ``sleep_scorers/data.parquet``.
    model : str, default="m_tsinalis"
        The network whose labels are the features: m_chambon, m_deepsleepnet,
        m_mixedneuralnetwork, m_seqsleepnet, m_simplenet or m_tsinalis.
    window : int, default=4
        How many epochs before and after the row's own are seen.
    include_networks : bool, default=False
        Whether the other five networks are experts too.
    verify : bool, default=True
        Compare the sha256 of the file with the known one.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        ``data`` : DataFrame of int8 of shape (73792, 5 * (2 * window + 1))
            The network's labels one-hot, by offset from the row's epoch; all 0 where the
            night has not begun or is over.
        ``target`` : ndarray of int
            Stage: 0 wake, 1 N1, 2 N2, 3 N3, 4 REM.
        ``expert_predictions`` : DataFrame
            ``scorer1``, ``scorer2``, NaN where an epoch was not scored, then networks.
        ``groups`` : ndarray of str
            The night, ``<dataset>-<record>``.
        ``epoch`` : ndarray of int
            Position in the night, in units of 30 s.
        ``target_names``, ``feature_names``, ``model_name``, ``name``, ``DESCR``
            ``costs`` is None.

    Raises
    ------
    DatasetNotFoundError
        If the file is not there.
    ValueError
        For an unknown ``model``, a ``window`` that is no integer >= 0, or a file that is not
        the known one.

    Notes
    -----
    Licence: MIT. Scorers 3, 4 and 5 define gold and are left out.

    Examples
    --------
    >>> from skdefer.datasets import load_sleep_scorers
    >>> sleep = load_sleep_scorers(model="m_simplenet")  # doctest: +SKIP
    >>> sleep.target_names  # doctest: +SKIP
    ['wake', 'N1', 'N2', 'N3', 'REM']
    """
    import pandas

    check_option("model", model, _MODELS)
    if not isinstance(window, Integral) or isinstance(window, bool) or window < 0:
        raise ValueError(f"window is {window!r}; expected a number of epochs, an integer >= 0.")
    experts = [*_SCORERS, *(m for m in _MODELS if include_networks and m != model)]
    table = read_table(
        _FACTS,
        data_home=data_home,
        verify=verify,
        columns=("dataset", "record", "epoch", "gold345", model, *experts),
    )
    table = table.sort_values(["dataset", "record", "epoch"], kind="stable")
    night = table["dataset"].to_numpy(dtype=str) + "-" + table["record"].to_numpy().astype(str)
    offsets = range(-window, window + 1)
    features = _windows(table[model].to_numpy(), night, window)
    agreed = table["gold345"].to_numpy() >= 0
    data = pandas.DataFrame(
        features[agreed].reshape(agreed.sum(), -1),
        columns=[f"{stage} at {offset:+d}" for offset in offsets for stage in _STAGES],
    )
    answers = table.loc[agreed, experts]
    return make_bunch(
        _FACTS,
        data=data,
        target=table.loc[agreed, "gold345"].to_numpy(dtype=np.int64),
        expert_predictions=answers.where(answers >= 0),
        groups=night[agreed],
        target_names=list(_STAGES),
        model_name=model,
        epoch=table.loc[agreed, "epoch"].to_numpy(dtype=np.int64),
    )


def _windows(labels: np.ndarray, night: np.ndarray, window: int) -> np.ndarray:
    """Look ``window`` epochs to both sides of each, never into another night.

    Parameters
    ----------
    labels : ndarray of int of shape (n_epochs,)
        The network's label of each epoch, in the order of time.
    night : ndarray of shape (n_epochs,)
        The night of each epoch; equal ones are neighbours.
    window : int
        Epochs seen on each side.

    Returns
    -------
    features : ndarray of int8 of shape (n_epochs, 2 * window + 1, n_stages)
        One-hot labels.
    """
    position = np.arange(len(labels))[:, None] + np.arange(-window, window + 1)
    inside = (position >= 0) & (position < len(labels))
    position = np.clip(position, 0, len(labels) - 1)
    inside &= night[position] == night[:, None]
    return one_hot(np.where(inside, labels[position], -1), len(_STAGES))
