"""Chest X-ray studies read by three radiologists and ten networks."""

from __future__ import annotations

import os

import numpy as np
from sklearn.utils import Bunch

from skdefer.datasets._base import DatasetFacts, check_option, make_bunch, one_hot, read_table

_FINDINGS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
_READERS = ("radiologist_bc4", "radiologist_bc6", "radiologist_bc8")
_MODELS = (
    "desmond",
    "drnet",
    "hieupham",
    "ihil",
    "jfaboy",
    "ngango2",
    "ngango3",
    "sensexdr",
    "uestc",
    "yww211",
)

_FACTS = DatasetFacts(
    name="chexpert_readers",
    title="chest X-ray studies, three radiologists, the scores of ten networks",
    files={"data.parquet": "fd5a4ba2b24614ac5811c71063c73a8f8c38830c2f545f38869c089d01c5c69e"},
    source="github.com/rajpurkarlab/cheXpert-test-set-labels at a03eb343 (2022)",
    licence="not stated in the repository; images are not included",
    citation="Irvin et al., CheXpert, AAAI 2019 (arXiv 1901.07031)",
    notes="""
2,500 rows: 500 studies x 5 findings. Label 1: the finding is present. Share of 1: Atelectasis
.306, Cardiomegaly .302, Consolidation .058, Edema .156, Pleural Effusion .208; pooled .206.

Gold is the majority of five other radiologists, who are not among the experts: a panel's
opinion, not pathology. The networks were tuned on other CheXpert data; their scores are not
calibrated, and those of desmond and ngango2 exceed 1. Split by study (`groups`).

Accuracy of the experts, pooled: bc4 .854, bc6 .821, bc8 .854; of a logistic regression on
the scores of jfaboy, out of fold by study, .89.""",
)


def load_chexpert_readers(
    *,
    data_home: str | os.PathLike[str] | None = None,
    model: str = "jfaboy",
    finding: str | None = None,
    verify: bool = True,
) -> Bunch:
    """Read chest X-ray studies with three radiologists as experts.

    Use it for several human experts of like skill, whose errors are partly those of the
    network. The data are the user's own copy; see :func:`~skdefer.datasets.get_data_home`.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder that holds ``chexpert_readers/data.parquet``.
    model : str, default="jfaboy"
        The network whose scores are the features: desmond, drnet, hieupham, ihil, jfaboy,
        ngango2, ngango3, sensexdr, uestc or yww211.
    finding : str, default=None
        One of the five findings: 500 rows. None: all, one row per study and finding.
    verify : bool, default=True
        Compare the sha256 of the file with the known one.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        ``data`` : DataFrame of shape (2500, 11), or (500, 5) with ``finding``
            The network's score for each of the five findings of the study. Where all
            findings are pooled also ``finding <name>`` (0/1, which one the row asks about)
            and ``score asked``, the score of that one.
        ``target`` : ndarray of int
            1 where the panel saw the finding.
        ``expert_predictions`` : DataFrame of int
            ``radiologist_bc4``, ``radiologist_bc6``, ``radiologist_bc8``; none missing.
        ``groups`` : ndarray of str
            The study.
        ``finding`` : ndarray of str
            What the row asks about.
        ``target_names``, ``feature_names``, ``model_name``, ``name``, ``DESCR``
            ``costs`` is None.

    Raises
    ------
    DatasetNotFoundError
        If the file is not there.
    ValueError
        For an unknown ``model`` or ``finding``, or a file that is not the known one.

    Notes
    -----
    Licence: not stated by the source. The five readers who define gold are left out.

    Examples
    --------
    >>> from skdefer.datasets import load_chexpert_readers
    >>> chest = load_chexpert_readers(finding="Edema")  # doctest: +SKIP
    >>> chest.data.shape  # doctest: +SKIP
    (500, 5)
    """
    check_option("model", model, _MODELS)
    check_option("finding", finding, (None, *_FINDINGS))
    score = f"model_{model}"
    table = read_table(
        _FACTS,
        data_home=data_home,
        verify=verify,
        columns=("study", "finding", "gold", *_READERS, score),
    )
    scores = table.pivot(index="study", columns="finding", values=score)[list(_FINDINGS)]
    if finding is not None:
        table = table[table["finding"] == finding]
    asked = table["finding"].to_numpy(dtype=str)
    data = scores.loc[table["study"]].add_prefix("score ").reset_index(drop=True)
    data.columns.name = None
    if finding is None:
        # A linear model can't pick the score of the finding asked about by itself.
        which = one_hot(np.array([_FINDINGS.index(f) for f in asked]), len(_FINDINGS))
        data[[f"finding {f}" for f in _FINDINGS]] = which
        data["score asked"] = table[score].to_numpy()
    return make_bunch(
        _FACTS,
        data=data,
        target=table["gold"].to_numpy(),
        expert_predictions=table[list(_READERS)],
        groups=table["study"].to_numpy(dtype=str),
        target_names=["absent", "present"],
        model_name=model,
        finding=asked,
    )
