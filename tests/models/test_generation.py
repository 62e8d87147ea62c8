"""Writing: the cache equals the full pass, a batch equals one text after the other, and beams equal the best of all texts.

Referees: our own models without a cache, `generate` of `transformers` on the same weights, and brute force over all texts.
"""

import itertools
import logging

import pytest
import torch
import transformers
from hypothesis import given, settings, strategies as st
from writers import V, gpt, lstm

from minilm.errors import InputError
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.generation import CONTEXT, END, LENGTH, beam_search, generate
from minilm.models.gpt import GPT
from minilm.pretrained.gpt2_names import to_gpt2
from minilm.pretrained.weights import weights_of

MODELS = {"lstm": lstm} | {
    positions: lambda positions=positions, **more: gpt(positions, **dict(max_length=12) | more)
    for positions in ("relative", "learned", "sinusoidal", "rotary")
}


def tokens(n, seed=0):
    return torch.randint(1, V, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


def equal(ours, theirs, atol=1e-12):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


# ---- the cache


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=5)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    steps=st.integers(1, 5),
    chunk=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@torch.no_grad()
def test_F23_a_cached_step_equals_the_full_pass_for_every_length_and_ragged_batch(name, lengths, steps, chunk, seed):
    """Row by row: the logits after a padded prompt and after every further token are those of the text alone, read at once."""
    model = MODELS[name]()
    rows = [tokens(n, seed + i) for i, n in enumerate(lengths)]
    T, memory = max(lengths), model.new_memory()
    ids = torch.tensor([[0] * (T - len(row)) + row for row in rows])
    mask = torch.tensor([[False] * (T - len(row)) + [True] * len(row) for row in rows])
    for step in range(steps):
        logits = model.next_logits(ids, memory, mask)
        for row, ours in zip(rows, logits, strict=True):
            equal(ours, model(torch.tensor([row]))[0, -1])
            equal(ours, model.next_logits(torch.tensor([row]))[0])
        if max(map(len, rows)) + chunk > 12:
            break
        new = [tokens(chunk, 1000 * step + i) for i in range(len(rows))]  # several tokens at a time are no exception
        rows = [row + more for row, more in zip(rows, new, strict=True)]
        ids, mask = torch.tensor(new), torch.cat([mask, torch.ones(len(rows), chunk, dtype=torch.bool)], dim=1)


@pytest.mark.parametrize("name", ["relative", "rotary"])
@torch.no_grad()
def test_when_the_context_is_full_it_moves_and_still_equals_the_full_pass(name):
    """75 tokens with a context of 7, ragged: the cache has been moved to the front of its tensors by then."""
    model, rows = MODELS[name](max_length=7), [tokens(5, 1), tokens(2, 2)]
    ids, mask = torch.tensor([rows[0], [0] * 3 + rows[1]]), torch.tensor([[True] * 5, [False] * 3 + [True] * 2])
    memory = model.new_memory()
    for step in range(70):
        logits = model.next_logits(ids, memory, mask)
        if step in (0, 2, 3, 4, 8, 30, 58, 59, 60, 69):
            for row, ours in zip(rows, logits, strict=True):
                equal(ours, model(torch.tensor([row]))[0, -1])
        new = [tokens(1, 10 * step + i) for i in range(2)]
        rows = [row + more for row, more in zip(rows, new, strict=True)]
        ids, mask = torch.tensor(new), torch.cat([mask, torch.ones(2, 1, dtype=torch.bool)], dim=1)
    assert len(memory.caches[0]) == 7 and memory.caches[0].read == 5 + 69
    with pytest.raises(InputError, match="2 new positions do not fit into a window of 7: give them one at a time"):
        model.next_logits(torch.tensor([[1, 2], [3, 4]]), memory)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_the_rows_of_a_memory_can_be_selected(name):
    model, memory = MODELS[name](), MODELS[name]().new_memory()
    rows = torch.tensor([tokens(4, i) for i in range(3)])
    model.next_logits(rows, memory)
    order = torch.tensor([2, 0, 0, 1])
    memory.select(order)
    equal(
        model.next_logits(torch.tensor([[1], [2], [3], [4]]), memory)[2],
        model(torch.tensor([[*rows[0].tolist(), 3]]))[0, -1],
    )


# ---- texts


CHOICES = (
    {"temperature": 0},
    {"temperature": 1.0},
    {"temperature": 0.7, "top_k": 4},
    {"temperature": 1.3, "top_p": 0.8},
)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_F23_a_ragged_batch_gives_each_prompt_the_text_that_it_gets_alone(name, choice):
    """Token for token, with a stop token that ends some of the texts earlier; and the same without a cache."""
    model = MODELS[name]()
    prompts = [tokens(n, n) for n in (5, 1, 3, 5)]
    together = generate(model, prompts, 7, **choice, seed=3, stop={2, 5})
    assert generate(model, prompts, 7, **choice, seed=3, stop={2, 5}, use_cache=False) == together
    for i, prompt in enumerate(prompts):
        # text i draws with the generator of the seed and i: stand-ins before it, so that it is number i here as well
        assert generate(model, [[1]] * i + [prompt], 7, **choice, seed=3, stop={2, 5})[i] == together[i]
    for text in together:
        assert all(token not in (2, 5) for token in text.ids[:-1])
        assert text.reason == (END if text.ids[-1] in (2, 5) else LENGTH) and (text.reason == END or len(text.ids) == 7)


@pytest.mark.parametrize("name", MODELS)
def test_F23_greedy_takes_the_most_likely_token_of_a_full_pass(name):
    model = MODELS[name]()
    text = tokens(3)
    for token in generate(model, [text], 6, temperature=0)[0].ids:
        with torch.no_grad():
            assert token == int(model(torch.tensor([text]))[0, -1].argmax())
        text = [*text, token]


def test_the_seed_decides_and_the_global_generator_does_not():
    model, prompts = gpt(), [tokens(3)] * 2
    one = generate(model, prompts, 8, seed=1)
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    assert generate(model, prompts, 8, seed=1) == one and torch.equal(before, torch.random.get_rng_state())
    assert generate(model, prompts, 8, seed=2) != one and one[0] != one[1]  # the same prompt twice, drawn anew


def test_every_token_is_told_as_soon_as_it_is_chosen():
    told: list[tuple[int, int]] = []
    texts = generate(
        gpt(), [tokens(3), tokens(1)], 5, seed=4, stop={2}, on_token=lambda i, token: told.append((i, token))
    )
    for i, text in enumerate(texts):
        assert [token for j, token in told if j == i] == text.ids
    assert [i for i, _ in told[:4]] == [0, 1, 0, 1]


def test_a_banned_token_is_never_written():
    model = gpt()
    best = generate(model, [[1]], 1, temperature=0)[0].ids[0]
    for choice in ({"temperature": 0}, {"temperature": 5.0}):
        assert best not in generate(model, [[1]], 40, **choice, banned=[best])[0].ids
    assert best not in [token for text in beam_search(model, [1], 3, 5, banned=[best]) for token in text.ids]


def test_a_table_of_positions_that_is_full_ends_the_text_and_says_so():
    model = gpt("learned", max_length=6)
    texts = generate(model, [tokens(4), tokens(6), tokens(1)], 5, temperature=0)
    assert [(len(text.ids), text.reason) for text in texts] == [(2, CONTEXT), (0, CONTEXT), (5, LENGTH)]
    assert generate(model, [tokens(4)], 5, temperature=0)[0] == texts[0]
    assert [(len(text.ids), text.reason) for text in beam_search(model, tokens(4), 2, 5)] == [(2, CONTEXT)] * 2
    assert beam_search(model, tokens(6), 2, 5)[0].reason == CONTEXT
    moving = generate(gpt("relative", max_length=6), [tokens(4)], 50, temperature=0)[0]
    assert (len(moving.ids), moving.reason) == (50, LENGTH)


# ---- beams


def score(model, prompt, ids, alpha):
    with torch.no_grad():
        log_p = model(torch.tensor([[*prompt, *ids]]))[0].log_softmax(dim=-1)
    n = len(ids)
    return float(log_p[torch.arange(len(prompt) - 1, len(prompt) + n - 1), torch.tensor(ids)].sum()) / n**alpha


@pytest.mark.parametrize("name", ["lstm", "relative", "learned"])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 2.0, -0.5])
def test_F23_a_wide_beam_finds_the_best_of_all_texts(name, alpha):
    """All texts of up to three tokens over a vocabulary of four, of which token 2 ends a text."""
    model, prompt = MODELS[name](vocab_size=4, seed=5), [1, 3]
    texts = [ids for n in (1, 2, 3) for ids in itertools.product(range(4), repeat=n) if 2 not in ids[:-1]]
    texts = [ids for ids in texts if ids[-1] == 2 or len(ids) == 3]
    wanted = sorted(((score(model, prompt, ids, alpha), list(ids)) for ids in texts), reverse=True)
    found = beam_search(model, prompt, len(texts), 3, alpha, stop={2})
    assert [text.ids for text in found] == [ids for _, ids in wanted]
    equal(torch.tensor([text.score for text in found]), torch.tensor([s for s, _ in wanted]), atol=1e-6)


def test_F23_one_beam_is_greedy_and_the_penalty_decides_between_short_and_long():
    model = gpt(seed=8)
    greedy = generate(model, [[1, 3]], 6, temperature=0, stop={2})[0]
    assert beam_search(model, [1, 3], 1, 6, stop={2})[0].ids == greedy.ids
    lengths = [len(beam_search(model, [1, 3], 40, 6, alpha, stop={2, 4, 6})[0].ids) for alpha in (-1.0, 0.0, 3.0)]
    assert lengths[0] <= lengths[1] < lengths[2] == 6


# ---- the same weights in `transformers`


@pytest.fixture(scope="module")
def twins():
    """Pairs of the same weights, ours and theirs, in float64."""
    logging.disable(logging.WARNING)
    made = []
    for seed in range(3):
        ours = gpt("learned", max_length=30, seed=seed, vocab_size=V + seed)
        c = ours.config
        config = transformers.GPT2Config(
            vocab_size=c.vocab_size,
            n_positions=30,
            n_embd=c.width,
            n_layer=c.layers,
            n_head=c.heads,
            n_inner=c.feed_forward,
        )
        config.activation_function, config.layer_norm_epsilon = c.activation, c.epsilon
        theirs = transformers.GPT2LMHeadModel(config).double().eval()
        missing = theirs.load_state_dict(to_gpt2(weights_of(ours)), strict=False)
        assert missing.missing_keys == ["lm_head.weight"] and not missing.unexpected_keys
        made.append((ours, theirs))
    yield made
    logging.disable(logging.NOTSET)


STOP = {2, 5, 9, 12}


def theirs_of(model, prompts, **options):
    T = max(map(len, prompts))
    ids = torch.tensor([[0] * (T - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (T - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    options |= dict(do_sample=False, eos_token_id=sorted(STOP), pad_token_id=0, bos_token_id=1)
    rows = model.generate(ids, attention_mask=mask, **options)[:, T:].tolist()
    ends = [next((i for i, token in enumerate(row, 1) if token in STOP), len(row)) for row in rows]
    return [row[:end] for row, end in zip(rows, ends, strict=True)]


def test_F23_greedy_texts_are_those_of_transformers(twins):
    ended = 0
    for seed, (ours, theirs) in enumerate(twins):
        prompts = [tokens(n, 10 * seed + n) for n in (6, 2, 4)]
        found = [text.ids for text in generate(ours, prompts, 20, temperature=0, stop=STOP)]
        assert found == theirs_of(theirs, prompts, max_new_tokens=20)
        ended += sum(text[-1] in STOP for text in found)
    assert ended > 2


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_F23_beams_are_those_of_transformers(twins, alpha):
    ended = 0
    for seed, (ours, theirs) in enumerate(twins):
        for beams in (2, 5):
            prompt = tokens(4, 10 * seed + beams)
            options = dict(num_beams=beams, num_return_sequences=beams, length_penalty=alpha, early_stopping="never")
            found = [text.ids for text in beam_search(ours, prompt, beams, 12, alpha, stop=STOP)]
            assert found == theirs_of(theirs, [prompt], max_new_tokens=12, **options)
            ended += sum(text[-1] in STOP for text in found)
    assert ended > 5  # some texts end, so that finished beams are compared as well


# ---- bad input


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompts": [[1], []]}, "prompt 2 has no tokens"),
        ({"prompts": [[1] * 13]}, "prompt 1 has 13 tokens, and the model reads 12: shorten it"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, not 0"),
        ({"temperature": -0.1}, r"temperature -0.1 must be 0 \(the most likely token\) or above"),
        ({"temperature": float("nan")}, "temperature nan must be 0"),
        ({"top_k": 0}, "top_k 0 must be at least 1"),
        ({"top_p": 0.0}, "top_p 0.0 must be above 0 and at most 1"),
        ({"top_p": 1.5}, "top_p 1.5 must be above 0 and at most 1"),
    ],
)
@pytest.mark.parametrize("name", ["relative", "learned"])
def test_bad_settings_are_one_clear_sentence(change, said, name):
    with pytest.raises(InputError, match=said):
        generate(**dict(model=MODELS[name](), prompts=[[1]], max_new_tokens=3) | change)


def test_a_model_that_does_not_write_or_is_broken_is_refused():
    with pytest.raises(InputError, match="BertForPretraining does not write texts"):
        generate(BertForPretraining(TransformerConfig(V, 12, 1, 3)), [[1]])
    with pytest.raises(InputError, match="beams 0 must be at least 1"):
        beam_search(gpt(), [1], 0)
    broken = gpt()
    with torch.no_grad():
        broken.encoder.tokens.weight[3] = float("nan")
    for temperature in (0, 1.0):
        with pytest.raises(InputError, match="the largest logit is not finite"):
            generate(broken, [[1]], temperature=temperature)


def test_a_text_of_any_length_fits_into_an_lstm():
    assert len(generate(lstm(), [tokens(50)], 60, temperature=0)[0].ids) == 60 and isinstance(gpt(), GPT)
