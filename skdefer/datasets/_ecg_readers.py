"""Electrocardiograms read by three groups of doctors and a deep network."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logit
from sklearn.utils import Bunch

from skdefer.datasets._base import DatasetFacts, check_option, make_bunch, read_table

if TYPE_CHECKING:
    import pandas

_ABNORMALITIES = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
_READERS = ("cardiology_residents", "emergency_residents", "medical_students")
_MODELS = ("dnn", *(f"dnn_seed{s}" for s in range(1, 11)), "age_sex")
_TASKS = ("any", "single", *_ABNORMALITIES)
# Probabilities of exactly 0 are stored; the classes overlap far above this.
_LEAST_PROBABILITY = 1e-5

_FACTS = DatasetFacts(
    name="ecg_readers",
    title="twelve-lead electrocardiograms, three groups of doctors, a deep network",
    files={"data.parquet": "96ef1a387498ec2cc91c010711356d5ad4d66bc659abe16f41c81b419d3aa446"},
    source="github.com/antonior92/automatic-ecg-diagnosis at 40393486 (2022)",
    licence="MIT (repository); tracings are not included",
    citation="Ribeiro et al., Nature Communications 11, 1760 (2020)",
    notes="""
827 exams, one a patient. Positives: 1dAVb 28, RBBB 34, LBBB 30, SB 16, AF 13, ST 37; any of them
.177. Each expert is two people, each of whom read half of the exams.

Gold is built from two cardiologists (a third decides where they differ), so these two are no
experts here. Few positives: report intervals.

Accuracy on "any": cardiology_residents .967, emergency_residents .955, medical_students .963, the
network at its own thresholds .984, age and sex .82. With the network's logits the model is
stronger than every expert: deferral must be sparse or absent, and a method that finds
no gain here is right.""",
)


def load_ecg_readers(
    *,
    data_home: str | os.PathLike[str] | None = None,
    model: str = "dnn",
    task: str = "any",
    verify: bool = True,
) -> Bunch:
    """Read electrocardiograms with three groups of doctors as experts.

    Use it to see that a method leaves a strong model alone (``model="dnn"``), or that it hands
    nearly all over from a weak one (``model="age_sex"``). The data are the user's own copy; see
    :func:`~skdefer.datasets.get_data_home`.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder that holds ``ecg_readers/data.parquet``.
    model : str, default="dnn"
        ``"dnn"``: the network's six logits; ``"dnn_seed1"`` to ``"dnn_seed10"``: the same
        network trained from other seeds (seed 6 is ``"dnn"``); ``"age_sex"``: age in years and sex.
    task : str, default="any"
        ``"any"``: is there any of the six abnormalities; one of their names (``"1dAVb"``,
        ``"RBBB"``, ``"LBBB"``, ``"SB"``, ``"AF"``, ``"ST"``): is there this one; ``"single"``: 0
        none, 1 to 6 that one alone, 7 two or more.
    verify : bool, default=True
        Compare the sha256 of the file with the known one.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        ``data`` : DataFrame of float of shape (827, 6), (827, 7) for ``task="any"``, or (827, 2)
            Logits, probabilities held within [1e-5, 1 - 1e-5]; for ``"any"`` also the
            largest of them. Or age and sex (1: male).
        ``target`` : ndarray of int
            0/1, or 0 to 7 for ``task="single"``.
        ``expert_predictions`` : DataFrame of int
            ``cardiology_residents``, ``emergency_residents``, ``medical_students``; none
            missing.
        ``target_names``, ``feature_names``, ``model_name``, ``name``, ``DESCR``
            ``groups`` (one exam a patient) and ``costs`` are None.

    Raises
    ------
    DatasetNotFoundError
        If the file is not there.
    ValueError
        For an unknown ``model`` or ``task``, or a file that is not the known one.

    Notes
    -----
    Licence: MIT. The two cardiologists who define gold are left out.

    Examples
    --------
    >>> from skdefer.datasets import load_ecg_readers
    >>> ecg = load_ecg_readers(task="single")  # doctest: +SKIP
    >>> ecg.data.shape  # doctest: +SKIP
    (827, 6)
    """
    check_option("model", model, _MODELS)
    check_option("task", task, _TASKS)
    suffixes = _ABNORMALITIES if task == "any" else (task,)
    features = (
        ["age", "sex"] if model == "age_sex" else [f"{model}_prob_{a}" for a in _ABNORMALITIES]
    )
    table = read_table(
        _FACTS,
        data_home=data_home,
        verify=verify,
        columns=[*features, *(f"{who}_{s}" for who in ("gold", *_READERS) for s in suffixes)],
    )
    # Any abnormality is the largest of six 0/1 columns; every other task has one column.
    labels = {
        who: table[[f"{who}_{s}" for s in suffixes]].max(axis=1) for who in ("gold", *_READERS)
    }
    if task == "single":
        target_names = ["none", *_ABNORMALITIES, "several"]
    else:
        target_names = ["absent", "present"]
    return make_bunch(
        _FACTS,
        data=_features(table[features], with_largest=task == "any"),
        target=labels["gold"].to_numpy(),
        expert_predictions=table[[]].assign(**{who: labels[who] for who in _READERS}),
        target_names=target_names,
        model_name=model,
    )


def _features(columns: pandas.DataFrame, *, with_largest: bool) -> pandas.DataFrame:
    """Make numbers of what the model sees: age and sex, or probabilities."""
    if "sex" in columns:
        return columns.assign(age=columns["age"].astype(float), sex=(columns["sex"] == "M") * 1.0)
    probabilities = columns.astype(float).clip(_LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    logits = probabilities.apply(logit).set_axis([f"logit {a}" for a in _ABNORMALITIES], axis=1)
    if with_largest:
        # The network's own score for "any"; no linear function of the six.
        logits["logit largest"] = np.max(logits.to_numpy(), axis=1)
    return logits
