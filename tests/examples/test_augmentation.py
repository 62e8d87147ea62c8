"""Word dropout, neighbours and guesses of the masked language model: shares, what may change, and what never does."""

import pytest
import torch
from tiny import seeded

from minilm.errors import InputError
from minilm.examples.augmentation import (
    drop_words,
    nearest_tokens,
    replace_by_guesses,
    replace_by_neighbours,
)
from minilm.examples.batching import Batch

PAD, UNK, CLS, SEP, MASK = SPECIAL = [0, 1, 2, 3, 4]
V = 40


def batch(B=64, T=50, seed=0):
    """Pairs of texts of different lengths: [CLS] a [SEP] b [SEP] and padding."""
    generator = seeded(seed)
    ids = torch.randint(5, V, (B, T), generator=generator)
    lengths = torch.randint(T // 2, T + 1, (B,), generator=generator)
    place = torch.arange(T)[None]
    mask = place < lengths[:, None]
    ids[:, 0] = CLS
    middle = lengths // 3
    ids[torch.arange(B), middle] = SEP
    ids[torch.arange(B), lengths - 1] = SEP
    types = ((place > middle[:, None]) & mask).long()
    return Batch(ids.masked_fill(~mask, PAD), types, mask, labels=torch.arange(B))


def words(ids, mask):
    return mask & ~torch.isin(ids, torch.tensor(SPECIAL))


def within(share, n, p):
    """Whether a share of n draws is within five standard deviations of p."""
    return abs(share - p) < 5 * (p * (1 - p) / n) ** 0.5


def test_dropped_words_are_so_many_and_the_rest_keeps_its_order():
    before = batch()
    after = drop_words(before, 0.2, SPECIAL, PAD, seeded())
    n = int(words(before.input_ids, before.attention_mask).sum())
    left = int(words(after.input_ids, after.attention_mask).sum())
    assert within(1 - left / n, n, 0.2) and not within(1 - left / n, n, 0.25)
    for i in range(len(before.labels)):
        old = list(zip(before.input_ids[i].tolist(), before.token_type_ids[i].tolist()))[
            : before.attention_mask[i].sum()
        ]
        new = list(zip(after.input_ids[i].tolist(), after.token_type_ids[i].tolist()))[: after.attention_mask[i].sum()]
        rest = iter(old)
        assert all(pair in rest for pair in new), "not a part of the text in its order"
        assert [t for t, _ in new if t in SPECIAL] == [CLS, SEP, SEP] and new[0][0] == CLS and new[-1][0] == SEP
        assert (after.input_ids[i, len(new) :] == PAD).all() and not after.attention_mask[i, len(new) :].any()
    assert torch.equal(after.labels, before.labels) and after.input_ids.size(1) == after.attention_mask.sum(1).max()


def test_a_text_never_loses_all_of_its_words():
    ids = torch.tensor([[CLS, 7, SEP, PAD], [CLS, 8, 9, SEP]])
    mask = ids != PAD
    after = drop_words(Batch(ids, None, mask, torch.tensor([0, 1])), 1.0, SPECIAL, PAD, seeded())
    assert torch.equal(after.input_ids, ids) and torch.equal(after.attention_mask, mask)


def test_neighbours_are_those_of_brute_force_and_of_the_same_kind():
    table = torch.randn(V, 6, generator=seeded(1)) * torch.rand(V, 1, generator=seeded(2))
    kinds = torch.tensor([-1] * 5 + [0] * 25 + [1] * (V - 30))
    found = nearest_tokens(table, 3, kinds, block=7)
    for i in range(5, V):
        others = [j for j in range(V) if kinds[j] == kinds[i] and j != i]
        cosine = torch.cosine_similarity(table[others], table[i][None])
        assert {others[k] for k in cosine.topk(3).indices.tolist()} == set(found[i].tolist())
    assert (found[:5] == torch.arange(5)[:, None]).all()  # special tokens have no neighbours but themselves
    lonely = nearest_tokens(table[:7], 3, torch.tensor([-1, -1, -1, -1, -1, 0, 0]))
    assert lonely[5].tolist() == [6, 5, 5] and lonely[6].tolist() == [5, 6, 6]


def test_each_neighbour_is_drawn_equally_often_and_nothing_else_changes():
    before = batch(256)
    neighbours = (torch.arange(V)[:, None] + torch.tensor([100, 200, 300])[None]).clamp(max=10_000)
    after = replace_by_neighbours(before, 0.3, SPECIAL, neighbours, seeded())
    may, changed = words(before.input_ids, before.attention_mask), after.input_ids != before.input_ids
    assert not (changed & ~may).any() and torch.equal(after.attention_mask, before.attention_mask)
    n, moved = int(may.sum()), int(changed.sum())
    assert within(moved / n, n, 0.3) and not within(moved / n, n, 0.33)
    step = (after.input_ids - before.input_ids)[changed]
    assert all(within((step == k).float().mean().item(), moved, 1 / 3) for k in (100, 200, 300))
    assert torch.equal(after.labels, before.labels) and torch.equal(after.token_type_ids, before.token_type_ids)


def test_F25_guesses_follow_the_probabilities_of_the_masked_model():
    before = batch(256)
    wanted = torch.tensor([0.0] * 5 + [0.6, 0.3, 0.1] + [0.0] * (V - 8))
    seen = []

    def logits_of(masked, places):
        seen.append((masked.input_ids, places))
        logits = wanted.clamp(min=1e-9).log().repeat(len(places), 1)
        logits[:, :5] = 50.0  # special tokens would always win, if they were allowed
        return logits

    after = replace_by_guesses(before, 0.3, SPECIAL, MASK, logits_of, seeded())
    ((masked, places),) = seen
    may = words(before.input_ids, before.attention_mask)
    hidden = masked == MASK
    assert torch.equal(hidden.flatten().nonzero().flatten(), places) and not (hidden & ~may).any()
    assert torch.equal(masked[~hidden], before.input_ids[~hidden])
    assert torch.equal(after.input_ids[~hidden], before.input_ids[~hidden])
    n = int(hidden.sum())
    assert within(n / int(may.sum()), int(may.sum()), 0.3)
    drawn = after.input_ids[hidden]
    assert all(within((drawn == k).float().mean().item(), n, p) for k, p in ((5, 0.6), (6, 0.3), (7, 0.1)))
    assert not within((drawn == 5).float().mean().item(), n, 0.5) and set(drawn.tolist()) == {5, 6, 7}


def test_the_generator_alone_decides():
    before, neighbours = batch(), torch.randint(5, V, (V, 4), generator=seeded(3))
    ways = [
        lambda g: drop_words(before, 0.2, SPECIAL, PAD, g),
        lambda g: replace_by_neighbours(before, 0.2, SPECIAL, neighbours, g),
        lambda g: replace_by_guesses(before, 0.2, SPECIAL, MASK, lambda b, m: torch.zeros(len(m), V), g),
    ]
    for way in ways:
        found = []
        for seed in (5, 5, 6):
            torch.manual_seed(len(found))  # the global generator must not matter
            found.append(way(seeded(seed)).input_ids)
        assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    with pytest.raises(InputError, match="the share of tokens to change must be from 0 to 1, not 1.5"):
        drop_words(before, 1.5, SPECIAL, PAD, seeded())
