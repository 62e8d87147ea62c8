r"""Masked words: which ones are hidden, and what the labels are.  F25.  30 minutes, medium."""

from functools import lru_cache

import numpy as np
import torch

from minilm.exercises.spec import Exercise, listed
from minilm.exercises.specs.rates import apart, even, near, steady


def flawed(ids, special_ids, mask_id, vocab_size, generator, mask_rate=0.15, wrong=frozenset()):
    if "own_seed" in wrong:
        generator = torch.Generator().manual_seed(0)
    if "fixed_id" in wrong:
        mask_id = special_ids[3]

    def draw():
        return torch.rand(ids.shape, generator=generator)

    special = torch.tensor(special_ids)
    is_word = torch.ones_like(ids, dtype=torch.bool) if "special" in wrong else ~torch.isin(ids, special)
    if "up_to_the_last" in wrong:  # takes all ids up to the number of special tokens for special
        is_word = ids >= len(special_ids)
    if "pad_only" in wrong:
        is_word = ids != special_ids[0]
    chosen = is_word & (draw() < (1 - mask_rate if "keeps" in wrong else mask_rate))
    if "exact" in wrong:  # exactly the same share of every row
        ranks = draw().masked_fill(~is_word, 2.0).argsort(-1).argsort(-1)
        chosen = is_word & (ranks < (mask_rate * is_word.sum(-1, keepdim=True)).round())
    if "pairs" in wrong:  # whole stretches of two
        chosen = is_word & (draw()[:, ::2] < mask_rate).repeat_interleave(2, -1)[:, : ids.shape[1]]
    if "fixed" in wrong:  # always the first places of a row instead of one draw per word
        chosen = is_word & (torch.arange(ids.shape[1]) < mask_rate * ids.shape[1])
    u, ordinary = draw(), torch.ones(vocab_size, dtype=torch.bool)
    if "random_special" not in wrong:
        ordinary[special] = False
    ordinary = ordinary.nonzero().flatten()
    words = ordinary[torch.randint(len(ordinary), ids.shape, generator=generator)]
    if "first_half" in wrong:
        words = ordinary[torch.randint(len(ordinary) // 2, ids.shape, generator=generator)]
    if "never_first" in wrong:
        words = ordinary[torch.randint(1, len(ordinary), ids.shape, generator=generator)]
    if "one_word" in wrong:
        words = ordinary[torch.randint(len(ordinary), (1,), generator=generator)].expand_as(ids)
    masked, random = u < 0.8, (u >= 0.8) & (u < 0.9)
    if "shares_turned" in wrong:
        random, masked = u < 0.8, (u >= 0.8) & (u < 0.9)
    if "always_mask" in wrong:
        masked, random = u < 2, u > 2
    if "no_kept" in wrong:
        random = ~masked
    if "no_random" in wrong:
        random = u > 2
    if "of_the_rest" in wrong:  # a tenth of the remaining fifth
        random = ~masked & (draw() < 0.1)
    if "two_draws" in wrong:
        random, kept = draw() < 0.1, draw() < 0.1
        masked = ~random & ~kept
    if "of_all" in wrong:
        random = ~masked & (draw() < 0.5)
        chosen_too = is_word & (draw() < 0.1)
    where = chosen | chosen_too if "of_all" in wrong else chosen
    corrupted = torch.where(where & masked, mask_id, ids)
    corrupted = torch.where(where & random, words, corrupted)
    labels = corrupted if "after" in wrong else ids
    if "in_place" in wrong:
        labels = ids.clone()
        ids.copy_(corrupted)
    if "random_unlabelled" in wrong:
        return corrupted, labels.masked_fill(~(chosen & masked), -100)
    if "turned" in wrong:
        return labels.masked_fill(~chosen, -100), corrupted
    if "all_labels" in wrong:
        return corrupted, labels.clone()
    if "only_changed" in wrong:
        return corrupted, labels.masked_fill(corrupted == ids, -100)
    if "words_labelled" in wrong:
        return corrupted, labels.masked_fill(~is_word, -100)
    if "zero" in wrong:  # 0 for "does not count", and then `labels > 0`
        labels = labels * chosen
        return corrupted, torch.where(labels > 0, labels, -100)
    return corrupted, labels.masked_fill(~chosen, 0 if "ignored_0" in wrong else -100)


def by_places(ids, special_ids, mask_id, vocab_size, generator, mask_rate=0.15):
    """Draw only for the chosen words."""
    corrupted, labels = ids.clone(), torch.full_like(ids, -100)
    word = torch.stack([ids != s for s in special_ids]).all(dim=0)
    chosen = torch.bernoulli(torch.where(word, mask_rate, 0.0), generator=generator).bool()
    labels[chosen] = ids[chosen]
    fate = torch.randint(10, (int(chosen.sum()),), generator=generator)  # 0 … 7 mask, 8 random, 9 kept
    ordinary = torch.tensor([i for i in range(vocab_size) if i not in special_ids])
    words = ordinary[torch.randint(len(ordinary), fate.shape, generator=generator)]
    corrupted[chosen] = torch.where(fate < 8, mask_id, torch.where(fate == 8, words, ids[chosen]))
    return corrupted, labels


def one_draw_for_all(ids, special_ids, mask_id, vocab_size, generator, mask_rate=0.15):
    """A single draw u decides everything: below 0.8 · mask_rate, below 0.9 · mask_rate, below mask_rate."""
    u = torch.rand(ids.shape, generator=generator, dtype=torch.float64)
    u[torch.isin(ids, torch.tensor(special_ids))] = 1.0
    weights = torch.ones(vocab_size).index_fill(0, torch.tensor(special_ids), 0.0)
    words = torch.multinomial(weights, ids.numel(), replacement=True, generator=generator).reshape(ids.shape)
    corrupted = torch.where(u < 0.8 * mask_rate, torch.full_like(ids, mask_id), ids)
    corrupted = torch.where((u >= 0.8 * mask_rate) & (u < 0.9 * mask_rate), words, corrupted)
    return corrupted, torch.where(u < mask_rate, ids, torch.tensor(-100))


def masks_from_numpy(ids, special_ids, mask_id, vocab_size, generator, mask_rate=0.15):
    """Another order of draws, the random words first; half of the chosen words that are not masked become random."""
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    a = ids.numpy()
    out = rng.choice(np.setdiff1d(np.arange(vocab_size), special_ids), size=a.shape)
    heads = rng.random(a.shape) < 0.5
    hidden = rng.random(a.shape) < 0.8
    chosen = (rng.random(a.shape) < mask_rate) & ~np.isin(a, special_ids)
    out = np.where(chosen, np.where(hidden, mask_id, np.where(heads, out, a)), a)
    return torch.from_numpy(out), torch.from_numpy(np.where(chosen, a, -100))


@lru_cache(maxsize=8)
def text(special, V, share, rows, seed):
    """Rows of 500 tokens: `share` of them special, the rest words. All words are equally frequent, except id 0 if it is a word."""
    rng = np.random.default_rng(seed)
    words = np.setdiff1d(np.arange(V), special)
    ids = words[rng.integers(len(words), size=(rows, 500))]
    u = rng.random(ids.shape)
    ids[u < share] = np.array(special)[rng.integers(len(special), size=int((u < share).sum()))]
    return torch.from_numpy(np.where((u > 0.95) & (0 not in special), 0, ids))


def run(mask_tokens, special, mask_id, mask_rate, V, share, rows, seed):
    """Shares over many words, and what must hold for every single one."""
    before = text(tuple(special), V, share, rows, seed)
    tokens = before.clone()
    corrupted, labels = mask_tokens(tokens, special, mask_id, V, torch.Generator().manual_seed(seed), mask_rate)
    few = before[:20].clone()
    again, _ = mask_tokens(few, special, mask_id, V, torch.Generator().manual_seed(seed), mask_rate)
    other, _ = mask_tokens(before[:20].clone(), special, mask_id, V, torch.Generator().manual_seed(seed + 1), mask_rate)
    if corrupted.shape != before.shape or labels.shape != before.shape:
        return {"corrupted": corrupted, "labels": labels}
    is_special = torch.zeros(V, dtype=torch.bool)
    is_special[special] = True
    word, asked, changed = ~is_special[before], labels != -100, corrupted != before
    hidden = changed & (corrupted == mask_id)
    others, mine = corrupted[changed & ~hidden & (corrupted >= 0) & (corrupted < V)], asked & word
    counts = torch.bincount(others, minlength=V)[~is_special].double()
    n, words = max(int(mine.sum()), 1), int(word.sum())
    return {
        "share of the words that get a label": near(mine.sum() / words, words),
        "of these replaced by [MASK]": near((hidden & mine).sum() / n, n),
        "of these replaced by another word": near((changed & ~hidden & mine).sum() / n, n),
        "of these kept": near((~changed & mine).sum() / n, n),
        "padding gets a label": bool((asked & (before == special[0])).any()),
        "special tokens get a label": bool((asked & ~word & (before != special[0])).any()),
        "special tokens are changed": bool((changed & ~word).any()),
        "words without a label are changed": bool((changed & ~asked & word).any()),
        "every label is the original word": bool((labels[asked] == before[asked]).all()),
        "random words that are special tokens": bool(is_special[others].any()),
        "there are many different random words": int((counts > 0).sum()) > 20,
        "random words come from the whole vocabulary": even(torch.stack([c.mean() for c in counts.chunk(10)]), 0.3),
        "every word can be a random word": even(counts, 30),
        "the first word of the vocabulary gets a label": bool((asked & (before == before[word].min())).any()),
        "every place of a row gets a label at times": bool(asked.any(0).float().mean() > 0.9),
        "each word is chosen on its own": steady(asked & word, mask_rate * float(word.float().mean())),
        "neighbours are chosen independently": apart(mine, float(mine.float().mean())),
        "another seed hides other words": bool((again != other).any()),
        "ids is left as it was": bool((tokens == before).all()),
    }


def case(rng, mask_rate=0.9, special=(0, 1, 2, 3, 4), mask_id=4, V=1500, share=0.1, rows=400):
    return {
        **{"special": list(special), "mask_id": mask_id},
        "mask_rate": mask_rate,
        "V": V,
        "share": share,
        "rows": rows,
        "seed": int(rng.integers(1e9)),
    }


def probes(rng):
    return {
        "200,000 tokens, nine in ten words are chosen": case(rng),
        "200,000 tokens, BERT's rate": case(rng, mask_rate=0.15, share=0.3),
        "a vocabulary in which 0 is a word": case(
            rng, mask_rate=0.6, special=(1, 2, 3, 4, 5), mask_id=3, share=0.2, rows=100
        ),
        "special tokens anywhere in a small vocabulary": case(
            rng, 0.5, (0, 17, 59, 40, 8), 17, V=60, share=0.2, rows=100
        ),
    }


OUTPUTS = (
    "share of the words that get a label, of these replaced by [MASK], of these replaced by another word, of these kept, "
    "padding gets a label, special tokens get a label, special tokens are changed, words without a label are changed, every "
    "label is the original word, random words that are special tokens, there are many different random words, random words "
    "come from the whole vocabulary, every word can be a random word, the first "
    "word of the vocabulary gets a label, every place of a row gets a label at times, each word is chosen on its own, "
    "neighbours are chosen independently, another seed hides other words, ids is left as it was"
)

MISTAKES = """  key · what it looks like · a question
all_labels · every token gets a label, so the loss counts all of them ·
    what does a model learn from predicting a word that it can see?
words_labelled · every word gets a label, not only the chosen ones ·
    what does a model learn from predicting a word that it can see?
only_changed · words that were chosen but kept get no label ·
    a tenth of the chosen words are left unchanged: what is the use of that if they get no label?
special · special tokens and padding are hidden as well ·
    what would a model learn from predicting [CLS] or padding?
pad_only · only one special token is spared ·
    which ids are in special_ids?
keeps · the chosen words and the other words are swapped ·
    mask_rate is the share of which words?
fixed · the same places are chosen every time ·
    is a word at the end of your rows ever chosen?
always_mask · all chosen words become [MASK] ·
    does [MASK] occur in the texts that the finished model will read?
no_kept · every chosen word that does not become [MASK] becomes another word: none is kept ·
    80 + 10 + 10: what do the three numbers stand for?
no_random · no chosen word becomes another word ·
    80 + 10 + 10: what do the three numbers stand for?
of_the_rest · a tenth of the remaining fifth becomes random, not a tenth of all chosen words ·
    how much of the whole is a tenth of 20 %?
two_draws · one draw decides whether a word becomes random and another whether it is kept, which gives 81, 10 and 9 per cent ·
    what happens if both draws say yes?
of_all · more words are hidden, and these get no label ·
    80, 10 and 10 per cent of what: of the chosen words, or of all words?
random_special · special tokens are drawn as random words ·
    what would [SEP] do in the middle of a sentence?
one_word · the random word is the same at all places ·
    how many random words did you draw?
after · the labels are taken after the words were overwritten ·
    what should be the label of a place that now holds [MASK]?
zero · `labels > 0` loses the word with the id 0 ·
    is 0 an id like any other?
ignored_0 · labels that do not count are 0 instead of −100 ·
    is 0 an id like any other?
own_seed · it draws from a generator of its own, not from the one it is given ·
    if the seed is different, should the same words be hidden?
fixed_id · [MASK] is taken from a fixed place of special_ids instead of from mask_id ·
    which argument says what the id of [MASK] is?
up_to_the_last · the special tokens are recognised by their number being small ·
    where in a vocabulary do the special tokens have to stand?
exact · exactly the same share of every row is chosen ·
    each word is chosen on its own: can a row have none of its words chosen?
pairs · words are chosen two at a time ·
    each word is chosen on its own: how often should two neighbours be chosen together?
first_half · the random words come from one half of the vocabulary ·
    which ids can your random word have?
never_first · the first word of the vocabulary is never drawn as a random word ·
    which ids can your random word have, and is the smallest one among them?
shares_turned · 80 per cent become random words and 10 per cent become [MASK] ·
    80 + 10 + 10: what does the first number stand for?
random_unlabelled · only the words that became [MASK] get a label ·
    the model should also find out which words were replaced: what must their label be?
turned · corrupted ids and labels are returned in the wrong order ·
    which of the two does the docstring name first?
in_place · the ids that were passed in are overwritten ·
    does the caller still need the original text?
"""

EXERCISE = Exercise(
    target="minilm.examples.masked_lm.mask_tokens",
    section=("12", "Hiding words: 80, 10, 10"),
    task="Hide some words of a batch, and keep the hidden words as labels. (A word is any token that is not special.) Draw "
    "everything from the generator that you are given; the check measures rates over 200,000 tokens, so the order of your "
    "draws does not matter.",
    returns=dict.fromkeys(OUTPUTS.split(", "), ""),
    tiny=lambda: case(np.random.default_rng(0), mask_rate=0.5, rows=40),
    probes=probes,
    run=run,
    forbidden=("mask_tokens", "DataCollatorForLanguageModeling"),
    steps=(
        "which places are chosen: special tokens never; each word with probability `mask_rate`",
        "labels: the word where one was chosen, −100 elsewhere; take them before you overwrite anything",
        "one draw u for each place, and one random word that is not special for each place",
        "u < 0.8: [MASK]; from 0.8 to 0.9: the random word; otherwise nothing changes; all of this only at chosen places",
    ),
    right={
        "only the chosen": by_places,
        "one draw for all": one_draw_for_all,
        "another order of draws": masks_from_numpy,
    },
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "The model must predict the chosen words, and the labels are the right answers; −100 means that there is "
        "nothing to predict. The model cannot see which words were chosen: a tenth of them become other words and a "
        "tenth stay as they are, so it has to think about every word.",
        "ids [B, T] → is_word [B, T] (not one of special_ids) → chosen [B, T] by comparing one draw with mask_rate → labels → u "
        "[B, T], a second draw → three ranges of u with sizes 0.8, 0.1, 0.1 → corrupted ids [B, T], a new tensor.",
        "chosen = word and rand < mask_rate;  labels = ids where chosen, else −100;  u = rand;  out = mask_id where chosen and "
        "u < 0.8;  out = a random ordinary id where chosen and 0.8 ≤ u < 0.9;  return out, labels",
    ),
)
