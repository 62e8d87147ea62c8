"""What is expected of a model that is taken apart, how it is judged, and its pictures.  F36."""

from pathlib import Path

import numpy as np

from minilm.experiments.emergence.experiment import Experiment, Prediction, Records, Verdict, listed, of
from minilm.experiments.emergence.reduction import (
    ALL,
    ALL_POINTS,
    BLOCKS,
    FOUR,
    IN,
    LARGEST,
    NAMES,
    NEXT_EN,
    NEXT_ZH,
    NO_HEADS,
    OUT,
    POINTS,
    RANDOM,
    SCORE,
    SENTIMENT,
    UNTAUGHT,
    ZERO,
    fit,
)
from minilm.viz.apart import parts_and_whole, what_is_carried

FIRST = (NEXT_EN, NEXT_ZH, SENTIMENT)  # the arms of the first round of predictions


def by_arm(found: dict[str, np.ndarray]) -> str:
    """As "next sentence, Chinese 0.51, 0.48; sentiment 1.20, 1.31"."""
    return "; ".join(f"{arm} {listed(values)}" for arm, values in found.items())


def shares(records: Records, name: str, arms: tuple[str, ...] = FIRST) -> dict[str, np.ndarray]:
    """A share of each seed of some arms; a whole that is too small has none, which no prediction can be true of."""
    return {arm: np.array([r.get(name, np.nan) for r in records if r["arm"] == arm]) for arm in arms}


def heads_are_needed_for_pairs(records: Records) -> Verdict:
    found = {arm: of(records, arm, NO_HEADS) for arm in (NEXT_EN, NEXT_ZH)}
    return Verdict(all((values <= 0.6).all() for values in found.values()), by_arm(found))


def sentiment_hardly_needs_heads(records: Records) -> Verdict:
    lost = of(records, SENTIMENT, SCORE) - of(records, SENTIMENT, NO_HEADS)
    return Verdict(bool((lost <= 0.05).all()), f"{listed(lost, '{:.3f}')} of accuracy lost")


def single_heads_are_replaced(records: Records) -> Verdict:
    found = shares(records, OUT)
    return Verdict(all((values <= 0.8).all() for values in found.values()), by_arm(found))


def pairs_need_heads_together(records: Records) -> Verdict:
    found = shares(records, IN, (NEXT_EN, NEXT_ZH))
    return Verdict(all((values <= 0.5).all() for values in found.values()), by_arm(found))


def no_head_is_the_ability(records: Records) -> Verdict:
    found = shares(records, LARGEST)
    return Verdict(all((values <= 0.25).all() for values in found.values()), by_arm(found))


def the_important_four_count_twice(records: Records) -> Verdict:
    best, drawn = shares(records, FOUR), shares(records, RANDOM)
    ratio = {arm: best[arm] / drawn[arm] for arm in FIRST}
    return Verdict(all((values >= 2).all() for values in ratio.values()), by_arm(ratio))


def zero_does_more_harm(records: Records) -> Verdict:
    more = {
        arm: np.array([sum(r["heads by zero"]) - sum(r["heads"]) for r in records if r["arm"] == arm]) for arm in FIRST
    }
    return Verdict(
        all((values > 0).all() for values in more.values()), by_arm(more) + " nats more, added over the heads"
    )


def blocks_stand_in_for_each_other(records: Records) -> Verdict:
    found = shares(records, BLOCKS)
    return Verdict(all((values < 1).all() for values in found.values()), by_arm(found))


def the_answer_moves_in_the_last_block(records: Records) -> Verdict:
    found = {
        arm: np.array([r["patched"]["[CLS]"][-2] for r in records if r["arm"] == arm]) for arm in (NEXT_EN, NEXT_ZH)
    }
    return Verdict(all((values <= 0.5).all() for values in found.values()), by_arm(found))


def names_need_heads(records: Records) -> Verdict:
    before, left = of(records, NAMES, SCORE), of(records, NAMES, NO_HEADS)
    return Verdict(
        bool((left <= before / 2).all()), f"F1 {listed(left, '{:.3f}')} in place of {listed(before, '{:.3f}')}"
    )


def names_are_no_single_head(records: Records) -> Verdict:
    found = shares(records, LARGEST, (NAMES,))
    return Verdict(bool((found[NAMES] <= 0.5).all()), by_arm(found))


def singly_names_cost_less(records: Records) -> Verdict:
    found = shares(records, OUT, (NAMES,))
    return Verdict(bool((found[NAMES] <= 0.8).all()), by_arm(found))


def the_others_carry_names(records: Records) -> Verdict:
    """A seed without lines to exchange has no shares, and nothing can be true of it."""
    none = {"itself": [np.nan], "two on either side": [np.nan], "all others": [np.nan]}
    mine = [none | record["patched"] for record in records if record["arm"] == NAMES]
    around = np.array([p["two on either side"][0] + p["all others"][0] for p in mine])
    own = np.array([p["itself"][0] for p in mine])
    return Verdict(bool((around >= own).all()), f"around it {listed(around)}, itself {listed(own)}")


def untaught_heads_are_worth_less(records: Records) -> Verdict:
    new, taught = of(records, UNTAUGHT, ALL_POINTS), of(records, SENTIMENT, ALL_POINTS)
    return Verdict(
        bool((new <= taught / 2).all()), f"{listed(new, '{:.1f}')} points; pretrained {listed(taught, '{:.1f}')}"
    )


PREDICTIONS = (
    Prediction(
        "Without heads, next sentence is hardly better than guessing: an accuracy of 0.6 or less.",
        heads_are_needed_for_pairs,
    ),
    Prediction(
        "Sentiment is mostly in the words: without any head, the accuracy is at most 5 points lower.",
        sentiment_hardly_needs_heads,
    ),
    Prediction(
        "The whole is more than the sum of what single heads cost when they are taken out (at most 0.8 of it), for all three "
        "pretrained models: other heads stand in for one that is gone.",
        single_heads_are_replaced,
    ),
    Prediction(
        "Next sentence needs heads that work together: put in one at a time, they bring at most half of the whole.",
        pairs_need_heads_together,
    ),
    Prediction("No single head costs more than a quarter of what all twelve cost.", no_head_is_the_ability),
    Prediction(
        "Control: the four heads that cost most, chosen on other texts, cost together at least twice what four random ones do.",
        the_important_four_count_twice,
    ),
    Prediction("By zero, single heads cost more than by their mean.", zero_does_more_harm),
    Prediction(
        "Skipped one at a time, the three blocks cost less than skipped together.", blocks_stand_in_for_each_other
    ),
    Prediction(
        "Next sentence is put together late: before the last block, [CLS] carries at most half of the answer.",
        the_answer_moves_in_the_last_block,
    ),
    Prediction("Names need heads: without any, their F1 falls to half of it or less.", names_need_heads),
    Prediction(
        "Names are no single head, as next sentence is: the one that costs most costs at most half of what all cost.",
        names_are_no_single_head,
    ),
    Prediction("Taken out one at a time, the heads cost at most 0.8 of the whole for names.", singly_names_cost_less),
    Prediction(
        "Whether a character belongs to a name lies at least as much in the others as in itself.",
        the_others_carry_names,
    ),
    Prediction(
        "Control: without pretraining, sentiment loses at most half as many points when all heads are gone.",
        untaught_heads_are_worth_less,
    ),
)


def draw(records: Records, folder: Path) -> list[str]:
    """What the parts are worth beside the whole, and which positions carry what differs between two texts."""
    parts_and_whole(records, SET_OF_SUMS, folder / "reduction.png")
    what_is_carried([record for record in records if record["arm"] != UNTAUGHT], folder / "reduction-patched.png")
    return ["reduction.png", "reduction-patched.png"]


SET_OF_SUMS = {OUT: "taken out one at a time", IN: "put in one at a time"}

REDUCTION = Experiment(
    name="reduction",
    question="Is what a model can do the sum of what its heads and blocks do?",
    definition=(
        "D2 §1.2: reductionism explains the whole by its elements; emergence is what the elements alone do not explain. The "
        "figure is what parts cost one at a time, beside what they cost together."
    ),
    arms={
        NEXT_EN: "the English model as it left pretraining: does B follow A? A seed draws other held-out pairs",
        NEXT_ZH: "the Chinese model, the same question",
        SENTIMENT: "the English model, fine-tuned on 500 sentences of film reviews",
        NAMES: "the Chinese model, fine-tuned to tag names in 200 lines of a newspaper, without a CRF",
        UNTAUGHT: "the control: the same as sentiment, from where pretraining began, word vectors included",
    },
    predictions=PREDICTIONS,
    fit=fit,
    figures={
        SCORE: "{:.3f}",
        NO_HEADS: "{:.3f}",
        POINTS: "{:.1f}",
        ALL_POINTS: "{:.1f}",
        ALL: "{:.3f}",
        OUT: "{:.2f}",
        IN: "{:.2f}",
        LARGEST: "{:.2f}",
        FOUR: "{:.2f}",
        RANDOM: "{:.2f}",
        BLOCKS: "{:.2f}",
        ZERO: "{:.2f}",
    },
    draw=draw,
    how_to_read=(
        "*Score*: accuracy, or for names their F1, on texts that no model has learned from; *without heads*: every head says its "
        "mean in place of its answer. *Points lost singly, added*: of the score, when one head after the other is gone; "
        "*together*: when all are. *All heads*: how much the loss rises then, in nats per text, or per character for names. "
        "*Taken out singly / all*: the rises of the loss when one head after the other is gone, added, as a share of that; *put "
        "in singly*: what each head brings where all others are gone, added. If the ability were the sum of its parts, both would "
        "be 1. *Most important head*, *best four*, *random four*: what they cost, as a share of what all cost. *Blocks singly*: "
        "three blocks skipped one at a time, as a share of all three. *By zero*: heads that say 0. A dash: all together cost less "
        "than 0.1 nats."
    ),
    pretrained=True,
)
