r"""Products in bf16, everything else in float32.  F03."""

from dataclasses import replace

import pytest
import tiny
import torch
from tiny import silent
from torch import nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.examples.bert_pretraining import PretrainingBatches
from minilm.jobs.pretrain import pretrain
from minilm.models.config import TransformerConfig
from minilm.training import precision as module
from minilm.training.loop import LearningRate
from minilm.training.objectives import BertPretraining
from minilm.training.precision import InBf16, check_precision, in_precision
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget
from minilm.training.state import load_state, read_metrics

V, B, T, C = 37, 5, 11, 24
CPU = torch.device("cpu")
UNITS = module.bf16_units


@pytest.fixture(autouse=True)
def any_processor(monkeypatch):
    """PyTorch computes in bf16 on every processor, if need be slowly."""
    monkeypatch.setattr(module, "bf16_units", lambda: ["pretended"])


def model():
    config = TransformerConfig(V, width=C, layers=2, heads=3, feed_forward=40, max_length=T, positions="relative")
    return tiny.started(config, "fan-in", seed=1)


def batch():
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(5, V, (B, T), generator=generator)
    labels = torch.where(torch.rand(B, T, generator=generator) < 0.3, ids, -100)
    return Batch(ids, torch.zeros_like(ids), None, labels, torch.tensor([0, 1, 1, 0, 1]))


def logits_and_gradient(called, inside):
    output = called(batch().input_ids)
    F.cross_entropy(output.mlm_logits.flatten(0, 1), batch().labels.flatten()).backward()
    gradient = torch.cat([p.grad.flatten() for p in inside.parameters() if p.grad is not None])
    return output.mlm_logits.detach(), gradient


def apart(a, b):
    """How far two tensors are apart, as a share of their size."""
    return float((a - b).norm() / b.norm())


def test_logits_and_gradients_are_those_of_float32_but_for_the_rounding():
    wanted = logits_and_gradient(one := model(), one)
    inside = model()
    got = logits_and_gradient(InBf16(inside, "cpu"), inside)
    for x, y in zip(got, wanted, strict=True):
        assert x.dtype == torch.float32 and 1e-4 < apart(x, y) < 0.02
    # a number with three binary digits less is too coarse
    with torch.no_grad():
        for module in (coarse := model()).modules():
            if isinstance(module, nn.Linear):
                module.weight.copy_(module.weight.to(torch.float8_e4m3fn).float())
    assert all(apart(x, y) > 0.025 for x, y in zip(logits_and_gradient(coarse, coarse), wanted, strict=True))


def run_of(inside, learning_rate=0.01, precision="bf16", **more):
    how = Budget(steps=1), Optimisation(LearningRate(learning_rate, warmup=0.0))
    return TrainingRun(inside, BertPretraining(0.7), lambda _: batch(), *how, precision=precision, **more)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_loss_is_made_in_float32(accumulate):
    """From logits in bf16, log-softmax would give a loss of three digits."""
    inside = model()
    loss = run_of(inside, accumulate=accumulate).step_at(0).loss * accumulate
    with torch.autocast("cpu", dtype=torch.bfloat16):
        masked = (batch().labels.flatten() != -100).nonzero().flatten()
        output = inside(batch().input_ids, batch().token_type_ids, None, masked)
    assert output.mlm_logits.dtype == torch.bfloat16
    mlm = F.cross_entropy(output.mlm_logits.double(), batch().labels.flatten()[masked])
    wanted = (mlm + 0.7 * F.cross_entropy(output.nsp_logits.double(), batch().nsp_labels)).item()
    assert loss.dtype == torch.float32 and float(loss) == pytest.approx(wanted, rel=1e-6)
    assert float(run_of(inside, precision="float32").step_at(0).loss) != pytest.approx(wanted, rel=1e-6)


def test_weights_take_steps_that_bf16_could_not_hold():
    inside = model()
    before = [parameter.detach().clone() for parameter in inside.parameters() if parameter.ndim == 2]
    run_of(inside, learning_rate=1e-6).train(bar=False)
    after = [parameter.detach() for parameter in inside.parameters() if parameter.ndim == 2]
    moved = torch.cat([(a != b).flatten() for a, b in zip(after, before, strict=True)])
    moved_in_bf16 = torch.cat([(a.bfloat16() != b.bfloat16()).flatten() for a, b in zip(after, before, strict=True)])
    assert moved.float().mean() > 0.5 and moved_in_bf16.float().mean() < 0.01
    assert all(parameter.dtype == torch.float32 for parameter in inside.parameters())


def test_the_wrapper_has_what_the_model_has():
    inside = model()
    wrapped = in_precision(inside, "bf16", CPU)
    assert wrapped.config is inside.config and wrapped.depth_of("pooler.dense.weight") == 2
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = wrapped.nothing_like_it
    assert in_precision(inside, "float32", CPU) is inside


@pytest.mark.parametrize("architecture", ["bert", "gpt", "lstm"])
def test_every_architecture_learns_in_bf16(tmp_path, architecture):
    causal = dict(heads=4, width=12) if architecture == "gpt" else dict(heads=4) if architecture == "lstm" else {}
    options = tiny.options(tmp_path, architecture=architecture, dropout=0.1, **causal)
    losses = {}
    for name in ("float32", "bf16"):
        pretrain(replace(options, out=tmp_path / name, precision=name), silent)
        losses[name] = [line.get("mlm_loss", line.get("loss")) for line in read_metrics(tmp_path / name)]
    assert losses["bf16"][0] == losses["float32"][0]  # measured in float32, before the first step
    learned = losses["float32"][0] - losses["float32"][-1]
    assert 0 < abs(losses["bf16"][-1] - losses["float32"][-1]) < 0.2 * learned


def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path, monkeypatch):
    options = tiny.options(tmp_path, out=tmp_path / "whole", precision="bf16", dropout=0.1, accumulate=2)
    pretrain(options, silent)
    stopped = replace(options, out=tmp_path / "stopped")
    tiny.ctrl_c_at(monkeypatch, PretrainingBatches, 9)
    with pytest.raises(KeyboardInterrupt):
        pretrain(stopped, silent)
    monkeypatch.undo()
    monkeypatch.setattr(module, "bf16_units", lambda: ["pretended"])
    assert 2 < load_state(stopped.out)[0]["progress"][0] < 12
    with pytest.raises(InputError, match="precision was bf16 and is float32"):
        pretrain(replace(stopped, resume=True, precision="float32"), silent)
    pretrain(replace(stopped, resume=True), silent)
    assert tiny.same(tiny.weights(stopped.out), tiny.weights(options.out))


def test_a_device_that_cannot_is_named_before_any_work(tmp_path, monkeypatch, capsys):
    with pytest.raises(InputError, match="^meta cannot compute in bf16: leave --precision out"):
        check_precision("bf16", torch.device("meta"))
    check_precision("float32", torch.device("meta"))
    monkeypatch.setattr(module, "bf16_units", list)
    assert tiny.command("pretrain", *tiny.arguments(tmp_path, precision="bf16")) == 2
    assert "this processor has no unit for bf16: leave --precision out" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()
    with pytest.raises(InputError, match="precision 'fp16' is not known: choose float32 or bf16"):
        tiny.options(tmp_path, precision="fp16")


def test_the_units_of_this_processor_have_names():
    names = UNITS()
    assert isinstance(names, list) and all("bf16" in name for name in names)
