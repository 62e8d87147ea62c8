import numpy as np
import pytest
import torch

from minilm.errors import InputError
from minilm.examples.causal_lm import TextWindows
from minilm.text.store import Store


def store(n):
    """A text whose tokens are consecutive numbers, so that you can see where a window comes from."""
    return Store(np.arange(n, dtype=np.uint16), np.array([0, n]), np.array([0, 1]))


def test_a_batch_depends_on_the_seed_and_the_step_alone():
    in_order = TextWindows(store(500), 7, 5, seed=1)
    steps = [in_order[step].input_ids for step in range(30)]
    again = TextWindows(store(500), 7, 5, seed=1)
    for step in (29, 0, 11, 0, 28):
        assert torch.equal(again[step].input_ids, steps[step])
        assert torch.equal(TextWindows(store(500), 7, 5, seed=1)[step].input_ids, steps[step])
    assert not any(torch.equal(steps[i], steps[j]) for i in range(30) for j in range(i))
    assert not torch.equal(TextWindows(store(500), 7, 5, seed=2)[3].input_ids, steps[3])


@pytest.mark.parametrize("length", [2, 9, 40])
def test_F23_every_window_is_a_stretch_of_the_text(length):
    windows = TextWindows(store(40), length, 6, seed=0)
    for step in range(50):
        batch = windows[step]
        assert batch.input_ids.shape == (6, length) and batch.input_ids.dtype == torch.int64
        starts = batch.input_ids[:, :1]
        assert torch.equal(batch.input_ids, starts + torch.arange(length))
        assert starts.min() >= 0 and batch.input_ids.max() <= 39
        assert batch.attention_mask is None and batch.labels is None and batch.tokens == 6 * length


def test_F23_every_start_is_drawn_about_equally_often():
    """χ² of 31 starts over 15,500 draws (30 degrees of freedom) exceeds 62 by chance once in 2,000 times."""
    windows = TextWindows(store(40), 10, 50, seed=3)
    starts = torch.cat([windows[step].input_ids[:, 0] for step in range(310)])
    n = torch.bincount(starts, minlength=31).double()
    assert len(n) == 31 and n.min() > 0  # also the first and the last start
    assert ((n - 500).square() / 500).sum() < 62


def test_a_text_shorter_than_one_window_is_refused_and_one_as_long_is_not():
    assert TextWindows(store(8), 8, 2, seed=0)[5].input_ids.tolist() == [list(range(8))] * 2
    with pytest.raises(InputError, match="the text has 7 tokens, fewer than one window of 8: give more text"):
        TextWindows(store(7), 8, 2, seed=0)
