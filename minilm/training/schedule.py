r"""How long training runs, and the learning rate over its course.

A schedule is a function of **progress**, the part of the budget that is used up, from 0 to 1. Budgets in steps, in
tokens and in minutes therefore share the same three curves, and a longer run is the same curve drawn out.

The rate of a step is read off at the step's *middle*: step n of N (n = 1 … N) lies at progress (n − ½)/N. Read off at
the start, the first step would have rate 0, and read off at the end the last one: a step computed for nothing.
"""

import math
from dataclasses import dataclass

from minilm.errors import InputError


@dataclass(frozen=True)
class Budget:
    """How long to train: exactly one of `steps`, `tokens` and `minutes`.

    Steps and tokens give the same run every time. Minutes follow the clock, so that no two runs are quite alike.

    Raises:
        InputError: none or more than one is given, or it is not a positive number.
    """

    steps: int | None = None
    tokens: int | None = None
    minutes: float | int | None = None

    def __post_init__(self):
        given = {unit: amount for unit, amount in vars(self).items() if amount is not None}
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise InputError(f"a budget is exactly one of steps, tokens and minutes; {got} was given.")
        (unit, amount), *_ = given.items()
        if not 0 < amount < math.inf:
            raise InputError(f"a budget of {amount} {unit} is no budget; give a positive number.")

    def progress(self, steps_done: float | int, tokens_done: float | int, seconds_done: float | int) -> float:
        """The part of the budget that is used up, from 0 to 1.

        For the rate of a step pass the step's middle: `steps_done + 0.5`, `tokens_done` and half of the batch's
        tokens, `seconds_done` and half of the seconds the last step took.
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
        return seconds / 60 / self.minutes


def constant(progress: float | int, warmup: float | int = 0.0) -> float:
    """min(p/w, 1): the peak rate, after a warm-up if one is asked for."""
    p, w = _checked(progress, warmup)
    return p / w if p < w else 1.0


def warmup_linear(progress: float | int, warmup: float | int = 0.05) -> float:
    """p/w up to p = w, then (1 − p)/(1 − w): up to the peak and in a straight line down to 0. BERT's own.

    Returns the share of the peak rate. `warmup` is a part of the whole, 0 ≤ w < 1.
    Source: Devlin et al. (2019), BERT, A.2.
    """
    p, w = _checked(progress, warmup)
    return p / w if p < w else (1 - p) / (1 - w)


def warmup_cosine(progress: float | int, warmup: float | int = 0.05, floor: float | int = 0.0) -> float:
    """p/w up to p = w, then f + (1 − f)·½(1 + cos πu) with u = (p − w)/(1 − w): half a cosine down to the floor f.

    The cosine runs over what comes after the warm-up: it begins at the peak and ends at the floor, whatever w is.
    Returns the share of the peak rate; `floor` is such a share as well, 0 ≤ f ≤ 1.
    Source: Loshchilov and Hutter (2017), SGDR, eq. 5, without restarts.
    """
    p, w = _checked(progress, warmup)
    if not 0 <= floor <= 1:
        raise InputError(f"the floor of the rate is {floor}; it is a share of the peak, so give a number from 0 to 1.")
    if p < w:
        return p / w
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (p - w) / (1 - w)))


def _checked(progress: float | int, warmup: float | int) -> tuple[float, float]:
    if not 0 <= warmup < 1:
        raise InputError(f"the warm-up is {warmup}; it is a part of the run, so give a number from 0 to below 1.")
    if math.isnan(progress):
        raise InputError("the progress is not a number; ask Budget.progress for it.")
    return min(max(float(progress), 0.0), 1.0), float(warmup)  # the clock may run over


SCHEDULES = {"constant": constant, "linear": warmup_linear, "cosine": warmup_cosine}
