import math

import pytest
import torch

from minilm.errors import InputError
from minilm.examples.labels import IGNORED
from minilm.examples.masked_lm import mask_tokens

V, MASK, SPECIAL = 1000, 4, [0, 1, 2, 3, 4]
ROWS, LENGTH = 1000, 202  # 200 tokens between [CLS] and [SEP]: 200,000 tokens


def seeded(seed=25):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def ids():
    tokens = torch.randint(5, V, (ROWS, LENGTH), generator=seeded())
    tokens[:, 0], tokens[:, -1] = 2, 3
    return tokens


@pytest.fixture(scope="module")
def masked(ids):
    return mask_tokens(ids, SPECIAL, MASK, V, seeded())


def z_of(count, n, p):
    """How many standard deviations a count of n draws lies from its expected value n · p."""
    return (int(count) - n * p) / math.sqrt(n * p * (1 - p))


def counts(ids, corrupted, labels):
    """How many tokens are chosen, and how many of these become [MASK], become another token, or stay the same."""
    chosen = labels != IGNORED
    is_mask, kept = corrupted == MASK, corrupted == ids
    return [int((chosen & what).sum()) for what in (chosen, is_mask, ~is_mask & ~kept, kept)]


@pytest.mark.parametrize("mask_rate", [0.15, 0.4])
def test_F25_mask_rate_and_80_10_10(mask_rate, ids):
    chosen, masked, random, kept = counts(ids, *mask_tokens(ids, SPECIAL, MASK, V, seeded(), mask_rate))
    tokens = ROWS * (LENGTH - 2)
    same = 1 / (V - len(SPECIAL))  # a random token can equal the original one
    assert abs(z_of(chosen, tokens, mask_rate)) < 4
    assert abs(z_of(masked, chosen, 0.8)) < 4
    assert abs(z_of(random, chosen, 0.1 * (1 - same))) < 4
    assert abs(z_of(kept, chosen, 0.1 + 0.1 * same)) < 4


def two_independent_draws(ids, generator, mask_rate=0.15):
    """The usual mistake: for all chosen tokens, one draw decides on [MASK] and a second one on "random or kept"."""
    chosen = ~torch.isin(ids, torch.tensor(SPECIAL)) & (torch.rand(ids.shape, generator=generator) < mask_rate)
    is_random = torch.rand(ids.shape, generator=generator) < 0.1
    is_mask = torch.rand(ids.shape, generator=generator) < 0.9
    tokens = torch.randint(5, V, ids.shape, generator=generator)
    corrupted = torch.where(chosen & is_random, tokens, torch.where(chosen & is_mask, MASK, ids))
    return corrupted, ids.masked_fill(~chosen, IGNORED)


def test_F25_two_independent_draws_would_be_seen(ids):
    chosen, masked, random, kept = counts(ids, *two_independent_draws(ids, seeded()))
    assert masked / chosen == pytest.approx(0.81, abs=0.01) and kept / chosen == pytest.approx(0.09, abs=0.01)
    assert abs(z_of(masked, chosen, 0.8)) > 4 or abs(z_of(kept, chosen, 0.1)) > 4
    assert abs(0.01 / math.sqrt(0.1 * 0.9 / chosen)) > 5  # on average, 0.09 instead of 0.10 is noticed


def test_F25_labels_are_the_tokens_that_were_there(ids, masked):
    corrupted, labels = masked
    chosen = labels != IGNORED
    assert torch.equal(labels[chosen], ids[chosen])
    assert torch.equal(corrupted[~chosen], ids[~chosen])
    assert corrupted.shape == labels.shape == ids.shape and corrupted.dtype == ids.dtype == labels.dtype


def test_F25_special_tokens_are_neither_chosen_nor_drawn():
    everything = torch.randint(0, V, (ROWS, LENGTH), generator=seeded(1))
    everything[:, ::3] = torch.randint(0, 5, (ROWS, len(range(0, LENGTH, 3))), generator=seeded(2))
    corrupted, labels = mask_tokens(everything, SPECIAL, MASK, V, seeded(3), mask_rate=0.9)
    special = everything < 5
    assert (labels[special] == IGNORED).all() and torch.equal(corrupted[special], everything[special])
    drawn = corrupted[(labels != IGNORED) & (corrupted != MASK)]
    assert drawn.min() >= 5


def test_F25_special_ids_may_stand_anywhere():
    ids = torch.arange(10).repeat(2000)[None]
    corrupted, labels = mask_tokens(ids, [7, 2], 7, 10, seeded(), mask_rate=0.5)
    drawn = corrupted[(labels != IGNORED) & (corrupted != 7)]
    assert sorted(drawn.unique().tolist()) == [0, 1, 3, 4, 5, 6, 8, 9]
    assert (labels[:, 2::10] == IGNORED).all() and (labels[:, 7::10] == IGNORED).all()


def test_F25_every_ordinary_token_is_drawn_about_equally_often():
    """χ² of 15 tokens over about 9,000 draws (14 degrees of freedom) exceeds 40 by chance once in 4,000 times."""
    ids = torch.full((500, 200), 5)
    corrupted, labels = mask_tokens(ids, SPECIAL, MASK, 20, seeded(), mask_rate=0.9)
    kept_and_drawn = corrupted[(labels != IGNORED) & (corrupted != MASK) & (corrupted != 5)]
    n = torch.bincount(kept_and_drawn, minlength=20)[6:].double()
    assert ((n - n.mean()).square() / n.mean()).sum() < 40


def test_F25_the_callers_tensor_stays_as_it_was(ids):
    before = ids.clone()
    mask_tokens(ids, SPECIAL, MASK, V, seeded())
    assert torch.equal(ids, before)


def test_F25_the_generator_alone_decides(ids):
    first, again, other = (mask_tokens(ids, SPECIAL, MASK, V, seeded(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("mask_rate", [0.0, 1.0, -0.1, 15])
def test_F25_a_mask_rate_that_is_none_is_refused(mask_rate, ids):
    with pytest.raises(InputError, match="is not between 0 and 1: BERT's is 0.15"):
        mask_tokens(ids, SPECIAL, MASK, V, seeded(), mask_rate)
