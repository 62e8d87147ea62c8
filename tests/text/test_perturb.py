"""Small changes of a text: what they change, and what they leave."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minilm.text.perturb import shuffled, swapped, with_typos, without_punctuation, words_in

TEXT = st.text("abcdeé ,.'’A1中", max_size=40)


@given(TEXT, st.floats(0, 1), st.integers(0, 99))
def test_typos_exchange_two_neighbours_and_nothing_else(text, share, seed):
    out = with_typos(text, share, np.random.default_rng(seed))
    assert sorted(out) == sorted(text) and len(out) == len(text)
    assert [len(word) for word in out.split()] == [len(word) for word in text.split()]
    for a, b in zip(text.split(), out.split()):
        places = [i for i in range(len(a)) if a[i] != b[i]]
        assert len(places) in (0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20) and (
            not places or 0 not in places or not a[0].isalpha()
        )
    assert out == with_typos(text, share, np.random.default_rng(seed))


def test_the_share_of_words_with_typos():
    text = " ".join(["house"] * 30 + ["a", "the"] * 20)
    for share, count in ((0, 0), (0.01, 1), (0.1, 3), (1, 30)):
        out = with_typos(text, share, np.random.default_rng(0))
        assert sum(a != b for a, b in zip(text.split(), out.split())) == count
        assert all(word[0] == "h" for word in out.split()[:30])


@given(TEXT, st.integers(0, 9))
def test_shuffled_words_are_the_same_words(text, seed):
    assert sorted(shuffled(text, np.random.default_rng(seed)).split()) == sorted(text.split())


@pytest.mark.parametrize(
    ("text", "without"),
    [("it's a film , isn't it ?", "it's a film isn't it"), ("the 'old' house (new)", "the old house new"), ("...", "")],
)
def test_punctuation_goes_and_an_apostrophe_inside_a_word_stays(text, without):
    assert without_punctuation(text) == without


def test_words_are_exchanged_as_a_whole_and_keep_their_capitals():
    partner = {"he": "she", "his": "her"}
    assert swapped("He hates the hero; HE lost his 'he'.", partner) == "She hates the hero; SHE lost her 'she'."
    assert words_in("He's his, HE!") == {"he's", "his", "he"}
