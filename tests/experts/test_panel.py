"""The experts of one estimator: their names, what each may see, what their answers mean."""

import copy
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skdefer.exceptions import OutOfLabelsWarning
from skdefer.experts import CallableExpert, ColumnExpert, ExpertProfile
from skdefer.experts._base import AbsentExpert, RecordedExpert
from skdefer.experts._met import Met, agree
from skdefer.experts._panel import (
    encode_checked,
    find_contexts,
    find_profiles,
    given_names,
    make_panel,
    visible,
)


def rule(X):
    return ["no"] * len(X)


# -- names --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("experts", "names"),
    [
        (rule, ["expert_1"]),
        ([rule, rule], ["expert_1", "expert_2"]),
        ((rule, rule), ["expert_1", "expert_2"]),
        ([("nurse", rule), rule], ["nurse", "expert_2"]),
        ((("nurse", rule), ("doctor", rule)), ["nurse", "doctor"]),
        ([rule, CallableExpert(rule, name="desk")], ["expert_1", "desk"]),
        ([("nurse", CallableExpert(rule, name="desk"))], ["nurse"]),
        ({"nurse": rule, "doctor": rule}, ["nurse", "doctor"]),
        (ColumnExpert("reader"), ["reader"]),
        (ExpertProfile(name="dr. b"), ["dr. b"]),
        (ExpertProfile(), ["expert_1"]),
    ],
)
def test_names(experts, names):
    assert list(make_panel(experts, None, 0)) == names


def test_experts_are_taken_by_reference():
    expert = CallableExpert(rule)
    assert make_panel([("a", expert), ("b", expert)], None, 0) == {"a": expert, "b": expert}


def test_answers_alone_make_recorded_experts():
    panel = make_panel(None, None, 2)
    assert list(panel) == ["expert_1", "expert_2"]
    assert all(type(e) is RecordedExpert for e in panel.values())
    assert list(make_panel(None, ["b", "a"], 2)) == ["b", "a"]


def test_nobody_is_one_absent_expert():
    panel = make_panel(None, None, 0)
    assert list(panel) == ["expert"]
    assert isinstance(panel["expert"], AbsentExpert)
    assert not panel["expert"].can_answer


@pytest.mark.parametrize(
    ("experts", "message"),
    [
        ([("a", rule), ("a", rule)], r"Two experts are named 'a'. Give each a name of its own"),
        ([("expert_2", rule), rule], "Two experts are named 'expert_2'"),
        ([ColumnExpert("r"), ColumnExpert("r")], "Two experts are named 'r'"),
        ([("model", rule)], "An expert is named 'model'"),
        (CallableExpert(rule, name="model"), "An expert is named 'model'"),
        ([], "experts is empty. Pass at least one"),
    ],
)
def test_bad_names_are_refused(experts, message):
    with pytest.raises(ValueError, match=message):
        make_panel(experts, None, 0)


@pytest.mark.parametrize("experts", [[("nurse", "doctor", rule)], "reader", [3]])
def test_what_is_no_expert_is_refused(experts):
    with pytest.raises(TypeError, match="can't be an expert"):
        make_panel(experts, None, 0)


# -- what is seen -------------------------------------------------------------------


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_columns_of_experts_are_out_of_sight(frame):
    X = frame({"age": [1], "a": ["x"], "b": ["y"]})
    panel = make_panel([ColumnExpert("a"), rule, ColumnExpert("b")], None, 0)
    assert list(visible(X, panel).columns) == ["age"]
    twice = make_panel([ColumnExpert("a"), ColumnExpert("a", name="again")], None, 0)
    assert list(visible(X, twice).columns) == ["age", "b"]


def test_rows_without_such_columns_are_seen_as_they_are():
    panel = make_panel([ColumnExpert("a")], None, 0)
    for X in (np.eye(2), ["text"], pd.DataFrame({"age": [1]})):
        assert visible(X, panel) is X


# -- what answers mean --------------------------------------------------------------

CLASSES = np.array(["cat", "dog"])


def test_right_labels_are_encoded_without_a_word():
    answers = np.array([["cat", None], ["dog", "dog"]], dtype=object)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codes = encode_checked(answers, CLASSES, ["a", "b"], fate="vanish")
    assert codes.tolist() == [[0, -1], [1, 1]]


def test_one_warning_counts_what_is_outside():
    answers = np.array([["cat", "owl"], ["owl", "dog"], ["ant", "dog"]], dtype=object)
    with pytest.warns(OutOfLabelsWarning) as caught:
        codes = encode_checked(answers, CLASSES, ["a", "b"], fate="count as wrong in fit")
    assert [str(w.message) for w in caught] == [
        "Answers outside the classes ['cat', 'dog'], such as 'ant', 'owl', in 3 rows: "
        "{'a': 2, 'b': 1}. They count as wrong in fit. Write None where there is no answer."
    ]
    assert codes.tolist() == [[0, -2], [-2, 1], [-2, 1]]


def test_a_column_without_any_class_is_refused():
    answers = np.array([["cat", "CAT"], [None, "DOG"]], dtype=object)
    with pytest.raises(
        ValueError,
        match=r"No answer of expert 'b' .*\['cat', 'dog'\]; it says 'CAT', 'DOG'.*look for a",
    ):
        encode_checked(answers, CLASSES, ["a", "b"], fate="vanish")
    with pytest.warns(OutOfLabelsWarning, match=r"\{'b': 2\}"):
        codes = encode_checked(answers, CLASSES, ["a", "b"], fate="vanish", refuse=False)
    assert codes.tolist() == [[0, -2], [-1, -2]]


def test_a_scaled_column_is_refused():
    with pytest.raises(ValueError, match="a scaler or an encoder that has touched them"):
        encode_checked(np.array([[-1.2], [0.7]]), np.array([0, 1]), ["a"], fate="vanish")


def test_silence_is_not_refused():
    answers = np.full((3, 1), None)
    assert encode_checked(answers, CLASSES, ["a"], fate="vanish").tolist() == [[-1]] * 3


# -- what is known of new experts ---------------------------------------------------

RECORD = (["cat", "dog", "cat"], ["cat", "dog", "dog"])


def test_profiles_of_a_new_panel():
    own = ExpertProfile(name="own", classes=["cat", "dog"]).fit(*RECORD)
    known = ExpertProfile(classes=CLASSES).fit([], [])
    met = [Met("met", known, None), Met("own", known, None)]
    panel = make_panel([own, ("met", rule)], None, 0)
    found, who = find_profiles(panel, None, met, CLASSES, {"own", "met"})
    np.testing.assert_array_equal(found[0].alpha_, own.alpha_)  # it brought none before
    assert found[0] is not own, "the user's own may go on learning elsewhere"
    assert found[1] is not known, "another estimator's may go on learning too"
    assert agree(found[1], known)
    assert who == [1, 0]


def test_what_an_expert_brought_before_adds_nothing():
    known = ExpertProfile(classes=CLASSES).fit(*RECORD)
    brought = ExpertProfile(name="a", classes=CLASSES).fit(["cat"], ["cat"])
    met = [Met("a", known, copy.deepcopy(brought))]
    for own in (brought, ExpertProfile(name="a", prior_accuracy=0.9)):
        (profile,), who = find_profiles(make_panel(own, None, 0), None, met, CLASSES, {"a"})
        assert agree(profile, known)
        assert who == [0]
    brought.partial_fit(["dog"], ["cat"])
    (profile,), who = find_profiles(make_panel(brought, None, 0), None, met, CLASSES, {"a"})
    assert agree(profile, brought)
    assert who == [0], "newer word of the same expert"


def test_who_was_met():
    one, two = (ExpertProfile(classes=CLASSES).fit(*RECORD) for _ in range(2))
    met = [Met("one", one, None), Met("expert_1", two, None)]

    def who(experts, given):
        panel = make_panel(experts, None, 0)
        return find_profiles(panel, given, met, CLASSES, given_names(experts))[1]

    assert who([("else", rule)], [two]) == [1], "a profile that is served already"
    newer = copy.deepcopy(one).partial_fit(["cat"], ["cat"])
    assert who([("one", rule)], [newer]) == [0], "a newer profile of the same name"
    assert who([("else", rule)], [newer]) == [None]
    assert who([rule], [newer]) == [None], "expert_1 is a name made up"
    assert who([rule, ("new", rule)], {"new": newer}) == [1, None]
    assert who([("one", rule)], [RECORD]) == [None], "a context starts afresh"


def test_a_prior_of_a_newcomer_is_where_it_starts():
    prior = ExpertProfile(name="a", prior_accuracy={"cat": 0.9, "dog": 0.5})
    (profile,), _ = find_profiles(make_panel(prior, None, 0), None, [], CLASSES)
    np.testing.assert_allclose(profile.mean_, [10 / 12, 0.5])
    assert not hasattr(prior, "mean_")
    with pytest.raises(ValueError, match="The profile of expert 'b' is not fitted. Fit it with"):
        find_profiles(make_panel(("b", rule), None, 0), [prior], [], CLASSES)


def test_profiles_may_be_given_or_be_a_context():
    panel = make_panel([rule, rule], None, 0)
    narrow = ExpertProfile().fit(["cat"], ["cat"])
    found, who = find_profiles(panel, [narrow, RECORD], [], CLASSES)
    assert [p.classes_.tolist() for p in found] == [["cat", "dog"]] * 2
    assert found[1].name == "expert_2"
    assert who == [None, None]
    np.testing.assert_allclose(found[1].mean_, [2 / 3, 2 / 4])
    with_rows, _ = find_profiles(panel, [narrow, (*RECORD, np.eye(3))], [], CLASSES)
    np.testing.assert_allclose(with_rows[1].mean_, found[1].mean_)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "Nothing is known of the expert 'expert_1'. Pass profiles="),
        ([], "0 profiles for 1 experts"),
        ([RECORD[0]], "The profile of expert 'expert_1' is a list; expected a fitted"),
        ([None], "Nothing is known of the expert 'expert_1'"),
    ],
)
def test_experts_of_whom_nothing_is_known_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        find_profiles(make_panel(rule, None, 0), given, [], CLASSES)


CONTEXT = (*RECORD, np.eye(3))


@pytest.mark.parametrize(
    ("experts", "given", "found"),
    [
        (rule, CONTEXT, [CONTEXT]),
        (rule, [CONTEXT], [CONTEXT]),
        ([("a", rule), ("b", rule)], {"b": CONTEXT}, [None, CONTEXT]),
        ([rule, rule], [RECORD, CONTEXT], [None, CONTEXT]),
        ((rule, rule, rule), (CONTEXT, RECORD, CONTEXT), [CONTEXT, None, CONTEXT]),
        ((rule, rule, rule), (None, CONTEXT, None), [None, CONTEXT, None]),
        (rule, (*RECORD, None), [None]),
        (rule, ([], [], np.empty((0, 3))), [None]),
        (rule, ([], []), [None]),
        (rule, None, [None]),
    ],
)
def test_contexts_with_their_rows(experts, given, found):
    contexts = find_contexts(make_panel(experts, None, 0), given)
    assert len(contexts) == len(found)
    assert all(one is other for one, other in zip(contexts, found, strict=True))


def test_three_profiles_are_no_context():
    panel = make_panel([rule, rule, rule], None, 0)
    profiles = tuple(ExpertProfile(classes=CLASSES).fit(*RECORD) for _ in range(3))
    found, _ = find_profiles(panel, profiles, [], CLASSES)
    assert [p.n_context_.sum() for p in found] == [3, 3, 3]
    assert find_contexts(panel, profiles) == [None] * 3
    with pytest.raises(ValueError, match="3 profiles for 1 experts"):
        find_profiles(make_panel(rule, None, 0), profiles, [], CLASSES)


@pytest.mark.parametrize("empty", [([], []), ([], [], np.empty((0, 3))), (np.array([]), [])])
def test_an_empty_context_is_the_prior(empty):
    (profile,), _ = find_profiles(make_panel(rule, None, 0), empty, [], CLASSES)
    np.testing.assert_array_equal(profile.mean_, 0.5)


def test_a_context_without_some_class_is_fine():
    context = ["cat", "dog", None], ["cat", "cat", "cat"], pd.DataFrame({"a": [1, 2, 3]})
    (profile,), _ = find_profiles(make_panel(rule, None, 0), context, [], CLASSES)
    np.testing.assert_array_equal(profile.n_context_, [2, 0])


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ((*RECORD, np.eye(4)), r"of expert 'a': X has 4 rows, but y has 3 labels; pass the rows"),
        ((RECORD[0], ["cat", "dog"]), "expert_predictions has 3 answers, but y has 2 labels"),
        ((RECORD[0], ["cat", "owl", "ant"]), r"labels \['ant', 'owl'\], but the model knows"),
        ((RECORD[0], ["cat", None, "dog"]), "y is missing .* on 1 of 3 rows"),
        ((["CAT", "DOG", None], RECORD[1]), "No answer of expert 'a' is one of the classes"),
        (
            (
                pd.Series(RECORD[0], index=[2, 1, 0]),
                RECORD[1],
                pd.DataFrame({"age": [1, 2, 3]}),
            ),
            "index of expert_predictions is that of X in another order",
        ),
    ],
)
def test_contexts_that_do_not_fit_are_refused(context, message):
    with pytest.raises(ValueError, match="The context of expert 'a'") as caught:
        find_profiles(make_panel(("a", rule), None, 0), [context], [], CLASSES)
    caught.match(message)


def test_an_odd_answer_in_a_context_is_warned_of():
    with pytest.warns(OutOfLabelsWarning, match=r"such as 'owl', in 3 rows: \{'a': 1\}"):
        (profile,), _ = find_profiles(
            make_panel(("a", rule), None, 0), (["cat", "owl", "dog"], RECORD[1]), [], CLASSES
        )
    np.testing.assert_allclose(profile.mean_, [2 / 3, 2 / 4])


def test_a_context_in_another_order_is_refused():
    said, truth = pd.Series(["cat", "dog", "dog"]), pd.Series(["cat", "dog", "cat"])
    panel = make_panel([rule], None, 0)
    with pytest.raises(ValueError, match="is that of y in another order"):
        find_profiles(panel, [(said, truth[::-1])], [], CLASSES)
    (profile,), _ = find_profiles(panel, [(said, truth)], [], CLASSES)
    assert profile.n_context_.sum() == 3
