"""What is expected of the grokking experiment, how it is judged, and its picture.  F36."""

from pathlib import Path

import numpy as np

from minilm.experiments.emergence.experiment import Experiment, Prediction, Records, Verdict, listed, of
from minilm.experiments.emergence.grokking import (
    DECAY,
    KNOWN,
    KNOWN_AT,
    MORE,
    NO_DECAY,
    SCRAMBLED,
    SIZE,
    UNSEEN,
    UNSEEN_AT,
    P,
    first_step,
    fit,
)
from minilm.viz.rulers import over_steps


def when(records: Records, arm: str, figure: str, level: float) -> np.ndarray:
    """The first measured step of every seed at which the figure is at least this; infinity where it never is."""
    steps = [first_step(record["curve"], figure, level) for record in records if record["arm"] == arm]
    return np.array([np.inf if step is None else step for step in steps], dtype=float)


def said(steps: np.ndarray) -> str:
    """As "135, never"."""
    return ", ".join("never" if np.isinf(step) else f"{step:,.0f}" for step in steps)


def all_know(records: Records) -> Verdict:
    found = np.concatenate([when(records, arm, KNOWN, 0.99) for arm in dict.fromkeys(r["arm"] for r in records)])
    return Verdict(
        bool((found <= 400).all()), f"first {said(found[[found.argmin()]])}, last {said(found[[found.argmax()]])}"
    )


def it_comes_late(records: Records) -> Verdict:
    known, unseen = when(records, DECAY, KNOWN, 0.99), when(records, DECAY, UNSEEN, 0.9)
    held = bool(np.isfinite(unseen).all() and (unseen >= 8 * known).all())
    return Verdict(held, f"held out: {said(unseen)}; learned from: {said(known)}")


def nothing_is_seen(records: Records) -> Verdict:
    """The held-out accuracy at the step at which the sums that are learned from are known."""
    points = [
        next((point[UNSEEN] for point in r["curve"] if point[KNOWN] >= 0.99), np.inf)
        for r in records
        if r["arm"] == DECAY
    ]
    found = np.array(points)
    return Verdict(bool((found <= 0.05).all()), listed(100 * found, "{:.1f} %"))


def without_decay(records: Records) -> Verdict:
    found = of(records, NO_DECAY, UNSEEN)
    return Verdict(bool((found <= 0.1).all()), listed(100 * found, "{:.1f} %"))


def more_is_sooner(records: Records) -> Verdict:
    more, half = when(records, MORE, UNSEEN, 0.9), when(records, DECAY, UNSEEN, 0.9)
    held = bool(np.isfinite(more).all() and (more <= half / 2).all())
    return Verdict(held, f"with three quarters: {said(more)}; with a half: {said(half)}")


def it_is_a_rule(records: Records) -> Verdict:
    found = of(records, SCRAMBLED, UNSEEN)
    return Verdict(
        bool((found <= 0.06).all()), f"{listed(100 * found, '{:.1f} %')}, where guessing gives {100 / P:.1f} %"
    )


def weights_shrink(records: Records) -> Verdict:
    found, without = of(records, DECAY, SIZE), of(records, NO_DECAY, SIZE)
    return Verdict(
        bool((found <= without / 2).all()), f"{listed(found, '{:.1f}')}; without: {listed(without, '{:.1f}')}"
    )


PREDICTIONS = (
    Prediction("Every model knows 99 % of what it learns from within 400 steps, whatever the arm.", all_know),
    Prediction("With decay, 90 % of the held-out sums take at least eight times as long.", it_comes_late),
    Prediction("When it knows what it learned from, it has at most 5 % of the others right.", nothing_is_seen),
    Prediction("Without decay, at most 10 % of the held-out sums are right in the end.", without_decay),
    Prediction("With three quarters of the sums to learn from, it comes in half the steps or less.", more_is_sooner),
    Prediction("Control: where the answers are scrambled, no held-out accuracy exceeds 6 %.", it_is_a_rule),
    Prediction("In the end, decay has left weights that are at most half as large in all.", weights_shrink),
)


def draw(records: Records, folder: Path) -> list[str]:
    """Both accuracies of every arm over the steps, and the size of the weights."""
    arms = list(dict.fromkeys(record["arm"] for record in records))

    def lines(figure: str) -> dict[str, list]:
        curves = {arm: [record["curve"] for record in records if record["arm"] == arm] for arm in arms}
        return {
            arm: [([p["step"] for p in curve], [p[figure] for p in curve]) for curve in each]
            for arm, each in curves.items()
        }

    over_steps({title: lines(title) for title in (KNOWN, UNSEEN, SIZE)}, folder / "grokking.png")
    return ["grokking.png"]


GROKKING = Experiment(
    name="grokking",
    question="When does a network that knows its sums by heart begin to calculate?",
    definition="D2 §1.2: going beyond the training data. No document says that it can come so late.",
    arms={
        DECAY: f"learns half of the sums a + b modulo {P}, with weight decay 1",
        NO_DECAY: "the same without weight decay",
        MORE: "with decay, and three quarters of the sums",
        SCRAMBLED: "the control: half of the sums, each with the answer of another, so that there is no rule",
    },
    predictions=PREDICTIONS,
    fit=fit,
    figures={KNOWN: "{:.3f}", UNSEEN: "{:.3f}", KNOWN_AT: "{:,.0f}", UNSEEN_AT: "{:,.0f}", SIZE: "{:.1f}"},
    draw=draw,
    how_to_read=(
        f"The accuracies are those of the last step: the share of sums with the right answer among {P}. *Step of 99 %* and *of 90 %*: "
        "the first measured step with so many right, where there is one (the mean of the seeds that have one). *Size of the weights*: "
        "√Σ θ². A sum a + b and its mirror b + a are one and the same here, so that none is learned from and held out at once."
    ),
)
