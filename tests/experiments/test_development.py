"""The development part: drawn with a seed, in no other part, and the test set is left alone."""

import random

import pytest

from minilm.errors import InputError
from minilm.experiments.development import development, spaced
from minilm.text.duplicates import shingles
from minilm.text.files import Example
from minilm.text.tagged import TaggedLine


def drawn(count, seed, words=400, length=9):
    """Sentences of random words, so that two of them hardly ever share five words in a row."""
    rng = random.Random(seed)
    return [Example(" ".join(f"w{rng.randrange(words)}" for _ in range(length)), "x") for _ in range(count)]


def test_the_parts_are_the_examples_in_their_order_and_follow_the_seed():
    examples, test = drawn(60, 0), drawn(20, 1)
    rest, part = development(examples, test, 13, seed=5)
    assert (len(rest), len(part)) == (47, 13)
    assert sorted([*rest, *part], key=examples.index) == examples
    assert rest == [e for e in examples if e in rest] and part == [e for e in examples if e in part]
    assert development(examples, test, 13, seed=5) == (rest, part) != development(examples, test, 13, seed=6)
    assert {e for seed in range(40) for e in development(examples, test, 13, seed)[1]} == set(examples)


@pytest.mark.parametrize("seed", range(8))
def test_nothing_that_is_drawn_occurs_elsewhere(seed):
    """Checked by comparing the runs of words of every pair of texts."""
    examples, test = drawn(40, seed), drawn(10, seed + 100)
    examples[3] = Example(examples[30].text.upper() + " !", "y")  # a copy
    examples[4] = Example(" ".join(examples[31].text.split()[:7]), "x")  # three runs, all of them in example 31
    examples[5] = Example(test[2].text + " and more", "x")  # near a test sentence
    never = [examples[i] for i in (3, 30, 4, 5)]
    rest, part = development(examples, test, 12, seed)
    assert not set(part) & set(never) and set(never) <= set(rest)
    for one in part:
        own = set(shingles(one.text))
        for other in [*rest, *test, *(e for e in part if e is not one)]:
            assert len(own & set(shingles(other.text))) < len(own) / 2


def test_tagged_lines_and_pairs_are_texts_too():
    lines = [TaggedLine(list(word), ["O"] * 3) for word in ("abc", "def", "abc", "ghi", "jkl")]
    rest, part = development(lines, [TaggedLine(list("jkl"), ["B-X"] * 3)], 2, seed=0, run=2)
    assert part == [lines[1], lines[3]] and rest == [lines[0], lines[2], lines[4]]
    near = [
        TaggedLine(list(word), ["O"] * 8) for word in ("mnopqrst", "mnopqxst")
    ]  # five of seven runs of two are shared
    assert development([*lines, *near], [], 3, seed=1, run=2)[1] == [lines[1], lines[3], lines[4]]
    assert spaced(lines[0]) == "a b c" and spaced(Example("one", "x", "two")) == "one two"


@pytest.mark.parametrize("size", [0, -1, 4, 5])
def test_too_many_or_none_cannot_be_drawn(size):
    examples = drawn(5, 3)
    with pytest.raises(InputError, match=f"a development part of {size} from 5 examples, of which 3 occur only once"):
        development([*examples[:4], examples[0]], [], size, seed=0)
    with pytest.raises(InputError, match="leave at least 1"):
        development(examples, [], 5, seed=0)
