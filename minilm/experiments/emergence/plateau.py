r"""The plateau of pretraining: a model guesses the most frequent characters for a while, and then begins to read.  F25, F36.

Letters:  B rows · T length of a row · V vocabulary · L layers · H heads · p(c) the share of character c

    H₀ = −1/N Σ log P(cᵢ ∣ sᵢ),   P(c ∣ [MASK]) = p(c),   P(c ∣ s) ∝ p(c) · (1[c = s] + 1/n) for a visible character s of n

is the loss over the N chosen characters c of a model that sees what stands in their place, s, and nothing else: it knows how
often each character occurs, and that BERT's masking keeps a tenth of the chosen characters and exchanges a tenth.

A masked character of a film review is guessed from its neighbours, so a head has to look there. In the plain arm nothing tells
a head where a neighbour is. Two arms tell the cause: one has heads that look next door from the first step on
(`models/bert_start.py`), and in the other no head may ever look there.

Source: Devlin et al. (2019), BERT, §3.1; Chen et al. (2024), Sudden Drops in the Loss (such a drop, in masked language models).
"""

import time
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from minilm.examples.masked_lm import mask_tokens
from minilm.models.bert import Bert, BertForPretraining
from minilm.models.config import TransformerConfig, parameter_count
from minilm.models.initialisation import initialise
from minilm.text.corpus import documents
from minilm.training.loop import LearningRate, Progress, Step, train
from minilm.training.losses import cross_entropy
from minilm.training.optimizer import AdamW, parameter_groups
from minilm.training.schedule import Budget

CORPUS, LEARNED, MEASURED = "imdb", 400_000, 16_384  # how many characters are learned from, and measured on
PAD, MASK, OTHER, KNOWN = 0, 1, 2, 40  # three ids, and then the characters that are most frequent
SPECIAL = [PAD, MASK, OTHER]
V, T, BATCH, MEASUREMENTS = KNOWN + len(SPECIAL), 32, 32, 30
LOSS, PREVIOUS, NEXT = "masked-character loss", "previous-token score", "next-token score"
ALONE, LEFT, BELOW = "loss without context", "leaves the plateau at step", 0.1
TABLE, ZERO, GIVEN, FORBIDDEN, ELSEWHERE = (
    "table of positions",
    "bias, zero at the start",
    "neighbours given",
    "neighbours forbidden",
    "fifth and sixth forbidden",
)


class Arm(NamedTuple):
    """What differs between the arms."""

    positions: str
    steps: int
    start: str = "fan-in"  # see models/initialisation.py
    forbidden: tuple[int, ...] = ()  # no head may attend to the characters at these distances


ARMS = {
    TABLE: Arm("learned", 600),
    ZERO: Arm("relative", 600),
    GIVEN: Arm("relative", 400, start="neighbours"),
    FORBIDDEN: Arm("relative", 600, forbidden=(1, 2)),
    ELSEWHERE: Arm("relative", 600, forbidden=(5, 6)),
}


class Text(NamedTuple):
    """The characters that are learned from, and those that are measured on, as ids."""

    learned: Int[Tensor, " N"]
    held_out: Int[Tensor, " M"]


def encoded(text: str, alphabet: str) -> Int[Tensor, " N"]:
    """The id of every character; those outside the alphabet share one."""
    number = {character: len(SPECIAL) + i for i, character in enumerate(alphabet)}
    return torch.tensor([number.get(character, OTHER) for character in text])


def beginning(reviews: Iterable[list[str]], count: int) -> str:
    """The first `count` characters of reviews, in small letters, with a space between sentences."""
    text, length = list[str](), 0
    for sentences in reviews:
        text.append(" ".join(sentences).lower())
        length += len(text[-1]) + 1
        if length > count:
            break
    return " ".join(text)[:count]


@cache
def film_reviews(learned: int = LEARNED, measured: int = MEASURED) -> Text:
    """The beginning of the film reviews. What is measured on stands behind what is learned from."""
    text = beginning(documents(CORPUS), learned + measured)
    characters, counts = np.unique(list(text[:learned]), return_counts=True)
    alphabet = "".join(characters[np.argsort(-counts, kind="stable")[:KNOWN]])
    ids = encoded(text, alphabet)
    return Text(ids[:learned], ids[learned:])


def masked(ids: Int[Tensor, "B T"], seed: tuple[int, ...]) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """15 % of the characters masked as BERT does it, and the labels."""
    seeded = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    return mask_tokens(ids, SPECIAL, MASK, V, seeded)


def rows_at(text: Int[Tensor, " N"], seed: tuple[int, ...]) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """A batch of rows that begin anywhere in the text, masked."""
    starts = np.random.default_rng(seed).integers(len(text) - T + 1, size=BATCH)
    return masked(torch.stack([text[start : start + T] for start in starts]), seed)


def loss_alone(learned: Int[Tensor, " N"], rows: tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]) -> float:
    r"""H₀, with p counted in the text that is learned from (each count one larger, so that none has p = 0)."""
    counts = torch.bincount(learned, minlength=V).double() + 1
    counts[SPECIAL] = 0
    p = counts / counts.sum()  # [V]
    counted = rows[1] >= 0
    seen, labels = rows[0][counted], rows[1][counted]  # [M]
    n = V - len(SPECIAL)  # how many characters may stand where the right one was exchanged
    likely = p * (torch.eye(V, dtype=torch.double)[seen] + 1 / n)  # [M, V]
    P = torch.where((seen == MASK)[:, None], p, likely / likely.sum(dim=1, keepdim=True))
    return -float(P.gather(1, labels[:, None]).log().mean())


def new_model(arm: str, seed: int) -> BertForPretraining:
    """A BERT of width 64 with two layers of four heads, for rows of 32 characters."""
    positions, _, start, forbidden = ARMS[arm]
    sizes: dict[str, Any] = dict(width=64, layers=2, heads=4, feed_forward=256, max_length=T)
    model = BertForPretraining(TransformerConfig(V, **sizes, positions=positions))
    initialise(model, start, torch.Generator().manual_seed(seed))
    if forbidden:
        forbid(model.encoder, forbidden)
    return model


def forbid(encoder: Bert, distances: tuple[int, ...]) -> None:
    """From now on, no head may attend to the places at these distances, before and after its own."""

    def hook(module, given: tuple) -> tuple:
        x, may_attend, *rest = given
        assert may_attend is None  # rows without padding
        t = torch.arange(x.size(1))
        allowed = ~torch.isin((t[:, None] - t).abs(), torch.tensor(distances))
        return (x, allowed[None, None], *rest)

    for block in encoder.stack.layers:
        block.attention.register_forward_pre_hook(hook)


def loss_at(model: BertForPretraining, rows: tuple[Tensor, Tensor]) -> Step:
    """The masked-character loss of a batch: F25, without next sentence."""
    ids, labels = rows
    hidden = model.encoder(ids).hidden
    counted = labels >= 0
    logits = model.mlm_head(hidden[counted], model.encoder.token_table.weight)  # [M, V]
    loss = cross_entropy(logits, labels[counted]).value
    return Step(loss, {"loss": loss.detach()}, ids.numel())


def neighbour_scores(weights: list[Float[Tensor, "B H T T"]]) -> dict[str, float]:
    """The mean attention to the character before, and to the one after: each of the head, of all layers, that has most."""
    t = torch.arange(1, T)
    every = torch.cat(weights, dim=1)  # [B, L·H, T, T]
    found = {PREVIOUS: every[:, :, t, t - 1], NEXT: every[:, :, t - 1, t]}
    return {name: float(w.mean(dim=(0, 2)).max()) for name, w in found.items()}


@torch.no_grad()
def measured(model: BertForPretraining, rows: tuple[Tensor, Tensor]) -> dict[str, float]:
    """The loss on held-out rows, and what the heads attend to in a quarter of them."""
    model.eval()
    weights = model.encoder(rows[0][: len(rows[0]) // 4], need_weights=True).attentions
    return {LOSS: float(loss_at(model, rows).loss)} | neighbour_scores(weights)


def leaves_at(curve: list[dict], alone: float) -> float:
    """The first step that is measured at which the loss lies at least 0.1 nats below H₀; infinite if there is none."""
    return next((float(point["step"]) for point in curve if point[LOSS] <= alone - BELOW), np.inf)


def fit(arm: str, seed: int, share: float = 1.0, bar: bool = False) -> dict[str, Any]:
    """Pretrain an arm, and measure it along the way on text that it has not seen."""
    steps, began, text = max(2, round(ARMS[arm].steps * share)), time.process_time(), film_reviews()
    model, held_out = new_model(arm, seed), masked(text.held_out.view(-1, T), (seed, 1))
    curve: list[dict] = []

    def measure(progress: Progress) -> None:
        curve.append({"step": progress.step} | measured(model, held_out))
        model.train()

    progress = Progress()
    measure(progress)
    optimizer, learning_rate = AdamW(parameter_groups(model, 0.01)), LearningRate(4e-3, 0.05, "constant")

    def step_at(step: int) -> Step:
        return loss_at(model, rows_at(text.learned, (seed, 2, step)))

    how: dict[str, Any] = dict(progress=progress, on_pause=measure, title=arm, bar=bar)
    how["pause_at"] = [i / MEASUREMENTS for i in range(1, MEASUREMENTS)]
    train(model, optimizer, step_at, Budget(steps=steps), learning_rate, **how)
    if progress.step < steps:
        raise KeyboardInterrupt
    if curve[-1]["step"] != steps:
        measure(progress)
    alone = loss_alone(text.learned, held_out)
    record: dict[str, Any] = {"arm": arm, "seed": seed, "steps": steps, "parameters": parameter_count(model)}
    record |= {name: value for name, value in curve[-1].items() if name != "step"} | {ALONE: alone}
    if np.isfinite(left := leaves_at(curve, alone)):
        record[LEFT] = left
    return record | {"curve": curve, "seconds": time.process_time() - began}
