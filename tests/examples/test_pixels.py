"""Pictures as rows of tokens: the class first, then the pixels; parts without overlap; batches that depend on their number alone."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from minilm.errors import InputError
from minilm.examples.pixels import PictureBatches, Pictures, digits, split


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    return Pictures(rng.integers(4, size=(11, 6)), np.arange(11) % 3, levels=4, classes=3)


def test_F24_a_row_is_the_class_and_then_the_pixels(pictures):
    ids = pictures.rows()
    assert ids.shape == (11, 7) and pictures.vocab_size == 7 and pictures.class_tokens == [4, 5, 6]
    assert ids[4].tolist() == [4 + 1, *pictures.x[4]]
    assert (pictures.rows(2)[:, 0] == 6).all() and (pictures.rows(2)[:, 1:] == ids[:, 1:]).all()


def test_F24_the_digits_are_those_of_scikit_learn():
    ours, theirs = digits(), load_digits()
    assert (ours.x == theirs.images.reshape(-1, 64)).all() and (ours.y == theirs.target).all()
    assert (len(ours), ours.pixels, ours.levels, ours.classes) == (1797, 64, 17, 10)
    assert ours.prior() == pytest.approx(np.bincount(theirs.target) / 1797)


@pytest.mark.parametrize("seed", [None, 3])
def test_F24_the_parts_share_no_picture_and_lose_none(pictures, seed):
    numbered = Pictures(np.arange(11)[:, None], pictures.y, levels=11, classes=3)
    parts = split(numbered, 2, 3, seed)
    assert [len(part) for part in parts] == [6, 2, 3]
    places = np.concatenate([part.x[:, 0] for part in parts])
    assert sorted(places) == list(range(11)) and (np.concatenate([p.y for p in parts]) == pictures.y[places]).all()
    assert (places.tolist() == list(range(11))) == (seed is None)
    again, other = split(numbered, 2, 3, seed), split(numbered, 2, 3, 4)
    assert (again[2].x == parts[2].x).all() and (seed is None or (other[2].x != parts[2].x).any())


def test_F24_every_picture_comes_once_per_round_and_a_batch_depends_on_its_number_alone(pictures):
    batches = PictureBatches(pictures, 3, seed=5)
    rounds = [[batches[step].input_ids for step in range(a, a + 3)] for a in (0, 3)]
    rows = [[tuple(row) for batch in batches for row in batch.tolist()] for batches in rounds]
    known = {tuple(row) for row in pictures.rows().tolist()}
    assert all(len(set(each)) == 9 and set(each) <= known for each in rows) and rows[0] != rows[1]
    later = PictureBatches(pictures, 3, seed=5)[4].input_ids
    assert (later == rounds[1][1]).all()
    assert (PictureBatches(pictures, 3, seed=6)[0].input_ids != rounds[0][0]).any()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p: Pictures(p.x[:0], p.y[:0], 4, 3), "there are no pictures"),
        (lambda p: Pictures(p.x, p.y, 3, 3), "a pixel must be a whole number from 0 to 2"),
        (lambda p: Pictures(p.x / 2, p.y, 4, 3), "a pixel must be a whole number"),
        (lambda p: Pictures(p.x, p.y - 1, 4, 3), "a class must be a whole number from 0 to 2"),
        (lambda p: Pictures(p.x, p.y[1:], 4, 3), "11 pictures and 10 classes"),
        (lambda p: p.rows(3), "class 3 is not known: the classes are 0 to 2"),
        (lambda p: p.check_class(-1), "class -1 is not known"),
        (lambda p: p.subset([0, 1]).prior(), "no picture of class 2"),
        (lambda p: split(p, 5, 6, 0), "do not fit into 11 pictures"),
        (lambda p: split(p, 0, 6, 0), "make each at least 1"),
        (lambda p: PictureBatches(p, 12), "a batch of 12 pictures cannot be drawn from 11"),
    ],
)
def test_F24_bad_input_is_one_sentence(pictures, call, says):
    with pytest.raises(InputError, match=says):
        call(pictures)
