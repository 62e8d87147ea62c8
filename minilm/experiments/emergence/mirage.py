r"""Mirage: three-digit addition, and the same answers judged by the whole answer, by the digit and by their likelihood.  F36.

Letters:  B sums · T tokens of a row · n digits of an answer, 4 · p share of digits that are right

    "123+989=1112", or with the digits of the answer in reverse, "123+989=2111"

A causal Transformer of one layer learns the digits of the answer. In reverse, the ones come first, and a carry is known when
it is needed; forwards, the first digit may depend on all others. A ruler that asks for everything at once makes a jump of what
grows by degrees: if digits were right independently of one another, a whole answer would be right in p^n of all cases, and a
page of ten answers in p^{10n}.

All rulers judge the same numbers: the probabilities of the digits, each after the true digits before it. The whole answer is
right by them exactly if it is right when the model writes it by itself, always with the most probable digit: up to the first
mistake, both read the same.

Source: Schaeffer, Miranda and Koyejo (2023), Are Emergent Abilities of Large Language Models a Mirage?
"""

import time
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from minilm.examples.batching import Batch
from minilm.examples.labels import IGNORED
from minilm.experiments.emergence.moments import moments
from minilm.models.config import parameter_count
from minilm.models.gpt import GPT, GPTConfig, learning_rate_scales
from minilm.models.initialisation import initialise
from minilm.training.loop import LearningRate, Progress
from minilm.training.objectives import CausalLM
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget

PLUS, EQUALS, SYMBOLS = 10, 11, 12  # the digits are 0 to 9
DIGITS, PROMPT = 4, 8  # of an answer; tokens up to and with "="
T = PROMPT + DIGITS
STEPS, BATCH, HELD_OUT, PAGE, MEASUREMENTS = 1200, 128, 500, 10, 60
WHOLE, DIGIT, NATS, PAGES, PRODUCT = (
    "whole answer",
    "digit",
    "nats per answer",
    "page of ten",
    "digit accuracy to the 4th",
)


class Arm(NamedTuple):
    """What differs between the arms."""

    width: int
    reverse: bool


ARMS = {
    f"{name}, width {width}": Arm(width, reverse)
    for name, reverse in (("reversed", True), ("forwards", False))
    for width in (8, 16, 32)
}


def sums(count: int, seed: tuple[int, ...], reverse: bool) -> Int[Tensor, "B T"]:
    """Random sums of two numbers below 1,000, as rows of tokens."""
    a, b = np.random.default_rng(seed).integers(1000, size=(2, count))
    answer = digits_of(a + b, DIGITS)
    columns = digits_of(a, 3), [PLUS] * count, digits_of(b, 3), [EQUALS] * count, answer[:, ::-1] if reverse else answer
    return torch.from_numpy(np.column_stack(columns))


def digits_of(numbers: np.ndarray, count: int) -> np.ndarray:
    """[B, count]: the digits, with zeros in front."""
    return numbers[:, None] // 10 ** np.arange(count)[::-1] % 10


def batch_of(rows: Int[Tensor, "B T"]) -> Batch:
    """Rows of which only the answer is learned."""
    labels = rows.clone()
    labels[:, :PROMPT] = IGNORED
    return Batch(rows, labels=labels)


def rulers(right: Bool[Tensor, "B n"], log_p: Float[Tensor, "B n"]) -> dict[str, float]:
    """What each ruler says of the same answers: which digits are right, and the log-probability of every true digit.

    Answers that do not fill a page of ten are left out of the pages.
    """
    whole = right.all(dim=1)
    pages = whole[: len(whole) // PAGE * PAGE].view(-1, PAGE)
    p = float(right.double().mean())
    found = {WHOLE: float(whole.double().mean()), DIGIT: p, NATS: float(-log_p.double().sum(dim=1).mean())}
    return found | {PAGES: float(pages.all(dim=1).double().mean()), PRODUCT: p ** right.size(1)}


@torch.no_grad()
def judged(model: GPT, rows: Int[Tensor, "B T"]) -> dict[str, Any]:
    """All rulers for the answers in these rows, and the accuracy of each digit in the order in which they are written."""
    log_p = model.eval()(rows[:, :-1]).log_softmax(dim=-1)[:, PROMPT - 1 :]  # [B, n, V]
    answers = rows[:, PROMPT:]
    right = log_p.argmax(dim=-1) == answers
    found: dict[str, Any] = rulers(right, log_p.gather(-1, answers[..., None])[..., 0])
    return found | {"each digit": right.double().mean(dim=0).tolist()}


def new_model(width: int, seed: int) -> GPT:
    """A GPT of one layer with four heads and learned positions."""
    model = GPT(GPTConfig(SYMBOLS, width, layers=1, heads=4, feed_forward=2 * width, max_length=T, positions="learned"))
    initialise(model, "fan-in", torch.Generator().manual_seed(seed))
    return model


def fit(arm: str, seed: int, share: float = 1.0, bar: bool = False) -> dict[str, Any]:
    """Train one model, and judge it by all rulers on the way."""
    width, reverse = ARMS[arm]
    steps, began = max(2, round(STEPS * share)), time.process_time()
    model, held_out = new_model(width, seed), sums(HELD_OUT, (seed, 1), reverse)
    curve: list[dict] = []

    def measure(progress: Progress) -> None:
        curve.append({"step": progress.step} | judged(model, held_out))
        model.train()

    optimisation = Optimisation(LearningRate(1e-2, 0.02), weight_decay=0.01, scales=learning_rate_scales(model.config))
    run = TrainingRun(
        *(model, CausalLM(), lambda step: batch_of(sums(BATCH, (seed, 2, step), reverse))),
        *(Budget(steps=steps), optimisation, seed),
    )
    run.train([step / steps for step in moments(steps, MEASUREMENTS)[:-1]], measure, arm, bar)
    if not run.done:
        raise KeyboardInterrupt
    last = curve[-1]
    record: dict[str, Any] = {"arm": arm, "seed": seed, "steps": steps, "parameters": parameter_count(model)}
    record |= {name: last[name] for name in (DIGIT, WHOLE, PAGES, NATS, PRODUCT)}
    return record | {"curve": curve, "seconds": time.process_time() - began}
