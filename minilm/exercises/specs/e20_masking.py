r"""Masked words: which are hidden, and what is asked.  F25."""

import re

import numpy as np
import torch

from minilm.exercises.spec import Exercise, Wrong


def flawed(ids, special_ids, mask_id, vocab_size, generator, rate=0.15, wrong=frozenset()):
    def draw():
        return torch.rand(ids.shape, generator=generator)

    special = torch.tensor(special_ids)
    is_word = torch.ones_like(ids, dtype=torch.bool) if "special" in wrong else ~torch.isin(ids, special)
    if "pad_only" in wrong:
        is_word = ids != special_ids[0]
    chosen = is_word & (draw() < (1 - rate if "keeps" in wrong else rate))
    if "fixed" in wrong:  # the first of every row instead of each by its own draw
        chosen = is_word & (torch.arange(ids.shape[1]) < rate * ids.shape[1])
    u, ordinary = draw(), torch.ones(vocab_size, dtype=torch.bool)
    if "random_special" not in wrong:
        ordinary[special] = False
    ordinary = ordinary.nonzero().flatten()
    words = ordinary[torch.randint(len(ordinary), ids.shape, generator=generator)]
    if "one_word" in wrong:
        words = ordinary[torch.randint(len(ordinary), (1,), generator=generator)].expand_as(ids)
    masked, random = u < 0.8, (u >= 0.8) & (u < 0.9)
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


def by_places(ids, special_ids, mask_id, vocab_size, generator, rate=0.15):
    """Only the chosen words are drawn for."""
    corrupted, labels = ids.clone(), torch.full_like(ids, -100)
    word = torch.stack([ids != s for s in special_ids]).all(dim=0)
    chosen = torch.bernoulli(torch.where(word, rate, 0.0), generator=generator).bool()
    labels[chosen] = ids[chosen]
    fate = torch.randint(10, (int(chosen.sum()),), generator=generator)  # 0 … 7 mask, 8 random, 9 kept
    ordinary = torch.tensor([i for i in range(vocab_size) if i not in special_ids])
    words = ordinary[torch.randint(len(ordinary), fate.shape, generator=generator)]
    corrupted[chosen] = torch.where(fate < 8, mask_id, torch.where(fate == 8, words, ids[chosen]))
    return corrupted, labels


def one_draw_for_all(ids, special_ids, mask_id, vocab_size, generator, rate=0.15):
    """A single u says it all: below 0.8 · rate, below 0.9 · rate, below rate."""
    u = torch.rand(ids.shape, generator=generator, dtype=torch.float64)
    u[torch.isin(ids, torch.tensor(special_ids))] = 1.0
    weights = torch.ones(vocab_size).index_fill(0, torch.tensor(special_ids), 0.0)
    words = torch.multinomial(weights, ids.numel(), replacement=True, generator=generator).reshape(ids.shape)
    corrupted = torch.where(u < 0.8 * rate, torch.full_like(ids, mask_id), ids)
    corrupted = torch.where((u >= 0.8 * rate) & (u < 0.9 * rate), words, corrupted)
    return corrupted, torch.where(u < rate, ids, torch.tensor(-100))


def masks_from_numpy(ids, special_ids, mask_id, vocab_size, generator, rate=0.15):
    """Another order of draws, the words first; half of what is not masked becomes random."""
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    a = ids.numpy()
    out = rng.choice(np.setdiff1d(np.arange(vocab_size), special_ids), size=a.shape)
    heads = rng.random(a.shape) < 0.5
    hidden = rng.random(a.shape) < 0.8
    chosen = (rng.random(a.shape) < rate) & ~np.isin(a, special_ids)
    out = np.where(chosen, np.where(hidden, mask_id, np.where(heads, out, a)), a)
    return torch.from_numpy(out), torch.from_numpy(np.where(chosen, a, -100))


def near(share, n):
    """The share on a grid so wide that chance does not cross it (z > 5 for 0.01 with n of 150,000 and for 0.1 with 4,000), so
    that the order of draws does not matter."""
    return round(float(share) * 100) / 100 if n > 120_000 else round(float(share) * 10) / 10


def text(special, V, share, rows, seed):
    """Rows of 500 tokens, `share` of them special, the rest words, all words alike but for id 0 where it is one."""
    rng = np.random.default_rng(seed)
    words = np.setdiff1d(np.arange(V), special)
    ids = words[rng.integers(len(words), size=(rows, 500))]
    u = rng.random(ids.shape)
    ids[u < share] = np.array(special)[rng.integers(len(special), size=int((u < share).sum()))]
    return torch.from_numpy(np.where((u > 0.95) & (0 not in special), 0, ids))


def run(mask_words, special, rate, V, share, rows, seed):
    """Shares over many words, and what must hold for each single one."""
    tokens = text(special, V, share, rows, seed)
    before = tokens.clone()
    corrupted, labels = mask_words(tokens, special, special[3], V, torch.Generator().manual_seed(seed), rate)
    if corrupted.shape != before.shape or labels.shape != before.shape:
        return {"corrupted": corrupted, "labels": labels}
    is_special = torch.zeros(V, dtype=torch.bool)
    is_special[special] = True
    word, asked, changed = ~is_special[before], labels != -100, corrupted != before
    hidden = changed & (corrupted == special[3])
    others, mine = corrupted[changed & ~hidden], asked & word
    n, words = max(int(mine.sum()), 1), int(word.sum())
    return {
        "words that are asked for": near(mine.sum() / words, words),
        "of these [MASK]": near((hidden & mine).sum() / n, n),
        "of these another word": near((changed & ~hidden & mine).sum() / n, n),
        "of these kept": near((~changed & mine).sum() / n, n),
        "padding is asked for": bool((asked & (before == special[0])).any()),
        "special tokens are asked for": bool((asked & ~word & (before != special[0])).any()),
        "special tokens are changed": bool((changed & ~word).any()),
        "words are changed that are not asked for": bool((changed & ~asked & word).any()),
        "every label is the word that stood there": bool((labels[asked] == before[asked]).all()),
        "other words that are special tokens": bool(is_special[others].any()),
        "there are many different other words": len(others.unique()) > 20,
        "the first word of the vocabulary is asked for": bool((asked & (before == before[word].min())).any()),
        "every place of a row is chosen now and then": bool(asked.any(0).float().mean() > 0.9),
    }


def case(rng, rate=0.9, special=(0, 1, 2, 3, 4), V=1500, share=0.1, rows=400):
    return {
        "special": list(special),
        "rate": rate,
        "V": V,
        "share": share,
        "rows": rows,
        "seed": int(rng.integers(1e9)),
    }


def probes(rng):
    return {
        "200,000 tokens, nine words in ten are chosen": case(rng),
        "200,000 tokens, BERT's rate": case(rng, rate=0.15, share=0.3),
        "a vocabulary in which 0 is a word": case(rng, rate=0.6, special=(1, 2, 3, 4, 5), share=0.2, rows=200),
    }


OUTPUTS = (
    "words that are asked for, of these [MASK], of these another word, of these kept, padding is asked for, special tokens are "
    "asked for, special tokens are changed, words are changed that are not asked for, every label is the word that stood there, "
    "other words that are special tokens, there are many different other words, the first word of the vocabulary is asked for, "
    "every place of a row is chosen now and then"
)

MISTAKES = """  key · what it looks like · a question
all_labels · every token is a label, so that the loss counts all of them ·
    what does a model learn from guessing a word that it sees?
words_labelled · every word is a label, not only the chosen ones ·
    what does a model learn from guessing a word that it sees?
only_changed · words that were chosen and kept are not asked for ·
    why are a tenth of the chosen words left as they are, if nobody asks for them?
special · special tokens and padding are hidden as well ·
    can [CLS] be guessed from its neighbours, and what for?
pad_only · only one special token is spared ·
    which ids stand in special_ids?
keeps · the chosen and the spared words are exchanged ·
    rate is the share of which words?
fixed · always the same places are chosen ·
    does a word at the end of your rows ever get its turn?
always_mask · all chosen words become [MASK] ·
    does [MASK] occur in the texts that the model is for?
no_kept · what does not become [MASK] becomes another word, nothing is kept ·
    80 + 10 + 10: what are the three?
no_random · no chosen word becomes another word ·
    80 + 10 + 10: what are the three?
of_the_rest · a tenth of the remaining fifth becomes random, not a tenth of all chosen ·
    a tenth of 20 % is how much of the whole?
two_draws · one draw decides for random, another for kept: 81, 10 and 9 per cent ·
    what if both draws say yes?
of_all · further words are hidden that nobody asks for ·
    80, 10 and 10 per cent of what: of the chosen, or of all?
random_special · special tokens are drawn as the random word ·
    what would [SEP] do in the middle of a sentence?
one_word · the random word is the same everywhere ·
    how many words did you draw?
after · the labels are taken after the words were overwritten ·
    what should stand in the label of a place that now holds [MASK]?
zero · `labels > 0` loses the word with the id 0 ·
    is 0 an id like any other?
ignored_0 · labels that do not count are 0 instead of −100 ·
    is 0 an id like any other?
"""

EXERCISE = Exercise(
    target="minilm.examples.masked_lm.mask_words",
    section=("09", "Hiding words: 80, 10, 10"),
    task="Hide words of a batch, and keep what was hidden as labels. Chance is judged by rates over 200,000 tokens, not by the "
    "order of your draws; all of them come from the generator that you are given.",
    returns=dict.fromkeys(OUTPUTS.split(", "), ""),
    tiny=lambda: case(np.random.default_rng(0), rate=0.5, rows=40),
    probes=probes,
    run=run,
    forbidden=("mask_words", "DataCollatorForLanguageModeling"),
    steps=(
        "which places hold a word: special tokens are never chosen; each word is, with the chance `rate`",
        "labels: the word where it was chosen, −100 elsewhere, taken before anything is overwritten",
        "one draw u for each place, and an ordinary word for each place",
        "u < 0.8: [MASK]; from 0.8 to 0.9: the ordinary word; else nothing changes; all of it only where chosen",
    ),
    right={
        "only the chosen": by_places,
        "one draw for all": one_draw_for_all,
        "another order of draws": masks_from_numpy,
    },
    wrong={key: Wrong(name, question) for key, name, question in re.findall(r"(\w+) · (.+) ·\n +(.+)", MISTAKES)},
    flawed=flawed,
    hints=(
        "Hidden words are questions, labels their answers, and −100 says: no question here. Not every question is marked as one: "
        "a tenth is a wrong word, a tenth the right one, so that the model has to think about every word.",
        "ids [B, T] → is_word [B, T] (not one of special_ids) → chosen [B, T] by one draw against rate → labels → u [B, T] by "
        "a second draw → three stretches of u: 0.8, 0.1, 0.1 → corrupted ids [B, T], a new tensor.",
        "chosen = word and rand < rate;  labels = ids where chosen else −100;  u = rand;  out = mask_id where chosen and u < "
        "0.8;  out = a random ordinary id where chosen and 0.8 ≤ u < 0.9;  return out, labels",
    ),
)
