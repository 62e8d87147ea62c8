r"""Induction: "… A B … A" is followed by B.  A causal Transformer learns it on random sequences that repeat.  F36.

Letters:  B rows · T length of a row · p period: how many symbols until they repeat · L layers · H heads

    w₁ … w_p a random choice of different symbols,   w_t = w_{t−p} for t > p,   p drawn anew for every row

Nothing but the rest of the row tells what comes next: a model has to find where the current symbol stood before, and look at
what followed it. Two layers can do that: a head of the first copies into every place which symbol stood before it, and a head
of the second looks for the place that has *this* symbol there. The period changes from row to row, so that no place is always
the right distance away, which a single layer could learn.

Source: Olsson et al. (2022), In-context Learning and Induction Heads.
"""

import time
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from minilm.examples.batching import Batch
from minilm.models.bert_start import look_next_door, small_branches
from minilm.models.config import parameter_count
from minilm.models.gpt import GPT, OFFSETS, GPTConfig, learning_rate_scales
from minilm.models.initialisation import initialise
from minilm.training.loop import LearningRate, Progress
from minilm.training.objectives import CausalLM
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget

SYMBOLS, T = 48, 48
PERIODS = (16, 24)  # the shortest and the longest
BATCH, HELD_OUT, MEASUREMENTS = 64, 256, 36
PREVIOUS, INDUCTION_SCORE = "previous-token score", "induction score"
REPEATED, FIRST, CUT = "loss, repeated", "loss, first time", "loss without the links to the place before"
CUT_ELSEWHERE = "loss without the links to the fifth place before"
BEST_PREVIOUS, BEST_INDUCTION = "best previous-token head", "best induction head"
TWO, ONE, NOTHING, GIVEN = "two layers", "one layer", "two layers, nothing repeats", "two layers, links given"
ONE_GIVEN, ONE_ALONE = "two layers, one link given", "two layers, one link and nothing else given"


class Arm(NamedTuple):
    """What differs between the arms."""

    layers: int
    steps: int
    repeats: bool = True  # whether the rows that are learned from repeat
    given: int = 0  # how many heads attend to a place before from the first step on: the first to the first, and so on
    small_branches: bool = False  # whether each branch adds less to the residual stream, as in the start "neighbours"


ARMS = {
    TWO: Arm(2, 1200),
    ONE: Arm(1, 1200),
    NOTHING: Arm(2, 300, repeats=False),
    GIVEN: Arm(2, 600, given=4, small_branches=True),
    ONE_GIVEN: Arm(2, 600, given=1, small_branches=True),
    ONE_ALONE: Arm(2, 600, given=1),
}


class Rows(NamedTuple):
    """Sequences, and the period of each."""

    ids: Int[Tensor, "B T"]
    periods: Int[Tensor, " B"]


def sequences(count: int, seed: tuple[int, ...], repeats: bool = True) -> Rows:
    """Random rows with their periods. Without `repeats`, every symbol is drawn by itself, and the periods mean nothing."""
    rng = np.random.default_rng(seed)
    periods = rng.integers(PERIODS[0], PERIODS[1] + 1, size=count)
    if repeats:
        orders = rng.permuted(np.tile(np.arange(SYMBOLS), (count, 1)), axis=1)
        places = np.arange(T)[None] % periods[:, None]  # [B, T]
        ids = np.take_along_axis(orders, places, axis=1)
    else:
        ids = rng.integers(SYMBOLS, size=(count, T))
    return Rows(torch.from_numpy(ids), torch.from_numpy(periods))


def losses(model: GPT, rows: Rows, hidden: Float[Tensor, "B T C"] | None = None) -> Float[Tensor, "B _"]:
    """−log P(w_{t+1} ∣ w₁ … w_t) at every place, [B, T − 1]; from the `hidden` states of the rows, if they are known."""
    hidden = model.encoder(rows.ids).hidden if hidden is None else hidden
    log_p = model.logits(hidden[:, :-1]).log_softmax(dim=-1)
    return -log_p.gather(-1, rows.ids[:, 1:, None])[..., 0]


def can_be_known(rows: Rows) -> Tensor:
    """[B, T − 1]: where the next token follows a symbol that stood in the row before, so that it can be looked up."""
    return torch.arange(1, T)[None] > rows.periods[:, None]


def head_scores(weights: list[Float[Tensor, "B H T T"]], rows: Rows) -> dict[str, list[list[float]]]:
    """For each layer and head: the mean weight on the place before (previous-token score), and on the place after the one
    where the current symbol stood last (induction score), the latter where there is such a place."""
    t = torch.arange(T)
    before = torch.stack([w[:, :, t[1:], t[:-1]].mean(dim=(0, 2)) for w in weights])  # [L, H]
    place = t[None] - rows.periods[:, None] + 1  # [B, T]
    known = (t[None] >= rows.periods[:, None]).double()
    index = place.clamp(min=0)[:, None, :, None]
    looked_up = [w.gather(-1, index.expand(-1, w.size(1), -1, -1))[..., 0] for w in weights]  # each [B, H, T]
    induction = torch.stack([(x * known[:, None]).sum(dim=(0, 2)) / known.sum() for x in looked_up])
    return {PREVIOUS: before.double().tolist(), INDUCTION_SCORE: induction.double().tolist()}


@torch.no_grad()
def measured(model: GPT, rows: Rows) -> dict[str, Any]:
    """The two losses, the loss of each place of the row, and the scores of every head."""
    model.eval()
    hidden, weights = model.encoder(rows.ids, need_weights=True)
    each, known = losses(model, rows, hidden), can_be_known(rows)
    found: dict[str, Any] = {REPEATED: float(each[known].mean()), FIRST: float(each[:, : PERIODS[0] - 1].mean())}
    return found | {"by place": each.mean(dim=0).tolist()} | head_scores(weights, rows)


@torch.no_grad()
def loss_without_links(model: GPT, rows: Rows, distance: int) -> float:
    """The loss on what repeats if no head of the first layer may attend to the place at this distance before its own."""
    t = torch.arange(T)
    allowed = (t[:, None] - t != distance)[None, None]  # [1, 1, T, T]

    def cut(module, given: tuple) -> tuple:
        x, may_attend, *rest = given
        assert may_attend is None  # rows without padding
        return (x, allowed, *rest)

    handle = model.encoder.stack.layers[0].attention.register_forward_pre_hook(cut)
    try:
        return float(losses(model.eval(), rows)[can_be_known(rows)].mean())
    finally:
        handle.remove()


def new_model(layers: int, seed: int, given: int = 0, small: bool = False) -> GPT:
    """A GPT of width 64 with four heads and a bias by relative position; see `Arm`. The bias is shared by the layers, so heads
    that are given a place look there in all of them. Four places and small branches are the start "neighbours"."""
    sizes: dict[str, Any] = dict(width=64, layers=layers, heads=4, feed_forward=256)
    model = GPT(GPTConfig(SYMBOLS, **sizes, max_length=T, positions="relative"))
    initialise(model, "fan-in", torch.Generator().manual_seed(seed))
    with torch.no_grad():
        look_next_door(model.encoder.stack, OFFSETS[:given])
        if small:
            small_branches(model.encoder.stack)
    return model


def fit(arm: str, seed: int, share: float = 1.0, bar: bool = False) -> dict[str, Any]:
    """Train an arm, measure it along the way, and take it apart at the end."""
    layers, steps, repeats, given, small = ARMS[arm]
    steps, began = max(2, round(steps * share)), time.process_time()
    model, held_out = new_model(layers, seed, given, small), sequences(HELD_OUT, (seed, 1))
    curve: list[dict] = []

    def measure(progress: Progress) -> None:
        curve.append({"step": progress.step} | measured(model, held_out) | film(model, seed))
        model.train()

    def batch_at(step: int) -> Batch:
        return Batch(sequences(BATCH, (seed, 2, step), repeats).ids)

    optimisation = Optimisation(
        LearningRate(2e-3, 0.02, "constant"), weight_decay=0.01, scales=learning_rate_scales(model.config)
    )
    run = TrainingRun(model, CausalLM(), batch_at, Budget(steps=steps), optimisation, seed)
    measure(run.progress)
    run.train([i / MEASUREMENTS for i in range(1, MEASUREMENTS)], measure, arm, bar)
    if not run.done:
        raise KeyboardInterrupt
    if curve[-1]["step"] != steps:
        measure(run.progress)
    best_heads_alone(curve)
    last = curve[-1]
    record: dict[str, Any] = {"arm": arm, "seed": seed, "steps": steps, "parameters": parameter_count(model)}
    record |= {REPEATED: last[REPEATED], FIRST: last[FIRST], BEST_INDUCTION: float(np.max(last[INDUCTION_SCORE]))}
    if layers > 1:
        record |= {BEST_PREVIOUS: float(np.max(last[PREVIOUS][0]))}
        record |= {CUT: loss_without_links(model, held_out, 1), CUT_ELSEWHERE: loss_without_links(model, held_out, 5)}
    return record | {"curve": curve, "seconds": time.process_time() - began}


@torch.no_grad()
def film(model: GPT, seed: int) -> dict[str, Any]:
    """The attention of every head [L, H, T, T] for one row of 32 symbols, which repeats after 16: what the film shows."""
    if seed:
        return {}
    rng = np.random.default_rng(0)
    ids = torch.from_numpy(np.tile(rng.permutation(SYMBOLS)[: PERIODS[0]], 2)[None])
    weights = model.eval().encoder(ids, need_weights=True).attentions
    return {"film": torch.cat(weights).double().numpy()}


def best_heads_alone(curve: list[dict]) -> None:
    """Keep of the film the head that attends to the place before most, in layer 1, and the best induction head, in layer 2, as
    lines of per cents: maps of all heads at every measurement would be millions of numbers."""
    last = curve[-1]
    for point in curve:
        if (maps := point.pop("film", None)) is not None and len(maps) > 1:
            chosen = maps[0][np.argmax(last[PREVIOUS][0])], maps[1][np.argmax(last[INDUCTION_SCORE][1])]
            point["film"] = [[" ".join(f"{100 * w:.0f}" for w in row) for row in each] for each in chosen]
