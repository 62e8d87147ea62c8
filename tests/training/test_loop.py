import math
import os
import signal
import threading
from functools import partial

import pytest
import torch
from torch import nn
from tqdm import tqdm

from minilm.errors import InputError
from minilm.training import loop
from minilm.training.loop import LearningRate, Progress, Step, choose_device, graceful_stop, train
from minilm.training.optimizer import SGD, parameter_groups
from minilm.training.schedule import Budget, warmup_linear

TOKENS = 10


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([2.0, -1.0]))


class Run:
    """A model whose loss is ½‖w‖², so that its gradient is w, and a record of what happened."""

    def __init__(self, loss=None, **options):
        self.model, self.seen, self.learning_rates = Tiny(), [], []
        self.optimizer = SGD(parameter_groups(self.model, 0.0))
        self.loss = loss or (lambda step: 0.5 * self.model.w.square().sum())
        step = self.optimizer.step
        self.optimizer.step = lambda learning_rate: (self.learning_rates.append(learning_rate), step(learning_rate))
        self.options = {"learning_rate": LearningRate(0.1, warmup=0.25), "clip": 1e9, "bar": False} | options

    def step_at(self, step):
        assert self.model.training
        self.seen.append(step)
        loss = self.loss(step)
        return Step(loss, {"loss": loss.detach()}, TOKENS)

    def train(self, **budget):
        return train(self.model, self.optimizer, self.step_at, Budget(**budget), **self.options)


def pauses_of(run, unit="step", then=lambda: None, **budget):
    """The steps (or tokens) after which `train` pauses; `then` is called in each pause."""
    found = []
    run.options["on_pause"] = lambda progress: found.append(getattr(progress, unit)) or then()
    run.train(**budget)
    return found


def test_training_happens_when_train_is_called_though_nobody_looks_at_what_it_returns():
    run = Run()
    run.train(steps=5)
    assert run.seen == [0, 1, 2, 3, 4] and len(run.learning_rates) == 5 and run.model.w.tolist() != [2, -1]


@pytest.mark.parametrize(("answer", "steps"), [(True, 2), (False, 8), (None, 8)])
def test_a_pause_that_returns_true_ends_the_training(answer, steps):
    run = Run(pause_at=[0.25, 0.5], on_pause=lambda progress: answer)
    progress = run.train(steps=8)
    assert progress.step == steps and run.seen == list(range(steps))


@pytest.mark.parametrize(
    ("budget", "steps"), [({"steps": 8}, 8), ({"tokens": 80}, 8), ({"tokens": 75}, 8), ({"tokens": 81}, 9)]
)
def test_a_budget_in_steps_and_in_tokens(budget, steps):
    run = Run()
    progress = run.train(**budget)
    assert run.seen == list(range(steps))
    assert (progress.step, progress.tokens) == (steps, steps * TOKENS)
    assert progress.seconds > 0


def test_a_budget_in_minutes_ends():
    progress = Run().train(minutes=0.002)
    assert progress.step > 1 and progress.seconds >= 0.12


def test_F02_F03_each_step_is_w_minus_learning_rate_times_gradient():
    run = Run()
    run.train(steps=8)
    rates = [0.1 * warmup_linear((n + 0.5) / 8, 0.25) for n in range(8)]
    assert run.learning_rates == pytest.approx(rates, rel=1e-12)
    assert run.model.w.tolist() == pytest.approx([w * math.prod(1 - r for r in rates) for w in (2, -1)], rel=1e-5)
    assert run.model.w.grad is None


def test_F03_the_gradient_is_clipped_before_the_step():
    run = Run(clip=0.5)
    before = run.model.w.detach().clone()
    run.train(steps=1)
    assert (run.model.w - before).norm().item() == pytest.approx(0.5 * run.learning_rates[0], rel=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_with_one_sentence_and_leaves_the_weights(bad):
    run = Run(lambda step: run.model.w.square().sum() * (bad if step == 3 else 1))
    with pytest.raises(
        InputError, match=r"no longer a number at step 3.* Lower the learning rate \(it is 0.1\) or clip harder"
    ):
        run.train(steps=8)
    assert run.model.w.isfinite().all() and len(run.learning_rates) == 3


def test_a_loss_without_end_is_said_even_if_its_gradient_is_finite():
    run = Run(lambda step: run.model.w.sum() + (math.inf if step == 2 else 0))
    with pytest.raises(InputError, match="the loss is no longer a number at step 2"):
        run.train(steps=5)


@pytest.mark.parametrize("steps", [1, 4])
def test_weights_that_are_no_numbers_are_said_before_anything_is_evaluated_or_saved(steps):
    """The last step may be the one that spoils them, so no later gradient would tell."""
    run, measured = Run(), []
    run.options |= {"on_pause": measured.append, "pause_at": [0.5]}
    step = run.optimizer.step

    def spoil(learning_rate):
        step(learning_rate)
        if len(run.seen) == steps:
            run.model.w.data[0] = math.nan

    run.optimizer.step = spoil
    with pytest.raises(
        InputError, match=f"the weights are no longer numbers after step {steps}. Lower the learning rate"
    ):
        run.train(steps=steps)
    assert len(measured) == (steps > 1)


def test_pauses_come_where_they_were_asked_for_and_at_the_end():
    assert pauses_of(Run(pause_at=[0.5, 0.25, 0.9]), steps=8) == [2, 4, 8]  # 0.9 falls in the last step: one pause
    assert pauses_of(Run(pause_at=[0.01, 0.02, 0.6]), steps=5) == [1, 3, 5]
    assert pauses_of(Run(pause_at=[0.5]), "tokens", tokens=40) == [20, 40]


def test_the_caller_may_evaluate_in_a_pause():
    run = Run(pause_at=[0.5])
    run.options["on_pause"] = lambda _: run.model.eval() and None  # `step_at` asserts that training mode is on again
    run.train(steps=4)
    assert run.seen == [0, 1, 2, 3] and not run.model.training


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not():
    whole = Run(pause_at=[0.3, 0.75])
    whole.train(steps=8)
    progress = Progress()
    run = Run(progress=progress, pause_at=[0.3, 0.75], on_pause=lambda _: True)
    assert run.train(steps=8) is progress
    assert progress.step == 3 and run.seen == [0, 1, 2]  # the first step after 0.3
    assert pauses_of(run, steps=8) == [6, 8]
    assert run.seen == whole.seen and run.learning_rates == whole.learning_rates
    assert torch.equal(run.model.w, whole.model.w)
    assert pauses_of(run, steps=8) == [] and run.seen == whole.seen  # nothing is left to do


def test_ctrl_c_stops_between_two_steps():
    run = Run(pause_at=[0.9])

    def interrupted(step):
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return 0.5 * run.model.w.square().sum()

    run.loss, before = interrupted, signal.getsignal(signal.SIGINT)
    assert pauses_of(run, steps=8) == [3]  # step 2 is finished first, then saved
    assert len(run.learning_rates) == 3
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_while_the_caller_measures_ends_after_it():
    run = Run(pause_at=[0.25, 0.5])
    assert pauses_of(run, then=lambda: os.kill(os.getpid(), signal.SIGINT), steps=8) == [2] and len(run.seen) == 2


@pytest.fixture
def a_terminal():
    """Enable Ctrl-C as in a terminal, because a process that was started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_ctrl_c_ends_at_once(a_terminal):
    run = Run()

    def interrupted(step):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("still running")

    run.loss, before = interrupted, signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run.train(steps=8)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_inside_gives_ctrl_c_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(InputError):
        Run(lambda step: without_data()).train(steps=2)
    assert signal.getsignal(signal.SIGINT) is before


def without_data():
    raise InputError("no data")


def test_outside_the_main_thread_signals_are_left_alone():
    steps, before = [], signal.getsignal(signal.SIGINT)

    def work():
        steps.append(Run().train(steps=3).step)
        with graceful_stop() as stop:
            assert not stop.is_set()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert steps == [3] and signal.getsignal(signal.SIGINT) is before


def test_the_bar_shows_speed_and_losses_and_is_full_at_the_end(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(loop, "tqdm", partial(tqdm, mininterval=0))
    run = Run(bar=True, title="pretraining")
    run.train(steps=4)
    shown = capsys.readouterr().err
    assert "pretraining" in shown and "tokens/s" in shown and "loss " in shown and "100%" in shown


def test_without_a_terminal_there_is_no_bar(capsys):
    Run(bar=True).train(steps=2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"peak": 0.0}, "the learning rate must be above 0, not 0.0"),
        ({"peak": math.nan}, "the learning rate must be above 0, not nan"),
        ({"peak": 0.1, "schedule": "stairs"}, "schedule 'stairs' is not known: choose one of constant, linear, cosine"),
    ],
)
def test_a_learning_rate_that_cannot_be_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        LearningRate(**options)


def test_the_device():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device().type in ("cpu", "cuda", "mps")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(InputError, match=f"there is no device '{name}' here: leave --device out, or give cpu"):
            choose_device(name)
