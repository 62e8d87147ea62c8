r"""Several batches per step and several processes: g = Σᵢ (n_i / N) gᵢ, the gradient of all batches as one.  F03."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import tiny
import torch
from tiny import DATA, silent
from torch import nn

from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.examples.bert_pretraining import PretrainingBatches
from minilm.jobs.pretrain import pretrain
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.gpt import GPT, GPTConfig
from minilm.training.loop import LearningRate
from minilm.training.objectives import BertPretraining, CausalLM, Classification
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget
from minilm.training.state import load_state, read_metrics
from minilm.training.team import Team

V, T = 23, 9


def bert_batches():
    """Rows of one length, of which different shares are masked, and of which some are no pairs; one batch has no pair at all."""
    generator = torch.Generator().manual_seed(0)
    for rows, share, pairs in ((2, 0.5, 2), (5, 0.1, 1), (3, 0.3, 0)):
        ids = torch.randint(4, V, (rows, T), generator=generator)
        labels = torch.where(torch.rand(rows, T, generator=generator) < share, ids, -100)
        labels[0, 0] = ids[0, 0]
        nsp = torch.tensor([0, 1, -100, -100, -100])[:rows].where(torch.arange(rows) < pairs, torch.tensor(-100))
        yield Batch(ids, torch.zeros_like(ids), None, labels, nsp)


def gpt_batches():
    generator = torch.Generator().manual_seed(1)
    for rows in (2, 5, 3):
        ids = torch.randint(4, V, (rows, T), generator=generator)
        mask = torch.arange(T) < torch.randint(3, T + 1, (rows, 1), generator=generator)
        yield Batch(ids, None, mask)


def joined(batches):
    """All batches as one."""
    parts = {
        name: [getattr(batch, name) for batch in batches] for name in ("input_ids", "token_type_ids", "attention_mask")
    } | {name: [getattr(batch, name) for batch in batches] for name in ("labels", "nsp_labels")}
    return Batch(**{name: None if values[0] is None else torch.cat(values) for name, values in parts.items()})


def bert():
    torch.manual_seed(2)
    return BertForPretraining(TransformerConfig(V, width=8, layers=2, heads=2, feed_forward=12, max_length=T))


def gpt():
    torch.manual_seed(2)
    return GPT(GPTConfig(V, width=8, layers=2, heads=2, feed_forward=12, max_length=T))


CASES = {
    "bert": (bert, BertPretraining(0.7), bert_batches),
    "bert without pairs": (bert, BertPretraining(0.0), bert_batches),
    "gpt": (gpt, CausalLM(), gpt_batches),
}


def new_run(model, objective, batches, accumulate, **more):
    optimisation = Optimisation(LearningRate(0.01))
    return TrainingRun(
        model, objective, batches.__getitem__, Budget(steps=1), optimisation, accumulate=accumulate, **more
    )


@pytest.mark.parametrize("case", CASES)
def test_F03_the_gradient_of_several_batches_is_that_of_all_of_them_as_one(case):
    build, objective, make = CASES[case]
    batches, model, other = list(make()), build().double(), build().double()
    new_run(model, objective, batches, 3).step_at(0).loss.backward()
    objective.step(other, joined(batches)).loss.backward()
    wanted = {name: p.grad for name, p in other.named_parameters() if p.grad is not None}
    assert len(wanted) > 10
    for name, parameter in model.named_parameters():
        if name in wanted:
            torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-9, atol=1e-12)
    # the mean of the batches' own gradients is something else
    for batch in batches:
        objective.step(third := build().double(), batch).loss.backward()
    assert not torch.allclose(next(third.parameters()).grad, next(model.parameters()).grad, rtol=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_what_counts_is_counted_before_the_model_is_called(case):
    build, objective, make = CASES[case]
    for batch in make():
        assert objective.counts(batch) == tuple(part.count for _, part in objective.parts(build(), batch).values())


def test_the_draws_of_dropout_depend_on_the_batch_and_not_on_the_process():
    def losses(team):
        model = BertForPretraining(
            TransformerConfig(V, width=8, layers=1, heads=2, feed_forward=12, max_length=T, dropout=0.5)
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
        run = new_run(model.train(), BertPretraining(), list(bert_batches()) * 2, 6)
        run.mine = range(team.rank, 6, team.size)  # as if the other processes were elsewhere
        return run.step_at(0).shown["masked words"]

    alone, last_of_two = losses(Team()), losses(Team(1, 2))
    assert torch.equal(alone, last_of_two)  # both end with batch 5


def test_batches_that_cannot_be_shared_are_refused():
    assert list(Team(1, 3).share(6)) == [1, 4]
    with pytest.raises(InputError, match="4 batches per step cannot be shared by 3 processes.*a multiple of 3"):
        Team(1, 3).share(4)


def test_an_objective_without_parts_is_refused():
    with pytest.raises(InputError, match="Classification cannot be learned from several batches per step"):
        new_run(nn.Linear(2, 2), Classification(), [], 2)


# ---- processes


def by_torchrun(processes, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    surroundings = {"PYTHONPATH": str(DATA.parent), "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [*command, "-m", "minilm", "pretrain", *map(str, arguments)],
        env=os.environ | surroundings,
        capture_output=True,
        encoding="utf-8",
        timeout=240,
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("team")


SHORT = dict(steps=10, layers=1, dropout=0.1, evaluations=5)


@pytest.fixture(scope="module")
def accumulated(shared):
    """One process, two batches per step."""
    options = tiny.options(shared, out=shared / "one", accumulate=2, **SHORT)
    pretrain(options, silent)
    return options


def curve(folder):
    return {line["step"]: line["mlm_loss"] for line in read_metrics(folder)}


def test_two_processes_learn_what_one_learns_from_two_batches_per_step(shared, accumulated):
    done = by_torchrun(2, *tiny.arguments(shared, out=shared / "two", **SHORT))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("in 2 processes, 2 batches per step") == 1  # process 0 alone speaks
    ours, wanted = curve(shared / "two"), curve(accumulated.out)
    assert ours.keys() == wanted.keys() and len(wanted) == 6 and wanted[10] < wanted[0] - 0.01
    assert ours == pytest.approx(wanted, abs=1e-5)
    # (weights whose gradient is rounding noise, such as the biases of keys, move by Adam in another direction)
    half = replace(accumulated, out=shared / "half", accumulate=1)
    pretrain(half, silent)
    assert curve(half.out)[10] != pytest.approx(wanted[10], abs=1e-3)  # half of the batches teach something else


def test_a_run_goes_on_in_another_number_of_processes(shared, accumulated, monkeypatch):
    out = shared / "moved"
    tiny.ctrl_c_at(monkeypatch, PretrainingBatches, 9)  # batch 9 belongs to step 4
    with pytest.raises(KeyboardInterrupt):
        pretrain(replace(accumulated, out=out), silent)
    monkeypatch.undo()
    assert 2 < load_state(out)[0]["progress"][0] < 10
    done = by_torchrun(2, *tiny.arguments(shared, out=out, accumulate=2, **SHORT), "--resume")
    assert done.returncode == 0, done.stderr
    after = {step: loss for step, loss in curve(out).items() if step in curve(accumulated.out)}
    assert after == pytest.approx({step: curve(accumulated.out)[step] for step in after}, abs=1e-5) and 10 in after


def test_what_is_wrong_is_said_once_and_every_process_ends(shared, accumulated):
    done = by_torchrun(2, *tiny.arguments(shared, out=accumulated.out, **SHORT))
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line.startswith("minilm:")]
    assert sum("holds a run already" in line for line in said) == 1
    assert all("holds a run already" in line or "it has lost another one" in line for line in said)
