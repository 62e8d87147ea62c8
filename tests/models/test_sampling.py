"""Sampling the next token: probabilities are checked by hand and by hypothesis, and draws by counting 200,000 of them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from minilm.errors import InputError
from minilm.models.sampling import choose, cut_probabilities, most_likely, sample, sampling_probabilities

OPTIONS = ({}, {"temperature": 0.5}, {"temperature": 3.0}, {"top_k": 2}, {"top_k": 3, "top_p": 0.8})
DRAWS = 200_000 // len(OPTIONS)
P = np.array([0.1, 0.5, 0.15, 0.25])
Z = np.log(P)


def generator(seed=7):
    return torch.Generator().manual_seed(seed)


def shares(**options):
    """How often each token is drawn, for the logits Z."""
    ids = sample(torch.from_numpy(Z).expand(DRAWS, -1), generator(), **options)
    assert ids.shape == (DRAWS,) and ids.dtype == torch.int64
    return np.bincount(ids.numpy(), minlength=len(Z)) / DRAWS


@st.composite
def settings_of_a_draw(draw):
    """Logits that differ clearly, a temperature, top-k and top-p."""
    steps = draw(st.lists(st.integers(1, 20), min_size=1, max_size=12))
    z = np.array(draw(st.permutations(np.cumsum(steps) / 7)))
    return z, draw(st.floats(0.2, 5)), draw(st.integers(1, 14)), draw(st.floats(0.01, 1))


def test_F23_top_k_and_top_p_by_hand():
    np.testing.assert_allclose(sampling_probabilities(Z, 1.0, 4, 1.0), P, atol=1e-15)
    np.testing.assert_allclose(sampling_probabilities(Z, 1.0, 3, 1.0), P * [0, 1, 1, 1] / 0.9, atol=1e-15)
    np.testing.assert_allclose(sampling_probabilities(Z, 1.0, 4, 0.7), P * [0, 1, 0, 1] / 0.75, atol=1e-15)
    np.testing.assert_allclose(sampling_probabilities(Z, 1.0, 4, 0.8), P * [0, 1, 1, 1] / 0.9, atol=1e-15)
    # of the three tokens that top-k keeps, the two most probable have 0.75 / 0.9 = 0.833, which is now enough for 0.8
    np.testing.assert_allclose(sampling_probabilities(Z, 1.0, 3, 0.8), P * [0, 1, 0, 1] / 0.75, atol=1e-15)
    np.testing.assert_allclose(sampling_probabilities(Z, 0.5, 4, 1.0), P**2 / (P**2).sum(), atol=1e-15)


@given(settings_of_a_draw())
def test_F23_the_kept_tokens_are_the_most_likely_and_no_more_than_needed(case):
    z, temperature, top_k, top_p = case
    p = sampling_probabilities(z, temperature, top_k, top_p)
    full = np.exp((z - z.max()) / temperature)
    kept = p > 0
    assert abs(p.sum() - 1) < 1e-12 and 1 <= kept.sum() <= top_k
    assert full[kept].min() > full[~kept].max(initial=0)
    np.testing.assert_allclose(p[kept] / p.max(), full[kept], rtol=1e-9)
    of_k = np.sort(full)[::-1][:top_k]
    mass = np.cumsum(of_k / of_k.sum())
    assert mass[kept.sum() - 1] >= top_p - 1e-9
    assert kept.sum() == 1 or mass[kept.sum() - 2] < top_p + 1e-9


@given(settings_of_a_draw(), st.floats(-500, 500))
def test_F23_a_constant_added_to_all_logits_changes_nothing(case, constant):
    z, temperature, top_k, _ = case
    shifted = sampling_probabilities(z + constant, temperature, top_k, 1.0)
    np.testing.assert_allclose(shifted, sampling_probabilities(z, temperature, top_k, 1.0), atol=1e-10)


@given(settings_of_a_draw())
def test_F23_a_temperature_near_0_is_argmax(case):
    z, _, top_k, top_p = case
    assert sampling_probabilities(z, 1e-4, top_k, top_p)[z.argmax()] == 1
    logits = torch.from_numpy(z)
    assert sample(logits, generator(), 1e-4) == sample(logits, generator(), 0, top_k, top_p) == z.argmax()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_F23_tokens_are_drawn_as_often_as_their_probability_says(options):
    p = sampling_probabilities(Z, options.get("temperature", 1.0), options.get("top_k", 4), options.get("top_p", 1.0))
    bound = 5 * np.sqrt(p * (1 - p) / DRAWS)  # five standard deviations, about 0.01
    found = shares(**options)
    assert (abs(found - p) <= bound).all() and (found[p == 0] == 0).all()
    assert options == {} or (abs(found - P) > bound).any()  # the bound is narrow enough to tell the settings apart


def test_F23_every_row_is_drawn_from_its_own_logits_and_the_seed_decides():
    logits = torch.full((2, 3, 50), -math.inf)
    wanted = torch.arange(6).reshape(2, 3)
    assert (sample(logits.scatter(-1, wanted[..., None], 0.0), generator()) == wanted).all()
    level = torch.zeros(64, 50)
    assert (sample(level, generator(1)) == sample(level, generator(1))).all()
    assert (sample(level, generator(1)) != sample(level, generator(2))).any()
    state = torch.random.get_rng_state()
    sample(level, generator())
    assert (torch.random.get_rng_state() == state).all()  # the global generator is not used


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temperature": -1.0}, "temperature -1.0 must be above 0"),
        ({"temperature": math.nan}, "temperature nan must be above 0"),
        ({"temperature": math.inf}, "temperature inf must be above 0"),
        ({"top_k": 0}, "top_k 0 must be at least 1"),
        ({"top_p": 0.0}, "top_p 0.0 must be above 0"),
        ({"top_p": 1.5}, "top_p 1.5 must be above 0"),
        ({"temperature": 0.0, "top_k": 0}, "top_k 0 must be at least 1"),
        ({"logits": torch.zeros(3, 0)}, "the logits have the shape"),
        ({"logits": torch.tensor([0.0, math.nan])}, "the largest logit is nan"),
        ({"logits": torch.tensor([0.0, math.inf])}, "the largest logit is inf"),
        ({"logits": torch.full((4,), -math.inf)}, "the largest logit is -inf"),
    ],
)
def test_F23_bad_input_is_one_clear_sentence(change, said):
    with pytest.raises(InputError, match=said):
        sample(**{"logits": torch.zeros(4), "generator": generator(), **change})


@given(settings_of_a_draw(), st.integers(1, 3))
def test_F23_all_rows_at_once_have_the_probabilities_of_one_row_after_the_other(case, B):
    z, temperature, top_k, top_p = case
    rows = np.stack([np.roll(z, shift) for shift in range(B)])
    p, order = cut_probabilities(torch.from_numpy(rows), temperature, top_k, top_p)
    found = torch.zeros(B, len(z), dtype=torch.float64).scatter(-1, order, p).numpy()
    wanted = [sampling_probabilities(row, temperature, top_k, top_p) for row in rows]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_F23_a_row_is_drawn_by_its_own_generator_as_often_as_its_probability_says(options):
    draws = 4000
    generators, logits = [generator(1), generator(2)], torch.from_numpy(np.stack([Z, Z[::-1]]))
    ids = torch.stack([choose(logits, generators, **options) for _ in range(draws)])  # [draws, 2]
    given = options.get("temperature", 1.0), options.get("top_k", 4), options.get("top_p", 1.0)
    for row, z in zip(ids.T, (Z, Z[::-1].copy()), strict=True):
        p = sampling_probabilities(z, *given)
        found = np.bincount(row.numpy(), minlength=4) / draws
        assert (abs(found - p) <= 5 * np.sqrt(p * (1 - p) / draws)).all()
    one = [int(choose(logits[:1], [g], **options)[0]) for g in [generator(1)] for _ in range(50)]
    assert one == ids[:50, 0].tolist()  # what stands beside a row does not matter


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_F23_the_most_likely_token_is_the_first_of_the_largest(dtype):
    logits = torch.randint(5, (40, 9), generator=generator()).to(dtype)  # many are equal
    logits[3, 4] = math.inf
    largest, ids = most_likely(logits)
    for row, z, i in zip(logits.tolist(), largest.tolist(), ids.tolist(), strict=True):
        assert z == max(row) and i == row.index(z)
    logits[7, 2] = math.nan
    assert most_likely(logits)[0].isnan().nonzero().tolist() == [[7]]
