import math

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from minilm.errors import InputError
from minilm.layers.dropout import use_generator
from minilm.models.heads import Classifier, TextHeadConfig, TokenHeadConfig
from minilm.models.lstm import LSTMConfig, LSTMEncoder, LSTMLanguageModel

B, T, V, E, H, K = 5, 7, 11, 3, 4, 6
LENGTHS = [4, 7, 1, 6, 2]
SMALL = dict(vocab_size=V, embedding=E, hidden=H)
LABELS = tuple("abcdef")
KINDS = ["language model", "mean", "last", "tags"]  # the language model, and the classifier's heads


def build(kind, config, generator=None):
    """A model of one of the kinds, with K labels and no dropout except that of its config."""
    if kind == "language model":
        return LSTMLanguageModel(config, generator)
    head = TokenHeadConfig(LABELS, config.dropout) if kind == "tags" else TextHeadConfig(LABELS, config.dropout, kind)
    return Classifier(LSTMEncoder(config, generator), head, generator)


def logits_of(model, ids, attention_mask=None):
    return model(ids, attention_mask=attention_mask)


class Twin(nn.Module):
    """The same model, built from PyTorch's own layers."""

    def __init__(self, config, outputs, pooling):
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.embedding, padding_idx=config.pad_id)
        self.lstm = nn.LSTM(
            config.embedding, config.hidden, config.layers, batch_first=True, bidirectional=config.bidirectional
        )
        self.dense = nn.Linear(config.hidden * (1 + config.bidirectional), outputs)
        self.pooling = pooling

    def forward(self, ids, attention_mask):
        lengths = attention_mask.sum(dim=1)
        packed = pack_padded_sequence(self.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        packed, (h, _) = self.lstm(packed)
        x, _ = pad_packed_sequence(packed, batch_first=True, total_length=ids.size(1))
        if self.pooling == "mean":
            x = torch.stack([row[:length].mean(dim=0) for row, length in zip(x, lengths)])
        elif self.pooling == "last":
            x = torch.cat([h[-2], h[-1]], dim=-1) if self.lstm.bidirectional else h[-1]
        return self.dense(x)


def pairs(model, twin):
    """Pairs of our parameters and the twin's, in the same order; PyTorch's second bias is left out."""
    theirs = [twin.embedding.weight]
    for layer in range(twin.lstm.num_layers):
        for way in ["", "_reverse"][: 1 + twin.lstm.bidirectional]:
            theirs += [getattr(twin.lstm, f"{name}_l{layer}{way}") for name in ("weight_ih", "weight_hh", "bias_ih")]
    theirs += [twin.dense.weight, twin.dense.bias]
    return list(zip(model.parameters(), theirs, strict=True))


def batch(rng):
    attention_mask = torch.arange(T) < torch.tensor(LENGTHS)[:, None]
    return torch.randint(1, V, (B, T), generator=rng) * attention_mask, attention_mask


@pytest.mark.parametrize(
    ("kind", "bidirectional"),
    [("language model", False), *[(kind, both) for kind in KINDS[1:] for both in (False, True)]],
)
def test_F17_model_equals_its_twin_of_pytorch(kind, bidirectional):
    rng = torch.Generator().manual_seed(5)
    config = LSTMConfig(**SMALL, bidirectional=bidirectional)
    outputs = V if kind == "language model" else K
    model, twin = build(kind, config, rng).double(), Twin(config, outputs, kind).double()
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            if "bias_hh" in name:
                parameter.zero_()
        for ours, theirs in pairs(model, twin):
            theirs.copy_(ours.normal_(generator=rng))
    ids, attention_mask = batch(rng)
    logits, logits_ = logits_of(model, ids, attention_mask), twin(ids, attention_mask)
    assert logits.shape == ((B, K) if kind in ("mean", "last") else (B, T, outputs))
    upstream = torch.randn(logits.shape, generator=rng, dtype=torch.float64)
    logits.backward(upstream)
    logits_.backward(upstream)
    torch.testing.assert_close(logits, logits_, atol=1e-10, rtol=0)
    for ours, theirs in pairs(model, twin):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-10, rtol=0)


def test_F17_defaults_are_the_documents():
    model = LSTMLanguageModel()
    assert model.encoder.embedding.weight.shape == (1000, 64)
    assert [(cell.W_x.shape, cell.W_h.shape) for cell in model.encoder.lstm.cells] == [
        ((4 * 128, 64), (4 * 128, 128)),
        ((4 * 128, 128), (4 * 128, 128)),
    ]
    assert model.head.weight.shape == (1000, 128)
    counted = {
        "encoder.embedding": 1000 * 64,
        "encoder.lstm": 4 * 128 * (64 + 128 + 1) + 4 * 128 * (128 + 128 + 1),
        "head": 1000 * (128 + 1),
    }
    assert {name: sum(p.numel() for p in model.get_submodule(name).parameters()) for name in counted} == counted
    assert sum(p.numel() for p in model.parameters()) == 423_400


def test_F17_language_model_sees_no_later_token():
    rng = torch.Generator().manual_seed(6)
    model = LSTMLanguageModel(LSTMConfig(**SMALL), rng)
    ids = torch.randint(1, V, (B, T), generator=rng)
    changed = ids.clone()
    changed[:, 4] = ids[:, 4] % (V - 1) + 1
    difference = (model(ids) - model(changed)).abs().amax(dim=(0, 2))
    assert difference[:4].count_nonzero() == 0 and difference[4:].count_nonzero() == 3
    with pytest.raises(InputError, match="cannot be bidirectional"):
        LSTMLanguageModel(LSTMConfig(bidirectional=True))


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_mask_nothing_is_padding(kind):
    rng = torch.Generator().manual_seed(7)
    model, ids = build(kind, LSTMConfig(**SMALL), rng), torch.randint(1, V, (B, T), generator=rng)
    all_tokens = torch.ones(B, T, dtype=torch.bool)
    torch.testing.assert_close(logits_of(model, ids), logits_of(model, ids, all_tokens))


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_text_without_tokens_gets_finite_logits(pooling):
    model = build(pooling, LSTMConfig(**SMALL))
    logits = logits_of(model, torch.zeros(2, T, dtype=torch.long), torch.zeros(2, T, dtype=torch.bool))
    torch.testing.assert_close(logits, model.head.bias.expand(2, K))


def test_a_token_after_padding_is_refused():
    model, attention_mask = build("tags", LSTMConfig(**SMALL)), torch.tensor([[True, False, True]])
    with pytest.raises(InputError, match="put the padding last"):
        logits_of(model, torch.ones(1, 3, dtype=torch.long), attention_mask)


@pytest.mark.parametrize("kind", KINDS)
def test_one_generator_draws_all_first_weights(kind):
    def weights(seed):
        return [p.detach() for p in build(kind, LSTMConfig(**SMALL), torch.Generator().manual_seed(seed)).parameters()]

    before = torch.get_rng_state()
    first, again, other = weights(1), weights(1), weights(2)
    assert torch.equal(before, torch.get_rng_state())  # the global generator is unchanged
    for one, same, different in zip(first, again, other):
        assert torch.equal(one, same)
        assert one.ndim == 1 or not torch.equal(one, different)
    assert first[0][0].count_nonzero() == 0 and first[0][1:].count_nonzero() == (V - 1) * E


def test_word_vectors_can_be_copied_in_and_trained():
    model = build("mean", LSTMConfig(**SMALL))
    vectors = torch.randn(V, E, generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        model.encoder.token_table.weight.copy_(vectors)
    model(torch.tensor([[3, 0, 4]])).backward(torch.randn(1, K, generator=torch.Generator().manual_seed(9)))
    moved = model.encoder.embedding.weight.grad.abs().sum(dim=1).nonzero().flatten()
    assert moved.tolist() == [3, 4]  # padding's row does not move, even without an attention mask


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_drawn_from_the_generator_and_rests_in_evaluation(kind):
    model = build(kind, LSTMConfig(**SMALL, dropout=0.5))
    ids = torch.randint(1, V, (B, T), generator=torch.Generator().manual_seed(9))
    for cell in model.encoder.lstm.cells:  # with biases of 0, an input of only zeros would give zeros
        nn.init.ones_(cell.b)
    dropped = {}
    for name in ("encoder.lstm", "head"):  # the inputs of the LSTM and of the head
        part = model.get_submodule(name)
        part.register_forward_pre_hook(lambda _, args, name=name: dropped.update({name: (args[0] == 0).any().item()}))

    def run(seed):
        use_generator(model, torch.Generator().manual_seed(seed))
        return model(ids)

    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))
    assert dropped == {"encoder.lstm": True, "head": True}
    model.eval()
    assert torch.equal(run(1), run(2))
    assert dropped == {"encoder.lstm": False, "head": False}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(vocab_size=0), "vocab_size must be at least 1, not 0"),
        (dict(embedding=0), "embedding must be at least 1, not 0"),
        (dict(hidden=-3), "hidden must be at least 1, not -3"),
        (dict(layers=0), "layers must be at least 1, not 0"),
        (dict(layers=1001), "layers must be at most 1,000, not 1,001"),
        (dict(hidden=10**18), "hidden must be at most 10,000,000, not 1[0,]+"),
        (dict(dropout=1.0), "dropout 1.0"),
        (dict(pad_id=1000), "pad_id 1000 is not in the vocabulary of 1000 tokens"),
    ],
)
def test_a_wrong_size_is_named(wrong, message):
    with pytest.raises(InputError, match=message):
        LSTMConfig(**wrong)


# ---- what the heads need to know about the encoder


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_F15_last_hidden_is_the_final_state_of_the_recurrence(bidirectional, ragged):
    rng = torch.Generator().manual_seed(11)
    encoder = LSTMEncoder(LSTMConfig(**SMALL, layers=3, bidirectional=bidirectional), rng).double()
    ids, attention_mask = batch(rng)
    mask = attention_mask if ragged else None
    hidden = encoder(ids, attention_mask=mask).hidden
    assert hidden.shape == (B, T, encoder.output_size) and encoder.output_size == H * (1 + bidirectional)
    _, (h, _) = encoder.lstm(encoder.embedding(ids), torch.tensor(LENGTHS) if ragged else None)  # [R, B, H]
    final = torch.cat([h[-2], h[-1]], dim=-1) if bidirectional else h[-1]
    torch.testing.assert_close(encoder.last_hidden(hidden, mask), final, atol=0, rtol=0)
    one_early = hidden[torch.arange(B), (torch.tensor(LENGTHS) - 2).clamp(min=0)]
    assert (encoder.last_hidden(hidden, mask) - one_early).abs().max() > 1e-3


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", ["mean", "last", "tags"])
def test_depth_of_every_parameter(kind, bidirectional):
    model = build(kind, LSTMConfig(**SMALL, layers=3, bidirectional=bidirectional))
    ways = 1 + bidirectional
    expected = {"encoder.embedding.weight": 0, "head.weight": math.inf, "head.bias": math.inf}
    for cell in range(3 * ways):  # layer 0 forwards, layer 0 backwards, layer 1 forwards …
        expected |= {f"encoder.lstm.cells.{cell}.{name}": 1 + cell // ways for name in ("W_x", "W_h", "b")}
    assert {name: model.depth_of(name) for name, _ in model.named_parameters()} == expected


def test_pooling_at_cls_is_refused_and_segments_change_nothing():
    config = LSTMConfig(**SMALL)
    with pytest.raises(InputError, match="pooling 'cls' does not work with LSTMEncoder: choose mean"):
        build("cls", config)
    rng = torch.Generator().manual_seed(12)
    encoder, (ids, attention_mask) = LSTMEncoder(config, rng), batch(rng)
    plain, with_segments = (encoder(ids, segments, attention_mask).hidden for segments in (None, ids % 2))
    assert torch.equal(plain, with_segments)
