"""Explanations of models whose important words are known, gradients by finite differences, and the deletion test itself."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from minilm.errors import InputError
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, EncoderOutput, TextHeadConfig, TokenHeadConfig
from minilm.models.initialisation import initialise
from minilm.text.tokenizer import train_wordpiece
from minilm.training.explain import (
    METHODS,
    Text,
    attention_received,
    attention_rollout,
    deletion_curves,
    deletion_score,
    explain,
    gradient_times_input,
    log_odds,
    occlusion,
    rows_of,
)
from minilm.training.inference import logits_of

LINES = ["the old house stood by the river", "a warm film and a cold ending", "nobody lived in the old house"]
WORDS = sorted({word for line in LINES for word in line.split()})
WEIGHT = {"warm": 2.0, "old": 1.0, "cold": -3.0, "river": 0.5}  # what a word says for the class "good"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text("\n".join(LINES * 5), encoding="utf-8")
    return train_wordpiece([file], vocab_size=140)


class Bag(nn.Module):
    """An encoder whose hidden states are its embeddings: with the mean of all tokens, the log-odds are linear in them."""

    def __init__(self, size):
        super().__init__()
        self.config, self.output_size = SimpleNamespace(max_length=40), 2
        self.token_table = nn.Embedding(size, 2)

    def forward(self, input_ids, token_type_ids=None, attention_mask=None):
        return EncoderOutput(self.token_table(input_ids))


@pytest.fixture(scope="module")
def known(tokenizer):
    """A model in which the log-odds of "good" are the mean of WEIGHT over the tokens, [CLS] and [SEP] included."""
    model = Classifier(Bag(tokenizer.size), TextHeadConfig(("bad", "good"), 0.0))
    with torch.no_grad():
        model.encoder.token_table.weight.zero_()
        for word, weight in WEIGHT.items():
            (ids,) = tokenizer.ids([word])
            assert len(ids) == 1
            model.encoder.token_table.weight[ids[0], 0] = weight
        model.head.weight.copy_(torch.tensor([[0.0, 0], [1, 0]]))
        model.head.bias.zero_()
    return model.eval()


def bert(tokenizer, pooling="mean", dtype=torch.float32):
    config = TransformerConfig(
        tokenizer.size, 12, layers=2, heads=3, feed_forward=20, max_length=24, positions="learned"
    )
    model = Classifier(Bert(config), TextHeadConfig(("bad", "good", "so-so"), pooling=pooling))
    initialise(model, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        model.head.weight.mul_(3)
    return model.to(dtype).eval()


TEXT = "a warm river and a cold old house"


def test_gradient_times_input_is_the_part_of_each_word_in_a_linear_model(known, tokenizer):
    text = Text.of(tokenizer, TEXT)
    parts = np.array([WEIGHT.get(word, 0.0) for word in text.words]) / len(text.places)
    for k, sign in ((1, 1), (0, -1)):
        np.testing.assert_allclose(gradient_times_input(known, tokenizer, text, k), sign * parts, atol=1e-7)
    f = log_odds(np.stack(logits_of(known, rows_of(tokenizer, [text.row(tokenizer)]))), 1)
    assert f[0] == pytest.approx(parts.sum(), abs=1e-6)


def test_occlusion_finds_what_each_word_is_worth_in_a_linear_model(known, tokenizer):
    text = Text.of(tokenizer, TEXT)  # [MASK] has the weight 0 there, and the length stays
    parts = np.array([WEIGHT.get(word, 0.0) for word in text.words]) / len(text.places)
    np.testing.assert_allclose(occlusion(known, tokenizer, text, 1), parts, atol=1e-6)


def test_the_deletion_test_prefers_the_right_order_to_a_wrong_one(known, tokenizer):
    texts = [Text.of(tokenizer, TEXT), Text.of(tokenizer, "old warm river stood by the house")]
    right = [explain(known, tokenizer, text, 1, ["occlusion"])[0].order for text in texts]
    assert [texts[0].words[i] for i in right[0][:3]] == ["warm", "old", "river"] and texts[0].words[
        right[0][-1]
    ] == "cold"
    curves = {
        name: deletion_curves(known, tokenizer, texts, orders, [1, 1], 3)
        for name, orders in {"right": right, "wrong": [order[::-1] for order in right]}.items()
    }
    assert np.allclose(curves["right"][:, 0], curves["wrong"][:, 0])
    right_score, wrong_score = (deletion_score(curve) for curve in curves.values())
    assert (right_score > 0.05).all() and (right_score > wrong_score + 0.05).all()
    by_hand = [1.0 / (1 + np.exp(-x)) for x in (0.5 / 10, -1.5 / 9)]  # with and without "warm": 2 + 1 − 3 + 0.5
    np.testing.assert_allclose(curves["right"][0, :2], by_hand, atol=1e-6)
    assert deletion_score(np.array([[0.9, 0.5, 0.4]])) == pytest.approx([0.45])


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("k", [0, 2])
def test_gradient_times_input_by_finite_differences(pooling, k, tokenizer):
    model = bert(tokenizer, pooling, torch.float64)
    text = Text.of(tokenizer, "the ending stood nobody", "a cold house")
    ids, segments = (torch.tensor([part]) for part in text.row(tokenizer))
    table = model.encoder.embeddings
    e = table(ids, segments).detach()

    def f(place, factor):
        changed = e.clone()
        changed[0, place] *= factor
        hook = table.register_forward_hook(lambda *_: changed)
        with torch.no_grad():
            logits = model(ids, segments)[0]
        hook.remove()
        return log_odds(logits.numpy(), k)

    slopes = [(f(place, 1 + 1e-5) - f(place, 1 - 1e-5)) / 2e-5 for place in range(ids.size(1))]
    expected = np.zeros(len(text.words))
    for place, slope in zip(text.places, slopes, strict=True):
        if place >= 0:
            expected[place] += slope
    np.testing.assert_allclose(gradient_times_input(model, tokenizer, text, k), expected, atol=1e-8)
    assert abs(expected).max() > 1e-3 and not table._forward_hooks


def test_in_front_of_a_norm_it_would_be_0(tokenizer):
    model, caught = bert(tokenizer, dtype=torch.float64), []
    ids = torch.tensor([Text.of(tokenizer, "a cold house").row(tokenizer)[0]])
    norm = model.encoder.embeddings.norm
    norm.epsilon = 0.0
    hook = norm.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    z = model(ids)[0]
    hook.remove()
    (slope,) = torch.autograd.grad(z[1], caught)
    assert slope.abs().max() > 1e-3
    np.testing.assert_allclose((slope * caught[0]).sum(dim=-1).detach(), 0, atol=1e-9)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_attention_of_a_word_is_what_the_positions_that_are_read_give_to_its_pieces(pooling, tokenizer):
    model, text = bert(tokenizer, pooling), Text.of(tokenizer, "a cold ending xyz")
    ids, segments = (torch.tensor([part]) for part in text.row(tokenizer))
    with torch.no_grad():
        layers = [a[0].double().numpy() for a in model.encoder(ids, segments, need_weights=True).attentions]
    mean, flow = np.mean([a.mean(axis=0) for a in layers], axis=0), np.eye(ids.size(1))
    for a in layers:
        flow = (a.mean(axis=0) + np.eye(len(flow))) / 2 @ flow
    for method, matrix in ((attention_received, mean), (attention_rollout, flow)):
        read = matrix[0] if pooling == "cls" else matrix.mean(axis=0)
        expected = [sum(read[p] for p, place in enumerate(text.places) if place == i) for i in range(len(text.words))]
        np.testing.assert_allclose(method(model, tokenizer, text, 0), expected, atol=1e-6)
        np.testing.assert_allclose(read.sum(), 1, atol=1e-6)


@given(st.lists(st.sampled_from([*WORDS, "unseenword", "x,y"]), min_size=1, max_size=8), st.data())
def test_a_row_without_words_is_the_row_of_the_text_without_them(tokenizer, words, data):
    text = Text.of(tokenizer, " ".join(words))
    ids, segments = text.row(tokenizer)
    assert (ids, segments) == tokenizer.pair(tokenizer.ids([" ".join(words)])[0]) and len(text.places) == len(ids)
    gone = data.draw(st.sets(st.integers(0, len(text.words) - 1)))
    kept = [piece for i, piece in enumerate(text.pieces) if i not in gone]
    assert text.row(tokenizer, gone) == tokenizer.pair([i for piece in kept for i in piece])
    hidden = text.row(tokenizer, gone, by="mask")[0]
    assert [a == tokenizer.mask for a in hidden] == [place in gone for place in text.places]


def test_a_pair_keeps_its_segments(tokenizer):
    text = Text.of(tokenizer, "old house", "cold river by")
    assert text.first == 2 and text.row(tokenizer)[1] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert text.places == [-1, 0, 1, -1, 2, 3, 4, -1]
    assert text.row(tokenizer, [0, 1, 2, 3, 4])[1] == [0, 0, 1]


def test_what_cannot_be_explained_is_said(tokenizer, known):
    model, text = bert(tokenizer), Text.of(tokenizer, "a cold house")
    with pytest.raises(InputError, match="nothing to explain"):
        Text.of(tokenizer, " ")
    with pytest.raises(InputError, match="there is no explanation 'magic'"):
        explain(model, tokenizer, text, 0, ["magic"])
    with pytest.raises(InputError, match="there is no class 3"):
        explain(model, tokenizer, text, 3)
    with pytest.raises(InputError, match="shorten it"):
        explain(model, tokenizer, Text.of(tokenizer, "a " * 30), 0)
    with pytest.raises(InputError, match="has no attention"):
        explain(known, tokenizer, text, 0, ["attention"])
    tagger = Classifier(model.encoder, TokenHeadConfig(("O", "B-X")))
    with pytest.raises(InputError, match="tags words"):
        explain(tagger, tokenizer, text, 0)
    assert [e.method for e in explain(model, tokenizer, text, 0)] == list(METHODS)
