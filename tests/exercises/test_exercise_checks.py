"""For each layer of the checks, these tests run code that fails exactly there, and check its message."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from minilm.exercises.catalogue import load
from minilm.exercises.checks import check, decide
from minilm.exercises.diagnosis import common, diagnose, shows
from minilm.exercises.plan import plan_of, worker
from minilm.exercises.report import LONGEST, Report
from minilm.exercises.spec import Wrong
from minilm.formulas.cross_entropy import softmax as right
from minilm.layers.normalization import layer_norm


def softmax_report(function, **options):
    exercise = load("softmax")
    return check(exercise, exercise.pieces(function), **options)


def in_place(z):
    z -= z.max(-1, keepdims=True)
    return right(z)


calls = [0]


def unsteady(z):
    calls[0] += 1
    return right(z) + 1e-13 * calls[0]


def draws(z):
    random.random()
    return right(z)


def endless(z):
    return endless(z)


def on_shape(shape, otherwise=lambda z: z * 0 + 1 / 3):
    """A function that is correct except for inputs of one shape."""
    return lambda z: otherwise(z) if z.shape == shape else right(z)


SAYS = {
    "nothing": (lambda z: None, 1, "your function returns nothing, expected ŷ: did you forget the `return`?"),
    "two things": (lambda z: (right(z), z), 1, "your function returns 2 outputs, expected 1: ŷ"),
    "a sum": (lambda z: right(z).sum(-1), 1, "ŷ has the shape [2], expected [batch 2, class 3]"),
    "one number": (lambda z: 0.5, 1, "ŷ has the shape [] (one number), expected [batch 2, class 3]"),
    "a shape that would broadcast": (lambda z: right(z)[:, :1], 1, "ŷ has the shape [2, 1]"),
    "float32": (lambda z: right(z).astype(np.float32), 1, "ŷ has the type float32, expected float64"),
    "whole numbers": (lambda z: right(z).astype(int), 1, "ŷ has the type int64, expected float64"),
    "a tensor": (lambda z: torch.from_numpy(right(z)), 1, "ŷ is a torch tensor, expected a NumPy array"),
    "a list": (lambda z: right(z).tolist(), 1, "ŷ is a list, expected a NumPy array"),
    "an error": (lambda z: z[7], 1, "stopped by IndexError: index 7 is out of bounds for axis 0 with size 2"),
    "endless": (endless, 1, "stopped: your function calls itself endlessly"),
    "memory": (lambda z: np.zeros((2**31, 2**31)), 1, "stopped: your code asks for more memory than there is"),
    "exit": (lambda z: exit(), 1, "stopped by SystemExit"),
    "zeros": (np.zeros_like, 2, "first difference at [batch 0, class 0]: yours 0, expected 0.09003  (6 of 6 differ)"),
    "a thousandth": (lambda z: right(z) + 1e-6, 2, "yours 0.090032, expected 0.090031"),
    "a batch": (on_shape((4, 7)), 3, "in the case “a batch”: z [4, 7]"),
    "three axes": (on_shape((2, 3, 6)), 3, "first difference at [axis 0: 0, batch 0, class 0]"),
    "a property": (on_shape((3, 6)), 4, "this property does not hold: every row sums to 1"),
    "half written": (
        on_shape((3, 1), lambda z: exec("raise NotImplementedError")),
        6,
        "your code reached a `raise NotImplementedError` that is still in it",
    ),
    "NaN at an edge": (
        on_shape((3, 5), lambda z: z * np.nan),
        6,
        "NaN comes from 0/0, inf − inf or the log of a negative",
    ),
    "in place": (in_place, 7, "your code changed its input z"),
    "draws": (draws, 7, "your code draws from Python's random, a generator that all code shares"),
    "unsteady": (unsteady, 7, "your code returned two different results for the same inputs"),
}


OWN_WORDS = {  # what stops the code is not a matter of shapes and types
    "an error": "✗ softmax   your code raised an error\n",
    "exit": "✗ softmax   your code raised an error\n",
    "endless": "✗ softmax   your code calls itself endlessly\n",
    "memory": "✗ softmax   your code needs too much memory\n",
}


@pytest.mark.parametrize("what", OWN_WORDS)
def test_an_error_has_its_own_words(what):
    assert str(softmax_report(SAYS[what][0])).startswith(OWN_WORDS[what])


@pytest.mark.parametrize("what", SAYS)
def test_each_layer_says_what_is_wrong(what):
    function, layer, sentence = SAYS[what]
    report = softmax_report(function)
    text = str(report)
    assert not report.passed and report.layer == layer and " ".join(sentence.split()) in " ".join(text.split()), text
    assert text.startswith("✗ softmax   ") and len(text.splitlines()) <= LONGEST
    assert (f"layer {layer} of 7: " in text) == (what not in OWN_WORDS), text
    assert "Traceback" not in text and not report.named
    assert text.endswith("next: minilm exercise hint softmax")


def test_the_tiny_example_is_printed_whole():
    lines = str(softmax_report(np.zeros_like)).splitlines()
    assert lines[1:4] == [
        "  z        = [[0, 1, 2], [3, 3, 3]]",
        "  yours    = [[0, 0, 0], [0, 0, 0]]",
        "  expected = [[0.09003, 0.2447, 0.6652], [0.3333, 0.3333, 0.3333]]",
    ]


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda x, *rest: layer_norm(x.detach(), *rest), "first difference at [0, 0]"),
        (lambda x, gain, bias, epsilon: layer_norm(x, gain, bias, epsilon).detach(), "no gradient can flow back"),
        (
            lambda x, gain, bias, epsilon: layer_norm(x, gain, bias.detach(), epsilon),
            "∂/∂bias: first difference at [0]",
        ),
    ],
)
def test_values_can_be_right_and_gradients_wrong(function, sentence):
    exercise = load("layer_norm")
    report = check(exercise, exercise.pieces(function))
    assert report.layer == 5 and sentence in str(report), str(report)


def test_a_gradient_by_hand_is_held_against_finite_differences_too(monkeypatch):
    exercise = load("cross_entropy_gradient")
    plan = plan_of(exercise, 5)
    monkeypatch.setattr(
        plan, "slope", lambda case, slope=plan.slope: plan.expected(plan.tiny)
    )  # another expected gradient
    report = check(exercise, plan.reference, 5)
    assert report.layer == 5 and "has the shape" in str(report), str(report)


def test_a_diagnosis_needs_all_inputs_and_stays_silent_otherwise():
    exercise = load("softmax")
    axis_0 = exercise.mistake("axis_0")["softmax"]
    nearly = lambda z: axis_0(z) + (1e-5 if z.shape == (5, 5) else 0)  # noqa: E731
    assert check(exercise, exercise.pieces(axis_0)).named == ("axis_0",)
    assert check(exercise, exercise.pieces(nearly)).named == ()


def test_a_mistake_too_close_to_the_right_answer_is_not_named():
    close, clear = (lambda z: right(z) + 5e-8), (lambda z: right(z) + 5e-6)
    wrong = {"close": Wrong("a hair off", "is it?", code=close), "clear": Wrong("off", "is it?", code=clear)}
    exercise = replace(load("softmax"), wrong=wrong)
    for code, named in ((close, ()), (clear, ("clear",))):
        report = check(exercise, exercise.pieces(code))
        assert not report.passed and report.named == named


def test_a_known_mistake_is_named_although_an_edge_was_overlooked_too():
    exercise = load("attention")
    no_scale = exercise.mistake("no_scale")["attention"]

    def also_fails_on_long_scores(q, k, v, may_attend=None, dropout=None, bias=None):
        y, weights = no_scale(q, k, v, may_attend, dropout, bias)
        return (y * float("nan"), weights) if abs(q).max() > 100 else (y, weights)

    report = check(exercise, exercise.pieces(also_fails_on_long_scores))
    assert report.named == ("no_scale",) and "{0} of {0} inputs".format(1 + len(plan_of(exercise, 0).probes)) in str(
        report
    )


def test_two_mistakes_at_once_are_named_as_two():
    exercise = load("layer_norm")
    report = check(exercise, exercise.mistake("unbiased", "no_bias"))
    assert set(report.named) == {"unbiased", "no_bias"} and report.pair
    assert "Looks like: two mistakes at once: the variance is divided by C − 1" in str(report)


def test_of_several_pairs_that_fit_only_what_they_share_is_named():
    assert common([("a", "b"), ("b", "c")]) == ("b",)
    assert common([("a", "b"), ("c", "d")]) == ()
    assert common([("a", "b")]) == ("a", "b") and common([]) == ()


def test_a_family_is_named_together():
    exercise = load("sinusoids")
    report = check(exercise, exercise.mistake("precedence"))
    assert report.named == ("precedence", "whole_numbers")
    assert "Looks like: one of these, which give the same numbers here: " in str(report)


def test_code_that_stops_everywhere_is_not_diagnosed():
    plan = plan_of(load("softmax"), 0)
    work = worker(plan.exercise, plan.exercise.pieces(lambda z: z.nothing))
    assert diagnose(plan, work, 1) is None


def test_the_diagnosis_cannot_change_the_verdict(monkeypatch):
    monkeypatch.setattr("minilm.exercises.plan.Plan.matching", lambda *_: [("axis_0",)])
    assert softmax_report(right).passed
    assert softmax_report(np.zeros_like).named == ("axis_0",)


def test_other_seeds_are_other_inputs():
    exercise = load("softmax")
    seen = plan_of(exercise, 0).probes[0].inputs["z"]
    by_heart = lambda z: right(z) if z.shape != seen.shape or (z == seen).all() else z * 0  # noqa: E731
    assert softmax_report(by_heart).passed and not softmax_report(by_heart, seed=1).passed


def test_the_earliest_difference_is_shown_whichever_output_has_it():
    """The corrected m is written back, so m differs at step 0 and the parameters only later."""
    exercise = load("adamw")
    text = str(check(exercise, exercise.mistake("written_back")))
    assert "\n  m: first difference at [step 0, parameter 0]: " in text, text
    assert "; also different: v, theta" in " ".join(text.split()), text
    assert "yours m" in text and "yours theta" not in text

    def late(*arguments):  # only the parameters are wrong, and only from the third step on
        theta, m, v = plan_of(exercise, 0).reference["adamw_step"](*arguments)
        return theta * (1 + 1e-3 * (arguments[4] > 2)), m, v

    assert "theta: first difference at [step 2, parameter 0]" in str(check(exercise, exercise.pieces(late)))
    y, weights = load("attention"), "the weights come before what is computed with them"
    assert "weights: first difference" in str(check(y, y.mistake("no_scale"))), weights


@pytest.mark.parametrize("seed", [0, 1])
def test_the_question_is_about_the_mistake_that_is_seen(seed):
    exercise = load("softmax")
    report = check(exercise, exercise.mistake("no_max", "whole_sum"), seed)
    assert report.layer == 2 and report.asked in ("whole", "whole_sum")  # without a maximum, the example is still right
    assert "Think: what does each row of your output sum to?" in str(report), str(report)
    pairs = 0
    for pair, work in list(plan_of(load("layer_norm"), seed).pairs.items())[seed::9]:
        report = decide(plan_of(load("layer_norm"), seed), work)
        if report.pair and report.layer in (2, 3):
            plan = plan_of(load("layer_norm"), seed)
            seen = plan.tiny if report.layer == 2 else next(c for c in plan.probes if f"“{c.name}”" in str(report))
            assert shows(plan, report.asked, seen), (pair, str(report))
            pairs += 1
    assert pairs > 10


def test_a_half_written_exercise_says_what_is_missing():
    def missing(*inputs):
        raise NotImplementedError

    for name, written in (("wordpiece", "learn_joins"), ("f1", "entities"), ("perplexity", "perplexity")):
        exercise = load(name)
        right = plan_of(exercise, 0).reference
        stubs = {other: right[other] if other == written else missing for other in right}
        report = check(exercise, stubs)
        assert (report.layer, report.title) == (0, "not finished yet"), str(report)
        others = [f"`{other}`" for other in right if other != written]
        assert f"{' and '.join(others)}: `raise NotImplementedError` is still there" in " ".join(str(report).split())
        assert check(exercise, dict.fromkeys(right, missing)).title == "not written yet"


def test_a_half_written_class_says_which_method_is_missing():
    exercise = load("dropout")

    class Dropout(exercise.right["indexed"]):
        def forward(self, x, training):
            return x

        def backward(self, dY):
            raise NotImplementedError

    assert "`Dropout.backward`: `raise NotImplementedError` is still there" in str(
        check(exercise, {"Dropout": Dropout})
    )


@pytest.mark.parametrize("width", [100, 60])
def test_lines_are_folded(width):
    for name in ("softmax", "attention", "block", "f1"):
        exercise = load(name)
        for key in list(exercise.wrong)[:12]:
            text = check(exercise, exercise.mistake(key)).text(width=width)
            assert max(map(len, text.splitlines())) <= width, text
            assert "Think: " in text and text.splitlines()[-1] == f"  next: minilm exercise hint {name}"
            assert len(text.splitlines()) <= LONGEST + 4 * (width < 100)


def test_counts_may_be_floats_but_float32_is_named():
    exercise = load("cross_entropy")
    right = plan_of(exercise, 0).reference["cross_entropy"]
    as_float = lambda *a: (right(*a)[0], torch.tensor(float(right(*a)[1])))  # noqa: E731
    assert check(exercise, exercise.pieces(as_float)).passed
    text = str(softmax_report(lambda z: z.astype(np.float32)))
    assert "expected float64: create new arrays with the type of the inputs" in text


def test_a_report_reads_without_colour_and_has_so_many_lines_at_most():
    report = Report("softmax", False, 3, tuple(f"line {i}" for i in range(30)), printed=("x",) * 9)
    assert len(report.text().splitlines()) == LONGEST
    assert report.text(colour=True).startswith("\x1b[31m✗ softmax\x1b[0m   layer 3 of 7: values")
    short = Report("softmax", False, 3, ("a line",), printed=tuple("abcdef"))
    assert short.text().splitlines()[-5:] == ["  printed by your code:", "    a", "    b", "    c", "    d"]
