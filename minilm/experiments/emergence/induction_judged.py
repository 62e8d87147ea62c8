"""What is expected of the induction experiment, how it is judged, and its pictures.  F36."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minilm.experiments.emergence.experiment import Experiment, Prediction, Records, Verdict, listed, of
from minilm.experiments.emergence.induction import (
    BEST_INDUCTION,
    BEST_PREVIOUS,
    CUT,
    CUT_ELSEWHERE,
    FIRST,
    GIVEN,
    INDUCTION_SCORE,
    MEASUREMENTS,
    NOTHING,
    ONE,
    ONE_ALONE,
    ONE_GIVEN,
    PREVIOUS,
    REPEATED,
    SYMBOLS,
    TWO,
    fit,
)
from minilm.viz.emergence import attention_film, losses_and_scores


def two_layers_do(records: Records) -> Verdict:
    found = of(records, TWO, REPEATED)
    return Verdict(bool((found <= 0.2).all()), f"{listed(found, '{:.3f}')} nats")


def one_layer_does_not(records: Records) -> Verdict:
    found = of(records, ONE, REPEATED)
    return Verdict(bool((found >= 1.0).all()), f"{listed(found)} nats")


def steepest(record: Mapping[str, Any]) -> float:
    """The largest part of the whole fall of the loss that lies between two neighbouring measurements."""
    curve = [point[REPEATED] for point in record["curve"]]
    return float((-np.diff(curve)).max() / max(curve[0] - curve[-1], 1e-9))


def it_is_sudden(records: Records) -> Verdict:
    share = np.array([steepest(record) for record in records if record["arm"] == TWO])
    held = bool((share >= 0.25).all())
    return Verdict(
        held, f"{listed(100 * share, '{:.0f} %')} of the fall within one of {MEASUREMENTS} parts of the training"
    )


def a_head_looks_it_up(records: Records) -> Verdict:
    found = of(records, TWO, BEST_INDUCTION)
    return Verdict(bool((found >= 0.5).all()), listed(found))


def a_head_looks_one_back(records: Records) -> Verdict:
    found = of(records, TWO, BEST_PREVIOUS)
    return Verdict(bool((found >= 0.5).all()), f"{listed(found)}, where looking everywhere alike gives 0.07")


def restored(records: Records, name: str) -> np.ndarray:
    """The share of the gap between one layer and two that comes back without some links, for each seed."""
    one, two = of(records, ONE, REPEATED), of(records, TWO, REPEATED)
    return (of(records, TWO, name) - two) / (one - two)


def it_needs_these_links(records: Records) -> Verdict:
    share = restored(records, CUT)
    return Verdict(bool((share >= 0.8).all()), listed(100 * share, "{:.0f} %"))


def it_does_not_need_others(records: Records) -> Verdict:
    share = restored(records, CUT_ELSEWHERE)
    return Verdict(bool((share <= 0.2).all()), listed(100 * share, "{:.0f} %"))


def nothing_is_copied(records: Records) -> Verdict:
    found = of(records, NOTHING, REPEATED)
    return Verdict(
        bool((found >= 3.0).all()), f"{listed(found)} nats, where guessing among {SYMBOLS} gives {np.log(SYMBOLS):.2f}"
    )


def reached(record: Mapping[str, Any], level: float = 1.0) -> float:
    """The first step at which the loss on what repeats was at most this."""
    return next((float(point["step"]) for point in record["curve"] if point[REPEATED] <= level), np.inf)


def it_comes_sooner(arm: str, share: float):
    """A judge: with the links of this arm, the loss reaches 1.0 nats in this share of the steps that it takes by itself."""

    def judge(records: Records) -> Verdict:
        by_itself, given = (np.array([reached(r) for r in records if r["arm"] == each]) for each in (TWO, arm))
        steps = [", ".join("never" if np.isinf(s) else f"{s:.0f}" for s in each) for each in (given, by_itself)]
        said = f"1.0 nats after so many steps: {steps[0]}; by itself: {steps[1]}"
        return Verdict(bool((given <= by_itself * share).all()), said)

    return judge


PREDICTIONS = (
    Prediction("Two layers end at 0.2 nats or less on what repeats, with every seed.", two_layers_do),
    Prediction("One layer stays above 1.0 nats, although it is trained for longer.", one_layer_does_not),
    Prediction("The fall is sudden: a quarter of it happens within a thirty-sixth of the training.", it_is_sudden),
    Prediction(
        "A head of two layers attends to what followed last time with a weight of 0.5 or more.", a_head_looks_it_up
    ),
    Prediction(
        "A head of their first layer attends to the place before with a weight of 0.5 or more.", a_head_looks_one_back
    ),
    Prediction(
        "If the first layer may not attend to the place before, at least 80 % of the gap to one layer come back.",
        it_needs_these_links,
    ),
    Prediction("If it may not attend to the fifth place before, at most 20 % come back.", it_does_not_need_others),
    Prediction("Control: two layers that never saw a repetition cannot repeat (at least 3 nats).", nothing_is_copied),
    Prediction(
        "If four heads attend to the places before from the start, the fall comes in half the steps.",
        it_comes_sooner(GIVEN, 1 / 2),
    ),
    Prediction(
        "If one head alone does, the fall comes in two thirds of the steps, with every seed.",
        it_comes_sooner(ONE_GIVEN, 2 / 3),
    ),
    Prediction("So it does, if the branches are as large as by themselves.", it_comes_sooner(ONE_ALONE, 2 / 3)),
)


def draw(records: Records, folder: Path) -> list[str]:
    """The curves of all arms with the scores of the heads, and the film of the attention of one model."""
    losses_and_scores(list(curves(records)), REPEATED, (PREVIOUS, INDUCTION_SCORE), folder / "induction.png")
    pictures = ["induction.png"]
    shown = next((r for r in records if r["arm"] == TWO and "film" in r["curve"][0]), None)
    if shown is not None:
        curve = shown["curve"]
        frames = {
            name: [
                (point["step"], np.array([row.split() for row in point["film"][head]], dtype=float) / 100)
                for point in curve
            ]
            for head, name in enumerate(("layer 1, the place before", "layer 2, what followed last time"))
        }
        attention_film(frames, folder / "film.png", loss=[point[REPEATED] for point in curve])
        pictures.append("film.png")
    return pictures


def curves(records: Records) -> Iterator[dict]:
    """The loss of every model over the steps; of those with two layers, the best score of a head of each kind, too."""
    for record in records:
        points = record["curve"]
        out = {"arm": record["arm"], "step": [p["step"] for p in points], REPEATED: [p[REPEATED] for p in points]}
        if record["arm"] == TWO:
            out |= {name: [float(np.max(p[name])) for p in points] for name in (PREVIOUS, INDUCTION_SCORE)}
        yield out


INDUCTION = Experiment(
    name="induction",
    question="Does a Transformer learn to repeat what stood in the text before, and what does it need for it?",
    definition="D1 §1: structure that is learnt without being taught. D3 §1.1: an ability that nobody designed in.",
    arms={
        TWO: "a GPT of width 64 with four heads, on rows of 48 symbols that repeat after 16 to 24",
        ONE: "the same with one layer, for as many steps",
        NOTHING: "the control: every symbol is drawn by itself",
        GIVEN: "from the first step on, heads 1 to 4 attend to the first to the fourth place before",
        ONE_GIVEN: "from the first step on, head 1 attends to the place before",
        ONE_ALONE: "the same, but the branches are not made smaller, as they are in the two models above",
    },
    predictions=PREDICTIONS,
    fit=fit,
    figures={REPEATED: "{:.3f}", FIRST: "{:.2f}", BEST_INDUCTION: "{:.2f}", BEST_PREVIOUS: "{:.2f}", CUT: "{:.2f}"},
    draw=draw,
    how_to_read=(
        "All losses are in nats per symbol, on 256 rows that repeat and that no model has seen. *Repeated*: where the current "
        "symbol stood in the row before, so that the next one can be looked up. *First time*: among the first symbols of a row, "
        "which cannot be known. *Best induction head*: the mean attention of the best head to the place after the one where the "
        "current symbol stood. *Best previous-token head*: the same for the first layer and the place before. *Without the "
        "links*: no head of the first layer may attend to the place before its own."
    ),
)
