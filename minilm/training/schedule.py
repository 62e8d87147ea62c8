r"""How long training lasts, and the learning rate over its course.

A schedule is a function of **progress**, the share of the budget that is used up, from 0 to 1. Budgets in steps, tokens and
minutes therefore share the same three curves, and a longer run stretches the same curve.

The learning rate of a step is read at the step's *middle*: step n of N (n = 1 … N) lies at progress (n − ½)/N. If it were
read at the start, the first step would have learning rate 0, and at the end, the last one: a step computed for nothing.
"""

import math
from dataclasses import dataclass

from minilm.errors import InputError


@dataclass(frozen=True)
class Budget:
    """How long to train: exactly one of `steps`, `tokens` and `minutes`.

    Steps and tokens give the same run every time. Minutes follow the clock, so no two runs are exactly alike.

    Raises:
        InputError: none or more than one of them is given, or the number is not positive.
    """

    steps: int | None = None
    tokens: int | None = None
    minutes: float | int | None = None

    def __post_init__(self):
        given = {unit: amount for unit, amount in vars(self).items() if amount is not None}
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise InputError(f"give exactly one of steps, tokens and minutes as the budget, not {got}.")
        (unit, amount), *_ = given.items()
        if not 0 < amount < math.inf:
            raise InputError(f"{unit} must be a positive number, not {amount}.")

    def progress(self, steps_done: float | int, tokens_done: float | int, seconds_done: float | int) -> float:
        """The share of the budget that is used up, from 0 to 1.

        For the learning rate of a step, pass the middle of the step: `steps_done + 0.5`, `tokens_done` plus half of the
        batch's tokens, and `seconds_done` plus half of the seconds that the previous step took.
        """
        return min(max(self._used(steps_done, tokens_done, seconds_done), 0.0), 1.0)

    def done(self, steps_done: float | int, tokens_done: float | int, seconds_done: float | int) -> bool:
        """Whether the budget is used up."""
        return self._used(steps_done, tokens_done, seconds_done) >= 1

    def __str__(self) -> str:
        (unit, amount), *_ = ((unit, amount) for unit, amount in vars(self).items() if amount is not None)
        amount = int(amount) if amount == int(amount) else amount  # 10 minutes, also when 10.0 was given
        return f"{amount:,} {unit if amount != 1 else unit[:-1]}"

    def _used(self, steps: float | int, tokens: float | int, seconds: float | int) -> float:
        if self.steps is not None:
            return steps / self.steps
        if self.tokens is not None:
            return tokens / self.tokens
        assert self.minutes is not None
        return seconds / 60 / self.minutes


def constant(progress: float | int, warmup: float | int = 0.0) -> float:
    """min(p/w, 1): the peak learning rate, after a warm-up if w > 0. Returns the share of the peak."""
    p, w = _checked(progress, warmup)
    return p / w if p < w else 1.0


def warmup_linear(progress: float | int, warmup: float | int = 0.05) -> float:
    """p/w up to p = w, then (1 − p)/(1 − w): up to the peak, then in a straight line down to 0. BERT's schedule.

    Returns the share of the peak learning rate. `warmup` is a share of the whole run, 0 ≤ w < 1.
    Source: Devlin et al. (2019), BERT, A.2.
    """
    p, w = _checked(progress, warmup)
    return p / w if p < w else (1 - p) / (1 - w)


def warmup_cosine(progress: float | int, warmup: float | int = 0.05, floor: float | int = 0.0) -> float:
    """p/w up to p = w, then f + (1 − f)·½(1 + cos πu) with u = (p − w)/(1 − w): half a cosine down to the floor f.

    The cosine covers what comes after the warm-up: it begins at the peak and ends at the floor, whatever w is.
    Returns the share of the peak learning rate; `floor` is such a share as well, 0 ≤ f ≤ 1.
    Source: Loshchilov and Hutter (2017), SGDR, eq. 5, without restarts.
    """
    p, w = _checked(progress, warmup)
    if not 0 <= floor <= 1:
        raise InputError(f"floor must be from 0 to 1, not {floor}: it is a share of the peak learning rate.")
    if p < w:
        return p / w
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (p - w) / (1 - w)))


def _checked(progress: float | int, warmup: float | int) -> tuple[float, float]:
    if not 0 <= warmup < 1:
        raise InputError(f"warmup must be at least 0 and below 1, not {warmup}: it is a share of the run.")
    if math.isnan(progress):
        raise InputError("the progress is not a number: use the one that Budget.progress returns.")
    return min(max(float(progress), 0.0), 1.0), float(warmup)  # a budget in minutes may be exceeded


SCHEDULES = {"constant": constant, "linear": warmup_linear, "cosine": warmup_cosine}
