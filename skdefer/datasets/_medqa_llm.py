"""Medical questions with the stored answers of GPT-3.5 and GPT-4."""

from __future__ import annotations

import json
import os

import numpy as np
from sklearn.utils import Bunch

from skdefer.datasets._base import DatasetFacts, check_option, make_bunch, read_table

_TASKS = ("bioasq", "pubmedqa", "medmcqa", "medqa", "mmlu")
_WORDS = ("bioasq", "pubmedqa")  # whose options mean the same in every question
# A hint: what an answer costs, an answer of gpt35_cot being 1.
_PRICES = {"gpt35_cot": 1.0, "gpt4_cot": 20.0, "gpt35_rag": 10.0, "gpt4_rag": 200.0}
_ABSTAIN = "abstain"

_FACTS = DatasetFacts(
    name="medqa_llm",
    title="five sets of medical questions, the answers of GPT-3.5 and GPT-4",
    files={
        "data.parquet": "beba1c121b96d89e02d81fba890efe0897d07707cd29451ac1e09fc7d98550ab",
        "bioasq_text.parquet": "a5ace51e1bf1f0b3bbce250161e3bc268b36be1e38c7baf0b6370ae956622363",
    },
    source="github.com/Teddy-XiongGZ/MIRAGE at 392943af",
    licence=(
        "public domain notice of the repository (US Government work); MIT for MedQA, MedMCQA, "
        "PubMedQA and MMLU; not stated for BioASQ"
    ),
    citation=(
        "Xiong et al., Benchmarking retrieval-augmented generation for medicine (Findings of ACL "
        "2024), and the source of the questions"
    ),
    notes="""
7,663 questions: bioasq 618 (yes, no), pubmedqa 500 (yes, no, maybe), and with four options medmcqa
4,183, medqa 1,273, mmlu 1,089. Each was answered four times: gpt35_cot and gpt4_cot by a chain of
thought alone, gpt35_rag and gpt4_rag with 32 retrieved snippets as well. "abstain" means that the
model refused, or answered outside the options: an answer that was paid for and is wrong, not a
missing one (1,685 of 30,652, most of them in medmcqa with snippets).

Accuracy of gpt35_cot, gpt4_cot, gpt35_rag, gpt4_rag: bioasq .739, .838, .903, .926; pubmedqa .360,
.396, .674, .704; medmcqa .536, .684, .535, .623; medqa .646, .830, .656, .819; mmlu .720, .892,
.747, .871. TF-IDF with a logistic regression on question and snippets of bioasq: .749.

In bioasq and pubmedqa the options are classes. In the other three the letters are only places in
a list: no model learns them from text, and the question worth asking is which language model gets a
question right (the field right), at which price.

The snippets of bioasq are those that the makers of the gold picked, which is more than the language
models were shown. The questions are older than the models, who may have seen them in training.

costs is a HINT, not of the source: an answer of gpt35_cot is 1, GPT-4 about 20 times the price by
the lists of 2023, and 32 snippets of some 200 tokens about 10 times the tokens.""",
)


def load_medqa_llm(
    *,
    data_home: str | os.PathLike[str] | None = None,
    task: str = "bioasq",
    verify: bool = True,
) -> Bunch:
    """Read the questions of one set, with language models as experts.

    Use ``task="bioasq"`` for text classification with language models as paid experts, and the
    sets with four options to learn which model to send a question to. The data are the user's own
    copy; see :func:`~skdefer.datasets.get_data_home`.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder that holds ``medqa_llm/data.parquet``, and for bioasq
        ``medqa_llm/bioasq_text.parquet``.
    task : str, default="bioasq"
        bioasq, pubmedqa, medmcqa, medqa or mmlu.
    verify : bool, default=True
        Compare the sha256 of the files with the known ones.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        ``data`` : list of str
            bioasq: the question, then the snippets that answer it; pubmedqa: the question; the
            others: the question, then a line for each option.
        ``target`` : ndarray of str
            yes, no (or maybe); a letter from A to D in the sets with four options.
        ``expert_predictions`` : DataFrame of object
            gpt35_cot, gpt4_cot, gpt35_rag, gpt4_rag: a label, or ``"abstain"``, which is no class:
            as an expert's answer it counts as wrong in ``fit``, as missing in ``predict``, each
            with an OutOfLabelsWarning that counts them.
        ``right`` : DataFrame of bool
            Whether each of them was right: what a rejector learns, whatever the labels mean.
        ``costs``, ``cost_unit`` : dict, str
            A hint at prices, an answer of gpt35_cot being 1; see ``DESCR``. ``cost=`` of a
            deferral estimator is in wrong answers, so they must be scaled.
        ``question`` : list of str
            The question alone.
        ``topic``, ``qid`` : ndarray of str
            The question's subject, or batch in bioasq; its id.
        ``answer_length`` : DataFrame of int
            Characters of each output.
        ``name``, ``DESCR``
            ``groups``, ``target_names``, ``feature_names`` and ``model_name`` are None.

    Raises
    ------
    DatasetNotFoundError
        If a file is not there.
    ValueError
        For an unknown ``task``, or a file that is not the known one.

    Notes
    -----
    Licence: public domain notice of the repository, and MIT; not stated for BioASQ.

    Examples
    --------
    >>> from skdefer.datasets import load_medqa_llm
    >>> bioasq = load_medqa_llm(task="bioasq")  # doctest: +SKIP
    >>> bioasq.question[0]  # doctest: +SKIP
    'Are there microbes in human breast milk?'
    >>> bioasq.right.mean().round(2).to_dict()  # doctest: +SKIP
    {'gpt35_cot': 0.74, 'gpt4_cot': 0.84, 'gpt35_rag': 0.9, 'gpt4_rag': 0.93}

    If a wrong answer is as bad as the price of 2,000 answers of gpt35_cot:

    >>> cost = {name: price / 2000 for name, price in bioasq.costs.items()}  # doctest: +SKIP
    >>> cost  # doctest: +SKIP
    {'gpt35_cot': 0.0005, 'gpt4_cot': 0.01, 'gpt35_rag': 0.005, 'gpt4_rag': 0.1}

    It goes to ``DeferralClassifier(model, cost=cost)``, the answers to ``fit`` as
    ``expert_predictions``.
    """
    check_option("task", task, _TASKS)
    names = list(_PRICES)
    lengths = [f"{name}_len" for name in names]
    table = read_table(
        _FACTS,
        data_home=data_home,
        verify=verify,
        columns=("dataset", "qid", "topic", "question", "options", "gold", *names, *lengths),
    )
    table = table[table["dataset"] == task].reset_index(drop=True)
    options = [json.loads(text) for text in table["options"]]
    questions = table["question"].tolist()
    gold, said = table["gold"], table[names].astype(object)
    if task in _WORDS:
        meaning = {letter: word.lower() for letter, word in options[0].items()}
        gold, said = gold.map(meaning), said.replace(meaning)
        texts = questions
    else:
        texts = [
            "\n".join([question, *(f"{letter}. {text}" for letter, text in listed.items())])
            for question, listed in zip(questions, options, strict=True)
        ]
    if task == "bioasq":
        snippets = read_table(
            _FACTS,
            "bioasq_text.parquet",
            data_home=data_home,
            verify=verify,
            columns=("qid", "snippets"),
        ).set_index("qid")["snippets"]
        shown = snippets.loc[table["qid"]]
        texts = [f"{question}\n{text}" for question, text in zip(questions, shown, strict=True)]
    return make_bunch(
        _FACTS,
        data=texts,
        target=gold.to_numpy(dtype=str),
        expert_predictions=said,
        costs=dict(_PRICES),
        cost_unit="answers of gpt35_cot (a hint)",
        right=said.eq(gold, axis=0),
        question=questions,
        topic=table["topic"].to_numpy(dtype=str),
        qid=table["qid"].to_numpy(dtype=str),
        answer_length=table[lengths].set_axis(names, axis=1).astype(np.int64),
    )
