import json

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from minilm.errors import InputError
from minilm.layers.dropout import use_generator
from minilm.models.lstm import LSTMClassifier, LSTMConfig, LSTMLanguageModel, LSTMTagger

B, T, V, E, H, K = 5, 7, 11, 3, 4, 6
LENGTHS = [4, 7, 1, 6, 2]
SMALL = dict(vocab_size=V, embedding=E, hidden=H, classes=K)


class Twin(nn.Module):
    """The same model from PyTorch's own parts."""

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
        words, _ = pad_packed_sequence(packed, batch_first=True, total_length=ids.size(1))
        if self.pooling == "mean":
            words = torch.stack([row[:length].mean(dim=0) for row, length in zip(words, lengths)])
        elif self.pooling == "last":
            words = torch.cat([h[-2], h[-1]], dim=-1) if self.lstm.bidirectional else h[-1]
        return self.dense(words)


def pairs(model, twin):
    """Our parameters beside the twin's, in the same order; PyTorch's second bias is left out."""
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
    ("kind", "bidirectional", "pooling"),
    [
        (LSTMLanguageModel, False, None),
        *[(LSTMClassifier, both, pooling) for both in (False, True) for pooling in ("mean", "last")],
        *[(LSTMTagger, both, None) for both in (False, True)],
    ],
)
def test_F17_model_equals_its_twin_of_pytorch(kind, bidirectional, pooling):
    rng = torch.Generator().manual_seed(5)
    config = LSTMConfig(**SMALL, bidirectional=bidirectional, pooling=pooling or "mean")
    outputs = V if kind is LSTMLanguageModel else K
    model, twin = kind(config, rng).double(), Twin(config, outputs, pooling).double()
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            if "bias_hh" in name:
                parameter.zero_()
        for ours, theirs in pairs(model, twin):
            theirs.copy_(ours.normal_(generator=rng))
    ids, attention_mask = batch(rng)
    logits, logits_ = model(ids, attention_mask), twin(ids, attention_mask)
    assert logits.shape == ((B, K) if kind is LSTMClassifier else (B, T, outputs))
    upstream = torch.randn(logits.shape, generator=rng, dtype=torch.float64)
    logits.backward(upstream)
    logits_.backward(upstream)
    torch.testing.assert_close(logits, logits_, atol=1e-10, rtol=0)
    for ours, theirs in pairs(model, twin):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-10, rtol=0)


def test_F17_defaults_are_the_documents():
    model = LSTMLanguageModel()
    assert model.embedding.weight.shape == (1000, 64)
    assert [(cell.W_x.shape, cell.W_h.shape) for cell in model.lstm.cells] == [
        ((4 * 128, 64), (4 * 128, 128)),
        ((4 * 128, 128), (4 * 128, 128)),
    ]
    assert model.head.weight.shape == (1000, 128)
    counted = {
        "embedding": 1000 * 64,
        "lstm": 4 * 128 * (64 + 128 + 1) + 4 * 128 * (128 + 128 + 1),
        "head": 1000 * (128 + 1),
    }
    assert {name: sum(p.numel() for p in getattr(model, name).parameters()) for name in counted} == counted
    assert sum(p.numel() for p in model.parameters()) == 423_400


def test_F17_language_model_sees_no_later_word():
    rng = torch.Generator().manual_seed(6)
    model = LSTMLanguageModel(LSTMConfig(**SMALL), rng)
    ids = torch.randint(1, V, (B, T), generator=rng)
    changed = ids.clone()
    changed[:, 4] = ids[:, 4] % (V - 1) + 1
    difference = (model(ids) - model(changed)).abs().amax(dim=(0, 2))
    assert difference[:4].count_nonzero() == 0 and difference[4:].count_nonzero() == 3
    with pytest.raises(InputError, match="cannot be bidirectional"):
        LSTMLanguageModel(LSTMConfig(bidirectional=True))


@pytest.mark.parametrize("kind", [LSTMLanguageModel, LSTMClassifier, LSTMTagger])
def test_without_a_mask_every_word_is_real(kind):
    rng = torch.Generator().manual_seed(7)
    model, ids = kind(LSTMConfig(**SMALL), rng), torch.randint(1, V, (B, T), generator=rng)
    torch.testing.assert_close(model(ids), model(ids, torch.ones(B, T, dtype=torch.bool)))


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_text_without_words_gets_finite_logits(pooling):
    model = LSTMClassifier(LSTMConfig(**SMALL, pooling=pooling))
    logits = model(torch.zeros(2, T, dtype=torch.long), torch.zeros(2, T, dtype=torch.bool))
    torch.testing.assert_close(logits, model.head.bias.expand(2, K))


def test_a_word_after_padding_is_refused():
    model, attention_mask = LSTMTagger(LSTMConfig(**SMALL)), torch.tensor([[True, False, True]])
    with pytest.raises(InputError, match="put the padding last"):
        model(torch.ones(1, 3, dtype=torch.long), attention_mask)


@pytest.mark.parametrize("kind", [LSTMLanguageModel, LSTMClassifier, LSTMTagger])
def test_one_generator_draws_all_first_weights(kind):
    def weights(seed):
        return [p.detach() for p in kind(LSTMConfig(**SMALL), torch.Generator().manual_seed(seed)).parameters()]

    before = torch.get_rng_state()
    first, again, other = weights(1), weights(1), weights(2)
    assert torch.equal(before, torch.get_rng_state())  # the global generator was left alone
    for one, same, different in zip(first, again, other):
        assert torch.equal(one, same)
        assert one.ndim == 1 or not torch.equal(one, different)
    assert first[0][0].count_nonzero() == 0 and first[0][1:].count_nonzero() == (V - 1) * E


def test_word_vectors_can_be_copied_in_and_trained():
    model = LSTMClassifier(LSTMConfig(**SMALL))
    vectors = torch.randn(V, E, generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        model.embedding.weight.copy_(vectors)
    model(torch.tensor([[3, 0, 4]])).backward(torch.randn(1, K, generator=torch.Generator().manual_seed(9)))
    moved = model.embedding.weight.grad.abs().sum(dim=1).nonzero().flatten()
    assert moved.tolist() == [3, 4]  # and not the padding's, even where nobody said that it is padding


@pytest.mark.parametrize("kind", [LSTMLanguageModel, LSTMClassifier, LSTMTagger])
def test_dropout_is_drawn_from_the_generator_and_rests_in_evaluation(kind):
    model = kind(LSTMConfig(**SMALL, dropout=0.5))
    ids = torch.randint(1, V, (B, T), generator=torch.Generator().manual_seed(9))
    for cell in model.lstm.cells:  # with biases of 0 an input of zeros alone would give an output of zeros
        nn.init.ones_(cell.b)
    dropped = {}
    for name in ("lstm", "head"):  # what enters the LSTM and what enters the last product
        part = getattr(model, name)
        part.register_forward_pre_hook(lambda _, args, name=name: dropped.update({name: (args[0] == 0).any().item()}))

    def run(seed):
        use_generator(model, torch.Generator().manual_seed(seed))
        return model(ids)

    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))
    assert dropped == {"lstm": True, "head": True}
    model.eval()
    assert torch.equal(run(1), run(2))
    assert dropped == {"lstm": False, "head": False}


def test_config_survives_json():
    config = LSTMConfig(**SMALL, bidirectional=True, dropout=0.25, pooling="last", pad_id=2)
    entries = json.loads(json.dumps(config.to_json()))
    assert entries["model_type"] == "minilm-lstm"
    assert LSTMConfig.from_json({**entries, "id2label": {"0": "negative"}}) == config
    with pytest.raises(InputError, match="model_type 'bert'"):
        LSTMConfig.from_json({**entries, "model_type": "bert"})
    del entries["hidden"], entries["layers"]
    with pytest.raises(InputError, match="lacks hidden, layers"):
        LSTMConfig.from_json(entries)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(vocab_size=0), "vocab_size 0 must be at least 1"),
        (dict(embedding=0), "embedding 0"),
        (dict(hidden=-3), "hidden -3"),
        (dict(layers=0), "layers 0"),
        (dict(layers=1001), "layers 1,001 must be at most 1,000"),
        (dict(hidden=10**18), "hidden 1[0,]+ must be at most 10,000,000"),
        (dict(classes=1), "classes 1 must be at least 2"),
        (dict(dropout=1.0), "dropout 1.0"),
        (dict(pooling="max"), "pooling 'max' is not known"),
        (dict(pad_id=1000), "pad_id 1000 is not in the vocabulary of 1000 words"),
    ],
)
def test_a_wrong_size_is_named(wrong, message):
    with pytest.raises(InputError, match=message):
        LSTMConfig(**wrong)
