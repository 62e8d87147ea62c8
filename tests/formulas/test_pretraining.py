"""Both pretraining losses are compared with the library; F25 as printed is measured on real text; 80/10/10 is counted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from referees import autograd, finite_differences
from torch import nn

from minilm.errors import InputError
from minilm.formulas.language_models import counted_probability
from minilm.formulas.pretraining import (
    mask_tokens,
    mask_words_by_two_draws,
    masked_word_context,
    masked_word_context_as_printed,
    masked_word_loss,
    masked_word_loss_gradient,
    next_sentence_logits,
    next_sentence_loss,
    next_sentence_loss_gradients,
    pretraining_loss,
    pretraining_loss_gradients,
)
from minilm.models.heads import Pooler
from minilm.training.losses import cross_entropy

B, T, V, C = 3, 5, 7, 4
ENGLISH = Path(__file__).parents[2] / "data" / "english.txt"


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def logits_and_labels(rng):
    y = np.full((B, T), -100)
    y[0, 1], y[0, 4], y[2, 0] = 3, 0, 6  # token 0 is an ordinary token
    return rng.normal(scale=2, size=(B, T, V)), y


@pytest.fixture
def pair(rng):
    shapes = (B, T, C), (C, C), (C,), (C, 2), (2,)
    return *(rng.normal(size=shape) for shape in shapes), np.array([0, 1, 0])


# ----------------------------------------------------------------------------------------- masked tokens


def test_F25_masked_word_loss_and_gradient_equal_the_library(logits_and_labels):
    z, y = logits_and_labels
    value, gradient = autograd(lambda t: cross_entropy(t, torch.tensor(y)).value, z)
    assert masked_word_loss(z, y) == pytest.approx(float(value), abs=1e-10)
    np.testing.assert_allclose(masked_word_loss_gradient(z, y), gradient, atol=1e-10)
    theirs = finite_differences(lambda x: masked_word_loss(x, y), z)
    np.testing.assert_allclose(masked_word_loss_gradient(z, y), theirs, atol=1e-7)


def test_F25_only_masked_tokens_have_a_gradient(logits_and_labels):
    z, y = logits_and_labels
    np.testing.assert_array_equal(masked_word_loss_gradient(z, y).any(axis=-1), y != -100)


def characters() -> tuple[np.ndarray, np.ndarray, int]:
    """Our own little stories as characters: four fifths to count in, one fifth to measure on."""
    text = ENGLISH.read_text(encoding="utf-8").lower()
    alphabet, w = np.unique(list(text), return_inverse=True)
    cut = len(w) * 4 // 5
    return w[:cut], w[cut:], len(alphabet)


def nearest(context: np.ndarray, i: int, n: int) -> tuple[int, ...]:
    """Offsets of the `n` nearest positions that the prediction of token i may see, without i itself, which is masked."""
    seen = np.flatnonzero(context[i]) - i
    return tuple(sorted(seen[seen != 0].tolist(), key=abs)[:n])


def held_out_losses(context: np.ndarray, i: int, n: int) -> np.ndarray:
    w, text, V = characters()
    places = np.arange(8, len(text) - 8)
    return -np.log(counted_probability(w, text, places, nearest(context, i, n), V))


@pytest.mark.parametrize(("n", "at_least"), [(2, 0.3), (4, 0.5)])
def test_F25_as_printed_guesses_worse_than_both_sides(n, at_least):
    """The same count-based model, text and number of neighbours: only the context that F25 allows differs.

    With two neighbours, left only gives 2.21 nats against 1.83; with four, 2.32 against 1.69. If the printed formula were
    as good, the difference would be 0 within its standard error.
    """
    printed = held_out_losses(masked_word_context_as_printed(17), 8, n)
    true = held_out_losses(masked_word_context(17), 8, n)
    difference = printed - true
    assert len(difference) > 900
    assert difference.mean() > at_least
    assert difference.mean() > 6 * difference.std() / np.sqrt(len(difference))  # far beyond chance


def test_F25_as_printed_shows_the_first_word_nothing_and_the_last_all_before_it():
    printed, true = masked_word_context_as_printed(4), masked_word_context(4)
    np.testing.assert_array_equal(printed.sum(axis=1), [0, 1, 2, 3])
    assert not np.triu(printed).any() and true.all() and true.shape == (4, 4)


# ----------------------------------------------------------------------------------------------- next sentence


def minilm_next_sentence(x, W_p, b_p, W, b, y):
    """The library's pooler and head with these weights (PyTorch stores weights as [out, in])."""
    pooler, head = Pooler(C).double(), nn.Linear(C, 2).double()
    pooled = torch.func.functional_call(pooler, {"dense.weight": W_p.T, "dense.bias": b_p}, x)
    return cross_entropy(torch.func.functional_call(head, {"weight": W.T, "bias": b}, pooled), torch.tensor(y)).value


def test_F26_next_sentence_equals_the_library_in_value_and_all_gradients(pair):
    *inputs, y = pair
    value, *theirs = autograd(lambda *t: minilm_next_sentence(*t, y), *inputs)
    ours = next_sentence_loss_gradients(*inputs, y)
    assert next_sentence_loss(*inputs, y) == pytest.approx(float(value), abs=1e-10)
    for i, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        np.testing.assert_allclose(mine, other, atol=1e-10)
        with_this = lambda a, i=i: next_sentence_loss(*inputs[:i], a, *inputs[i + 1 :], y)  # noqa: E731
        np.testing.assert_allclose(mine, finite_differences(with_this, inputs[i]), atol=1e-7)


def test_F26_class_0_is_learnt_like_class_1(pair):
    """A loss that ignored label 0 would give no gradient to the pairs where B does follow A."""
    *inputs, _ = pair
    dx = next_sentence_loss_gradients(*inputs, np.zeros(B, int))[0]
    assert dx[:, 0].all() and not dx[:, 1:].any()  # every pair, but only at [CLS]


# ----------------------------------------------------------------------------------------------------- the sum


def test_F27_sum_and_gradients_equal_the_library(logits_and_labels, pair):
    (z, y), (*head, nsp_labels) = logits_and_labels, pair
    s = next_sentence_logits(*head)

    def both(z, s):
        return cross_entropy(z, torch.tensor(y)).value + cross_entropy(s, torch.tensor(nsp_labels)).value

    value, dz, ds = autograd(both, z, s)
    ours = pretraining_loss_gradients(z, y, s, nsp_labels)
    assert pretraining_loss(z, y, s, nsp_labels) == pytest.approx(float(value), abs=1e-10)
    np.testing.assert_allclose(ours[0], dz, atol=1e-10)
    np.testing.assert_allclose(ours[1], ds, atol=1e-10)
    np.testing.assert_allclose(
        ours[0], finite_differences(lambda a: pretraining_loss(a, y, s, nsp_labels), z), atol=1e-7
    )
    np.testing.assert_allclose(
        ours[1], finite_differences(lambda a: pretraining_loss(z, y, a, nsp_labels), s), atol=1e-7
    )
    assert pretraining_loss(z, y, s, nsp_labels) == pytest.approx(
        masked_word_loss(z, y) + next_sentence_loss(*head, nsp_labels), abs=1e-12
    )


# ----------------------------------------------------------------------------------------------------- masking

SPECIAL, MASK, WORDS, RATE = (0, 1, 2, 3, 4), 4, 10_000, 0.9


def shares(mask) -> tuple[np.ndarray, int]:
    """Mask 200,000 tokens: the shares of [MASK], random and kept among the chosen tokens, and how many were chosen."""
    rng = np.random.default_rng(0)
    w = rng.integers(5, WORDS, size=(400, 500))
    masked, y = mask(w, SPECIAL, MASK, WORDS, rng, RATE)
    chosen = y != -100
    is_mask, kept = masked[chosen] == MASK, masked[chosen] == w[chosen]
    return np.array([is_mask.mean(), (~is_mask & ~kept).mean(), kept.mean()]), chosen.sum()


def z_scores(share: np.ndarray, n: int, p: np.ndarray) -> np.ndarray:
    return (share - p) / np.sqrt(p * (1 - p) / n)


def test_F25_one_draw_gives_80_10_10():
    share, n = shares(mask_tokens)
    assert abs(z_scores(n / 200_000, 200_000, np.array(RATE))) < 4
    assert (np.abs(z_scores(share, n, np.array([0.8, 0.1, 0.1]))) < 4).all()


def test_F25_two_draws_give_81_10_9():
    share, n = shares(mask_words_by_two_draws)
    assert (np.abs(z_scores(share, n, np.array([0.81, 0.1, 0.09]))) < 4).all()
    off = z_scores(share, n, np.array([0.8, 0.1, 0.1]))
    assert off[0] > 6 and off[2] < -6  # this is not 80/10/10


@pytest.mark.parametrize("mask", [mask_tokens, mask_words_by_two_draws])
def test_F25_special_tokens_are_never_chosen_and_never_drawn(mask, rng):
    w = rng.integers(8, size=(50, 60))  # five of the eight ids are special tokens
    before = w.copy()
    masked, y = mask(w, SPECIAL, MASK, 8, rng, 0.8)
    np.testing.assert_array_equal(w, before)
    assert (y[w < 5] == -100).all() and (masked[w < 5] == w[w < 5]).all()
    changed = masked[masked != w]
    assert set(changed) == {MASK, 5, 6, 7}
    np.testing.assert_array_equal(y[y != -100], w[y != -100])


# --------------------------------------------------------------------------------------------------- bad input


def bad_pair(**changes):
    given = dict(x=np.zeros((B, T, C)), W_p=np.zeros((C, C)), b_p=np.zeros(C), W=np.zeros((C, 2)), b=np.zeros(2))
    return next_sentence_loss(**(given | dict(y=np.zeros(B, int)) | changes))


LOGITS, NONE = np.zeros((B, T, V)), np.full((B, T), -100)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: masked_word_context(0), "T is 0"),
        (lambda: masked_word_context_as_printed(0), "T is 0"),
        (lambda: masked_word_loss(LOGITS, NONE), "no token counts"),
        (lambda: masked_word_loss(LOGITS, np.full((B, T), V)), "y holds the class 7"),
        (lambda: masked_word_loss(LOGITS, np.full((B, T), -1)), "y holds the class -1"),
        (lambda: masked_word_loss(LOGITS[0], NONE), "3 axes"),
        (lambda: masked_word_loss_gradient(LOGITS, NONE[:, 1:]), "axis T does not fit"),
        (lambda: bad_pair(y=np.array([0, 1, 2])), "y holds the class 2"),
        (lambda: bad_pair(y=np.zeros(B + 1, int)), "axis B does not fit"),
        (lambda: bad_pair(x=np.zeros((0, T, C)), y=np.zeros(0, int)), "x is empty"),
        (lambda: bad_pair(W=np.zeros((C, 3))), "axis K does not fit"),
        (lambda: bad_pair(b_p=np.zeros(C + 1)), "axis C does not fit"),
        (lambda: pretraining_loss(LOGITS, NONE, np.zeros((B, 3)), np.zeros(B, int)), "axis K does not fit"),
        (lambda: pretraining_loss(LOGITS, NONE, np.zeros((B + 1, 2)), np.zeros(B + 1, int)), "axis B does not fit"),
        (lambda: mask_tokens(np.array([[5]]), SPECIAL, MASK, 9, np.random.default_rng(0), 1.0), "rate is 1.0"),
        (lambda: mask_tokens(np.array([[9]]), SPECIAL, MASK, 9, np.random.default_rng(0)), "w holds the class 9"),
        (lambda: mask_tokens(np.zeros((0, 3), int), SPECIAL, MASK, 9, np.random.default_rng(0)), "w is empty"),
        (lambda: mask_words_by_two_draws(np.array([[0]]), SPECIAL, MASK, 5, np.random.default_rng(0)), "without its"),
    ],
)
def test_F25_F26_F27_bad_input_is_named(call, says):
    with pytest.raises(InputError) as error:
        call()
    assert says in str(error.value)
