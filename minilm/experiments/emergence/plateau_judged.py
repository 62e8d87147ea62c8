"""What is expected of the plateau, how it is judged, and its picture.  F36."""

from pathlib import Path

import numpy as np

from minilm.experiments.emergence.experiment import Experiment, Prediction, Records, Verdict, listed, of
from minilm.experiments.emergence.plateau import (
    ALONE,
    ELSEWHERE,
    FORBIDDEN,
    GIVEN,
    LEFT,
    LOSS,
    NEXT,
    PREVIOUS,
    TABLE,
    ZERO,
    T,
    fit,
)
from minilm.viz.emergence import losses_and_scores


def left(records: Records, arm: str) -> np.ndarray:
    """The step at which each seed of an arm leaves the plateau; infinite for one that does not."""
    return np.array([record.get(LEFT, np.inf) for record in records if record["arm"] == arm])


def steps(found: np.ndarray) -> str:
    """As "340, never"."""
    return ", ".join("never" if np.isinf(step) else f"{step:.0f}" for step in found)


def there_is_a_plateau(records: Records) -> Verdict:
    when, gained = left(records, ZERO), of(records, ZERO, ALONE) - of(records, ZERO, LOSS)
    held = bool((when >= 150).all() and np.isfinite(when).all() and (gained >= 0.3).all())
    return Verdict(held, f"left at step {steps(when)}; {listed(gained)} nats below it at the end")


def a_head_has_found_a_neighbour(records: Records) -> Verdict:
    found = []
    for record in (record for record in records if record["arm"] == ZERO):
        there = [max(p[PREVIOUS], p[NEXT]) for p in record["curve"] if p["step"] == record.get(LEFT)]
        found.append(max(there, default=0.0))
    return Verdict(
        bool((np.array(found) >= 0.1).all()), f"{listed(np.array(found))}; looking everywhere alike gives {1 / T:.2f}"
    )


def given_heads_shorten_it(records: Records) -> Verdict:
    given, by_itself = left(records, GIVEN), left(records, ZERO)
    return Verdict(bool((given <= by_itself / 4).all()), f"left at step {steps(given)}; by itself: {steps(by_itself)}")


def given_heads_stay_ahead(records: Records) -> Verdict:
    gap = of(records, ZERO, LOSS) - of(records, GIVEN, LOSS)
    return Verdict(bool((gap >= 0.2).all()), f"{listed(gap)} nats")


def forbidden_heads_stay_on_it(records: Records) -> Verdict:
    found, gained = left(records, FORBIDDEN), of(records, FORBIDDEN, ALONE) - of(records, FORBIDDEN, LOSS)
    return Verdict(
        bool(np.isinf(found).all()), f"left at step {steps(found)}; {listed(gained)} nats below it at the end"
    )


def other_places_do_not_matter(records: Records) -> Verdict:
    found, by_itself = left(records, ELSEWHERE), left(records, ZERO)
    held = bool((found <= 1.5 * by_itself).all() and np.isfinite(found).all())
    return Verdict(held, f"left at step {steps(found)}; by itself: {steps(by_itself)}")


def a_table_takes_longer(records: Records) -> Verdict:
    found, by_itself = left(records, TABLE), left(records, ZERO)
    return Verdict(bool((found > by_itself).all()), f"left at step {steps(found)}; with the bias: {steps(by_itself)}")


PREDICTIONS = (
    Prediction(
        "With a bias that starts at zero, the loss stays at what a model without context has for 150 steps or more, and "
        "ends at least 0.3 nats below it.",
        there_is_a_plateau,
    ),
    Prediction(
        "When it leaves this plateau, a head attends to the character before or after with a weight of 0.1 or more.",
        a_head_has_found_a_neighbour,
    ),
    Prediction(
        "If heads look next door from the first step on, it is left in a quarter of the steps.", given_heads_shorten_it
    ),
    Prediction("And they end at least 0.2 nats lower, in two thirds of the steps.", given_heads_stay_ahead),
    Prediction(
        "If no head may attend to the two neighbours on either side, it is not left at all.", forbidden_heads_stay_on_it
    ),
    Prediction(
        "Control: if the fifth and sixth character on either side are forbidden, it is left in at most 1.5 times the steps.",
        other_places_do_not_matter,
    ),
    Prediction("With a table of positions it is left later, or not at all.", a_table_takes_longer),
)


def draw(records: Records, folder: Path) -> list[str]:
    """The loss of all arms, and the attention to the neighbours of the one that finds them by itself."""
    curves = []
    for record in records:
        points = record["curve"]
        curve = {"arm": record["arm"], "step": [p["step"] for p in points], LOSS: [p[LOSS] for p in points]}
        if record["arm"] == ZERO:
            curve |= {name: [p[name] for p in points] for name in (PREVIOUS, NEXT)}
        curves.append(curve)
    losses_and_scores(curves, LOSS, (PREVIOUS, NEXT), folder / "plateau.png")
    return ["plateau.png"]


PLATEAU = Experiment(
    name="plateau",
    question="Why does pretraining stand still before it begins to learn, and what ends it?",
    definition="D1 §1: structure that is learnt without being taught. Nobody tells a head that neighbours matter.",
    arms={
        TABLE: "a BERT of width 64 with two layers and learned positions guesses masked characters of film reviews, for 600 steps",
        ZERO: "a bias by relative position in place of the table, which starts at zero: no place is preferred",
        GIVEN: "the bias starts with peaks at the two characters before and after, for 400 steps",
        FORBIDDEN: "the bias starts at zero, and no head may ever attend to the two characters before and after",
        ELSEWHERE: "the control: the same, for the fifth and sixth character before and after",
    },
    predictions=PREDICTIONS,
    fit=fit,
    figures={LOSS: "{:.2f}", LEFT: "{:.0f}", PREVIOUS: "{:.2f}", NEXT: "{:.2f}", ALONE: "{:.2f}"},
    draw=draw,
    how_to_read=(
        "*Masked-character loss*: in nats, at the end, on 16,384 characters of reviews that no model has read. *Leaves the "
        "plateau*: the first of 30 measurements at which it lies 0.1 nats below the *loss without context*, that of a model "
        "which knows how often each character occurs and looks at no other place; the mean of the seeds that leave it. "
        "*Previous-token score*, *next-token score*: the mean attention to the character before, and after, of the head "
        "that has most of it."
    ),
)
