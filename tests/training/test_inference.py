import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from minilm.errors import InputError
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.initialisation import initialise
from minilm.models.sentence_encoder import Normalize, SentenceEncoder, pooled
from minilm.text.tokenizer import train_characters
from minilm.training.inference import batches_by_length, sentence_vectors

TEXTS = ["a hen", "", "the dog sees the hen", "hen", "dogs", "a cat and a dog"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_characters(TEXTS)


@pytest.fixture(scope="module")
def model(tokenizer):
    config = TransformerConfig(tokenizer.size, width=6, layers=2, heads=3, feed_forward=8, max_length=20)
    model = SentenceEncoder(Bert(config))
    initialise(model, generator=torch.Generator().manual_seed(0))
    return model.eval()


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 60))
def test_every_text_stands_in_one_batch_and_no_batch_is_larger_than_asked(lengths, most):
    batches = batches_by_length(np.array(lengths, dtype=int), most)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    longest = [max(lengths[i] for i in batch) for batch in batches]
    assert longest == sorted(longest)
    for batch, length in zip(batches, longest):
        assert len(batch) == 1 or len(batch) * length <= most
    for one, (other, length) in zip(batches, list(zip(batches, longest))[1:]):
        assert (len(one) + 1) * min(lengths[i] for i in other) > most or length > most  # no batch could be larger


@pytest.mark.parametrize("most", [1, 40, 10_000])
def test_vectors_do_not_depend_on_the_batches_and_have_length_1(most, model, tokenizer):
    vectors = sentence_vectors(model, tokenizer, TEXTS, most=most)
    assert vectors.shape == (6, 6) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for text, vector in zip(TEXTS, vectors):
        ids = torch.tensor([tokenizer.pair(tokenizer.ids([text])[0])[0]])
        u = model.encoder(ids).hidden[0].mean(dim=0)
        np.testing.assert_allclose(vector, (u / u.norm()).detach(), atol=1e-6)


def test_a_vector_of_zeros_stays_one_and_padding_has_no_part():
    hidden = torch.zeros(2, 3, 4)
    hidden[1, :2], hidden[1, 2] = torch.tensor([0.0, 3, 0, 4]), 99.0
    attention_mask = torch.tensor([[True] * 3, [True, True, False]])
    torch.testing.assert_close(Normalize()(pooled(hidden, attention_mask)), torch.tensor([[0.0] * 4, [0, 0.6, 0, 0.8]]))


def test_a_text_that_is_too_long_is_refused_or_cut(model, tokenizer):
    long = "hen dog " * 5
    with pytest.raises(InputError, match="text 2 of a book has 30 tokens and the model takes 18"):
        sentence_vectors(model, tokenizer, ["hen", long], where="a book")
    cut = sentence_vectors(model, tokenizer, [long], truncate=True)
    np.testing.assert_allclose(cut, sentence_vectors(model, tokenizer, [long.replace(" ", "")[:18]]), atol=1e-6)
    assert sentence_vectors(model, tokenizer, []).shape == (0, 6)
