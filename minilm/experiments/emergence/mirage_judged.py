"""What is expected of the mirage experiment, how it is judged, and its picture.  F36."""

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
WIDE, FORWARDS, NARROW = "reversed, width 32", "forwards, width 32", "forwards, width 8"
SHARP, SMOOTH = 2.5, 4.0


def factor(record: Mapping[str, Any], ruler: str) -> float:
    """How many times more steps 80 % of the way from guessing to perfect takes than 20 %; infinity if it never comes so far."""
    steps = [point["step"] for point in record["curve"]]
    return width_of_change(steps, [point[ruler] for point in record["curve"]], GUESSING[ruler], PERFECT[ruler])


def factors(records: Records, ruler: str) -> np.ndarray:
    return np.array([factor(record, ruler) for record in records if record["arm"] == WIDE])


def as_factors(found: np.ndarray) -> str:
    return ", ".join("it never comes so far" if np.isinf(value) else f"{value:.1f} times" for value in found)


def it_is_learned(records: Records) -> Verdict:
    found = of(records, WIDE, WHOLE)
    return Verdict(bool((found >= 0.9).all()), listed(100 * found, "{:.0f} %"))


def at_most(ruler: str):
    """A judge: by this ruler, the change is sharp in the widest models that answer in reverse."""

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
    found = np.array([np.mean([abs(p[WHOLE] - p[PRODUCT]) for p in record["curve"]]) for record in records])
    return Verdict(bool((found <= 0.05).all()), f"{found.min():.3f} to {found.max():.3f}, over all models")


def way(records: Records, arm: str, ruler: str) -> np.ndarray:
    """How far every seed of an arm has come from guessing to perfect in the end, by this ruler."""
    return (of(records, arm, ruler) - GUESSING[ruler]) / (PERFECT[ruler] - GUESSING[ruler])


def half_the_way_unseen(records: Records) -> Verdict:
    whole, nats = way(records, NARROW, WHOLE), way(records, NARROW, NATS)
    said = f"{listed(100 * whole, '{:.1f} %')} whole; by likelihood {listed(100 * nats, '{:.0f} %')}"
    return Verdict(bool(((whole <= 0.05) & (nats >= 0.4)).all()), said)


def the_widths_jump(records: Records) -> Verdict:
    whole, nats = (way(records, FORWARDS, ruler) - way(records, NARROW, ruler) for ruler in (WHOLE, NATS))
    said = f"{listed(100 * whole, '{:.0f} %')} of the way by the whole answer; {listed(100 * nats, '{:.0f} %')} by likelihood"
    return Verdict(bool(((whole >= 0.8) & (nats <= 0.6)).all()), said)


def a_page_is_still_blank(records: Records) -> Verdict:
    """The pages of ten at the first measurement at which half of the answers are right; infinity if that never comes."""
    mine = [record["curve"] for record in records if record["arm"] == WIDE]
    found = np.array([next((point[PAGES] for point in curve if point[WHOLE] >= 0.5), np.inf) for curve in mine])
    said = ", ".join("half of them never are" if np.isinf(value) else f"{100 * value:.0f} %" for value in found)
    return Verdict(bool((found <= 0.05).all()), said)


def reversed_is_easier(records: Records) -> Verdict:
    one, other = of(records, WIDE, WHOLE), of(records, FORWARDS, WHOLE)
    return Verdict(
        bool((one > other).all()), f"{listed(100 * one, '{:.0f} %')}; forwards {listed(100 * other, '{:.0f} %')}"
    )


PREDICTIONS = (
    Prediction(
        "Width 32 learns to add in reverse: at least 90 % of the answers are right, with every seed.", it_is_learned
    ),
    Prediction("By the whole answer that is sharp: 80 % take at most 2.5 times as many steps as 20 %.", at_most(WHOLE)),
    Prediction("By likelihood the same runs are smooth: that factor is at least 4.", at_least(NATS)),
    Prediction("By the digit they are smooth, too: at least 4.", at_least(DIGIT)),
    Prediction("When half of the answers are right, at most 5 % of the pages of ten are.", a_page_is_still_blank),
    Prediction(
        "Control: the 4th power of the digit accuracy is the whole answer, to 0.05 in the mean.", the_power_explains_it
    ),
    Prediction(
        "Forwards, width 8 has at most 5 % of the answers right; by likelihood, it has come at least 40 % of the way.",
        half_the_way_unseen,
    ),
    Prediction(
        "From width 8 to 32, forwards: at least 80 % of the way by the whole answer, at most 60 % by likelihood.",
        the_widths_jump,
    ),
    Prediction("At width 32, more answers are right in reverse than forwards, with every seed.", reversed_is_easier),
)


def draw(records: Records, folder: Path) -> list[str]:
    """Over the steps: three rulers of the widest models, and the power of the digit accuracy as the control."""
    panels: dict[str, dict[str, list]] = {}
    for arm in (WIDE, FORWARDS):
        mine = [record["curve"] for record in records if record["arm"] == arm]
        named = {
            name: [([p["step"] for p in c], [p[name] for p in c]) for c in mine] for name in (WHOLE, DIGIT, PRODUCT)
        }
        panels[f"share that is right: {arm}"] = named
    mine = [record["curve"] for record in records if record["arm"] in (WIDE, FORWARDS)]
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
    fit=fit,
    figures={DIGIT: "{:.3f}", WHOLE: "{:.3f}", PRODUCT: "{:.3f}", PAGES: "{:.3f}", NATS: "{:.2f}"},
    draw=draw,
    how_to_read=(
        "All columns judge the same answers to 500 sums, at the last step. *Digit*: the share of digits that are right, each after "
        "the true digits before it. *Whole answer*: all four are. *Page of ten*: so are all answers of ten sums. *Nats per answer*: "
        "−log P of the true answer; guessing gives 9.21."
    ),
)
