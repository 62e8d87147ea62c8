"""The logit lens against the models' own answers, computed another way."""

import numpy as np
import pytest
import torch

from minilm.explorer.lens import candidates_of, hidden_words, next_tokens
from minilm.training.inference import fill

TEXT = "the old hen was in the barn ."


def test_the_last_row_is_what_the_model_says_of_the_hidden_place_alone(subjects):
    """The model computes its last block at the masked position alone, and the lens computes all positions."""
    model, tokenizer = subjects["book"].model, subjects["book"].tokenizer
    ids, types = tokenizer.pair(tokenizer.ids([TEXT])[0])
    candidates = candidates_of(model, tokenizer)
    found = hidden_words(model, tokenizer, ids, types, top=4)
    for t, reading in found.items():
        row = torch.tensor([ids])
        row[0, t] = tokenizer.mask
        with torch.no_grad():
            z = model(row, torch.tensor([types]), masked=torch.tensor([t])).mlm_logits[0, candidates]
        p, places = z.softmax(dim=-1).topk(4)
        assert [i for i, _ in reading.best[-1]] == candidates[places].tolist()
        np.testing.assert_allclose([p for _, p in reading.best[-1]], p, rtol=1e-5)


def test_a_mask_in_the_text_is_filled_as_fill_mask_does(subjects):
    model, tokenizer = subjects["book"].model, subjects["book"].tokenizer
    (expected,) = fill(model, tokenizer, "the [MASK] hen", top=3)
    ids, types = tokenizer.pair(tokenizer.ids(["the [MASK] hen"], special=True)[0])
    best = hidden_words(model, tokenizer, ids, types, top=3)[ids.index(tokenizer.mask)].best[-1]
    assert tokenizer.tokens([i for i, _ in best]) == [token for token, _ in expected]
    np.testing.assert_allclose([p for _, p in best], [p for _, p in expected], rtol=1e-5)


def test_every_place_that_is_a_word_is_read_once_after_every_layer(subjects):
    model, tokenizer = subjects["book"].model, subjects["book"].tokenizer
    ids, types = tokenizer.pair(*tokenizer.ids([TEXT, "a dog"]))
    found = hidden_words(model, tokenizer, ids, types, top=2)
    assert sorted(found) == [t for t, i in enumerate(ids) if i not in (tokenizer.cls, tokenizer.sep)]
    assert all(len(reading.best) == 4 and len(reading.best[0]) == 2 for reading in found.values())  # 3 layers


def test_the_rows_above_are_the_states_of_the_blocks_by_hand(subjects):
    """Run the blocks one by one and read each state with the head: the same ranks and probabilities."""
    model, tokenizer = subjects["book"].model, subjects["book"].tokenizer
    ids, types = tokenizer.pair(tokenizer.ids([TEXT])[0])
    place = 3
    masked = torch.tensor([ids])
    masked[0, place] = tokenizer.mask
    candidates = candidates_of(model, tokenizer)
    x = model.encoder.embeddings(masked, torch.tensor([types]))
    bias = model.encoder.stack.relative_bias(len(ids), len(ids))
    rows = []
    for block in [None, *model.encoder.stack.layers]:
        x = x if block is None else block(x, bias=bias)[0]
        logits = model.mlm_head(x[0, place], model.encoder.token_table.weight)[candidates]
        rows.append(logits.detach().softmax(dim=-1))
    reading = hidden_words(model, tokenizer, ids, types)[place]
    real = int((candidates == ids[place]).nonzero())
    for row, truth, rank in zip(rows, reading.truth, reading.rank, strict=True):
        assert truth == pytest.approx(float(row[real]), rel=1e-5)
        assert rank == 1 + sum(float(p) > float(row[real]) for p in row)
    assert len({round(truth, 6) for truth in reading.truth}) == 4  # the layers do differ


def test_a_mask_that_stands_in_the_text_has_no_real_word(subjects):
    model, tokenizer = subjects["book"].model, subjects["book"].tokenizer
    ids, types = tokenizer.pair(tokenizer.ids(["the [MASK] hen"], special=True)[0])
    found = hidden_words(model, tokenizer, ids, types)
    place = ids.index(tokenizer.mask)
    assert found[place].truth is None and found[place].rank is None
    assert all(reading.truth is not None for t, reading in found.items() if t != place)


@pytest.mark.parametrize("name", ["writer", "lstm"])
def test_the_last_row_of_a_model_that_writes_is_its_next_logits(subjects, name):
    """The lens reads the whole text at once; here every prefix is read alone."""
    model, tokenizer = subjects[name].model, subjects[name].tokenizer
    ids, candidates = tokenizer.prompt(TEXT), candidates_of(model, tokenizer)
    found = next_tokens(model, tokenizer, ids, top=3)
    assert len(found) == len(ids) and found[-1].truth is None
    assert len(found[0].best) == (
        3 if name == "writer" else 1
    )  # 2 layers and the embeddings, or the one state of an LSTM
    for t, reading in enumerate(found):
        with torch.no_grad():
            p = model.next_logits(torch.tensor([ids[: t + 1]]))[0, candidates].softmax(dim=-1)
        np.testing.assert_allclose([q for _, q in reading.best[-1]], p.topk(3).values, rtol=1e-4)
        if t + 1 < len(ids):
            real = int((candidates == ids[t + 1]).nonzero())
            assert reading.truth[-1] == pytest.approx(float(p[real]), rel=1e-4)


def test_no_special_token_is_guessed(subjects):
    for name in ("book", "writer"):
        model, tokenizer = subjects[name].model, subjects[name].tokenizer
        special = set(tokenizer.special_ids) - ({tokenizer.end} if name == "writer" else set())
        assert not special & set(candidates_of(model, tokenizer).tolist())
