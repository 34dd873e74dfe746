"""People of the 1994 census and twenty-five simulated experts whose errors depend on them."""

from __future__ import annotations

import os

import numpy as np
from sklearn.utils import Bunch

from skdefer.datasets._base import DatasetFacts, make_bunch, read_table

_FEATURES = (
    "age",
    "workclass",
    "fnlwgt",
    "education_num",
    "marital_status",
    "occupation",
    "relationship",
    "binarized_race",
    "sex",
    "capital_gain",
    "capital_loss",
    "hours_per_week",
    "native_country",
)
_WORDS = (
    "workclass",
    "marital_status",
    "occupation",
    "relationship",
    "binarized_race",
    "sex",
    "native_country",
)
_KINDS = (
    "standard",
    "biased_vs_females",
    "biased_vs_non_white",
    "biased_vs_older",
    "sparse_dependency",
)
_EXPERTS = tuple(f"{kind}_{k}" for kind in _KINDS for k in range(5))

_FACTS = DatasetFacts(
    name="openl2d_adult",
    title="people of the Adult census set, twenty-five SIMULATED experts, some of them biased",
    files={"data.parquet": "7e812e01c92c372cb5cc5c541e7877c70f56b120b6beaa0dc49d6ee88b049163"},
    source="github.com/feedzai/openl2d at cfe5fd00 (OpenL2D_Use_Example)",
    licence=(
        "Apache-2.0 text headed 'For commercial uses of OpenL2D please contact "
        "oss-licenses@feedzai.com': ask before you pass it on"
    ),
    citation=(
        "Alves et al., FiFAR (arXiv 2312.13218), for the experts; Becker and Kohavi, Adult, UCI "
        "Machine Learning Repository (1996), for the people"
    ),
    notes="""
45,222 people, nothing missing. Label 1: an income above 50,000 US$ a year; share .248.

The experts are SIMULATED, not human: the chance of an error is a function of a person's columns,
drawn once per expert. They come in five groups of five:

- standard: weights on columns other than age, race and sex. Accuracy .853 to .883.
- biased_vs_females (.829 to .882), biased_vs_non_white (.817 to .884), biased_vs_older (.803 to
  .890): they also weigh sex, race or age, against those named.
- sparse_dependency: few columns count. Accuracy .839 to .882.

The bias is large. Share of the people with a high income whom the experts put below, mean of the
five: biased_vs_females .77 of the women, .04 of the men; biased_vs_non_white .78 of the non-white,
.09 of the white; biased_vs_older .30 from 50 years on, .09 below. They err the other way too:
biased_vs_females puts .00 of the women of low income above and .22 of the men.

On every row some expert is right, on .054 of the rows all are. A logistic regression (words
one-hot, numbers standardised) is right on .848, out of fold. The generator fitted its error rates
on rows 0 to 20,000. `binarized_race` and `sex` are features here, to study fairness.""",
)


def load_openl2d_adult(
    *,
    data_home: str | os.PathLike[str] | None = None,
    verify: bool = True,
) -> Bunch:
    """Read people of the census with twenty-five simulated experts, some of them biased.

    Use it for experts whose skill depends on the row, many of them at once, capacities, and
    fairness. What holds here need not hold for people: the experts are SIMULATED. The data are
    the user's own copy; see :func:`~skdefer.datasets.get_data_home`.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder that holds ``openl2d_adult/data.parquet``.
    verify : bool, default=True
        Compare the sha256 of the file with the known one.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        ``data`` : DataFrame of shape (45222, 13)
            Integers: ``age`` (years), ``fnlwgt`` (the census bureau's weight),
            ``education_num`` (1 to 16), ``capital_gain``, ``capital_loss`` (US$),
            ``hours_per_week``. Categories: ``workclass``, ``marital_status``,
            ``occupation``, ``relationship``, ``binarized_race``, ``sex``,
            ``native_country``; the blanks that the source has before them are cut off.
        ``target`` : ndarray of int
            1 where the income is above 50,000 US$ a year.
        ``expert_predictions`` : DataFrame of int of shape (45222, 25)
            Five columns, 0 to 4, for each of ``standard_``, ``biased_vs_females_``,
            ``biased_vs_non_white_``, ``biased_vs_older_`` and ``sparse_dependency_``; none
            missing.
        ``target_names``, ``feature_names``, ``name``, ``DESCR``
            ``groups`` (one row a person), ``costs`` and ``model_name`` are None.

    Raises
    ------
    DatasetNotFoundError
        If the file is not there.
    ValueError
        If the file is not the known one.

    Notes
    -----
    Licence: an Apache-2.0 text whose heading asks commercial users to write first.

    Examples
    --------
    >>> from skdefer.datasets import load_openl2d_adult
    >>> people = load_openl2d_adult()  # doctest: +SKIP
    >>> rich_women = (people.target == 1) & (people.data["sex"] == "Female")  # doctest: +SKIP
    >>> team = people.expert_predictions[["standard_0", "biased_vs_females_0"]]  # doctest: +SKIP
    >>> team[rich_women].mean().round(2).to_dict()  # doctest: +SKIP
    {'standard_0': 0.87, 'biased_vs_females_0': 0.18}
    """
    table = read_table(
        _FACTS, data_home=data_home, verify=verify, columns=(*_FEATURES, "gold", *_EXPERTS)
    )
    words = {name: table[name].str.strip().astype("category") for name in _WORDS}
    return make_bunch(
        _FACTS,
        data=table[list(_FEATURES)].assign(**words),
        target=table["gold"].to_numpy(dtype=np.int64),
        expert_predictions=table[list(_EXPERTS)].astype(np.int64),
        target_names=["at most 50K", "above 50K"],
    )
