"""Skin lesions as tiny grey pictures with clinical columns, to be read by experts of one's own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils import Bunch

from skdefer.datasets._base import DatasetFacts, check_option, make_bunch, one_hot, read_table

if TYPE_CHECKING:
    import pandas

_FEATURES = ("numeric", "frame")
_PIXELS = tuple(f"p{i:02}" for i in range(64))
_WHITE = 255.0
_OLDEST = 100.0
# A constant, not taken from the rows, so that no test row has a say in it.
_AGE_IF_MISSING = 50.0
_DIAGNOSES = ("akiec", "bcc", "bkl", "df", "nv", "vasc", "mel")  # in the order of the codes
_LEVELS = {
    "sex": ("female", "male", "unknown"),
    "localization": (
        "abdomen",
        "acral",
        "back",
        "chest",
        "ear",
        "face",
        "foot",
        "genital",
        "hand",
        "lower extremity",
        "neck",
        "scalp",
        "trunk",
        "unknown",
        "upper extremity",
    ),
}

_FACTS = DatasetFacts(
    name="ham10000_8x8",
    title="skin lesions as 8 x 8 grey pictures with age, sex and site; no experts are stored",
    files={"data.parquet": "b759a21f98be467f10fa913ef157a0a4ea97f3b7e30fdbe24e3db0d4d630c3e5"},
    source="github.com/SivaAdithya/Machine-Learning at cf30693f",
    licence="not stated in the repository; the pictures are HAM10000's, which has its own terms",
    citation="Tschandl, Rosendahl, Kittler: HAM10000, Scientific Data 5, 180161 (2018)",
    notes="""
10,015 pictures of 7,470 lesions, up to six of one lesion: split by lesion (`groups`). Share of each
label: akiec .033, bcc .051, bkl .110, df .011, nv .669, vasc .014, mel .111.

NO reader's answers are stored: `expert_predictions` has a row per picture and no column. Simulate
experts who know some classes well (skdefer.experts.simulate_expert_predictions or SimulatedExpert),
and say that they are simulated wherever you report a result.

Gold rests on pathology for 5,340 pictures (all of akiec, bcc and mel); for the others on follow-up
(3,704, all nv), consensus of experts (902) or confocal microscopy (69). `dx_type` says which; it
tells much of the label and is no feature. Age is missing on 57 rows; sex and site are "unknown" on
57 and 234.

Balanced accuracy is the one to watch: nv alone is .669. A logistic regression on standardised
numbers, out of fold by lesion: pixels .671 (balanced .19), with age, sex and site .718 (.29).""",
)


def load_ham10000_8x8(
    *,
    data_home: str | os.PathLike[str] | None = None,
    features: str = "numeric",
    verify: bool = True,
) -> Bunch:
    """Read tiny pictures of skin lesions, for which experts are to be simulated.

    Use it for networks on image-like numbers, seven unequal classes, rows in groups, and
    populations of experts who each know some classes. The data are the user's own copy; see
    :func:`~skdefer.datasets.get_data_home`.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder that holds ``ham10000_8x8/data.parquet``.
    features : {"numeric", "frame"}, default="numeric"
        ``"numeric"``: numbers in [0, 1] without a gap, ready for a network. ``"frame"``: the
        columns as they are stored, for a model that treats them itself.
    verify : bool, default=True
        Compare the sha256 of the file with the known one.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        ``data`` : DataFrame of shape (10015, 84), or (10015, 67) for ``features="frame"``
            Numeric, all float: ``p00`` to ``p63``, grey values row by row, black 0 and white 1
            (so the first 64 columns reshape to (n_rows, 8, 8)); ``age`` in centuries, where
            a missing one is 0.5 (50 years, whatever the rows hold) and ``age missing`` is 1;
            then a 0/1 column for each sex and site, "unknown" among them.
            Frame: ``p00`` to ``p63`` as integers from 0 to 255, ``age`` in years, NaN where
            missing, ``sex`` and ``localization`` as categories.
        ``target`` : ndarray of int
            Diagnosis, 0 to 6.
        ``expert_predictions`` : DataFrame of shape (10015, 0)
            No column: nobody's answers are stored. The example draws some.
        ``groups`` : ndarray of str
            The lesion; several pictures may show it.
        ``dx_type`` : ndarray of str
            What gold rests on: histo, follow_up, consensus or confocal. No feature.
        ``item`` : ndarray of str
            The picture's id in the source.
        ``target_names``, ``feature_names``, ``name``, ``DESCR``
            ``costs`` and ``model_name`` are None.

    Raises
    ------
    DatasetNotFoundError
        If the file is not there.
    ValueError
        For unknown ``features``, or a file that is not the known one.

    Notes
    -----
    Licence: not stated by the source. Experts drawn as in the example follow Strong et al.
    (arXiv 2502.10533) in kind: each knows some classes and guesses at the others.

    Examples
    --------
    >>> from skdefer.datasets import load_ham10000_8x8
    >>> from skdefer.experts import simulate_expert_predictions
    >>> lesions = load_ham10000_8x8()  # doctest: +SKIP
    >>> lesions.data.shape, lesions.expert_predictions.shape  # doctest: +SKIP
    ((10015, 84), (10015, 0))

    Three experts: one knows nv and mel (4, 6), one akiec and bcc (0, 1), one the rest.

    >>> answers = simulate_expert_predictions(  # doctest: +SKIP
    ...     lesions.target, n_experts=3, oracle_classes=[[4, 6], [0, 1], [2, 3, 5]], p_out=0.2,
    ...     random_state=0)
    >>> (answers == lesions.target[:, None]).mean(axis=0).round(2)  # doctest: +SKIP
    array([0.85, 0.38, 0.41])
    """
    check_option("features", features, _FEATURES)
    table = read_table(
        _FACTS,
        data_home=data_home,
        verify=verify,
        columns=(*_PIXELS, "lesion_id", "image_id", "dx_type", "age", *_LEVELS, "label"),
    )
    return make_bunch(
        _FACTS,
        data=_as_numbers(table) if features == "numeric" else _as_stored(table),
        target=table["label"].to_numpy(dtype=np.int64),
        expert_predictions=table[[]],
        groups=table["lesion_id"].to_numpy(dtype=str),
        target_names=list(_DIAGNOSES),
        dx_type=table["dx_type"].to_numpy(dtype=str),
        item=table["image_id"].to_numpy(dtype=str),
    )


def _as_stored(table: pandas.DataFrame) -> pandas.DataFrame:
    """Take the columns of the file; words become categories, the same ones for any rows."""
    import pandas

    # Bytes would wrap around in the first difference that somebody takes.
    columns = {name: table[name].astype(np.int64) for name in _PIXELS}
    words = {name: pandas.Categorical(table[name], known) for name, known in _LEVELS.items()}
    return table[[*_PIXELS, "age", *_LEVELS]].assign(**columns, **words)


def _as_numbers(table: pandas.DataFrame) -> pandas.DataFrame:
    """Make numbers in [0, 1] of all columns."""
    import pandas

    frame = _as_stored(table)
    age = frame["age"].fillna(_AGE_IF_MISSING) / _OLDEST
    numbers = [frame[list(_PIXELS)] / _WHITE, age, frame["age"].isna().rename("age missing")]
    for name, known in _LEVELS.items():
        indicator = one_hot(frame[name].cat.codes.to_numpy(), len(known))
        numbers.append(pandas.DataFrame(indicator, columns=[f"{name} {word}" for word in known]))
    return pandas.concat(numbers, axis=1).astype(float)
