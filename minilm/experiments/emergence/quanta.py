r"""Quanta: many skills, some asked for often and most rarely. Each is learned at once, and their mean falls as if by degrees.  F36.

Letters:  K skills · M bits · B examples of a step · F hidden units

    x = (onehot(k), b₁ … b_M),   k with P(k) ∝ 1/(k + 1)^a,   y = b_i ⊕ b_j ⊕ b_l with the three bits (i, j, l) of skill k

The label is the parity of three bits, and which three depends on the skill that the first K inputs ask for. Two of the three
bits say nothing about the label, so nothing of a skill can be learned in part. The network has one hidden layer with relu, and
every step has new examples, so that nothing can be learned by heart.

Source: Michaud et al. (2023), The Quantization Model of Neural Scaling.
"""

import time
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from minilm.experiments.emergence.moments import moments
from minilm.models.config import parameter_count
from minilm.training.losses import cross_entropy
from minilm.training.optimizer import AdamW

SKILLS, BITS, PARITY, ZIPF = 24, 24, 3, 1.4
HIDDEN, BATCH, STEPS, LEARNING_RATE, MEASUREMENTS = 256, 512, 8_000, 3e-3, 60
TESTS = 128  # examples of each skill
MEAN, LEARNED = "mean loss", "skills learned"
ZIPFIAN, ALIKE = "some often, most rarely", "all equally often"
LEVEL = 0.5  # of log 2: a skill counts as learned from the first measurement on at which its loss is below this


class Questions(NamedTuple):
    """Inputs, labels, and which skill each asks for."""

    x: Float[Tensor, "B KM"]
    y: Int[Tensor, " B"]
    skill: Int[Tensor, " B"]


def frequencies(zipf: float = ZIPF, skills: int = SKILLS) -> np.ndarray:
    """P(k) ∝ 1/(k + 1)^a for k = 0 … K − 1; with a = 0, all are equal."""
    p = 1.0 / np.arange(1, skills + 1) ** zipf
    return p / p.sum()


def chosen_bits(seed: int) -> np.ndarray:
    """[K, 3]: the different bits of each skill. No two skills have the same three."""
    rng = np.random.default_rng((seed, 0))
    found: set[tuple[int, ...]] = set()
    while len(found) < SKILLS:
        found.add(tuple(sorted(rng.choice(BITS, PARITY, replace=False).tolist())))
    return rng.permutation(np.array(sorted(found)))


def questions(skill: np.ndarray, bits: np.ndarray, rng: np.random.Generator) -> Questions:
    """One example of every skill in `skill` [B], with random bits."""
    b = rng.integers(0, 2, size=(len(skill), BITS))
    y = np.take_along_axis(b, bits[skill], axis=1).sum(axis=1) % 2
    x = np.concatenate([np.eye(SKILLS)[skill], 2 * b - 1], axis=1)  # [B, K + M]; a bit is −1 or 1
    return Questions(torch.from_numpy(x).float(), torch.from_numpy(y), torch.from_numpy(skill))


def network(seed: int) -> nn.Sequential:
    """K + M inputs, F hidden units, two answers."""
    generator = torch.Generator().manual_seed(seed)
    layers = nn.Linear(SKILLS + BITS, HIDDEN), nn.Linear(HIDDEN, 2)
    with torch.no_grad():
        for layer in layers:
            layer.weight.normal_(0, layer.in_features**-0.5, generator=generator)
            layer.bias.zero_()
    return nn.Sequential(layers[0], nn.ReLU(), layers[1])


@torch.no_grad()
def loss_of_each(model: nn.Module, test: Questions) -> np.ndarray:
    """[K]: the mean loss of every skill in nats."""
    each = -model(test.x).log_softmax(dim=-1).gather(1, test.y[:, None])[:, 0]
    total = torch.zeros(SKILLS).index_add(0, test.skill, each)
    return (total / test.skill.bincount(minlength=SKILLS)).double().numpy()


def fit(arm: str, seed: int, share: float = 1.0, bar: bool = False) -> dict[str, Any]:
    """Train one network, and measure every skill on the way."""
    steps, began = max(2, round(STEPS * share)), time.process_time()
    p, bits, model = frequencies(ZIPF if arm == ZIPFIAN else 0.0), chosen_bits(seed), network(seed)
    test = questions(np.repeat(np.arange(SKILLS), TESTS), bits, np.random.default_rng((seed, 1)))
    optimizer = AdamW([{"params": list(model.parameters())}])
    curve, wanted = [], set(moments(steps, MEASUREMENTS))
    for step in range(1, steps + 1):
        rng = np.random.default_rng((seed, 2, step))
        asked = questions(rng.choice(SKILLS, size=BATCH, p=p), bits, rng)
        cross_entropy(model(asked.x), asked.y).value.backward()
        optimizer.step(LEARNING_RATE)
        optimizer.zero_grad()
        if step in wanted:
            each = loss_of_each(model, test)
            curve.append({"step": step, MEAN: float(p @ each), "skills": each.round(4).tolist()})
    record: dict[str, Any] = {"arm": arm, "seed": seed, "steps": steps, "parameters": parameter_count(model)}
    record |= {MEAN: curve[-1][MEAN], LEARNED: sum(bool(loss < LEVEL * np.log(2)) for loss in curve[-1]["skills"])}
    return record | {"curve": curve, "seconds": time.process_time() - began}
