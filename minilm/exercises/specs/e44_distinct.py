r"""How varied are the answers? distinct-n.  F29.  20 minutes, easy."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


def flawed(texts, n, wrong=frozenset()):
    if "words" in wrong:
        n = 1
    if "without_repeats" in wrong:
        texts = [list(text) for text in dict.fromkeys(map(tuple, texts))]
    if "across" in wrong:
        texts = [[token for text in texts for token in text]]
    step = n if "apart" in wrong else 1
    lengths = range(1, n + 1) if "up_to" in wrong else [n]
    short = "last_missing" in wrong
    runs = [
        [tuple(text[i : i + k]) for k in lengths for i in range(0, len(text) - k + 1 - short, step)] for text in texts
    ]
    if "ragged" in wrong:  # shorter runs at the end of a text count too
        runs = [[tuple(text[i : i + n]) for i in range(len(text))] for text in texts]
    if "unordered" in wrong:
        runs = [[tuple(sorted(run)) for run in each] for each in runs]
    if "sets" in wrong:
        runs = [[tuple(sorted(set(run))) for run in each] for each in runs]
    every = [run for each in runs for run in each]
    if "first_token" in wrong:
        every = [run[0] for run in every]
    if not every:
        return 0.0 if "zero" in wrong else float("nan")
    if "per_text" in wrong:
        return float(np.mean([len(set(each)) / len(each) for each in runs if each]))
    if "per_text_sum" in wrong:
        return sum(len(set(each)) for each in runs) / len(every)
    if "once" in wrong:
        return sum(every.count(run) == 1 for run in every) / len(every)
    if "repeated" in wrong:
        return 1 - len(set(every)) / len(every)
    if "count" in wrong:
        return float(len(set(every)))
    if "inverse" in wrong:
        return len(every) / len(set(every))
    if "tokens" in wrong:
        return len(set(every)) / sum(map(len, texts))
    if "texts" in wrong:
        return len(set(every)) / len(texts)
    if "vocabulary" in wrong:
        return len(set(every)) / len({token for text in texts for token in text})
    if "distinct_total" in wrong:
        return len(set(every)) / sum(len(set(each)) for each in runs)
    return len(set(every)) / len(every)


def with_a_dict(texts, n):
    seen, total = {}, 0
    for text in texts:
        for i in range(len(text) - n + 1):
            seen[tuple(text[i : i + n])] = True
            total += 1
    return len(seen) / total if total else float("nan")


def with_zip(texts, n):
    runs = [run for text in texts for run in zip(*(text[i:] for i in range(n)), strict=False)]
    return np.divide(len(set(runs)), len(runs)) if runs else np.nan


def with_arrays(texts, n):
    windows = [np.lib.stride_tricks.sliding_window_view(np.array(t), n) for t in texts if len(t) >= n]
    if not windows:
        return np.nan
    rows = np.concatenate(windows)
    return len(np.unique(rows, axis=0)) / len(rows)


def answers(rng, *lengths, tokens=5):
    return [rng.integers(tokens, size=n).tolist() for n in lengths]


def probes(rng):
    again = answers(rng, 4, 6, 3)
    return {
        "pairs": {"texts": answers(rng, 7, 9, 5, 8, tokens=4), "n": 2},
        "single words": {"texts": answers(rng, 5, 7, 6, tokens=8), "n": 1},
        "runs of three": {"texts": answers(rng, 12, 9, 11, 2, tokens=3), "n": 3},
        "the same answer several times": {"texts": [again[0], *again, again[0], [4, 1]], "n": 2},
        "many short answers": {"texts": answers(rng, 1, 2, 3, 1, 4, 2, 5, tokens=3), "n": 2},
    }


def edges(rng):
    return {
        "an empty answer": {"texts": [[], *answers(rng, 5, 4)], "n": 2},
        "one answer": {"texts": answers(rng, 14, tokens=4), "n": 2},
        "no answer is long enough": {"texts": [[1, 2], [3]], "n": 3},
        "always the same": {"texts": [[7, 7, 7, 7], [7, 7]], "n": 2},
        "every pair is new": {"texts": [[1, 2, 3], [4, 5]], "n": 2},
    }


MISTAKES = """  key · what it looks like · a question
across · runs go over the border between two texts ·
    the last word of one answer and the first of the next: did anybody write them as a pair?
per_text · the value is computed for each text, and then averaged ·
    a model gives the same varied answer a hundred times: what should its distinct-2 be?
per_text_sum · a run that occurs in two texts is counted as two different ones ·
    a model gives the same varied answer a hundred times: what should its distinct-2 be?
distinct_total · runs that a text repeats are missing from the number of all runs ·
    how many pairs are there in the text 7 7 7 7?
words · it is always computed for single words ·
    where in your code does n change anything?
up_to · shorter runs than n count as well ·
    how many tokens does a pair have?
ragged · the ends of the texts, shorter than n, count as runs ·
    how many pairs are in a text of three words?
last_missing · the last run of each text is missing ·
    how many pairs are in a text of two words?
apart · the runs do not overlap ·
    which pairs does the text 1 2 3 have?
unordered · the order inside a run is lost ·
    are "you are" and "are you" the same pair?
sets · the repetitions and the order inside a run are lost ·
    is "no no" the same as "no"?
first_token · only the first token of each run is compared ·
    when are two runs the same?
once · it counts the runs that occur exactly once ·
    a run occurs three times: how many different runs is that?
repeated · this is the share of repeated runs ·
    which value should a model have that never repeats itself?
count · the number of different runs is not divided by anything ·
    can a share be above 1?
inverse · the fraction is upside down ·
    can a share be above 1?
tokens · it is divided by the number of tokens, not of runs ·
    a text of five words in which nothing repeats has how many pairs, and how many of them are different?
texts · it is divided by the number of texts ·
    what are the different runs a share of?
vocabulary · it is divided by the number of different tokens ·
    what are the different runs a share of?
without_repeats · an answer that is given twice counts once ·
    a model always gives the same answer: should you throw the repetitions away before you look for them?
zero · where there is no run, the value is 0 ·
    0 would be the worst of all models: what is known of one that has written nothing?
"""

EXERCISE = Exercise(
    target="minilm.training.diversity.distinct_n",
    section=("18", "How varied is what it says?"),
    task="Each text is a list of tokens. A run is n neighbouring tokens of one text. Return the number of different runs in all texts "
    "together, divided by the number of all runs; NaN if there is no run. n is at least 1.",
    returns={"distinct": ""},
    tiny=lambda: {"texts": [[1, 2, 1, 2], [1, 2]], "n": 2},
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "texts that are given twice have half the value",
            lambda rng: {
                "once": {"texts": (texts := answers(rng, 9, 7, 8)), "n": 2},
                "twice": {"texts": texts * 2, "n": 2},
            },
            lambda once, twice: abs(once - 2 * twice) < 1e-12,
        ),
    ),
    forbidden=("distinct_n",),
    steps=(
        "all runs of n tokens, of every text; a text of T tokens has T − n + 1 of them",
        "how many of them are different; two are the same if all their tokens are, in the same order",
        "divide by the number of all runs; without any run, the result is NaN",
    ),
    right={"a dict": with_a_dict, "zip": with_zip, "arrays": with_arrays},
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "A model that always says the same is caught by counting: how many of the word pairs that it has ever written are different "
        "ones? Runs live inside a text, and the count goes over all texts together.",
        "texts → for each text its T − n + 1 windows of n tokens → one long list of tuples → a set of it → the ratio of the two "
        "lengths.",
        "runs = [tuple(text from i to i + n) for each text, for i from 0 to its length − n];  number of elements of set(runs) over "
        "that of runs;  NaN if runs is empty",
    ),
)
