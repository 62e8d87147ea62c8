import numpy as np
import pytest
import tiny
import torch
from tiny import silent

from minilm.pretrained.run_folder import open_pretraining
from minilm.jobs.predict import attention_of, entities, fill, units
from minilm.jobs.pretrain import pretrain


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    options = tiny.options(tmp_path_factory.mktemp("predict"), steps=2)
    pretrain(options, silent)
    return open_pretraining(options.out)


def test_what_a_tagger_takes_for_words():
    assert units("江泽民在北京") == list("江泽民在北京")
    assert units(" 江泽民 在 NY。") == list("江泽民在NY。")
    assert units("Ada met  Charles .") == ["Ada", "met", "Charles", "."]
    assert units("Ada") == ["Ada"]


@pytest.mark.parametrize(
    ("words", "tags", "found"),
    [
        ("李鹏在北京", "B-PER I-PER O B-LOC I-LOC", [("PER", "李鹏"), ("LOC", "北京")]),
        ("李鹏王力", "B-PER I-PER B-PER I-PER", [("PER", "李鹏"), ("PER", "王力")]),
        ("李鹏北京", "B-PER I-PER I-LOC I-LOC", [("PER", "李鹏"), ("LOC", "北京")]),  # a change of kind opens a name
        ("鹏在", "I-PER O", [("PER", "鹏")]),  # and so does an I- after nothing
        ("在", "O", []),
        (["New", "York", "and", "Rome"], "B-LOC I-LOC O B-LOC", [("LOC", "New York"), ("LOC", "Rome")]),
    ],
)
def test_F31_names_are_runs_of_tags(words, tags, found):
    assert entities(list(words), tags.split()) == found


def test_F25_the_likeliest_words_without_the_special_ones(opened):
    text = "she opens the [MASK] and the [MASK] ."
    t = opened.tokenizer
    ids, token_type_ids = t.pair(t.ids([text])[0])
    with torch.no_grad():
        scores = opened.model(torch.tensor([ids]), torch.tensor([token_type_ids])).words[0]
    for choices, place in zip(fill(opened, text, top=4), np.flatnonzero(np.array(ids) == t.mask), strict=True):
        ordinary = [i for i in range(t.size) if i not in t.special_ids]
        p = scores[place, ordinary].softmax(dim=-1)
        best = p.topk(4)
        assert [word for word, _ in choices] == t.tokens(ordinary[i] for i in best.indices)
        np.testing.assert_allclose([share for _, share in choices], best.values, atol=1e-6)
    assert sum(p for _, p in fill(opened, "a [MASK]", top=10**6)[0]) == pytest.approx(1, abs=1e-5)


def test_F18_attention_of_a_pair(opened):
    tokens, weights = attention_of(opened, "a hen", "the dog")
    assert tokens[0] == "[CLS]" and tokens.count("[SEP]") == 2
    assert [layer.shape for layer in weights] == [(3, len(tokens), len(tokens))] * 2
    np.testing.assert_allclose([layer.sum(axis=-1) for layer in weights], 1, atol=1e-5)
