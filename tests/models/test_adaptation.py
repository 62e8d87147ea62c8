"""The frugal ways against `peft` on the same weights, in value and gradient; what is trained; what is refused."""

import copy
import math

import pytest
import torch
from peft import AdaLoraConfig, LoraConfig, PromptTuningConfig, TaskType, get_peft_model, inject_adapter_in_model
from peft.tuners.adalora.layer import RankAllocator
from torch import nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.layers.bottleneck import BottleneckLinear
from minilm.models.adaptation import (
    Adaptation,
    adapt,
    adaptive_layers,
    final_rank,
    merge,
    short_name,
    starting_rank,
    trained_weights,
)
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig, parameter_count
from minilm.models.heads import Classifier, TextHeadConfig
from minilm.models.lstm import LSTMConfig, LSTMEncoder
from minilm.pretrained.bert_names import from_hf_names
from minilm.pretrained.weights import load_weights
from minilm.training.objectives import Classification
from minilm.training.rank_budget import EVERY, Importance, RankBudget, budget_at

V, C, LAYERS, HEADS, FF, T, K = 17, 12, 3, 2, 20, 11, 3
SHAPE = TransformerConfig(V, C, LAYERS, HEADS, FF, max_length=T, dropout=0.0)
IDS = torch.tensor([[2, 9, 4, 3, 0, 0], [2, 5, 6, 7, 8, 3], [2, 16, 3, 0, 0, 0]])
MASK = IDS != 0
Y = torch.tensor([0, 2, 1])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(model, seed=1, size=0.5):
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(size * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model.double()


def classifier(pooling="mean", **changes):
    return drawn(
        Classifier(
            Bert(SHAPE if not changes else TransformerConfig(**{**vars(SHAPE), **changes})),
            TextHeadConfig(("a", "b", "c"), 0.0, pooling),
        ).eval()
    )


def adapted(tune, pooling="mean", move=True, **options):
    """The classifier, adapted; with `move`, what was added is drawn anew, so that it has an effect."""
    model = classifier(pooling)
    adapt(model, Adaptation(tune, **options), seeded(3))
    if move:
        generator = seeded(4)
        with torch.no_grad():
            for name, parameter in trained_weights(model).items():
                if name.endswith((".A", ".B", ".P", ".Q", ".lam", "prompts")) or ".up." in name:
                    parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def loss_of(model):
    return F.cross_entropy(model(IDS, None, MASK), Y)


def test_F32_low_rank_equals_peft_in_value_and_gradient():
    ours, theirs = adapted("low-rank", rank=2, alpha=5.0, where="everywhere"), classifier()
    matrices = ["to_qkv", "attention.output", "inner", "outer"]
    config = LoraConfig(r=2, lora_alpha=5, target_modules=matrices, init_lora_weights=False)
    theirs = inject_adapter_in_model(config, theirs).double()
    given, twins = dict(ours.named_modules()), {}
    for name, module in theirs.named_modules():
        if hasattr(module, "lora_A"):
            twins[name] = module
            with torch.no_grad():
                module.lora_A["default"].weight.copy_(given[name].A)
                module.lora_B["default"].weight.copy_(given[name].B)
    assert len(twins) == 4 * LAYERS
    torch.testing.assert_close(ours(IDS, None, MASK), theirs(IDS, None, MASK), atol=1e-12, rtol=0)
    loss_of(ours).backward()
    loss_of(theirs).backward()
    for name, module in twins.items():
        torch.testing.assert_close(given[name].A.grad, module.lora_A["default"].weight.grad, atol=1e-12, rtol=0)
        torch.testing.assert_close(given[name].B.grad, module.lora_B["default"].weight.grad, atol=1e-12, rtol=0)
        assert given[name].A.grad.abs().max() > 1e-6 and given[name].linear.weight.grad is None


def adaptive_twins(rank=2):
    """Our adaptive model and theirs with the same weights. Theirs divides by r + 1e-5, so its r is set that much lower."""
    ours, theirs = adapted("adaptive", rank=rank, alpha=5.0), classifier()
    r = math.ceil(1.5 * rank)
    config = AdaLoraConfig(
        init_r=r,
        target_r=rank,
        lora_alpha=5,
        target_modules=["to_qkv", "attention.output"],
        total_step=100,
        beta1=0.85,
        beta2=0.85,
    )
    theirs = inject_adapter_in_model(config, theirs).double()
    layers, twins = adaptive_layers(ours), {}
    for name, module in theirs.named_modules():
        if hasattr(module, "lora_E"):
            twins[name] = module
            with torch.no_grad():
                module.lora_A["default"].copy_(layers[name].Q)
                module.lora_E["default"].copy_(layers[name].lam[:, None])
                module.lora_B["default"].copy_(layers[name].P)
                module.ranknum["default"].fill_(r - 1e-5)
    assert twins.keys() == layers.keys() and len(layers) == 2 * LAYERS
    return ours, theirs, layers, twins, config


def test_F32_the_adaptive_form_equals_peft_in_value_gradient_importance_and_choice():
    ours, theirs, layers, twins, config = adaptive_twins()
    allocator, importance = RankAllocator(theirs, config, "default"), Importance(layers)
    for step in range(3):
        torch.testing.assert_close(ours(IDS, None, MASK), theirs(IDS, None, MASK), atol=1e-11, rtol=0)
        ours.zero_grad()
        theirs.zero_grad()
        (loss_of(ours) * (step + 1)).backward()
        (loss_of(theirs) * (step + 1)).backward()
        allocator.update_ipt(theirs)
        for name, layer in layers.items():
            torch.testing.assert_close(layer.Q.grad, twins[name].lora_A["default"].grad, atol=1e-11, rtol=0)
            torch.testing.assert_close(layer.P.grad, twins[name].lora_B["default"].grad, atol=1e-11, rtol=0)
            torch.testing.assert_close(layer.lam.grad, twins[name].lora_E["default"].grad[:, 0], atol=1e-11, rtol=0)
            for part in ("P", "lam", "Q"):
                importance.add((name, part), getattr(layer, part))
    budget = RankBudget(Classification(), ours)
    budget.importance = importance
    with torch.no_grad():
        stay = budget.chosen(7)
        allocator.mask_to_budget(theirs, 7)
    kept = {name: twins[name].lora_E["default"][:, 0] != 0 for name in layers}
    assert sum(int(s.sum()) for s in stay.values()) == 7
    assert all(torch.equal(stay[name], kept[name]) for name in layers)
    assert len({int(s.sum()) for s in stay.values()}) > 1  # the layers have different ranks


def test_F32_the_budget_falls_by_the_third_power_as_in_peft():
    config = AdaLoraConfig(init_r=6, target_r=4, total_step=1000, tinit=100, tfinal=400, target_modules=["to_qkv"])
    allocator = RankAllocator(inject_adapter_in_model(config, classifier()), config, "default")
    for step in (0, 50, 100, 101, 233, 350, 500, 599, 601, 999):
        assert budget_at(step / 1000, 6 * LAYERS, 4 * LAYERS) == allocator.budget_schedule(step)[0]


def test_F32_training_with_a_budget_ends_with_that_many_triplets_and_the_same_answers():
    model = adapted("adaptive", move=False, rank=2)
    objective = RankBudget(Classification(), model)
    batch = Batch(IDS, torch.zeros_like(IDS), MASK, labels=Y)
    parameters = list(trained_weights(model).values())
    for step in range(2 * EVERY):
        loss = objective.at(step / (2 * EVERY)).step(model, batch).loss
        loss.backward()
        with torch.no_grad():
            for parameter in parameters:
                parameter -= 0.1 * parameter.grad
                parameter.grad = None
    objective.prune()
    before = model(IDS, None, MASK)
    objective.finish()
    torch.testing.assert_close(model(IDS, None, MASK), before, atol=1e-12, rtol=0)
    assert sum(len(layer.lam) for layer in adaptive_layers(model).values()) == 2 * 2 * LAYERS == objective.end


def test_F33_learned_prompts_equal_peft_in_value_and_gradient():
    P = 4
    shape = BertConfig(
        vocab_size=V,
        hidden_size=C,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=FF,
        max_position_embeddings=T,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )
    theirs = drawn(BertModel(shape, add_pooling_layer=False)).eval()
    model = Classifier(Bert(SHAPE), TextHeadConfig(("a", "b", "c"), 0.0)).double().eval()
    load_weights(model, from_hf_names(dict(theirs.named_parameters())), "the twin", ("head.",))
    adapt(model, Adaptation("prompts", prompt_length=P), seeded(3))
    theirs = get_peft_model(
        theirs, PromptTuningConfig(task_type=TaskType.FEATURE_EXTRACTION, num_virtual_tokens=P)
    ).eval()
    table = theirs.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        theirs.double()
        table = theirs.prompt_encoder["default"].embedding.weight
        table.copy_(model.encoder.prompts)
    upstream = torch.randn(*IDS.shape, C, generator=seeded(5), dtype=torch.float64)
    hidden = model.encoder(IDS, None, MASK).hidden
    want = theirs(input_ids=IDS, attention_mask=MASK.long()).last_hidden_state[:, P:]
    torch.testing.assert_close(hidden, want, atol=1e-12, rtol=0)
    (d,) = torch.autograd.grad((hidden * upstream).sum(), [model.encoder.prompts])
    (dw,) = torch.autograd.grad((want * upstream).sum(), [table])
    torch.testing.assert_close(d, dw, atol=1e-11, rtol=0)
    assert d.abs().max() > 1e-3


@pytest.mark.parametrize("positions", ["learned", "relative", "mpnet", "rotary"])
def test_F33_with_prompts_a_text_gets_the_same_vectors_alone_and_in_a_padded_batch(positions):
    model = classifier(positions=positions)
    adapt(model, Adaptation("prompts", prompt_length=3), seeded(3))
    together = model.encoder(IDS, torch.zeros_like(IDS), MASK).hidden
    alone = model.encoder(IDS[:1, :4]).hidden
    torch.testing.assert_close(together[:1, :4], alone, atol=1e-12, rtol=0)
    place = torch.tensor([[1], [4], [2]])
    wanted = model.encoder(IDS, None, MASK, query_positions=place).hidden
    torch.testing.assert_close(wanted[:, 0], together[torch.arange(3), place[:, 0]], atol=1e-12, rtol=0)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("tune", ["low-rank", "adaptive"])
def test_F32_merged_equals_unmerged(tune, pooling):
    model = adapted(tune, pooling, rank=2, where="everywhere")
    before, plain = model(IDS, None, MASK), classifier(pooling)
    merge(model)
    assert {name for name, _ in model.named_parameters()} == {name for name, _ in plain.named_parameters()}
    torch.testing.assert_close(model(IDS, None, MASK), before, atol=1e-12, rtol=0)
    assert (before - plain(IDS, None, MASK)).abs().max() > 1e-3


@pytest.mark.parametrize("tune", ["adapters", "low-rank", "adaptive", "biases", "top", "head"])
def test_F32_it_begins_with_the_output_of_the_base(tune):
    assert torch.equal(adapted(tune, move=False)(IDS, None, MASK), classifier()(IDS, None, MASK))


def test_F32_an_adapter_equals_its_formula_in_value_and_gradient():
    linear, m, generator = nn.Linear(5, 7, dtype=torch.float64), 3, seeded(1)
    ours = BottleneckLinear(linear, m, generator)
    parts = [ours.down.weight, ours.down.bias, ours.up.weight, ours.up.bias]
    with torch.no_grad():
        for part in parts:
            part.copy_(torch.randn(part.shape, generator=generator, dtype=torch.float64))
    x = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 4, 7, generator=generator, dtype=torch.float64)
    h = x @ linear.weight.T + linear.bias
    a = h @ parts[0].T + parts[1]
    want = h + (a * 0.5 * (1 + torch.erf(a / math.sqrt(2)))) @ parts[2].T + parts[3]
    torch.testing.assert_close(ours(x), want, atol=1e-12, rtol=0)
    got = torch.autograd.grad(ours(x), [x, *parts], upstream)
    torch.testing.assert_close(got, torch.autograd.grad(want, [x, *parts], upstream), atol=1e-12, rtol=0)


HEAD = K * C + K
TRAINED = {
    "head": HEAD,
    "top": HEAD + 3 * C * C + 3 * C + C * C + C + 2 * C * FF + C + FF + 4 * C,
    "biases": HEAD + C + LAYERS * (3 * C + C + FF + C + 2 * C),
    "adapters": HEAD + LAYERS * (2 * (2 * 8 * C + 8 + C) + 4 * C),
    "low-rank": HEAD + LAYERS * 8 * (4 * C + 2 * C),
    "prompts": HEAD + 5 * C,
}


@pytest.mark.parametrize("tune", TRAINED)
def test_F32_exactly_the_numbers_of_the_way_are_trained(tune):
    model = adapted(tune, move=False, **({"prompt_length": 5} if tune == "prompts" else {}))
    assert parameter_count(model) == TRAINED[tune] == sum(t.numel() for t in trained_weights(model).values())
    loss_of(model).backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} <= trained_weights(model).keys()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (dict(tune="lora"), "tune 'lora' is not known: choose one of all, head, top"),
        (dict(tune="head", rank=4), "--rank is for --tune low-rank and adaptive, and this is head: leave it out"),
        (dict(tune="low-rank", rank=0), "--rank must be above 0, not 0"),
        (dict(tune="low-rank", where="here"), "where 'here' is not known: choose attention or everywhere"),
        (
            dict(tune="low-rank", rank=13),
            r"rank 13 is larger than a matrix: to_qkv of layer 1 is 36 × 12, so choose at most 12",
        ),
        (dict(tune="adaptive", rank=9), r"rank 14, with which rank 9 starts, is larger than a matrix: .* at most 7"),
        (dict(tune="top", top_layers=4), "--top-layers 4 is more than the 3 layers"),
        (
            dict(tune="prompts", prompt_length=9),
            "9 prompts leave no room: the model takes 11 tokens.*--prompt-length 8 or less",
        ),
    ],
)
def test_F32_what_does_not_fit_is_one_sentence(given, says):
    with pytest.raises(InputError, match=says):
        adapt(classifier(), Adaptation(**given), seeded())


def test_F32_an_lstm_takes_the_head_alone_and_merging_needs_a_change_of_weights():
    lstm = Classifier(LSTMEncoder(LSTMConfig(V, 6)), TextHeadConfig(("a", "b")))
    with pytest.raises(InputError, match="tune 'low-rank' needs a Transformer, and this is a LSTMEncoder"):
        adapt(lstm, Adaptation("low-rank"), seeded())
    adapt(lstm, Adaptation("head"), seeded())
    assert set(trained_weights(lstm)) == {"head.weight", "head.bias"}
    for tune in ("adapters", "prompts"):
        with pytest.raises(InputError, match=f"{tune} cannot be merged"):
            merge(adapted(tune))


def test_F32_prompts_leave_fewer_tokens_for_a_text_and_the_names_are_short():
    model = adapted("prompts", prompt_length=5)
    assert model.config.max_length == T - 5 and model.encoder.config.max_length == T
    with pytest.raises(InputError, match="a text of 12 tokens does not fit"):
        model(torch.ones(1, 7, dtype=torch.long))
    assert short_name("encoder.stack.layers.2.attention.to_qkv") == "2.to_qkv"


def test_F32_the_same_generator_draws_the_same():
    a, b = (adapted("adaptive", move=False, rank=2) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert copy.deepcopy(a)(IDS, None, MASK).isfinite().all()


def test_F32_the_budget_knows_the_rank_that_was_asked_for():
    for rank in range(1, 40):
        assert starting_rank(rank) == math.ceil(1.5 * rank) and final_rank(starting_rank(rank)) == rank
