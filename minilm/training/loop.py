"""The loop that trains every model here: batch, loss, gradient, clip, step.  F02, F03.

It knows nothing about tokens or labels. You give it a function that takes the number of a step and returns its loss.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from minilm.errors import InputError
from minilm.training.memory import give_back, keep_freed
from minilm.training.optimizer import Optimizer, clip_gradients
from minilm.training.schedule import SCHEDULES, Budget


class Diverged(InputError):
    """The loss, its gradient or a weight is no longer a number; `step` is the number of the batch that was learned from last."""

    def __init__(self, what: str, step: int):
        super().__init__(what)
        self.step = step


@dataclass
class Progress:
    """How far a run has come. `seconds` counts training but not evaluation, and continues when a run is resumed."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class LearningRate:
    """The learning rate over the budget: its peak, its warm-up (a share of the budget) and the schedule after that.

    Raises InputError if the peak is not positive or the schedule is not known.
    """

    peak: float
    warmup: float = 0.05
    schedule: str = "linear"

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise InputError(f"schedule '{self.schedule}' is not known: choose one of {', '.join(SCHEDULES)}.")
        if not self.peak > 0:
            raise InputError(f"the learning rate must be above 0, not {self.peak}.")

    def at(self, progress: float) -> float:
        """The learning rate when `progress`, from 0 to 1, of the budget is used up."""
        return self.peak * SCHEDULES[self.schedule](progress, self.warmup)


@dataclass(frozen=True)
class Step:
    """The loss to minimise, the values to display, and the number of tokens processed."""

    loss: Tensor
    shown: dict[str, Tensor]
    tokens: int


def train(
    model: nn.Module,
    optimizer: Optimizer,
    step_at: Callable[[int], Step],
    budget: Budget,
    learning_rate: LearningRate,
    clip: float = 1.0,
    progress: Progress | None = None,
    pause_at: Iterable[float] = (),
    on_pause: Callable[[Progress], bool | None] | None = None,
    title: str = "training",
    bar: bool = True,
    clock: Callable[[], float] = time.perf_counter,
    agree: Callable[[float, bool], tuple[float, bool]] | None = None,
) -> Progress:
    """Train until the budget is used up, and return how far the run came.

    `on_pause(progress)` is called after the shares of the budget in `pause_at`, at the end, and when the user presses
    Ctrl-C: evaluate and save there. Training ends early if it returns True, and after Ctrl-C. Pass the `progress` of a
    stopped run to continue it. `clock()` is the time in seconds: with `time.process_time`, minutes are the processor's, and other
    programs do not shorten the run. Where several processes train together, `agree(seconds, stop)` returns for how long the last step
    counts, and whether one of them is to stop.

    Raises Diverged, an InputError, when the loss or its gradient is no longer finite (the weights are those before that step),
    and, before anything is evaluated or saved, when a weight is not.
    """
    progress = Progress() if progress is None else progress
    pauses = sorted(p for p in pause_at if p > budget.progress(progress.step, progress.tokens, progress.seconds))
    shown: dict[str, float] = {}
    last = 0.0  # seconds of the previous step
    keep_freed()
    advice = f"Lower the learning rate (it is {learning_rate.peak:g}) or clip harder (it is {clip:g})."
    with graceful_stop() as stop, progress_bar(budget, progress, title, bar) as show:
        while not budget.done(progress.step, progress.tokens, progress.seconds):
            started = clock()
            model.train()
            step = step_at(progress.step)
            middle = (progress.step + 0.5, progress.tokens + step.tokens / 2, progress.seconds + last / 2)
            step.loss.backward()
            norm = clip_gradients(model.parameters(), clip)
            finite = math.isfinite(float(step.loss.detach()))
            if not (finite and math.isfinite(norm)):
                what = "gradient of the loss" if finite else "loss"
                raise Diverged(f"the {what} is no longer a number at step {progress.step}. {advice}", progress.step)
            optimizer.step(learning_rate.at(budget.progress(*middle)))
            optimizer.zero_grad()
            progress.step += 1
            progress.tokens += step.tokens
            last, stopping = clock() - started, stop.is_set()
            if agree is not None:
                last, stopping = agree(last, stopping)
            progress.seconds += last
            for name, value in step.shown.items():  # a running mean, because single batches vary a lot
                shown[name] = 0.98 * shown.get(name, float(value)) + 0.02 * float(value)
            show(progress, shown)
            if progress.step % 100 == 0:
                give_back()
            at = budget.progress(progress.step, progress.tokens, progress.seconds)
            if stopping or at >= 1 or (pauses and at >= pauses[0]):
                pauses = [p for p in pauses if p > at]
                if not all(parameter.isfinite().all() for parameter in model.parameters()):
                    raise Diverged(
                        f"the weights are no longer numbers after step {progress.step}. {advice}", progress.step - 1
                    )
                give_back()  # what is measured then needs other sizes of memory
                ended = on_pause is not None and on_pause(progress)
                if ended or stopping or (agree is None and stop.is_set()):
                    break
    return progress


@contextmanager
def progress_bar(budget: Budget, progress: Progress, title: str, shown: bool):
    """Percentage, time left, tokens per second and losses, in a terminal or a notebook. Yields a function that updates them."""
    with tqdm(
        total=100,
        desc=title,
        disable=None if shown else True,  # None: no bar where there is no terminal
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
        leave=False,
    ) as bar:
        before = progress.tokens, progress.seconds

        def show(now: Progress, values: dict[str, float]) -> None:
            speed = (now.tokens - before[0]) / max(now.seconds - before[1], 1e-9)
            text = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
            bar.set_postfix_str(f"{speed:,.0f} tokens/s  {text}", refresh=False)
            bar.update(100 * budget.progress(now.step, now.tokens, now.seconds) - bar.n)

        yield show


@contextmanager
def graceful_stop():
    """Ctrl-C, or SIGTERM from a scheduler that wants the machine back, sets a flag that the loop reads between two steps; a
    second one of the same kind ends the program at once.

    If a step were cut in half, the weights would be ones that no uninterrupted run ever has.
    """
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag  # only the main thread may handle signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number, frame):
        flag.set()
        signal.signal(number, before[number])  # torchrun sends SIGTERM after Ctrl-C, which is no second Ctrl-C

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def choose_device(name: str = "auto") -> torch.device:
    """The device of this name; "auto" is the first of CUDA, Apple's MPS and the processor that is there.

    Raises InputError if there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise InputError(f"there is no device '{name}' here: leave --device out, or give cpu.") from None
    return device
