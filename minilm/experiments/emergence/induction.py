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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from minilm.examples.batching import Batch
from minilm.experiments.emergence.experiment import Experiment, Prediction, Records, Verdict, listed, of
from minilm.layers.pruning import with_zeroed_heads
from minilm.models.config import parameter_count
from minilm.models.gpt import GPT, GPTConfig, learning_rate_scales
from minilm.models.initialisation import initialise
from minilm.training.loop import LearningRate, Progress
from minilm.training.objectives import CausalLM
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget
from minilm.viz.emergence import attention_film, losses_and_scores

SYMBOLS, T = 48, 48
PERIODS = (16, 24)  # the shortest and the longest
BATCH, HELD_OUT, MEASUREMENTS = 64, 256, 36
PREVIOUS, INDUCTION_SCORE = "previous-token score", "induction score"
REPEATED, FIRST, ABLATED = "loss, repeated", "loss, first time", "loss without the previous-token heads"


class Arm(NamedTuple):
    """What differs between the arms."""

    layers: int
    steps: int
    repeats: bool = True  # whether the rows that are learned from repeat


ARMS = {
    "two layers": Arm(2, 1500),
    "one layer": Arm(1, 2500),
    "two layers, nothing repeats": Arm(2, 600, repeats=False),
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


def losses(model: GPT, rows: Rows) -> Float[Tensor, "B _"]:
    """−log P(w_{t+1} ∣ w₁ … w_t) at every place, [B, T − 1]."""
    log_p = model(rows.ids[:, :-1]).log_softmax(dim=-1)
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
    each, known = losses(model, rows), can_be_known(rows)
    weights = model.encoder(rows.ids, need_weights=True).attentions
    found: dict[str, Any] = {REPEATED: float(each[known].mean()), FIRST: float(each[:, : PERIODS[0] - 1].mean())}
    return found | {"by place": each.mean(dim=0).tolist()} | head_scores(weights, rows)


@torch.no_grad()
def ablated(model: GPT, rows: Rows) -> dict[str, Any]:
    """The loss on what repeats without each head of the first layer alone, and without all that attend to the place before."""
    known = can_be_known(rows)

    def without(heads: list[int]) -> float:
        return float(losses(with_zeroed_heads(model, [(0, head) for head in heads]), rows)[known].mean())

    scores = measured(model, rows)[PREVIOUS][0]
    carriers = [head for head, score in enumerate(scores) if score > 0.3] or [int(np.argmax(scores))]
    others = [head for head in range(len(scores)) if head not in carriers]
    out: dict[str, Any] = {"previous-token heads": carriers, ABLATED: without(carriers)}
    if others:
        out["loss without the other heads of that layer"] = without(others)
    return out | {"loss without one head": [without([head]) for head in range(len(scores))]}


def new_model(layers: int, seed: int) -> GPT:
    """A GPT of width 64 with four heads and a bias by relative position, which starts without peaks."""
    sizes: dict[str, Any] = dict(width=64, layers=layers, heads=4, feed_forward=256)
    model = GPT(GPTConfig(SYMBOLS, **sizes, max_length=T, positions="relative"))
    initialise(model, "fan-in", torch.Generator().manual_seed(seed))
    return model


def fit(arm: str, seed: int, share: float = 1.0, bar: bool = False) -> dict[str, Any]:
    """Train an arm, measure it along the way, and take it apart at the end."""
    layers, steps, repeats = ARMS[arm]
    steps, began = max(2, round(steps * share)), time.process_time()
    model, held_out = new_model(layers, seed), sequences(HELD_OUT, (seed, 1))
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
    last = curve[-1]
    record: dict[str, Any] = {"arm": arm, "seed": seed, "steps": steps, "parameters": parameter_count(model)}
    record |= {
        REPEATED: last[REPEATED],
        FIRST: last[FIRST],
        "best induction head": float(np.max(last[INDUCTION_SCORE])),
    }
    record |= ablated(model, held_out) if layers > 1 else {}
    return record | {"curve": curve, "seconds": time.process_time() - began}


@torch.no_grad()
def film(model: GPT, seed: int) -> dict[str, Any]:
    """The attention of every head, in per cent, for one row of 32 symbols, which repeats after 16: what the film shows."""
    if seed:
        return {}
    rng = np.random.default_rng(0)
    ids = torch.from_numpy(np.tile(rng.permutation(SYMBOLS)[: PERIODS[0]], 2)[None])
    weights = model.eval().encoder(ids, need_weights=True).attentions
    return {"film": [np.round(100 * w[0].double().numpy()).astype(int).tolist() for w in weights]}


# ----------------------------------------------------------------------------------------------- what is expected, and pictures


def two_layers_do(records: Records) -> Verdict:
    found = of(records, "two layers", REPEATED)
    return Verdict(bool((found <= 0.2).all()), f"{listed(found, '{:.3f}')} nats")


def one_layer_does_not(records: Records) -> Verdict:
    found = of(records, "one layer", REPEATED)
    return Verdict(bool((found >= 1.0).all()), f"{listed(found)} nats")


def restored(records: Records) -> np.ndarray:
    """The share of the gap between one layer and two that comes back without the previous-token heads, for each seed."""
    one, two = of(records, "one layer", REPEATED), of(records, "two layers", REPEATED)
    return (of(records, "two layers", ABLATED) - two) / (one - two)


def it_needs_the_first_head(records: Records) -> Verdict:
    share = restored(records)
    return Verdict(bool((share >= 0.8).all()), f"{listed(100 * share, '{:.0f} %')} of the gap come back")


def others_matter_less(records: Records) -> Verdict:
    two = [record for record in records if record["arm"] == "two layers"]
    other = np.array([record.get("loss without the other heads of that layer", record[REPEATED]) for record in two])
    return Verdict(bool((other < of(records, "two layers", ABLATED)).all()), f"{listed(other)} nats without the others")


def steepest(record: dict) -> float:
    """The largest part of the whole fall of the loss that lies between two neighbouring measurements."""
    curve = [point[REPEATED] for point in record["curve"]]
    falls = -np.diff(curve)
    return float(falls.max() / max(curve[0] - curve[-1], 1e-9))


def it_is_sudden(records: Records) -> Verdict:
    share = np.array([steepest(dict(record)) for record in records if record["arm"] == "two layers"])
    held = bool((share >= 0.25).all())
    return Verdict(
        held, f"{listed(100 * share, '{:.0f} %')} of the fall within one of {MEASUREMENTS} parts of the training"
    )


def nothing_is_copied(records: Records) -> Verdict:
    found = of(records, "two layers, nothing repeats", REPEATED)
    return Verdict(
        bool((found >= 3.0).all()), f"{listed(found)} nats, where guessing among {SYMBOLS} gives {np.log(SYMBOLS):.2f}"
    )


PREDICTIONS = (
    Prediction("Two layers end at 0.2 nats or less on what repeats, with every seed.", two_layers_do),
    Prediction("One layer stays above 1.0 nats, although it is trained for longer.", one_layer_does_not),
    Prediction("The fall is sudden: a quarter of it happens within a thirty-sixth of the training.", it_is_sudden),
    Prediction(
        "Without the heads of the first layer that attend to the place before, at least 80 % of the gap to one layer come back.",
        it_needs_the_first_head,
    ),
    Prediction("Without the other heads of that layer, less is lost.", others_matter_less),
    Prediction("Control: two layers that never saw a repetition cannot repeat (at least 3 nats).", nothing_is_copied),
)


def draw(records: Records, folder: Path) -> list[str]:
    """The curves of all arms with the scores of the heads, and the film of the attention of one model."""
    losses_and_scores(list(curves(records)), REPEATED, (PREVIOUS, INDUCTION_SCORE), folder / "induction.png")
    pictures = ["induction.png"]
    shown = next((r for r in records if r["arm"] == "two layers" and "film" in r["curve"][0]), None)
    if shown is not None:
        curve, last = shown["curve"], shown["curve"][-1]
        heads = {
            "layer 1, the place before": (0, int(np.argmax(last[PREVIOUS][0]))),
            "layer 2, what followed last time": (1, int(np.argmax(last[INDUCTION_SCORE][1]))),
        }
        frames = {
            name: [(point["step"], np.array(point["film"][layer][head]) / 100) for point in curve]
            for name, (layer, head) in heads.items()
        }
        attention_film(frames, folder / "film.png", loss=[point[REPEATED] for point in curve])
        pictures.append("film.png")
    return pictures


def curves(records: Records) -> Iterator[dict]:
    """The loss of every model over the steps; of those with two layers, the best score of a head of each kind, too."""
    for record in records:
        points = record["curve"]
        out = {"arm": record["arm"], "step": [p["step"] for p in points], REPEATED: [p[REPEATED] for p in points]}
        if record["arm"] == "two layers":
            out |= {name: [float(np.max(p[name])) for p in points] for name in (PREVIOUS, INDUCTION_SCORE)}
        yield out


INDUCTION = Experiment(
    name="induction",
    question="Does a Transformer learn to repeat what stood in the text before, and what does it need for it?",
    definition="D1 §1: structure that is learnt without being taught. D3 §1.1: an ability that nobody designed in.",
    arms={
        "two layers": "a GPT of width 64 with four heads, on rows of 48 symbols that repeat after 16 to 24",
        "one layer": "the same with one layer, for two thirds more steps",
        "two layers, nothing repeats": "the control: every symbol is drawn by itself",
    },
    predictions=PREDICTIONS,
    fit=fit,
    figures={REPEATED: "{:.3f}", FIRST: "{:.2f}", "best induction head": "{:.2f}", ABLATED: "{:.2f}"},
    draw=draw,
    how_to_read=(
        "All losses are in nats per symbol, on 256 rows that repeat and that no model has seen. *Repeated*: where the current "
        "symbol stood in the row before, so that the next one can be looked up. *First time*: among the first symbols of a row, "
        "which cannot be known. *Best induction head*: the mean attention of the best head to the place after the one where the "
        "current symbol stood."
    ),
)
