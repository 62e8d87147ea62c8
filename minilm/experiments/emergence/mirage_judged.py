"""What is expected of the mirage experiment, how it is judged, and its picture.  F36.

This is the second round. In the first, with the seeds 0 to 2, width 32 in reverse was to learn to add and all nine predictions
failed (`experiments/README.md`); what its runs showed is predicted here, and tested on seeds that nobody has looked at.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minilm.experiments.emergence.experiment import Experiment, Prediction, Records, Verdict, listed, of
from minilm.experiments.emergence.mirage import ARMS, DIGIT, DIGITS, NATS, PAGES, PRODUCT, WHOLE, fit
from minilm.experiments.emergence.moments import width_of_change
from minilm.viz.rulers import over_steps

GUESSING = {WHOLE: 0.0, PAGES: 0.0, DIGIT: 0.1, NATS: DIGITS * np.log(10)}  # 0.0001 whole answers are 0 here
PERFECT = {WHOLE: 1.0, PAGES: 1.0, DIGIT: 1.0, NATS: 0.0}
MAIN, OTHER = "forwards, width 32", "reversed, width 32"
SHARP, SMOOTH, ENOUGH = 2.5, 4.0, 0.8
FRESH = 10  # the first seed of this round


def factor(record: Mapping[str, Any], ruler: str) -> float:
    """How many times more steps 80 % of the way from guessing to perfect takes than 20 %; infinity if it never comes so far."""
    steps = [point["step"] for point in record["curve"]]
    return width_of_change(steps, [point[ruler] for point in record["curve"]], GUESSING[ruler], PERFECT[ruler])


def factors(records: Records, ruler: str) -> np.ndarray:
    return np.array([factor(record, ruler) for record in records if record["arm"] == MAIN])


def as_factors(found: np.ndarray) -> str:
    return ", ".join("it never comes so far" if np.isinf(value) else f"{value:.1f} times" for value in found)


def it_is_learned(records: Records) -> Verdict:
    found = of(records, MAIN, WHOLE)
    return Verdict(bool((found >= 0.9).all()), listed(100 * found, "{:.0f} %"))


def at_most(ruler: str):
    """A judge: by this ruler, the change is sharp in the widest models that answer forwards."""

    def judge(records: Records) -> Verdict:
        found = factors(records, ruler)
        return Verdict(bool((found <= SHARP).all()), as_factors(found))

    return judge


def at_least(ruler: str):
    """A judge: by this ruler, the change of the same runs is smooth, and it does happen."""

    def judge(records: Records) -> Verdict:
        found = factors(records, ruler)
        return Verdict(bool(((found >= SMOOTH) & np.isfinite(found)).all()), as_factors(found))

    return judge


def the_power_explains_it(records: Records) -> Verdict:
    mine = [record["curve"] for record in records if record["arm"] == MAIN]
    found = np.array([np.mean([abs(p[WHOLE] - p[PRODUCT]) for p in curve]) for curve in mine])
    return Verdict(bool((found <= 0.1).all()), listed(found, "{:.3f}"))


def wherever_it_is_learned(records: Records) -> Verdict:
    """In all runs of all arms that come to 80 % of the answers; it fails if there are none but the main ones."""
    there = [record for record in records if record[WHOLE] >= ENOUGH]
    sharp, smooth = (np.array([factor(record, ruler) for record in there]) for ruler in (WHOLE, NATS))
    held = {record["arm"] for record in there} > {MAIN} and (sharp <= SHARP).all() and (smooth >= SMOOTH).all()
    said = f"{len(there)} of {len(records)} runs: {as_factors(np.sort(sharp))} by the whole answer"
    return Verdict(bool(held), f"{said}; {as_factors(np.sort(smooth))} by likelihood")


def a_page_is_still_blank(records: Records) -> Verdict:
    """The pages of ten at the first measurement at which half of the answers are right; infinity if that never comes."""
    mine = [record["curve"] for record in records if record["arm"] == MAIN]
    found = np.array([next((point[PAGES] for point in curve if point[WHOLE] >= 0.5), np.inf) for curve in mine])
    said = ", ".join("half of them never are" if np.isinf(value) else f"{100 * value:.0f} %" for value in found)
    return Verdict(bool((found <= 0.05).all()), said)


PREDICTIONS = (
    Prediction("Width 32 learns to add forwards: at least 90 % of the answers, with every seed.", it_is_learned),
    Prediction("By the whole answer that is sharp: 80 % take at most 2.5 times as many steps as 20 %.", at_most(WHOLE)),
    Prediction("By likelihood the same runs are smooth: that factor is at least 4.", at_least(NATS)),
    Prediction("By the digit they are smooth, too: at least 4.", at_least(DIGIT)),
    Prediction("When half of the answers are right, at most 5 % of the pages of ten are.", a_page_is_still_blank),
    Prediction(
        "Control: there, the 4th power of the digit accuracy is the whole answer, to 0.1 in the mean.",
        the_power_explains_it,
    ),
    Prediction(
        "Wherever a model, of whatever width and order, comes to 80 %, it is sharp by the whole answer and smooth by likelihood.",
        wherever_it_is_learned,
    ),
)


def fit_fresh(arm: str, seed: int, share: float = 1.0, bar: bool = False) -> dict[str, Any]:
    """`fit` with the seeds of this round: 0 becomes 10."""
    return fit(arm, seed + FRESH, share, bar)


def draw(records: Records, folder: Path) -> list[str]:
    """Over the steps: three rulers of the widest models, and the power of the digit accuracy as the control."""
    panels: dict[str, dict[str, list]] = {}
    for arm in (MAIN, OTHER):
        mine = [record["curve"] for record in records if record["arm"] == arm]
        named = {
            name: [([p["step"] for p in c], [p[name] for p in c]) for c in mine] for name in (WHOLE, DIGIT, PRODUCT)
        }
        panels[f"share that is right: {arm}"] = named
    mine = [record["curve"] for record in records if record["arm"] in (MAIN, OTHER)]
    panels["nats per answer: both"] = {NATS: [([p["step"] for p in c], [p[NATS] for p in c]) for c in mine]}
    over_steps(panels, folder / "mirage.png")
    return ["mirage.png"]


MIRAGE = Experiment(
    name="mirage",
    question="Is an ability sharp because the model changes suddenly, or because of the ruler that it is measured with?",
    definition="By scale: an ability that small models lack and larger ones have, suddenly. No document defines it so.",
    arms={
        arm: f"a GPT of one layer and width {width} adds two numbers below 1,000, "
        + ("the ones of the answer first" if reverse else "the first digit of the answer first")
        for arm, (width, reverse) in ARMS.items()
    },
    predictions=PREDICTIONS,
    fit=fit_fresh,
    figures={DIGIT: "{:.3f}", WHOLE: "{:.3f}", PRODUCT: "{:.3f}", PAGES: "{:.3f}", NATS: "{:.2f}"},
    draw=draw,
    how_to_read=(
        "All columns judge the same answers to 500 sums, at the last step. *Digit*: the share of digits that are right, each after "
        "the true digits before it. *Whole answer*: all four are. *Page of ten*: so are all answers of ten sums. *Nats per answer*: "
        "−log P of the true answer; guessing gives 9.21."
    ),
)
