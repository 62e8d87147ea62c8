r"""A model taken apart: is what it can do the sum of what its parts do?  F36.

    d(S) = L(without S) − L          what the parts S are worth: the rise of the loss when they are gone
    Σ_h d({h}) / d(all)              taken out one at a time, beside all at once
    Σ_h (d(all) − d(all but h)) / d(all)     put in one at a time, where all others are gone

If an ability were the sum of its parts (D2's reductionism), both shares would be 1. If parts stand in for one another, the
first is below 1 and the second above; if they work only together (D2's emergence: "not simply derived from the behaviour of the
elements"), the first is above 1 and the second below. 1 minus the first share is the interaction, as a part of the whole.

A head that is gone says its mean in place of its answer, or 0; a block that is gone hands on what it is given
(`training/ablation.py`). Activations of one text are put into the run on another one, too (`training/patching.py`).

Letters:  S a set of heads or blocks · L the cross-entropy per label, in nats
Source:   Michel, Levy and Neubig (2019), Are Sixteen Heads Really Better than One?, §3.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch

from minilm.examples.labels import IGNORED
from minilm.experiments.emergence.abilities import NEW, Ability, Runs, names, next_sentence, sentiment
from minilm.models.config import parameter_count
from minilm.training.ablation import Head, blocks_of, every_head, head_means, skipping, without
from minilm.training.inference import logits_of
from minilm.training.losses import cross_entropy
from minilm.training.metrics import entity_scores
from minilm.training.patching import moved

NEXT_EN, NEXT_ZH, SENTIMENT = "next sentence, English", "next sentence, Chinese", "sentiment"
NAMES, UNTAUGHT = "names", "sentiment, not pretrained"
ABILITIES: dict[str, Callable[[Runs, int, float], Ability]] = {
    NEXT_EN: lambda runs, seed, share: next_sentence(runs, "en", seed),
    NEXT_ZH: lambda runs, seed, share: next_sentence(runs, "zh", seed),
    SENTIMENT: sentiment,
    NAMES: names,
    UNTAUGHT: lambda runs, seed, share: sentiment(runs, seed, share, NEW),
}
SCORE, NO_HEADS, ALL = "score", "score without heads", "all heads (nats)"
OUT, IN, LARGEST = "taken out singly / all", "put in singly / all", "most important head / all"
FOUR, RANDOM, BLOCKS, ZERO = "best four / all", "random four / all", "blocks singly / all", "by zero: singly / all"
POINTS, ALL_POINTS = "points lost singly, added", "points lost together"
SMALLEST = 0.1  # nats: where all parts together are worth less, no share of it is given
SET, DRAWS = 4, 3  # heads that are taken out together, and how often random ones are drawn


class Measured(NamedTuple):
    """What a model is worth in the present state of its parts: the loss on the texts that choices are made on, and on the
    others, and the accuracy, or for names their F1, on the latter."""

    choosing: float
    loss: float
    score: float


def measured(ability: Ability) -> Measured:
    """The loss per label on the first quarter of the texts, and on the others; and the score on these."""
    logits, labels = logits_of(ability.model, ability.texts), ability.texts.labels
    border = len(labels) // 4

    def loss(part: slice) -> float:
        z = np.concatenate([np.atleast_2d(row) for row in logits[part]])  # [N, K]
        y = np.concatenate([np.atleast_1d(row) for row in labels[part]])  # [N]
        return float(cross_entropy(torch.from_numpy(z), torch.from_numpy(y)).value)

    return Measured(loss(slice(border)), loss(slice(border, None)), score(ability, logits[border:], labels[border:]))


def score(ability: Ability, logits: Sequence[np.ndarray], labels: Sequence[Any]) -> float:
    """The accuracy of texts, or the F1 of whole names."""
    said = [row.argmax(axis=-1) for row in logits]
    if not ability.tags:
        return float((np.array(said) == np.array(labels)).mean())
    guessed_tags, true_tags = (
        [[ability.tags[k] for k, y in zip(row, true, strict=True) if y != IGNORED] for row, true in zip(rows, labels)]
        for rows in (said, labels)
    )
    return entity_scores(true_tags, guessed_tags)["f1"] or 0.0


class Apart:
    """What sets of parts of one model are worth. Every figure is on the texts that no choice was made on."""

    def __init__(self, ability: Ability):
        self.ability, self.model = ability, ability.model
        self.heads, self.means = every_head(self.model), head_means(self.model, ability.reference)
        self.whole = measured(ability)

    def without(self, heads: Iterable[Head], by_zero: bool = False) -> Measured:
        """Without these heads: by mean, or by zero."""
        with without(self.model, list(heads), None if by_zero else self.means):
            return measured(self.ability)

    def worth(self, heads: Iterable[Head], by_zero: bool = False) -> float:
        """d(S) of heads, in nats."""
        return self.without(heads, by_zero).loss - self.whole.loss

    def blocks(self) -> dict[str, float]:
        """d(S) of every set of blocks, under names such as "1" and "1, 3"."""
        every = range(len(blocks_of(self.model)))
        out = {}
        for size in range(1, len(every) + 1):
            for chosen in combinations(every, size):
                with skipping(self.model, chosen):
                    out[", ".join(str(i + 1) for i in chosen)] = measured(self.ability).loss - self.whole.loss
        return out


def fit(arm: str, seed: int, share: float = 1.0, bar: bool = False, *, runs: Runs) -> dict[str, Any]:
    """Fine-tune the model of an arm if it needs that, and take it apart."""
    began = time.process_time()
    ability = ABILITIES[arm](runs, seed, share)
    tuned = time.process_time() - began
    record: dict[str, Any] = {"arm": arm, "seed": seed, "parameters": parameter_count(ability.model), "tuned": tuned}
    record |= taken_apart(Apart(ability), seed) | {"patched": patched(ability)}
    return record | {"seconds": time.process_time() - began}


def taken_apart(apart: Apart, seed: int) -> dict[str, Any]:
    """What single heads, sets of heads, and blocks are worth."""
    heads, rng = apart.heads, np.random.default_rng((seed, 7))
    nothing = apart.without(heads)
    every = nothing.loss - apart.whole.loss
    singly = [apart.without([head]) for head in heads]
    out = [found.loss - apart.whole.loss for found in singly]
    put_in = [nothing.loss - apart.without([h for h in heads if h != head]).loss for head in heads]
    best = [heads[i] for i in np.argsort([-found.choosing for found in singly], kind="stable")[:SET]]
    drawn = [[heads[i] for i in rng.permutation(len(heads))[:SET]] for _ in range(DRAWS)]
    by_zero = [apart.worth([head], by_zero=True) for head in heads]
    layers = sorted({layer for layer, _ in heads})
    by_layer = [apart.worth([head for head in heads if head[0] == layer]) for layer in layers]
    blocks = apart.blocks()
    figures: dict[str, Any] = {SCORE: apart.whole.score, NO_HEADS: nothing.score, ALL: every}
    figures |= {"heads": out, "heads put in": put_in, "heads by zero": by_zero, "layers": by_layer, "blocks": blocks}
    figures |= {POINTS: 100 * sum(apart.whole.score - found.score for found in singly)}
    figures |= {ALL_POINTS: 100 * (apart.whole.score - nothing.score)}
    figures |= {"scores": [found.score for found in singly], "places": [list(head) for head in heads]}
    figures |= {"loss": apart.whole.loss, "best": [list(head) for head in best], "best singly": 0.0}
    figures["best singly"] = sum(out[heads.index(head)] for head in best)
    figures["best together"] = apart.worth(best)
    figures["random together"] = float(np.mean([apart.worth(some) for some in drawn]))
    figures["random singly"] = float(np.mean([sum(out[heads.index(head)] for head in some) for some in drawn]))
    shares = {OUT: sum(out), IN: sum(put_in), LARGEST: max(out), FOUR: figures["best together"]}
    shares |= {RANDOM: figures["random together"]}
    figures |= share_of(shares, every) | share_of({ZERO: sum(by_zero)}, apart.worth(heads, by_zero=True))
    return figures | share_of({BLOCKS: sum(blocks[str(i + 1)] for i in range(len(layers)))}, list(blocks.values())[-1])


def share_of(parts: dict[str, float], whole: float) -> dict[str, float]:
    """Each part divided by the whole; nothing if the whole is too small to be divided by."""
    return {name: part / whole for name, part in parts.items()} if whole >= SMALLEST else {}


def patched(ability: Ability) -> dict[str, list[float]]:
    """For each group of positions, the share of what differs between two texts that it carries, at level 0, 1, … L.

    Where a group is patched one position at a time, the shares of its positions are added."""
    totals: dict[str, np.ndarray] = {}
    whole = 0.0
    for swap, groups in ability.swaps:
        found, all_of_it = moved(ability.model, swap, [mask for masks in groups.values() for mask in masks])
        whole += float(all_of_it.sum())
        start = 0
        for name, masks in groups.items():
            part = found[:, start : start + len(masks)].sum(axis=(1, 2))  # [L + 1]
            totals[name] = totals.get(name, np.zeros(len(part))) + part
            start += len(masks)
    return {name: (total / whole).tolist() for name, total in totals.items()}
