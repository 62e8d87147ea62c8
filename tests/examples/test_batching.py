import numpy as np
import pytest
import torch

from minilm.examples import bert_pretraining
from minilm.examples.batching import batches_of_like_length, hash_of, pad
from minilm.examples.bert_pretraining import PretrainingBatches
from minilm.examples.labels import IGNORED
from minilm.text.store import Store
from minilm.text.tokenizer import SPECIAL_TOKENS, train_characters

PAD, CLS, SEP, MASK, LENGTH, SIZE = 0, 2, 3, 4, 24, 7


@pytest.fixture(scope="module")
def tokenizer():
    return train_characters("abcdefghijklmnopqrstuvwxyz")


@pytest.fixture(scope="module")
def store(tokenizer):
    """60 documents of 2 to 8 sentences."""
    rng = np.random.default_rng(0)
    sizes = [rng.integers(1, 9, n) for n in rng.integers(2, 9, 60)]
    sentences = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
    documents = np.concatenate([[0], np.cumsum([len(size) for size in sizes])]).astype(np.int64)
    ids = rng.integers(5, tokenizer.size, sentences[-1]).astype(np.uint16)
    return Store(ids, sentences, documents)


@pytest.fixture
def make(store, tokenizer):
    return lambda seed=0, size=SIZE, length=LENGTH: PretrainingBatches(store, tokenizer, length, size, seed)


def same(one, other):
    return all(
        (x is None and y is None) or torch.equal(x, y)
        for x, y in zip(vars(one).values(), vars(other).values(), strict=True)
    )


def original(batch):
    """The ids before masking."""
    return torch.where(batch.labels == IGNORED, batch.input_ids, batch.labels)


def test_pad_fills_up_to_the_longest():
    assert pad([[1, 2, 3], [], [4]], -100).tolist() == [[1, 2, 3], [-100] * 3, [4, -100, -100]]


def test_every_index_comes_once_in_batches_of_like_lengths():
    rng = np.random.default_rng(1)
    lengths = rng.integers(3, 128, 10_000)
    batches = batches_of_like_length(lengths, 16, rng)
    assert sorted(np.concatenate(batches).tolist()) == list(range(10_000))
    assert all(len(batch) <= 16 for batch in batches) and sum(len(batch) < 16 for batch in batches) <= 1

    def padding(batches):
        return 1 - lengths.sum() / sum(lengths[batch].max() * len(batch) for batch in batches)

    assert padding(batches) < 0.03
    assert padding(np.split(rng.permutation(10_000), 625)) > 0.3  # random batches
    firsts = [lengths[batch].max() for batch in batches]
    assert abs(np.corrcoef(firsts[:-1], firsts[1:])[0, 1]) < 0.2  # batches are not sorted by size


def test_the_batches_that_share_a_step_hold_rows_of_like_length():
    """Of W processes with a batch each, the slowest decides: all tokens over W times the largest batch of every step."""
    lengths = np.random.default_rng(2).integers(3, 128, 5_003)

    def evenness(together, W, begun=0, first=0):
        batches = batches_of_like_length(lengths, 16, np.random.default_rng(3), together=together, begun=begun)
        assert sorted(np.concatenate(batches).tolist()) == list(range(5_003)) and len(batches) == 313
        tokens = [lengths[batch].max() * len(batch) for batch in batches[first:]]
        steps = np.reshape(tokens[: len(tokens) // W * W], (-1, W))
        assert abs(np.corrcoef(steps[:-1, 0], steps[1:, 0])[0, 1]) < 0.2  # the steps are not sorted
        return steps.sum() / steps.max(axis=1).sum() / W

    for W in (2, 3, 8):
        assert evenness(W, W) > 0.95 > 0.9 > evenness(1, W)
    assert evenness(3, 3, begun=2, first=2) > 0.95 > 0.9 > evenness(3, 3, begun=2)


def test_one_batch_per_step_comes_in_the_order_that_it_always_had():
    lengths = np.random.default_rng(4).integers(3, 128, 3_000)
    rng = np.random.default_rng(5)
    order, wanted = rng.permutation(3_000), []
    for start in range(0, 3_000, 16 * 64):
        chunk = order[start : start + 16 * 64]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        wanted += [chunk[i : i + 16] for i in range(0, len(chunk), 16)]
    wanted = [wanted[i] for i in rng.permutation(len(wanted))]
    given = batches_of_like_length(lengths, 16, np.random.default_rng(5))
    assert len(given) == len(wanted) and all(map(np.array_equal, given, wanted))


def test_steps_go_on_over_the_border_of_a_round(store, tokenizer):
    """A round whose batches are no multiple of 3 leaves a step that the next one ends; all later steps stay even."""
    batches = PretrainingBatches(store, tokenizer, LENGTH, SIZE, 0, together=3)
    _ = batches[0]
    count = len(batches.batches)
    assert count % 3
    _ = batches[count]
    begun = -count % 3
    sizes = [
        batches.rows[chosen][:, [1, 3]].sum() - batches.rows[chosen][:, [0, 2]].sum() for chosen in batches.batches
    ]

    def evenness(first):
        steps = [sizes[i : i + 3] for i in range(first, len(sizes) - 2, 3)]
        assert len(steps) > 2
        return sum(map(sum, steps)) / sum(3 * max(step) for step in steps)

    assert evenness(begun) > 0.89 > max(evenness(begun + 1), evenness(begun + 2))


def test_one_round_is_every_pair_once(make, store):
    batches = make()
    batches.open_round(0)
    count, pairs = len(batches.batches), len(batches.rows)
    assert sum(len(batches[step].nsp_labels) for step in range(count)) == pairs
    chosen = np.concatenate(batches.batches)
    assert sorted(chosen.tolist()) == list(range(pairs))
    assert batches.round == 0
    _ = batches[count]
    assert batches.round == 1 and batches.first_step == count


def test_F26_a_row_is_cls_a_sep_b_sep(make, store):
    batches = make()
    for step in range(6):
        batch = batches[step]
        ids = original(batch)
        T = ids.size(1)
        assert T <= LENGTH
        for row, i in enumerate(batches.batches[step]):
            a_start, a_end, b_start, b_end, label = batches.rows[i].tolist()
            a, b = store.ids[a_start:a_end].tolist(), store.ids[b_start:b_end].tolist()
            fill = T - len(a) - len(b) - 3
            assert ids[row].tolist() == [CLS, *a, SEP, *b, SEP] + [PAD] * fill
            assert batch.token_type_ids[row].tolist() == [0] * (len(a) + 2) + [1] * (len(b) + 1) + [0] * fill
            assert batch.nsp_labels[row] == label
            if batch.attention_mask is not None:
                assert batch.attention_mask[row].tolist() == [True] * (T - fill) + [False] * fill


def test_F25_masks_cover_ordinary_tokens_alone(make):
    batches = make()
    tokens = masked = 0
    for step in range(40):
        batch = batches[step]
        ids, chosen = original(batch), batch.labels != IGNORED
        assert (ids[chosen] >= len(SPECIAL_TOKENS)).all()
        tokens, masked = tokens + int((ids >= 5).sum()), masked + int(chosen.sum())
    assert abs(masked - 0.15 * tokens) < 4 * (tokens * 0.15 * 0.85) ** 0.5


def test_the_attention_mask_is_none_where_nothing_is_padding_and_tokens_counts_the_rest(make):
    batches, seen = make(), set()
    for step in range(60):
        batch = batches[step]
        full = bool((original(batch) != PAD).all())
        assert (batch.attention_mask is None) == full
        assert batch.tokens == int((original(batch) != PAD).sum())
        seen.add(full)
    assert seen == {True, False}


def test_a_step_is_the_same_in_any_order_and_from_a_new_object(make):
    in_order = make()
    steps = [in_order[step] for step in range(50)]
    assert in_order.round >= 2
    backwards = make()
    for step in (49, 3, 30, 0, 48, 3):
        assert same(backwards[step], steps[step]), step
        assert same(make()[step], steps[step]), step
    assert not same(make(seed=1)[3], steps[3])


def test_F25_F26_pairs_and_masks_are_new_in_every_round(make):
    batches = make()
    batches.open_round(0)
    first, count = batches.rows, len(batches.batches)
    _ = batches[count]
    assert len(first) != len(batches.rows) or not np.array_equal(first[:, 2], batches.rows[:, 2])
    masks = [(make()[step].labels != IGNORED).float().mean(dim=0)[:5].tolist() for step in range(4)]
    assert len({tuple(mask) for mask in masks}) == 4
    assert len({hash_of(0, step) for step in range(1000)} | {hash_of(1, step) for step in range(1000)}) == 2000


def test_blocks_of_documents_take_turns_and_cover_them_all(monkeypatch, make, store):
    monkeypatch.setattr(bert_pretraining, "BLOCK", 25)
    batches = make()
    assert [(block.start, block.stop) for block in batches.blocks] == [(0, 25), (25, 50), (50, 60)]
    seen = []
    for number in range(6):
        batches.open_round(number)
        homes = np.searchsorted(store.document_borders, batches.rows[:, 0], side="right") - 1
        seen.append((homes.min(), homes.max()))
        assert set(homes) == set(batches.blocks[number % 3])
    assert seen[:3] == seen[3:]
    in_order, jumping = make(), make()
    steps = [in_order[step] for step in range(60)]
    assert in_order.round >= 3 and all(same(jumping[step], steps[step]) for step in (59, 40, 41, 7))


def test_a_block_of_single_sentences_is_passed_over(monkeypatch, tokenizer):
    """Such a block has no pairs, and a run of a million steps must not stop there."""
    monkeypatch.setattr(bert_pretraining, "BLOCK", 2)
    sentences, documents = np.arange(0, 45, 5), np.array([0, 3, 6, 7, 8])
    store = Store(np.full(40, 9, dtype=np.uint16), sentences, documents)
    batches = PretrainingBatches(store, tokenizer, LENGTH, 2, seed=0)
    assert all(len(batches[step].nsp_labels) >= 1 for step in range(12))
    assert batches.round > 3


def test_a_batch_moves_to_a_device_whole(make):
    batch = make()[0]
    moved = batch.to(torch.device("meta"))
    tensors = [value for value in vars(moved).values() if value is not None]
    assert all(value.device.type == "meta" for value in tensors)
    assert (moved.attention_mask is None) == (batch.attention_mask is None)
