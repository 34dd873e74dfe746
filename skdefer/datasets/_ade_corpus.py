"""Sentences of case reports that state an adverse effect of a drug, or do not."""

from __future__ import annotations

import os

import numpy as np
from sklearn.utils import Bunch

from skdefer.datasets._base import DatasetFacts, make_bunch, read_table

_CUT = 0.5  # from here on, a reference model says "adverse effect"
_REFERENCES = {"tfidf_lr": "ref_tfidf_p1", "minilm_lr": "ref_minilm_p1"}

_FACTS = DatasetFacts(
    name="ade_corpus",
    title="sentences that state an adverse effect of a drug or do not (ADE Corpus V2)",
    files={"data.parquet": "ea8d9f080f7980c251b8a9b390605ada93a7954ad62ce0e8c833c83c9adde597"},
    source="github.com/trunghlt/AdverseDrugReaction, ADE-Corpus-V2, at 2851af96",
    licence="not stated in the repository; the corpus asks to be cited",
    citation=(
        "Gurulingappa et al., Development of a benchmark corpus to support the automatic "
        "extraction of drug-related adverse effects from medical case reports (Journal of "
        "Biomedical Informatics 45, 2012)"
    ),
    notes="""
20,896 unique sentences from 2,972 abstracts of PubMed; .204 state an adverse effect. Several
sentences come from one abstract, so split by groups. Experts made the gold: the 4,271 sentences of
the 6,821 annotated relations between a drug and an effect are the positive ones.

NO answers of people or of language models are stored. include_references=True gives those of two
models and a rule, for trying things out: tfidf_lr and minilm_lr are logistic regressions on TF-IDF
and on embeddings of MiniLM, out of fold on the folds of fold (by abstract), cut at .5; keyword_rule
is a fixed pattern of words. Nothing they show says anything about people.

The file also marks the drugs and effects in the positive sentences. They give the label away and
are left out here.

Accuracy, and F1 of the adverse effects: tfidf_lr .865, .590; minilm_lr .860, .624; a fine-tuned
encoder is much better (F1 .91 is published for BioBERT).""",
)


def load_ade_corpus(
    *,
    data_home: str | os.PathLike[str] | None = None,
    include_references: bool = False,
    verify: bool = True,
) -> Bunch:
    """Read sentences that state an adverse effect of a drug, or do not.

    Use it for text with unequal classes, where F1 counts, and with experts of your own, a language
    model or simulated ones: nobody's answers are stored. The data are the user's own copy; see
    :func:`~skdefer.datasets.get_data_home`.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder that holds ``ade_corpus/data.parquet``.
    include_references : bool, default=False
        Give the answers of two reference models and a rule as experts.
    verify : bool, default=True
        Compare the sha256 of the file with the known one.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        ``data`` : list of str
            The sentences.
        ``target`` : ndarray of int
            1 if the sentence states an adverse effect of a drug, else 0.
        ``expert_predictions`` : DataFrame of int
            No column; with ``include_references`` tfidf_lr, minilm_lr and keyword_rule.
        ``groups`` : ndarray of str
            The abstract (its PubMed id).
        ``target_names`` : list of str
            "no adverse effect", "adverse effect".
        ``fold`` : ndarray of int
            Which of five folds by abstract the reference models left out.
        ``reference_proba`` : DataFrame of float
            With ``include_references``, the probability of an adverse effect by tfidf_lr and
            minilm_lr; else without a column.
        ``name``, ``DESCR``
            ``costs``, ``feature_names`` and ``model_name`` are None.

    Raises
    ------
    DatasetNotFoundError
        If the file is not there.
    ValueError
        For a file that is not the known one.

    Notes
    -----
    Licence: not stated by the source; the corpus asks to be cited.

    Examples
    --------
    >>> from skdefer.datasets import load_ade_corpus
    >>> ade = load_ade_corpus()  # doctest: +SKIP
    >>> ade.data[7], ade.target_names[ade.target[7]]  # doctest: +SKIP
    ('Intravenous azithromycin-induced ototoxicity.', 'adverse effect')
    """
    table = read_table(
        _FACTS,
        data_home=data_home,
        verify=verify,
        columns=("pmid", "text", "label", "fold", "rule", *_REFERENCES.values()),
    )
    answers = proba = table[[]]
    if include_references:
        proba = table[list(_REFERENCES.values())].set_axis(list(_REFERENCES), axis=1)
        said = (proba >= _CUT).astype(np.int64)
        answers = said.assign(keyword_rule=table["rule"].astype(np.int64))
    return make_bunch(
        _FACTS,
        data=table["text"].tolist(),
        target=table["label"].to_numpy(dtype=np.int64),
        expert_predictions=answers,
        groups=table["pmid"].to_numpy(dtype=str),
        target_names=["no adverse effect", "adverse effect"],
        fold=table["fold"].to_numpy(dtype=np.int64),
        reference_proba=proba.astype(np.float64),
    )
