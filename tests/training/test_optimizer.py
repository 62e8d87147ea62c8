import copy
import math

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from minilm.errors import InputError
from minilm.models.bert import Bert, BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, TextHeadConfig, TokenHeadConfig
from minilm.models.lstm import LSTMConfig, LSTMEncoder
from minilm.training import optimizer as optimizer_module
from minilm.training.optimizer import SGD, Adam, AdamW, clip_gradients, parameter_groups

SHAPES = [(5, 3), (4,), (2, 3, 4), (6, 2)]
NEVER, ZERO, LATE = 3, 1, 2  # these tensors have no gradient, a gradient of zeros, and a first gradient at step 3
RATES = [0.1, 0.1, 0.1, 0.03, 0.03, 0.0, 0.05]
DECAY, EPS = 0.1, 1e-2

OPTIMIZERS = {
    "sgd": (lambda groups: SGD(groups), lambda groups: torch.optim.SGD(groups, lr=9)),
    "momentum": (lambda groups: SGD(groups, momentum=0.9), lambda groups: torch.optim.SGD(groups, lr=9, momentum=0.9)),
    "adam": (
        lambda groups: Adam(groups, betas=(0.9, 0.98), eps=EPS),
        lambda groups: torch.optim.Adam(groups, lr=9, betas=(0.9, 0.98), eps=EPS),
    ),
    "adamw": (
        lambda groups: AdamW(groups, betas=(0.9, 0.98), eps=EPS),
        lambda groups: torch.optim.AdamW(groups, lr=9, betas=(0.9, 0.98), eps=EPS),
    ),
}


def fresh_parameters():
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, dtype=torch.float64, generator=generator)) for shape in SHAPES]


def set_gradients(parameters, step):
    generator = torch.Generator().manual_seed(100 + step)
    for i, parameter in enumerate(parameters):
        gradient = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
        parameter.grad = gradient * (i != ZERO) if i != NEVER and not (i == LATE and step < 2) else None


def in_two_groups(parameters):
    """Two parameter groups: the second has half the learning rate and no weight decay."""
    return [
        {"params": parameters[:2], "weight_decay": DECAY},
        {"params": parameters[2:], "scale": 0.5, "weight_decay": 0.0},
    ]


def run(optimizer, parameters, steps):
    for step in steps:
        set_gradients(parameters, step)
        optimizer.step(RATES[step])


def run_theirs(make, steps=range(len(RATES))):
    parameters = fresh_parameters()
    first, second = in_two_groups(parameters)
    second.pop("scale")
    optimizer = make([first, second])
    for step in steps:
        set_gradients(parameters, step)
        optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = RATES[step], 0.5 * RATES[step]
        optimizer.step()
    return parameters


def run_ours(make):
    parameters = fresh_parameters()
    run(make(in_two_groups(parameters)), parameters, range(len(RATES)))
    return parameters


def largest_difference(ours, theirs):
    return max((a - b).abs().max().item() for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_F03_equals_pytorch(name):
    make_ours, make_theirs = OPTIMIZERS[name]
    ours = run_ours(make_ours)
    assert largest_difference(ours, run_theirs(make_theirs)) < 1e-12
    assert torch.equal(ours[NEVER], fresh_parameters()[NEVER])
    assert not torch.equal(ours[ZERO], fresh_parameters()[ZERO])  # a gradient of zeros still decays the weights


def test_F03_the_tolerance_tells_l2_in_the_gradient_from_decoupled_decay():
    adam, adamw = (run_ours(OPTIMIZERS[name][0]) for name in ("adam", "adamw"))
    assert largest_difference(adam, adamw) > 1e-2
    assert largest_difference(run_ours(lambda g: AdamW(g, betas=(0.9, 0.98), eps=1.01 * EPS)), adamw) > 1e-6


def test_F03_sgd_is_the_printed_step():
    theta, before = fresh_parameters()[:1], fresh_parameters()[0]
    run(SGD([{"params": theta}]), theta, [0])
    torch.testing.assert_close(theta[0].detach(), before - RATES[0] * theta[0].grad, atol=1e-15, rtol=0)


def test_F03_momentum_is_pytorchs_and_not_the_form_with_the_rate_inside():
    (theta,), m = fresh_parameters()[:1], 0.0
    inside = theta.detach().clone()
    optimizer = SGD([{"params": [theta]}], momentum=0.9)
    for step in (2, 3):  # the learning rate falls in between
        run(optimizer, [theta], [step])
        m = 0.9 * m - RATES[step] * theta.grad
        inside += m
        assert (step == 2) == torch.allclose(theta, inside, atol=1e-12, rtol=0)


def test_F03_the_first_adam_step_is_the_sign_of_the_gradient():
    theta, before = fresh_parameters()[:1], fresh_parameters()[0]
    run(Adam([{"params": theta}], eps=1e-12), theta, [0])
    torch.testing.assert_close(theta[0].detach(), before - RATES[0] * theta[0].grad.sign(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_changes_neither_the_gradient_nor_the_place_of_the_tensor(name):
    parameters = fresh_parameters()
    optimizer = OPTIMIZERS[name][0](in_two_groups(parameters))
    set_gradients(parameters, 2)
    before = [(p.data_ptr(), None if p.grad is None else p.grad.clone()) for p in parameters]
    optimizer.step(0.1)
    for parameter, (place, gradient) in zip(parameters, before, strict=True):
        assert parameter.data_ptr() == place
        assert gradient is None or torch.equal(parameter.grad, gradient)
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in parameters)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("stop", [1, 4])
def test_F03_resumed_is_uninterrupted_bit_for_bit(name, stop):
    make = OPTIMIZERS[name][0]
    uninterrupted = run_ours(make)
    parameters = fresh_parameters()
    first = make(in_two_groups(parameters))
    run(first, parameters, range(stop))
    saved, weights = save(first.state()), copy.deepcopy(parameters)
    run(first, parameters, range(stop, len(RATES)))  # must not change the saved state, a copy
    second = make(in_two_groups(weights))
    second.load_state(load(saved))
    run(second, weights, range(stop, len(RATES)))
    assert all(torch.equal(a, b) for a, b in zip(weights, uninterrupted, strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_F03_a_large_tensor_in_blocks_is_stepped_bit_for_bit_as_a_whole(name, monkeypatch):
    def stepped(block):
        monkeypatch.setattr(optimizer_module, "BLOCK", block)
        generator = torch.Generator().manual_seed(1)
        large = nn.Parameter(torch.randn(37, 64, generator=generator))
        turned = nn.Parameter(torch.randn(64, 37, generator=generator).T)  # not contiguous, so not split
        optimizer = OPTIMIZERS[name][0]([{"params": [large, turned], "weight_decay": DECAY}])
        for _ in range(3):
            for parameter in (large, turned):
                parameter.grad = torch.randn(37, 64, generator=generator)
            optimizer.step(0.1)
        return [large, turned, *optimizer.state().values()]

    assert all(torch.equal(a, b) for a, b in zip(stepped(10**9), stepped(512), strict=True))


def test_a_state_kept_in_memory_does_not_change_as_training_goes_on():
    parameters = fresh_parameters()
    optimizer = AdamW([{"params": parameters}])
    run(optimizer, parameters, [0])
    state, copied = optimizer.state(), copy.deepcopy(optimizer.state())
    run(optimizer, parameters, [1])
    assert state.keys() == {"steps"} | {f"{letter}.{i}" for letter in "mv" for i in range(4)}
    assert all(torch.equal(state[name], copied[name]) for name in state)
    assert state["steps"].tolist() == [1, 1, 0, 0]


def test_a_state_of_something_else_is_refused_and_changes_nothing():
    parameters = fresh_parameters()
    optimizer = AdamW([{"params": parameters}])
    run(optimizer, parameters, range(2))
    state, before = optimizer.state(), optimizer.state()
    lacking = {name: tensor for name, tensor in state.items() if name != "v.2"}
    with pytest.raises(InputError, match=r"lacks 'v\.2'"):
        optimizer.load_state(lacking)
    with pytest.raises(InputError, match=r"unknown 'x\.0'"):
        optimizer.load_state({**state, "x.0": torch.zeros(1)})
    with pytest.raises(InputError, match=r"'v\.2' has the shape \[3\] and not \[2, 3, 4\]"):
        optimizer.load_state({**state, "m.0": torch.ones(5, 3), "v.2": torch.ones(3)})
    assert all(torch.equal(tensor, before[name]) for name, tensor in optimizer.state().items())


def test_nothing_to_train_and_a_parameter_given_twice_are_refused():
    with pytest.raises(InputError, match="no parameters"):
        SGD([])
    parameter = fresh_parameters()[0]
    with pytest.raises(InputError, match="twice"):
        SGD([{"params": [parameter]}, {"params": [parameter]}])


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(4, 4)
        self.norm = nn.Module()
        self.norm.gain = nn.Parameter(torch.ones(4))


class Model(nn.Module):
    """A model of three layers. The embedding table is also the output matrix, which is named first or last."""

    def __init__(self, output_first=False):
        super().__init__()
        if output_first:
            self.output = nn.Linear(4, 9)
        self.embeddings = nn.Module()
        self.embeddings.word = nn.Embedding(9, 4)
        self.embeddings.norm = nn.LayerNorm(4)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(Block() for _ in range(3))
        if not output_first:
            self.output = nn.Linear(4, 9)
        self.output.weight = self.embeddings.word.weight
        self.head = nn.Linear(4, 2)

    def depth_of(self, name):
        parts = name.split(".")
        return 0 if parts[0] == "embeddings" else 1 + int(parts[2]) if parts[0] == "encoder" else math.inf


class Whole(nn.Module):
    """A model that contains another model."""

    def __init__(self):
        super().__init__()
        self.bert = Model()

    def depth_of(self, name):
        return self.bert.depth_of(name.removeprefix("bert."))


def by_name(groups):
    return {
        name: (group["scale"], group["weight_decay"])
        for group in groups
        for name, _ in zip(group["names"], group["params"], strict=True)
    }


def test_decay_is_for_matrices_and_not_for_biases_and_gains():
    model = Model()
    for name, (scale, decay) in by_name(parameter_groups(model, weight_decay=0.1)).items():
        assert scale == 1
        assert decay == (0.0 if name.endswith(("bias", "gain", "norm.weight")) else 0.1), name


@pytest.mark.parametrize("output_first", [False, True])
def test_a_tied_table_is_one_parameter_and_a_table(output_first):
    model = Model(output_first)
    groups = parameter_groups(model, 0.1, embedding_learning_rate_scale=0.25)
    tensors = [parameter for group in groups for parameter in group["params"]]
    assert len(tensors) == len(list(model.parameters())) == len({id(tensor) for tensor in tensors})
    (table,) = [group for group in groups if any(p is model.embeddings.word.weight for p in group["params"])]
    assert (table["scale"], table["weight_decay"], len(table["params"])) == (0.25, 0.1, 1)
    AdamW(groups)


def test_low_layers_learn_more_slowly_than_high_ones_and_the_head_at_the_full_learning_rate():
    scales = by_name(parameter_groups(Model(), 0.1, embedding_learning_rate_scale=0.25, layer_decay=0.5))
    for i, scale in enumerate((0.25, 0.5, 1.0)):
        assert scales[f"encoder.layers.{i}.project.weight"] == (scale, 0.1)
        assert scales[f"encoder.layers.{i}.norm.gain"] == (scale, 0.0)
    assert scales["embeddings.word.weight"] == (0.25 * 0.125, 0.1)
    assert scales["embeddings.norm.weight"] == (0.125, 0.0)
    assert scales["head.weight"] == (1.0, 0.1)


def test_layers_are_found_inside_a_larger_model_and_frozen_parameters_left_out():
    whole = Whole()
    whole.bert.head.requires_grad_(False)
    scales = by_name(parameter_groups(whole, layer_decay=0.5))
    assert scales["bert.encoder.layers.0.project.weight"][0] == 0.25
    assert scales["bert.embeddings.norm.bias"][0] == 0.125
    assert not any("head" in name for name in scales)
    whole.requires_grad_(False)
    with pytest.raises(InputError, match="frozen"):
        AdamW(parameter_groups(whole))


def test_scales_reach_the_step_and_names_reach_the_state():
    model = Model()
    optimizer = SGD(parameter_groups(model, embedding_learning_rate_scale=0.0), momentum=0.5)
    before = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(0.1)
    assert torch.equal(model.embeddings.word.weight, before.embeddings.word.weight)
    torch.testing.assert_close(model.head.weight, before.head.weight - 0.1)
    names = {name for name, _ in model.named_parameters()}
    assert optimizer.state().keys() == {"steps"} | {f"m.{name}" for name in names}


@pytest.mark.parametrize(
    "wrong",
    [{"weight_decay": -1.0}, {"embedding_learning_rate_scale": -1.0}, {"layer_decay": 0.0}, {"layer_decay": 1.1}],
)
def test_impossible_groups_are_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=f"^{name} must be .*, not {value}"):
        parameter_groups(Model(), **wrong)


def test_layer_decay_needs_a_model_that_knows_its_depths():
    parameter_groups(nn.Linear(2, 3), layer_decay=1.0)
    with pytest.raises(InputError, match="layer_decay needs a model .*: Linear has no depth_of"):
        parameter_groups(nn.Linear(2, 3), layer_decay=0.5)


@pytest.mark.parametrize("max_norm", [0.5, 1000.0])
def test_F03_clipping_equals_pytorch(max_norm):
    ours, theirs = fresh_parameters(), fresh_parameters()
    for parameters in (ours, theirs):
        set_gradients(parameters, 2)
    norm = clip_gradients(iter(ours), max_norm)
    assert norm == pytest.approx(nn.utils.clip_grad_norm_(theirs, max_norm).item(), abs=1e-12)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, atol=1e-12, rtol=0)
    after = math.sqrt(sum(p.grad.square().sum().item() for p in ours if p.grad is not None))
    assert after == pytest.approx(min(norm, max_norm), rel=1e-5)


def test_clipping_nothing_and_clipping_what_is_not_finite():
    parameters = fresh_parameters()
    assert clip_gradients(parameters, 1.0) == 0
    set_gradients(parameters, 0)
    parameters[0].grad[0, 0] = math.nan
    assert math.isnan(clip_gradients(parameters, 1.0))
    with pytest.raises(InputError, match="max_norm is 0.0"):
        clip_gradients(parameters, 0.0)


SHAPE = TransformerConfig(vocab_size=13, width=6, layers=2, heads=3, feed_forward=10, max_length=9)


@pytest.mark.parametrize(
    ("model", "heads"),
    [
        (lambda: BertForPretraining(SHAPE), ("pooler", "mlm_head", "nsp_head")),
        (lambda: Classifier(Bert(SHAPE), TextHeadConfig(("a", "b"), pooling="cls")), ("pooler", "head")),
        (lambda: Classifier(Bert(SHAPE), TokenHeadConfig(("a", "b"))), ("head",)),
        (lambda: Classifier(LSTMEncoder(LSTMConfig(13, 3, 4)), TextHeadConfig(("a", "b"))), ("head",)),
        (
            lambda: Classifier(LSTMEncoder(LSTMConfig(13, 3, 4, bidirectional=True)), TokenHeadConfig(("a", "b"))),
            ("head",),
        ),
    ],
)
def test_layer_decay_follows_the_depth_that_a_model_says(model, heads):
    model = model()
    scales = by_name(parameter_groups(model, 0.1, embedding_learning_rate_scale=0.125, layer_decay=0.5))
    assert scales.keys() == {name for name, _ in model.named_parameters()}
    ways = 1 + getattr(model.config, "bidirectional", False)
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        if parts[0] in heads:
            wanted = 1.0
        elif "stack" in parts or "lstm" in parts:  # encoder.stack.layers.0.… and encoder.lstm.cells.0.…
            layer = int(parts[3]) // (ways if "lstm" in parts else 1)
            wanted = (0.5, 1.0)[layer]
        else:
            table = isinstance(model.get_submodule(name.rpartition(".")[0]), nn.Embedding)
            wanted = 0.25 * (0.125 if table else 1.0)
        assert scales[name] == (wanted, 0.1 if parameter.ndim > 1 else 0.0), name


def test_layer_decay_for_a_model_that_says_no_depth_is_refused():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    assert len(parameter_groups(model)) == 1
    with pytest.raises(InputError, match="says how deep its parameters lie: Sequential has no depth_of"):
        parameter_groups(model, layer_decay=0.5)
