"""What is expected of learning in the prompt, how it is judged, and its picture.  F36."""

from pathlib import Path

import numpy as np

from minilm.experiments.emergence.experiment import Experiment, Prediction, Records, Verdict, listed, of
from minilm.experiments.emergence.in_context import (
    EIGHT,
    ERROR,
    FAR,
    FEW,
    ONE,
    OWN,
    SHOTS,
    SHUFFLED,
    THIRTY_TWO,
    THREE,
    TO_LEAST_SQUARES,
    TO_RIDGE,
    fit,
)
from minilm.viz.shots import errors_by_examples


def baseline(records: Records, arm: str, name: str, examples: int = SHOTS) -> np.ndarray:
    """The error of "least squares" or "ridge" after so many examples, on the prompts of each seed of an arm."""
    return of(records, arm, name)[:, examples]


def it_is_as_good_as_least_squares(records: Records) -> Verdict:
    found = of(records, THREE, TO_LEAST_SQUARES)
    return Verdict(bool((found <= 1.1).all()), f"{listed(found)} times the error of least squares")


def it_comes_near_the_best(records: Records) -> Verdict:
    found = of(records, THREE, TO_RIDGE)
    return Verdict(bool((found <= 1.25).all()), f"{listed(found)} times the error of ridge regression")


def it_needs_no_four_examples(records: Records) -> Verdict:
    found, other = of(records, THREE, FEW), baseline(records, THREE, "least squares", 2)
    return Verdict(bool((found < other).all()), f"{listed(found)}; least squares: {listed(other)}")


def one_layer_does_not(records: Records) -> Verdict:
    found = of(records, ONE, TO_LEAST_SQUARES)
    return Verdict(bool((found >= 2).all()), f"{listed(found)} times the error of least squares")


def eight_tasks_are_memorised(records: Records) -> Verdict:
    own, best = of(records, EIGHT, OWN), baseline(records, EIGHT, "ridge")
    new = of(records, EIGHT, TO_LEAST_SQUARES)
    figures = f"own tasks {listed(own)} (ridge {listed(best)}); new tasks {listed(new)} times least squares"
    return Verdict(bool((new >= 1.5).all() and (own <= 1.1 * best).all()), figures)


def variety_counts(records: Records) -> Verdict:
    ratio = of(records, THIRTY_TWO, ERROR) / of(records, THREE, ERROR)
    return Verdict(bool((ratio >= 1.1).all()), f"{listed(ratio)} times the error of the model with new tasks")


def it_fails_beyond(records: Records) -> Verdict:
    found = of(records, THREE, FAR)
    return Verdict(bool((found > 1.1).all()), f"{listed(found)} times the error of least squares")


def nothing_comes_of_nothing(records: Records) -> Verdict:
    found = of(records, SHUFFLED, ERROR)
    return Verdict(bool((found >= 1.1).all()), f"{listed(found)}, where saying 0 gives 1.25 on average")


PREDICTIONS = (
    Prediction(
        "After 8 examples, twice as many as x has numbers, three layers have at most 1.1 times the error of least squares, "
        "with every seed.",
        it_is_as_good_as_least_squares,
    ),
    Prediction(
        "And at most 1.25 times that of ridge regression, than which nothing is better.", it_comes_near_the_best
    ),
    Prediction(
        "After 2 examples, when w cannot be known yet, three layers have less error than least squares.",
        it_needs_no_four_examples,
    ),
    Prediction("One layer, trained for longer, stays above twice its error.", one_layer_does_not),
    Prediction(
        "With 8 tasks to learn from, these are memorised: at most 1.1 times the error of ridge on them, and at least 1.5 "
        "times that of least squares on new ones.",
        eight_tasks_are_memorised,
    ),
    Prediction(
        "With 32 tasks, the error on new ones is at least 1.1 times that of a model that saw a new one in every prompt.",
        variety_counts,
    ),
    Prediction(
        "If w is twice as large as in training, three layers are no longer within 1.1 times least squares.",
        it_fails_beyond,
    ),
    Prediction(
        "Control: from the y of other prompts nothing is learned (an error of 1.1 or more).", nothing_comes_of_nothing
    ),
)


def draw(records: Records, folder: Path) -> list[str]:
    """The error over the steps, and by the number of examples."""
    errors_by_examples(records, ERROR, folder / "in-context.png")
    return ["in-context.png"]


IN_CONTEXT = Experiment(
    name="in-context",
    question="Does a Transformer learn to learn: to find out from the prompt what it is asked, and what does it need for it?",
    definition="D2 §1.2: an ability beyond the training data. Every prompt is a task that no prompt before it had.",
    arms={
        THREE: "a causal Transformer of width 64 with four heads, on prompts of 12 examples of y = w·x + noise, a new w in each",
        ONE: "the same with one layer, for 1,000 steps instead of 700",
        THIRTY_TWO: "32 different w are all that it is trained on",
        EIGHT: "8 different w, for 400 steps",
        SHUFFLED: "the control: every y is that of another prompt, for 150 steps",
    },
    predictions=PREDICTIONS,
    fit=fit,
    figures={
        ERROR: "{:.3f}",
        TO_LEAST_SQUARES: "{:.2f}",
        TO_RIDGE: "{:.2f}",
        FEW: "{:.3f}",
        OWN: "{:.3f}",
        FAR: "{:.2f}",
    },
    draw=draw,
    how_to_read=(
        "All errors are mean squares of ŷ − y on 2,048 prompts with a w that no model has seen; y has a variance of 1.25, of "
        "which 0.25 is noise that nobody can predict. *After 8*: with 8 examples before the question. *Error / least squares*, "
        "*error / ridge*: divided by the error of these two on the same examples; ridge regression knows how w is drawn and how "
        "large the noise is, and is the best answer possible. *Own tasks*: on new prompts about the w of the training."
    ),
)
