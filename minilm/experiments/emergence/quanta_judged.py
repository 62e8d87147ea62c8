"""What is expected of the quanta experiment, how it is judged, and its picture.  F36."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from minilm.experiments.emergence.experiment import Experiment, Prediction, Records, Verdict, listed
from minilm.experiments.emergence.moments import width_of_change
from minilm.experiments.emergence.quanta import (
    ALIKE,
    BITS,
    LEARNED,
    LEVEL,
    MEAN,
    SKILLS,
    ZIPF,
    ZIPFIAN,
    fit,
    frequencies,
)
from minilm.viz.rulers import over_steps

LEAST = 8  # skills that must be learned before a slope is fitted


def skill_curves(record: Mapping[str, Any]) -> np.ndarray:
    """[measurements, K]: the loss of every skill."""
    return np.array([point["skills"] for point in record["curve"]])


def learned_at(record: Mapping[str, Any]) -> np.ndarray:
    """[K]: the first measured step at which each skill has lost half of log 2; infinity for one that never does."""
    low = skill_curves(record) < LEVEL * np.log(2)
    steps = np.array([point["step"] for point in record["curve"]], dtype=float)
    return np.where(low.any(axis=0), steps[low.argmax(axis=0)], np.inf)


def widths(record: Mapping[str, Any]) -> tuple[float, float]:
    """How many times more steps the middle of the fall takes: of the mean loss, and the median over the skills that are learned."""
    steps = [point["step"] for point in record["curve"]]
    done = skill_curves(record)[:, skill_curves(record)[-1] < 0.1 * np.log(2)]
    each = [width_of_change(steps, curve, np.log(2), 0.0) for curve in done.T]
    return width_of_change(steps, [p[MEAN] for p in record["curve"]], np.log(2), 0.0), float(
        np.median(each or [np.inf])
    )


def of_arm(records: Records, arm: str) -> list:
    return [record for record in records if record["arm"] == arm]


def a_skill_is_a_jump(records: Records) -> Verdict:
    found = np.array([widths(record)[1] for record in of_arm(records, ZIPFIAN)])
    return Verdict(bool((found <= 2.5).all()), f"{listed(found, '{:.1f}')} times as many steps")


def the_mean_is_not(records: Records) -> Verdict:
    found = np.array([widths(record) for record in of_arm(records, ZIPFIAN)])  # [seeds, 2]
    held = bool((found[:, 0] >= 4 * found[:, 1]).all())
    return Verdict(held, f"{listed(found[:, 0], '{:.1f}')} times as many steps")


def order(record: Mapping[str, Any]) -> float:
    """The rank correlation between how rarely a skill is asked for and when it is learned; 0 if all are learned at once."""
    steps = learned_at(record)  # a skill that is never learned comes last
    return float(spearmanr(np.arange(SKILLS), steps)[0]) if len(set(steps)) > 1 else 0.0


def often_is_early(records: Records) -> Verdict:
    found = np.array([order(record) for record in of_arm(records, ZIPFIAN)])
    return Verdict(bool((found >= 0.9).all()), listed(found))


def slope(record: Mapping[str, Any]) -> float:
    """b of log(step) = a − b log P(k), by least squares over the skills that are learned. NaN where they are too few."""
    steps, p = learned_at(record), frequencies()
    done = np.isfinite(steps)
    return float(-np.polyfit(np.log(p[done]), np.log(steps[done]), 1)[0]) if done.sum() >= LEAST else np.nan


def half_as_often_is_twice_as_late(records: Records) -> Verdict:
    found = np.array([slope(record) for record in of_arm(records, ZIPFIAN)])
    return Verdict(bool(((found >= 0.7) & (found <= 1.3)).all()), listed(found))


def alike_is_sharp(records: Records) -> Verdict:
    found = np.array([widths(record)[0] for record in of_arm(records, ALIKE)])
    return Verdict(bool((found <= 2.5).all()), f"{listed(found, '{:.1f}')} times as many steps")


PREDICTIONS = (
    Prediction(
        "A skill is a jump: from 80 % to 20 % of its loss takes at most 2.5 times as many steps (the median skill).",
        a_skill_is_a_jump,
    ),
    Prediction("Their mean is none: the same fall of the mean takes at least four times that factor.", the_mean_is_not),
    Prediction("What is asked for more often is learned earlier: a rank correlation of 0.9 or more.", often_is_early),
    Prediction(
        "The step at which a skill is learned goes with 1/frequency to a power between 0.7 and 1.3.",
        half_as_often_is_twice_as_late,
    ),
    Prediction(
        "Control: where all skills are asked for alike, the mean is a jump, too: at most 2.5 times as many steps.",
        alike_is_sharp,
    ),
)


def draw(records: Records, folder: Path) -> list[str]:
    """For each arm the loss of every skill of the first seed, thin, and the mean loss of every seed."""
    each, mean = "one skill (first seed)", "mean of the skills, as often as they are asked for"
    panels: dict[str, dict[str, list]] = {}
    for arm in dict.fromkeys(record["arm"] for record in records):
        mine = of_arm(records, arm)
        steps = [[point["step"] for point in record["curve"]] for record in mine]
        panels[f"loss (nats): {arm}"] = {
            each: [(steps[0], curve) for curve in skill_curves(mine[0]).T],
            mean: [(x, [point[MEAN] for point in record["curve"]]) for x, record in zip(steps, mine, strict=True)],
        }
    over_steps(panels, folder / "quanta.png", thin=each)
    return ["quanta.png"]


QUANTA = Experiment(
    name="quanta",
    question="Can a loss that falls smoothly consist of nothing but jumps?",
    definition="By scale: an ability appears suddenly although the loss falls smoothly. No document defines it so.",
    arms={
        ZIPFIAN: f"{SKILLS} parities of three out of {BITS} bits; skill k is asked for in proportion to 1/k^{ZIPF}",
        ALIKE: "the control: the same skills, each asked for as often as the others",
    },
    predictions=PREDICTIONS,
    fit=fit,
    figures={MEAN: "{:.3f}", LEARNED: "{:.1f}"},
    draw=draw,
    how_to_read=(
        f"*Mean loss*: in nats on new examples, each skill weighted by how often the arm asks for it; guessing gives log 2 = "
        f"{np.log(2):.3f}. *Skills learned*: of {SKILLS}, those with less than half of log 2 at the end."
    ),
)
