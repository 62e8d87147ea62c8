import numpy as np
import pytest
from hypothesis import given, strategies as st
from seqeval import metrics as seqeval
from seqeval.metrics.sequence_labeling import get_entities
from sklearn import metrics as sklearn

from minilm.errors import InputError
from minilm.formulas import metrics
from minilm.formulas.metrics import D4_AVERAGES, D4_TABLE, accuracy, averages, confusion, counts, entities, f1

K = 5
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]


@pytest.fixture
def labels():
    rng = np.random.default_rng(3)
    return rng.integers(K, size=211), rng.integers(K, size=211)


@pytest.fixture
def lines():
    rng = np.random.default_rng(4)
    length = rng.integers(1, 30, size=40)
    y = [[TAGS[i] for i in rng.integers(7, size=n)] for n in length]
    return y, [[t if rng.random() < 0.7 else TAGS[rng.integers(7)] for t in line] for line in y]


def test_F30_confusion_and_accuracy_equal_scikit_learn(labels):
    C = confusion(*labels, K)
    np.testing.assert_array_equal(C, sklearn.confusion_matrix(*labels))
    assert accuracy(C) == pytest.approx(sklearn.accuracy_score(*labels), abs=1e-15)


def test_F30_counts_are_those_of_one_class_against_the_rest(labels):
    TP, FP, FN = counts(confusion(*labels, K))
    referee = sklearn.multilabel_confusion_matrix(*labels)  # [K, 2, 2]: TN FP / FN TP
    np.testing.assert_array_equal(np.stack([TP, FP, FN]), referee[:, [1, 0, 1], [1, 1, 0]].T)


def test_F30_scores_of_each_class_equal_scikit_learn(labels):
    TP, FP, FN = counts(confusion(*labels, K))
    P, R = metrics.precision(TP, FP), metrics.recall(TP, FN)
    expected = sklearn.precision_recall_fscore_support(*labels)
    np.testing.assert_allclose([P, R, f1(P, R)], expected[:3], atol=1e-15)


@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
@pytest.mark.parametrize("classes", [range(K), range(1, K)], ids=["all classes", "without class 0"])
def test_F30_averages_equal_scikit_learn(labels, average, classes):
    ours = averages(*(c[list(classes)] for c in counts(confusion(*labels, K))))
    theirs = sklearn.precision_recall_fscore_support(*labels, average=average, labels=list(classes))
    np.testing.assert_allclose(ours[average], theirs[:3], atol=1e-14)


@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
def test_F30_zero_over_zero_counts_as_zero(average):
    y, y_hat = np.array([0, 0, 2, 1]), np.array([0, 2, 0, 0])  # class 1 is never predicted; class 3 never occurs
    ours = averages(*counts(confusion(y, y_hat, 4)))[average]
    theirs = sklearn.precision_recall_fscore_support(y, y_hat, labels=range(4), average=average, zero_division=0)
    np.testing.assert_allclose(ours, theirs[:3], atol=1e-15)
    assert averages(*np.zeros((3, 2)))[average] == (0, 0, 0)


def test_F30_where_each_example_has_one_class_micro_is_accuracy_and_so_is_weighted_recall(labels):
    C = confusion(*labels, K)
    of = averages(*counts(C))
    np.testing.assert_allclose([*of["micro"], of["weighted"][1]], accuracy(C), atol=1e-15)
    assert abs(of["macro"][2] - accuracy(C)) > 1e-4  # larger than the tolerance above


def test_F30_f1_is_the_harmonic_mean():
    assert f1(0.5, 1.0) == pytest.approx(2 / 3)
    assert f1(0.0, 1.0) == 0
    assert f1(0.01, 0.99) < 0.02  # the plain mean would say 0.5


# ------------------------------------------------------------------------------------------------- entities


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O B-PER I-PER O", {("PER", 1, 3)}),
        ("B-PER B-PER", {("PER", 0, 1), ("PER", 1, 2)}),  # two neighbours
        ("I-PER I-PER O", {("PER", 0, 2)}),  # started by an I-
        ("B-PER I-LOC I-LOC", {("PER", 0, 1), ("LOC", 1, 3)}),  # an I- of another type starts anew
        ("O B-ORG", {("ORG", 1, 2)}),  # still open at the end of the line
        ("O O", set()),
    ],
)
def test_F30_entities_of_a_line(tags, expected):
    assert entities(tags.split()) == expected


@given(st.lists(st.sampled_from(TAGS), max_size=12))
def test_F30_entities_equal_seqeval(tags):
    assert entities(tags) == {(kind, first, last + 1) for kind, first, last in get_entities(tags)}


@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
def test_F30_entity_scores_equal_seqeval(lines, average):
    kinds, *TP_FP_FN = metrics.entity_counts(*lines)
    assert kinds == ["LOC", "ORG", "PER"]
    theirs = seqeval.precision_score, seqeval.recall_score, seqeval.f1_score
    expected = [score(*lines, average=average) for score in theirs]
    np.testing.assert_allclose(averages(*TP_FP_FN)[average], expected, atol=1e-14)


def test_F30_half_a_name_is_wrong_twice():
    kinds, TP, FP, FN = metrics.entity_counts([["B-PER", "I-PER", "O"]], [["B-PER", "O", "O"]])
    assert (kinds, *TP, *FP, *FN) == (["PER"], 0, 1, 1)


def test_F30_token_accuracy_flatters_and_entity_scores_do_not(lines):
    """Two of three tokens are right, but no whole name is."""
    y, y_hat = [["B-PER", "I-PER", "O"]], [["B-PER", "O", "O"]]
    _, *TP_FP_FN = metrics.entity_counts(y, y_hat)
    ids = [np.array([TAGS.index(t) for line in side for t in line]) for side in (y, y_hat)]
    assert accuracy(confusion(*ids, len(TAGS))) == pytest.approx(2 / 3)
    assert averages(*TP_FP_FN)["micro"][2] == 0


# ------------------------------------------------------------------------------------------- the table of D4


def test_F30_recompute_gives_a_true_report_back(labels):
    """For a consistent report with unrounded numbers, the recomputed averages equal those of the counts."""
    TP, FP, FN = counts(confusion(*labels, K))
    P, R = metrics.precision(TP, FP), metrics.recall(TP, FN)
    rows = tuple(metrics.Row(str(k), P[k], R[k], f1(P, R)[k], TP[k] + FN[k]) for k in range(K))
    F1, ours = metrics.recompute(rows)
    np.testing.assert_allclose(F1, f1(P, R), atol=1e-15)
    for name, scores in averages(TP, FP, FN).items():
        np.testing.assert_allclose(ours[name], scores, atol=1e-12)


def test_F30_D4_rows_whose_printed_F1_rounding_cannot_explain():
    wrong = [row.name for row in D4_TABLE if not in_range(row.F1, metrics.f1_range(row.P, row.R))]
    assert wrong == ["B-LOC", "I-LOC", "B-MISC", "B-ORG"]
    F1, _ = metrics.recompute(D4_TABLE)
    off = np.abs(F1 - [row.F1 for row in D4_TABLE])
    assert off.max() == pytest.approx(0.0144, abs=1e-4) and D4_TABLE[off.argmax()].name == "I-LOC"


def test_F30_D4_averages_as_printed_are_not_those_of_its_rows():
    ours = metrics.recompute(D4_TABLE)[1]
    assert ours["micro"][2] == pytest.approx(0.981, abs=1e-3) and D4_AVERAGES["micro"][2] == 0.949
    assert ours["weighted"][2] == pytest.approx(0.981, abs=1e-3) and D4_AVERAGES["weighted"][2] == 0.949
    assert ours["macro"][0] == pytest.approx(0.923, abs=1e-3) and D4_AVERAGES["macro"][0] == 0.910
    np.testing.assert_allclose(ours["macro"][1:], D4_AVERAGES["macro"][1:], atol=1e-3)  # recall and F1 are right


def test_F30_D4_headline_as_printed_is_no_average_of_its_table():
    claim = metrics.d4_headline_as_printed()
    assert claim == 0.975 and claim - D4_AVERAGES["micro"][2] > 0.02
    with_O, without_O = metrics.recompute(D4_TABLE)[1], metrics.recompute(D4_TABLE[:-1])[1]
    assert all(abs(with_O[a][2] - claim) > 0.005 and claim - without_O[a][2] > 0.05 for a in with_O)
    assert without_O["micro"][2] == pytest.approx(0.9217, abs=1e-4)


def test_F30_D4_supports_add_up_but_its_predictions_do_not():
    """Each token has one true and one predicted tag, so both columns must count 46,435, however P and R were rounded."""
    P, R, support = np.array([(row.P, row.R, row.support) for row in D4_TABLE]).T
    assert support.sum() == 46435
    most = ((R + 0.0005) * support / (P - 0.0005)).sum()
    assert most < 46435 - 25


def test_F30_f1_range_holds_every_F1_that_rounds_to_the_same_P_and_R():
    rng = np.random.default_rng(5)
    for P, R in rng.uniform(0.001, 0.999, size=(200, 2)):
        assert in_range(round(float(f1(P, R)), 3), metrics.f1_range(round(P, 3), round(R, 3)))
    assert metrics.f1_range(0.6, 0.3, digits=1) == (0.3, 0.5)  # 0.344 at the lower corner, 0.455 at the upper


def in_range(value, bounds):
    return bounds[0] - 1e-9 <= value <= bounds[1] + 1e-9


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: confusion(np.array([], dtype=int), np.array([], dtype=int), 2), "y is empty"),
        (lambda: confusion(np.array([0, 1]), np.array([0]), 2), "y_hat has shape"),
        (lambda: confusion(np.array([0, 2]), np.array([0, 1]), 2), "y holds the class 2"),
        (lambda: confusion(np.array([0, 1]), np.array([0, -1]), 2), "y_hat holds the class -1"),
        (lambda: confusion(np.array([0.0, 1.0]), np.array([0, 1]), 2), "y has the type float64"),
        (lambda: counts(np.zeros((2, 3))), "C has shape"),
        (lambda: accuracy(np.zeros((2, 2))), "counts no example"),
        (lambda: f1(1.2, 0.5), "P holds 1.2"),
        (lambda: f1(0.5, np.array([0.1, -0.1])), "R holds -0.1"),
        (lambda: averages(np.array([]), np.array([]), np.array([])), "TP is empty"),
        (lambda: averages(np.ones(2), np.ones(3), np.ones(2)), "FP has shape"),
        (lambda: entities(["O", "PER"]), "tag 1 is 'PER'"),
        (lambda: metrics.entity_counts([], []), "y holds no line"),
        (lambda: metrics.entity_counts([["O"]], []), "1 lines and y_hat 0"),
        (lambda: metrics.entity_counts([["O", "O"]], [["O"]]), "line 0 has 2 tags and 1 predictions"),
        (lambda: metrics.entity_counts([["O"]], [["O"]]), "no entity"),
        (lambda: metrics.recompute(()), "rows is empty"),
        (lambda: metrics.recompute((metrics.Row("X", 0.0, 0.5, 0.0, 3),)), "'X' has the precision 0"),
        (lambda: metrics.recompute((metrics.Row("X", 0.5, 1.5, 0.7, 3),)), "R holds 1.5"),
    ],
)
def test_F30_bad_input_is_named(call, says):
    with pytest.raises(InputError, match=says):
        call()
