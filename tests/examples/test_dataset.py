"""`Dataset` behaves like plain Python lists."""

import numpy as np
import torch
from hypothesis import given, strategies as st

from minilm.examples.batching import Dataset
from minilm.examples.labels import IGNORED

numbers = st.integers(-200, 1000)


@st.composite
def datasets(draw):
    """Columns with one list (of any length) or one number per row, pad values for some columns, and a choice of rows."""
    n = draw(st.integers(1, 6))
    lists = st.lists(st.lists(numbers, min_size=1, max_size=7), min_size=n, max_size=n)
    columns = {"input_ids": draw(lists)}
    if draw(st.booleans()):
        columns["token_type_ids"] = [[i % 2 for i in range(len(row))] for row in columns["input_ids"]]
    labels = draw(st.sampled_from(["none", "row", "token"]))
    if labels != "none":
        columns["labels"] = draw(lists if labels == "token" else st.lists(numbers, min_size=n, max_size=n))
    if draw(st.booleans()):
        columns["nsp_labels"] = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    pad_values = {name: draw(numbers) for name in columns if draw(st.booleans())}
    owner = sorted(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    chosen = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=8))
    return Dataset(columns, pad_values, owner), chosen


def padded(rows, value):
    longest = max(len(row) for row in rows)
    return [row + [value] * (longest - len(row)) for row in rows]


@given(datasets())
def test_a_batch_pads_each_column_with_its_own_value(given_):
    examples, chosen = given_
    batch = examples.batch(chosen)
    for name in ("input_ids", "token_type_ids", "labels", "nsp_labels"):
        got = getattr(batch, name)
        if name not in examples.columns:
            assert got is None
            continue
        rows = [examples.columns[name][i] for i in chosen]
        if isinstance(rows[0], list):
            rows = padded(rows, examples.pad_values.get(name, IGNORED))
        assert got.dtype == torch.int64 and got.tolist() == rows
    lengths = [len(examples.rows[i]) for i in chosen]
    assert batch.attention_mask.dtype == torch.bool
    assert batch.attention_mask.tolist() == [[t < n for t in range(max(lengths))] for n in lengths]
    assert batch.tokens == sum(lengths)


@given(datasets())
def test_a_subset_is_these_rows_in_this_order(given_):
    examples, chosen = given_
    for some in (chosen, np.array(chosen)):
        subset = examples.subset(some)
        assert subset.columns == {name: [column[i] for i in chosen] for name, column in examples.columns.items()}
        assert subset.owner == [examples.owner[i] for i in chosen] and subset.pad_values == examples.pad_values
        assert len(subset) == len(chosen) and subset.lengths.tolist() == [len(examples.rows[i]) for i in chosen]
        for ours, theirs in zip(vars(subset.batch(range(len(chosen)))).values(), vars(examples.batch(some)).values()):
            assert (ours is None and theirs is None) or torch.equal(ours, theirs)
    assert examples.subset([]).columns == {name: [] for name in examples.columns} and len(examples.subset([])) == 0


@given(datasets(), st.integers(1, 5))
def test_an_epoch_and_a_measurement_go_through_every_row_once(given_, size):
    examples, _ = given_
    for batches in (examples.shuffled(size, np.random.default_rng(0)), examples.in_order(size)):
        assert sorted(int(i) for batch in batches for i in batch) == list(range(len(examples)))
        assert all(1 <= len(batch) <= size for batch in batches)
    lengths = [len(examples.rows[i]) for batch in examples.in_order(size) for i in batch]
    assert lengths == sorted(lengths)


def test_rows_and_labels_are_columns():
    examples = Dataset({"input_ids": [[5, 6], [7]], "labels": [1, 0]}, {"input_ids": 0}, [0, 1])
    assert examples.rows == [[5, 6], [7]] and examples.labels == [1, 0]
