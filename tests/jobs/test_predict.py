import numpy as np
import pytest
import tiny
import torch
from tiny import silent

from minilm.errors import InputError
from minilm.jobs.pretrain import pretrain
from minilm.models.lstm import LSTMConfig, LSTMLanguageModel
from minilm.pretrained.protocol import open_encoder, open_pretraining
from minilm.text.segmentation import mixed
from minilm.training.inference import attention_of, fill
from minilm.training.word_tasks import found_entities


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    options = tiny.options(tmp_path_factory.mktemp("predict"), steps=2)
    pretrain(options, silent)
    return options.out


@pytest.fixture(scope="module")
def loaded(folder):
    return open_pretraining(folder)


@pytest.mark.parametrize(
    ("text", "tags", "found"),
    [
        ("李鹏在北京", "B-PER I-PER O B-LOC I-LOC", [("PER", 0, 2), ("LOC", 3, 5)]),
        ("李鹏王力", "B-PER I-PER B-PER I-PER", [("PER", 0, 2), ("PER", 2, 4)]),
        ("李鹏北京", "B-PER I-PER I-LOC I-LOC", [("PER", 0, 2), ("LOC", 2, 4)]),  # a new kind starts a new name
        ("鹏在", "I-PER O", [("PER", 0, 1)]),  # and so does an I- tag at the start
        ("在", "O", []),
        ("in New  York (Rome).", "O B-LOC I-LOC O B-LOC O O", [("LOC", 3, 12), ("LOC", 14, 18)]),
    ],
)
def test_F31_entities_are_runs_of_tags_and_stretches_of_the_text(text, tags, found):
    entities = found_entities(text, mixed(text), tags.split())
    assert [(each.kind, each.start, each.end) for each in entities] == found
    assert all(each.text == text[each.start : each.end] for each in entities)


def test_F25_the_most_probable_tokens_without_the_special_ones(loaded):
    text = "she opens the [MASK] and the [MASK] ."
    t = loaded.tokenizer
    ids, token_type_ids = t.pair(t.ids([text], special=True)[0])
    with torch.no_grad():
        logits = loaded.model(torch.tensor([ids]), torch.tensor([token_type_ids])).mlm_logits[0]
    for choices, place in zip(fill(loaded.model, t, text, top=4), np.flatnonzero(np.array(ids) == t.mask), strict=True):
        ordinary = [i for i in range(t.size) if i not in t.special_ids]
        p = logits[place, ordinary].softmax(dim=-1)
        best = p.topk(4)
        assert [word for word, _ in choices] == t.tokens(ordinary[i] for i in best.indices)
        np.testing.assert_allclose([share for _, share in choices], best.values, atol=1e-6)
    assert sum(p for _, p in fill(loaded.model, t, "a [MASK]", top=10**6)[0]) == pytest.approx(1, abs=1e-5)


def test_F25_what_cannot_be_filled_in_is_said(folder, loaded):
    with pytest.raises(InputError, match=r"'a hen' has no \[MASK\]: write one where a word is to be guessed"):
        fill(loaded.model, loaded.tokenizer, "a hen")
    with pytest.raises(InputError, match="SentenceEncoder does not guess masked words: use a model that does"):
        fill(open_encoder(folder).model, loaded.tokenizer, "a [MASK]")
    with pytest.raises(InputError, match=r"the text has \d+ tokens and the model takes 24: shorten it"):
        fill(loaded.model, loaded.tokenizer, "a [MASK] " * 20)


def test_F18_an_lstm_has_no_attention(loaded):
    model = LSTMLanguageModel(LSTMConfig(loaded.tokenizer.size, 4, 4, 1))
    with pytest.raises(InputError, match="LSTMEncoder has no attention to look at"):
        attention_of(model, loaded.tokenizer, "a hen")


def test_F18_attention_of_a_pair(loaded):
    tokens, weights = attention_of(loaded.model, loaded.tokenizer, "a hen", "the dog")
    assert tokens[0] == "[CLS]" and tokens.count("[SEP]") == 2
    assert [layer.shape for layer in weights] == [(3, len(tokens), len(tokens))] * 2
    np.testing.assert_allclose([layer.sum(axis=-1) for layer in weights], 1, atol=1e-5)
