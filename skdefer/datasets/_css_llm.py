"""Texts of seven social-science tasks answered by fourteen language models."""

from __future__ import annotations

import json
import os

import numpy as np
from sklearn.utils import Bunch

from skdefer.datasets._base import DatasetFacts, check_option, make_bunch, read_table

_TASKS = (
    "conv_go_awry",
    "discourse",
    "emotion",
    "ibc",
    "media_ideology",
    "persuasion",
    "raop",
)
_MODELS = (
    "chatgpt",
    "flan_t5_base",
    "flan_t5_large",
    "flan_t5_small",
    "flan_t5_xl",
    "flan_t5_xxl",
    "flan_ul2",
    "text_ada_001",
    "text_babbage_001",
    "text_curie_001",
    "text_davinci_001",
    "text_davinci_002",
    "text_davinci_003",
    "roberta",
)

_FACTS = DatasetFacts(
    name="css_llm",
    title="texts of seven social-science tasks, the answers of fourteen language models",
    files={"data.parquet": "179cd661147714f3d87bc0975004e7a21565b1fa8d7fb9d5df676966519679b7"},
    source="github.com/SALT-NLP/LLMs_for_CSS at 55183a64",
    licence=(
        "not stated in the repository; texts come from public research corpora with terms of "
        "their own, and some are offensive"
    ),
    citation="Ziems et al., Can LLMs transform computational social science? (arXiv 2305.03514)",
    notes="""
3,324 texts over 7 tasks, balanced: conv_go_awry 500 texts, 2 classes; discourse 497, 7;
emotion 498, 6; ibc 498, 3; media_ideology 498, 3; persuasion 434, 2; raop 399, 7.

13 models answered without training (zero-shot). roberta is stored for emotion alone, where it is
right on .92: a model trained for the task, far above the others. A model without any stored answer
on a task is no expert there. "invalid" means that the model's text was no option: it is an answer
outside the labels, not a missing one.

Accuracy of TF-IDF with a logistic regression, and of chatgpt: conv_go_awry .55, .53; discourse
.31, .45; emotion .45, .46; ibc .45, .55; media_ideology .76, .59; persuasion .61, .53; raop .66,
.41. Trained models are weak because the rows are few.""",
)


def load_css_llm(
    *,
    data_home: str | os.PathLike[str] | None = None,
    task: str = "emotion",
    verify: bool = True,
) -> Bunch:
    """Read the texts of one task, with language models as experts.

    Use it for text, many experts of graded skill, answers outside the labels, and few rows. The
    data are the user's own copy; see :func:`~skdefer.datasets.get_data_home`.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder that holds ``css_llm/data.parquet``.
    task : str, default="emotion"
        conv_go_awry, discourse, emotion, ibc, media_ideology, persuasion or raop. Labels of
        different tasks mean different things, so tasks are never pooled.
    verify : bool, default=True
        Compare the sha256 of the file with the known one.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        ``data`` : list of str
            The texts.
        ``target`` : ndarray of str
            A letter, or "yes" / "no", or "true" / "false", as in the source.
        ``expert_predictions`` : DataFrame of object
            A column per model that has any answer on the task: a label, ``"invalid"`` (an
            answer outside the labels), or None where none is stored.
        ``target_names`` : list of str
            What the sorted labels mean.
        ``item`` : ndarray of str
            The row's id in the source.
        ``name``, ``DESCR``
            ``groups``, ``costs``, ``feature_names`` and ``model_name`` are None.

    Raises
    ------
    DatasetNotFoundError
        If the file is not there.
    ValueError
        For an unknown ``task``, or a file that is not the known one.

    Notes
    -----
    Licence: not stated by the source; the corpora have terms of their own.

    Examples
    --------
    >>> from skdefer.datasets import load_css_llm
    >>> ideology = load_css_llm(task="media_ideology")  # doctest: +SKIP
    >>> ideology.target_names  # doctest: +SKIP
    ['Left', 'Right', 'Center']
    """
    check_option("task", task, _TASKS)
    table = read_table(
        _FACTS,
        data_home=data_home,
        verify=verify,
        columns=("task", "item", "text", "gold", "options", *_MODELS),
    )
    table = table[table["task"] == task]
    target = table["gold"].to_numpy(dtype=str)
    meaning = json.loads(table["options"].iloc[0])
    answers = table[list(_MODELS)].dropna(axis=1, how="all").astype(object)
    return make_bunch(
        _FACTS,
        data=table["text"].tolist(),
        target=target,
        expert_predictions=answers.where(answers.notna(), None),
        target_names=[meaning.get(label, label) for label in np.unique(target).tolist()],
        item=table["item"].to_numpy(dtype=str),
    )
