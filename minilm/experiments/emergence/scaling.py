r"""A loss law from forty small models, and the loss of a larger one, said before it is trained.  F36.

Letters:  V symbols · C width · N parameters · D tokens that are learned from · T length of a row · H entropy of the source

Forty causal Transformers of one layer: eight widths, each with five numbers of tokens. They give the law
L(N, D) = E + A/N^α + B/D^β (see `loss_law.py`). No row is read twice. The forty-first model is twice as wide as the widest of
them, and reads twice as many tokens as any of them.

What is read comes from a source of which the entropy is known, so that E can be compared with it. Symbol j follows symbol i with

    P(j ∣ i) = softmax_j(G_ij − a log j),   G = s √V Σ_r r^(−1/2) u_r v_rᵀ
    H = −Σ_i π_i Σ_j P(j ∣ i) log P(j ∣ i),   π = π P

Symbols are rarer the higher their number, so that there is always a rarer one to learn. The table G has as many directions u_r,
v_r as there are symbols, each a little less important than the one before; a narrow model has room for the first of them.

Source: Kaplan et al. (2020), Scaling Laws for Neural Language Models.
"""

import time
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from minilm.examples.batching import Batch
from minilm.experiments.emergence.loss_law import fit_law
from minilm.models.config import parameter_count
from minilm.models.gpt import GPT, GPTConfig, learning_rate_scales
from minilm.models.initialisation import initialise
from minilm.training.loop import LearningRate
from minilm.training.objectives import CausalLM
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget

SYMBOLS, SHARPNESS, ZIPF = 256, 12.0, 1.0  # of the source: V, s and a
T, BATCH, HELD_OUT = 32, 32, 256  # a row, rows of a step, rows that the loss is measured on
WIDTHS = (8, 10, 12, 14, 16, 20, 24, 32)
STEPS = (192, 256, 352, 448, 576)  # times 1,024 tokens
LARGER = (64, 1152)  # width and steps of the forty-first
ARM = "source of known entropy"
PREDICTED, MEASURED, ERROR, NAIVE = "predicted loss", "measured loss", "error", "error of the best of forty"
FLOOR, ENTROPY = "E of the law", "true entropy"


class Source(NamedTuple):
    """How symbols follow one another: P(j ∣ i), how often each occurs, and the entropy of the next one in nats."""

    transitions: Float[np.ndarray, "V V"]
    stationary: Float[np.ndarray, " V"]
    entropy: float


def source(seed: int, symbols: int) -> Source:
    """A random source as at the top of the file."""
    rng, ranks = np.random.default_rng((seed, 0)), np.arange(1, symbols + 1)
    u, v = (np.linalg.qr(rng.normal(size=(symbols, symbols)))[0] for _ in range(2))
    z = SHARPNESS * np.sqrt(symbols) * (u * ranks**-0.5) @ v.T - ZIPF * np.log(ranks)
    P = np.exp(z - z.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    values, vectors = np.linalg.eig(P.T)
    pi = np.abs(np.real(vectors[:, np.argmax(np.real(values))]))
    pi /= pi.sum()
    return Source(P, pi, float(-(pi[:, None] * P * np.log(P)).sum()))


def drawn(given: Source, count: int, seed: tuple[int, ...], length: int = T) -> Int[Tensor, "B T"]:
    """Rows from the source; the first symbol of each is drawn as often as it occurs."""
    rng, total = np.random.default_rng(seed), given.transitions.cumsum(axis=1)
    ids = np.empty((count, length), dtype=np.int64)
    ids[:, 0] = rng.choice(len(given.stationary), size=count, p=given.stationary)
    chance = rng.random((count, length))
    for t in range(1, length):
        ids[:, t] = (total[ids[:, t - 1]] < chance[:, t, None]).sum(axis=1).clip(max=len(total) - 1)
    return torch.from_numpy(ids)


class Run(NamedTuple):
    """One model: its width, its parameters, the tokens that it learned from, and its loss in nats per token."""

    width: int
    parameters: int
    tokens: int
    loss: float


def trained(given: Source, test: Int[Tensor, "B T"], width: int, steps: int, seed: int) -> Run:
    """Train one model, and measure its loss on the test rows."""
    V = len(given.stationary)
    config = GPTConfig(V, width, layers=1, heads=2, feed_forward=4 * width, max_length=T)
    model = GPT(config)
    initialise(model, "fan-in", torch.Generator().manual_seed(seed))
    optimisation = Optimisation(LearningRate(1e-2, 0.1), weight_decay=0.01, scales=learning_rate_scales(config))
    run = TrainingRun(
        *(model, CausalLM(), lambda step: Batch(drawn(given, BATCH, (seed, 2, step)))),
        *(Budget(steps=steps), optimisation, seed),
    )
    run.train(bar=False)
    if not run.done:
        raise KeyboardInterrupt
    loss = CausalLM().measure(model, [Batch(rows) for rows in test.split(64)])["loss"]
    return Run(width, parameter_count(model), BATCH * T * steps, float(loss))


def fit(arm: str, seed: int, share: float = 1.0, bar: bool = False) -> dict[str, Any]:
    """Train forty models, fit the law, say what the forty-first will do, and only then train it."""
    began, given = time.process_time(), source(seed, SYMBOLS)
    test = drawn(given, HELD_OUT, (seed, 1))
    runs = [trained(given, test, width, max(1, round(steps * share)), seed) for steps in STEPS for width in WIDTHS]
    law = fit_law(*([getattr(run, name) for run in runs] for name in ("parameters", "tokens", "loss")))
    width, steps = LARGER
    steps = max(2, round(steps * share))
    sizes = GPTConfig(SYMBOLS, width, layers=1, heads=2, feed_forward=4 * width, max_length=T)
    predicted = float(law.loss(parameter_count(GPT(sizes)), BATCH * T * steps))
    larger = trained(given, test, width, steps, seed)
    best = min(run.loss for run in runs)
    record: dict[str, Any] = {"arm": arm, "seed": seed, "parameters": larger.parameters, "law": law._asdict()}
    record |= {PREDICTED: predicted, MEASURED: larger.loss, ERROR: abs(predicted / larger.loss - 1)}
    record |= {NAIVE: abs(best / larger.loss - 1), FLOOR: law.E, ENTROPY: given.entropy, "larger": larger._asdict()}
    record["runs"] = [run._asdict() | {"fitted": float(law.loss(run.parameters, run.tokens))} for run in runs]
    return record | {"seconds": time.process_time() - began}
