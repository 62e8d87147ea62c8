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
from minilm.training.loop import Progress, LearningRate, Step, choose_device, graceful_stop, train
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
        self.model, self.seen, self.rates = Tiny(), [], []
        self.optimizer = SGD(parameter_groups(self.model, 0.0))
        self.loss = loss or (lambda step: 0.5 * self.model.w.square().sum())
        step = self.optimizer.step
        self.optimizer.step = lambda learning_rate: (self.rates.append(learning_rate), step(learning_rate))
        self.options = {"rate": LearningRate(0.1, warmup=0.25), "clip": 1e9, "bar": False} | options

    def losses_at(self, step):
        assert self.model.training
        self.seen.append(step)
        loss = self.loss(step)
        return Step(loss, {"loss": loss.detach()}, TOKENS)

    def train(self, **budget):
        return train(self.model, self.optimizer, self.losses_at, Budget(**budget), **self.options)


@pytest.mark.parametrize(
    ("budget", "steps"), [({"steps": 8}, 8), ({"tokens": 80}, 8), ({"tokens": 75}, 8), ({"tokens": 81}, 9)]
)
def test_a_budget_in_steps_and_in_tokens(budget, steps):
    run = Run()
    (progress,) = run.train(**budget)
    assert run.seen == list(range(steps))
    assert (progress.step, progress.tokens) == (steps, steps * TOKENS)
    assert progress.seconds > 0


def test_a_budget_in_minutes_ends():
    (progress,) = Run().train(minutes=0.002)
    assert progress.step > 1 and progress.seconds >= 0.12


def test_F02_F03_each_step_is_w_minus_rate_times_gradient():
    run = Run()
    list(run.train(steps=8))
    rates = [0.1 * warmup_linear((n + 0.5) / 8, 0.25) for n in range(8)]
    assert run.rates == pytest.approx(rates, rel=1e-12)
    assert run.model.w.tolist() == pytest.approx([w * math.prod(1 - r for r in rates) for w in (2, -1)], rel=1e-5)
    assert run.model.w.grad is None


def test_F03_the_gradient_is_clipped_before_the_step():
    run = Run(clip=0.5)
    before = run.model.w.detach().clone()
    list(run.train(steps=1))
    assert (run.model.w - before).norm().item() == pytest.approx(0.5 * run.rates[0], rel=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_with_one_sentence_and_leaves_the_weights(bad):
    run = Run(lambda step: run.model.w.square().sum() * (bad if step == 3 else 1))
    with pytest.raises(InputError, match=r"no longer a number at step 3.* Lower the rate \(it is 0.1\) or clip harder"):
        list(run.train(steps=8))
    assert run.model.w.isfinite().all() and len(run.rates) == 3


def test_pauses_come_where_they_were_asked_for_and_at_the_end():
    run = Run(pause_at=[0.5, 0.25, 0.9])
    assert [progress.step for progress in run.train(steps=8)] == [2, 4, 8]  # 0.9 is passed in the last step: one pause
    assert [progress.step for progress in Run(pause_at=[0.01, 0.02, 0.6]).train(steps=5)] == [1, 3, 5]
    assert [progress.tokens for progress in Run(pause_at=[0.5]).train(tokens=40)] == [20, 40]


def test_the_caller_may_evaluate_in_a_pause():
    run = Run(pause_at=[0.5])
    for _ in run.train(steps=4):
        run.model.eval()  # `losses_at` sees to it that training is on again
    assert run.seen == [0, 1, 2, 3]


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not():
    whole = Run(pause_at=[0.3, 0.75])
    list(whole.train(steps=8))
    progress, pauses = Progress(), []
    run = Run(progress=progress, pause_at=[0.3, 0.75])
    for _ in run.train(steps=8):
        break
    assert progress.step == 3  # the first step past 0.3
    pauses = [p.step for p in run.train(steps=8)]
    assert pauses == [6, 8]
    assert run.seen == whole.seen and run.rates == whole.rates
    assert torch.equal(run.model.w, whole.model.w)
    assert list(run.train(steps=8)) == [] and run.seen == whole.seen  # nothing left to do


def test_ctrl_c_stops_between_two_steps():
    run = Run(pause_at=[0.9])

    def interrupted(step):
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return 0.5 * run.model.w.square().sum()

    run.loss, before = interrupted, signal.getsignal(signal.SIGINT)
    assert [progress.step for progress in run.train(steps=8)] == [3]  # step 2 is finished first, then saved
    assert len(run.rates) == 3
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_while_the_caller_measures_ends_after_it():
    run = Run(pause_at=[0.25, 0.5])
    done = []
    for progress in run.train(steps=8):
        os.kill(os.getpid(), signal.SIGINT)
        done.append(progress.step)
    assert done == [2]


@pytest.fixture
def a_terminal():
    """Ctrl-C as a terminal has it: a process that was started in the background ignores it from the start."""
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
        list(run.train(steps=8))
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_inside_gives_ctrl_c_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(InputError):
        list(Run(lambda step: run_of_nan()).train(steps=2))
    assert signal.getsignal(signal.SIGINT) is before


def run_of_nan():
    raise InputError("no data")


def test_outside_the_main_thread_signals_are_left_alone():
    steps, before = [], signal.getsignal(signal.SIGINT)

    def work():
        steps.extend(progress.step for progress in Run().train(steps=3))
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
    list(run.train(steps=4))
    shown = capsys.readouterr().err
    assert "pretraining" in shown and "tokens/s" in shown and "loss " in shown and "100%" in shown


def test_without_a_terminal_there_is_no_bar(capsys):
    list(Run(bar=True).train(steps=2))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"peak": 0.0}, "the learning rate 0.0 is not above 0"),
        ({"peak": math.nan}, "the learning rate nan is not above 0"),
        ({"peak": 0.1, "schedule": "stairs"}, "schedule 'stairs' is not known: choose one of constant, linear, cosine"),
    ],
)
def test_a_rate_that_cannot_be_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        LearningRate(**options)


def test_the_device():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device().type in ("cpu", "cuda", "mps")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(InputError, match=f"there is no device '{name}' here: leave --device out, or say cpu"):
            choose_device(name)
