"""Every loader gives the same kind of Bunch; tested on tiny made files, without real data."""

import numpy as np
import pandas as pd
import pytest

import skdefer.datasets
from skdefer.datasets import (
    _css_llm,
    _ecg_readers,
    _frugalml,
    _ham10000_8x8,
    _medqa_llm,
    _openl2d_adult,
    list_datasets,
    load_dataset,
)
from skdefer.exceptions import DatasetNotFoundError
from tests.datasets import made
from tests.datasets.models import plain_model

# Loaders with options that change what comes out; each is read with each of them.
OPTIONS = {
    "ade_corpus": [{}, {"include_references": True}],
    "chexpert_readers": [{}, {"finding": "Edema"}, {"model": "desmond"}],
    "cifar10h_models": [{}, {"n_humans": 3}, {"include_networks": True}],
    "css_llm": [{"task": task} for task in _css_llm._TASKS],
    "ecg_readers": [{}, {"model": "age_sex"}, *({"task": t} for t in _ecg_readers._TASKS)],
    "frugalml": [{"task": task} for task in _frugalml._FREE_MODEL],
    "ham10000_8x8": [{}, {"features": "frame"}],
    "medqa_llm": [{"task": task} for task in _medqa_llm._TASKS],
    "sleep_scorers": [{}, {"window": 0}, {"include_networks": True, "model": "m_simplenet"}],
}
CASES = [(name, o) for name in list_datasets() for o in OPTIONS.get(name, [{}])]
# Sets that store nobody's answers; every other one has experts.
WITHOUT_EXPERTS = {"ade_corpus", "ham10000_8x8"}
# Those who made the gold, by the READMEs of the sources.
GOLD_MAKERS = ("gold", "cardiologist", "scorer3", "scorer4", "scorer5")


def load_made(name, tmp_path, **options):
    tables = made.write(name, tmp_path)
    return load_dataset(name, data_home=tmp_path, verify=False, **options), tables


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_every_loader_keeps_the_contract(name, options, tmp_path):
    bunch, _ = load_made(name, tmp_path, **options)
    n = len(bunch.target)
    answers = bunch.expert_predictions
    assert n > 0
    assert len(bunch.data) == n
    assert isinstance(bunch.target, np.ndarray)
    assert bunch.target.ndim == 1
    assert isinstance(answers, pd.DataFrame)
    assert len(answers) == n
    assert answers.index.tolist() == list(range(n))
    stores_none = name in WITHOUT_EXPERTS and not options.get("include_references")
    assert (answers.shape[1] == 0) == stores_none
    assert answers.notna().any().all()
    assert all(isinstance(c, str) and not c.startswith(GOLD_MAKERS) for c in answers)
    assert bunch.groups is None or bunch.groups.shape == (n,)
    assert bunch.costs is None or list(bunch.costs) == list(answers)
    assert bunch.name == name
    assert "Source: " in bunch.DESCR
    assert "Licence: " in bunch.DESCR
    if isinstance(bunch.data, pd.DataFrame):
        assert bunch.feature_names == list(bunch.data.columns)
        assert bunch.data.index.tolist() == list(range(n))
        assert not set(bunch.feature_names) & set(answers)
        model = plain_model(bunch.data, max_iter=2000)
        assert model.fit(bunch.data, bunch.target).predict(bunch.data).shape == (n,)
    else:
        assert all(isinstance(text, str) for text in bunch.data)


@pytest.mark.parametrize("name", list_datasets())
def test_absent_data_and_wrong_file_are_told_apart(name, tmp_path):
    with pytest.raises(DatasetNotFoundError, match=name):
        load_dataset(name, data_home=tmp_path)
    made.write(name, tmp_path)
    with pytest.raises(ValueError, match="sha256"):
        load_dataset(name, data_home=tmp_path)


def test_discovered_loaders_are_public():
    exported = {n.removeprefix("load_") for n in skdefer.datasets.__all__ if n.startswith("load_")}
    assert exported == {"dataset", *list_datasets()}


def test_unknown_names_and_options_are_refused():
    with pytest.raises(ValueError, match=r"no data set 'mnist'; expected one of \['ade_corpus"):
        load_dataset("mnist")
    with pytest.raises(TypeError, match=r"no option \['corpus'\]; expected some of"):
        load_dataset("frugalml", corpus="YELP")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("chexpert_readers", {"model": "resnet"}),
        ("chexpert_readers", {"finding": "edema"}),
        ("cifar10h_models", {"model": "resnet"}),
        ("cifar10h_models", {"n_humans": 0}),
        ("cifar10h_models", {"n_humans": True}),
        ("css_llm", {"task": "sentiment"}),
        ("ecg_readers", {"model": "cnn"}),
        ("ecg_readers", {"task": "VT"}),
        ("frugalml", {"task": "yelp"}),
        ("ham10000_8x8", {"features": "pixels"}),
        ("medqa_llm", {"task": "MedQA"}),
        ("sleep_scorers", {"model": "tsinalis"}),
        ("sleep_scorers", {"window": -1}),
        ("sleep_scorers", {"window": 1.5}),
    ],
    ids=str,
)
def test_bad_options_say_what_came_and_what_was_expected(name, options):
    (option, value), *_ = options.items()
    with pytest.raises(ValueError, match=rf"{option} is {value!r}; expected"):
        load_dataset(name, **options)


def test_chexpert_rows_carry_the_scores_of_their_own_study(tmp_path):
    bunch, tables = load_made("chexpert_readers", tmp_path)
    table = tables["data.parquet"].set_index(["study", "finding"])["model_jfaboy"]
    for row in (0, 33, 99):
        study, asked = bunch.groups[row], bunch.finding[row]
        values = bunch.data.iloc[row]
        assert values["score asked"] == table[study, asked]
        assert values["score Edema"] == table[study, "Edema"]
        assert values[f"finding {asked}"] == 1
    assert (bunch.data.filter(like="finding ").sum(axis=1) == 1).all()


def test_sleep_windows_never_cross_nights_and_see_epochs_without_majority(tmp_path):
    bunch, tables = load_made("sleep_scorers", tmp_path)
    table = tables["data.parquet"]
    night = table["dataset"] + "-" + table["record"].astype(str)
    labels = {key: part["m_tsinalis"].to_numpy() for key, part in table.groupby(night)}
    stages = bunch.target_names
    for row in range(len(bunch.target)):
        series, epoch = labels[bunch.groups[row]], bunch.epoch[row]
        for offset in range(-4, 5):
            seen = bunch.data.iloc[row][[f"{s} at {offset:+d}" for s in stages]].to_numpy()
            at = epoch + offset
            expected = np.zeros(5)
            if 0 <= at < len(series):
                expected[series[at]] = 1
            np.testing.assert_array_equal(seen, expected)


def test_sleep_epochs_in_any_order_give_the_same_rows(tmp_path):
    bunch, tables = load_made("sleep_scorers", tmp_path)
    path = tmp_path / "sleep_scorers" / "data.parquet"
    tables["data.parquet"].sample(frac=1, random_state=0).to_parquet(path)
    shuffled = load_dataset("sleep_scorers", data_home=tmp_path, verify=False)
    pd.testing.assert_frame_equal(bunch.data, shuffled.data)
    np.testing.assert_array_equal(bunch.target, shuffled.target)


def test_sleep_answers_not_given_are_missing(tmp_path):
    bunch, tables = load_made("sleep_scorers", tmp_path)
    table = tables["data.parquet"].query("gold345 >= 0")
    assert (bunch.target >= 0).all()
    missing = bunch.expert_predictions["scorer1"].isna().to_numpy()
    np.testing.assert_array_equal(missing, table["scorer1"] < 0)


def test_cifar_people_follow_the_counts_and_the_seed(tmp_path):
    bunch, tables = load_made("cifar10h_models", tmp_path, n_humans=400)
    drawn = bunch.expert_predictions.drop(columns="human_draw").to_numpy()
    shares = (drawn[:, :, None] == np.arange(10)).mean(axis=1)
    counts = bunch.human_counts / bunch.human_counts.sum(axis=1, keepdims=True)
    assert np.abs(shares - counts).max() < 0.1  # 4 standard errors
    assert (counts[np.arange(len(drawn))[:, None], drawn] > 0).all()
    again = load_dataset("cifar10h_models", data_home=tmp_path, verify=False, n_humans=400)
    pd.testing.assert_frame_equal(bunch.expert_predictions, again.expert_predictions)
    assert np.isfinite(bunch.data.to_numpy()).all()
    table = tables["data.parquet"]
    np.testing.assert_array_equal(bunch.expert_predictions["human_draw"], table["human_draw"])


def test_ecg_tasks_read_the_right_columns(tmp_path):
    bunch, tables = load_made("ecg_readers", tmp_path, task="any")
    table = tables["data.parquet"]
    gold = table[[f"gold_{a}" for a in _ecg_readers._ABNORMALITIES]].to_numpy()
    np.testing.assert_array_equal(bunch.target, gold.any(axis=1))
    np.testing.assert_array_equal(bunch.data["logit largest"], bunch.data.iloc[:, :6].max(axis=1))
    assert np.isfinite(bunch.data.to_numpy()).all()
    single = load_dataset("ecg_readers", data_home=tmp_path, verify=False, task="single")
    np.testing.assert_array_equal(single.target, table["gold_single"])
    assert len(single.target_names) == 8


def test_css_invalid_stays_an_answer_and_null_stays_missing(tmp_path):
    bunch, _ = load_made("css_llm", tmp_path, task="media_ideology")
    assert bunch.expert_predictions["chatgpt"][3] is None
    assert bunch.expert_predictions["chatgpt"][4] == "invalid"
    assert "roberta" not in bunch.expert_predictions
    assert bunch.target_names == ["Left", "Right", "Center"]
    plain = load_dataset("css_llm", data_home=tmp_path, verify=False, task="conv_go_awry")
    assert plain.target_names == ["no", "yes"]


def test_frugalml_prices_are_per_answer(tmp_path):
    bunch, tables = load_made("frugalml", tmp_path, task="SHOP")
    assert bunch.costs == {"google": 2.5e-4, "baidu": 3.5e-4, "amazon": 0.75e-4}
    assert bunch.cost_unit == "US$ per answer"
    assert bunch.model_cost == pytest.approx(1e-7)
    table = tables["sentiment.parquet"].query("task == 'SHOP'")
    np.testing.assert_array_equal(bunch.free_label, table["bixin"])
    confidence = bunch.data[["confidence negative", "confidence positive"]].sum(axis=1)
    np.testing.assert_allclose(confidence, table["bixin_conf"])


def test_lesions_as_numbers_are_within_0_and_1_and_say_which_age_is_missing(tmp_path):
    bunch, tables = load_made("ham10000_8x8", tmp_path)
    table, data = tables["data.parquet"], bunch.data
    assert {str(kind) for kind in data.dtypes} == {"float64"}
    assert data.min().min() >= 0
    assert data.max().max() <= 1
    pixels = data.iloc[:, :64].to_numpy().reshape(-1, 8, 8)
    np.testing.assert_allclose(pixels[:, 1, 2] * 255, table["p10"])
    missing = table["age"].isna().to_numpy()
    assert 0 < missing.sum() < len(table)
    np.testing.assert_array_equal(data["age missing"], missing)
    assert (data["age"][missing] == 0.5).all()
    np.testing.assert_allclose(data["age"][~missing] * 100, table["age"][~missing])
    for name, known in _ham10000_8x8._LEVELS.items():
        indicators = data.filter(like=f"{name} ")
        assert list(indicators) == [f"{name} {word}" for word in known]  # absent ones too
        named = np.array(known)[indicators.to_numpy().argmax(axis=1)]
        np.testing.assert_array_equal(named, table[name])
        assert (indicators.sum(axis=1) == 1).all()


def test_lesions_as_stored_keep_gaps_units_and_all_categories(tmp_path):
    bunch, tables = load_made("ham10000_8x8", tmp_path, features="frame")
    table, data = tables["data.parquet"], bunch.data
    assert list(data) == [*_ham10000_8x8._PIXELS, "age", "sex", "localization"]
    np.testing.assert_array_equal(data.iloc[:, :64], table.iloc[:, :64])
    assert (data["p00"] - 256 < 0).all()  # no bytes that wrap around
    np.testing.assert_array_equal(data["age"], table["age"])
    assert tuple(data["localization"].cat.categories) == _ham10000_8x8._LEVELS["localization"]
    assert data["localization"].tolist() == table["localization"].tolist()
    np.testing.assert_array_equal(bunch.groups, table["lesion_id"])
    assert [bunch.target_names[k] for k in bunch.target] == table["dx"].tolist()
    np.testing.assert_array_equal(bunch.dx_type, table["dx_type"])


def test_adult_words_are_categories_without_blanks_and_answers_stay_in_their_columns(tmp_path):
    bunch, tables = load_made("openl2d_adult", tmp_path)
    table = tables["data.parquet"]
    assert list(bunch.data) == list(_openl2d_adult._FEATURES)
    categories = bunch.data.select_dtypes("category")
    assert tuple(categories) == _openl2d_adult._WORDS
    assert categories["sex"].cat.categories.tolist() == ["sex a", "sex b"]
    assert (" " + categories["sex"].astype(str)).tolist() == table["sex"].tolist()
    assert len(bunch.expert_predictions.columns) == 25
    pd.testing.assert_frame_equal(
        bunch.expert_predictions, table[list(bunch.expert_predictions)].astype(np.int64)
    )
    assert "SIMULATED" in bunch.DESCR


def test_sentences_come_without_the_spans_that_give_the_label_away(tmp_path):
    bunch, tables = load_made("ade_corpus", tmp_path)
    table = tables["data.parquet"]
    assert bunch.data == table["text"].tolist()
    np.testing.assert_array_equal(bunch.target, table["label"])
    np.testing.assert_array_equal(bunch.groups, table["pmid"])
    assert not {"drugs", "effects"} & set(bunch)
    assert not any("its effect" in text for text in bunch.data)
    with_models = load_dataset(
        "ade_corpus", data_home=tmp_path, verify=False, include_references=True
    )
    said = with_models.expert_predictions
    assert list(said) == ["tfidf_lr", "minilm_lr", "keyword_rule"]
    np.testing.assert_array_equal(said["minilm_lr"], table["ref_minilm_p1"] >= 0.5)
    np.testing.assert_array_equal(said["keyword_rule"], table["rule"])
    np.testing.assert_array_equal(with_models.reference_proba["tfidf_lr"], table["ref_tfidf_p1"])
    assert bunch.reference_proba.shape == (60, 0)


@pytest.mark.parametrize("task", _medqa_llm._TASKS)
def test_questions_keep_who_was_right_and_what_was_no_answer(task, tmp_path):
    bunch, tables = load_made("medqa_llm", tmp_path, task=task)
    table = tables["data.parquet"].query("dataset == @task").reset_index(drop=True)
    said = bunch.expert_predictions
    assert said["gpt4_rag"][5] == "abstain"
    for name in said:
        np.testing.assert_array_equal(bunch.right[name], table[name] == table["gold"])
        np.testing.assert_array_equal(said[name] == "abstain", table[name] == "abstain")
        np.testing.assert_array_equal(bunch.answer_length[name], table[f"{name}_len"])
    assert [text.partition("\n")[0] for text in bunch.data] == bunch.question
    np.testing.assert_array_equal(bunch.qid, table["qid"])
    if task == "bioasq":
        assert set(bunch.target) == {"yes", "no"}
        assert bunch.data[3] == "Question 3 of bioasq?\nSnippets of bioasq-3."
    elif task == "pubmedqa":
        assert set(bunch.target) == {"yes", "no", "maybe"}
    else:
        assert bunch.data[3].splitlines()[1:] == ["A. a 3", "B. b 3", "C. c 3", "D. d 3"]
        np.testing.assert_array_equal(bunch.target, table["gold"])
