r"""Tags on sub-words.  F30, F31.  25 minutes, medium."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


def flawed(tags, words, wrong=frozenset()):
    B, T = len(words), max(len(row) for row in words)
    y = np.full((B, T), 0 if wrong & {"special_o", "padding_o"} else -100)
    for b, row in enumerate(words):
        if "padding_o" in wrong:
            y[b, : len(row)] = -100
        if "special_o" in wrong:
            y[b, len(row) :] = -100
        if wrong & {"nth", "nth_after_cls"}:
            offset = int("nth_after_cls" in wrong)
            n = min(len(tags[b]), len(row) - offset)
            y[b, offset : n + offset] = tags[b][:n]
            continue
        if "counted" in wrong:  # the n-th word that appears gets the n-th tag
            new = [word for t, word in enumerate(row) if word is not None and (t == 0 or word != row[t - 1])]
            row = [None if word is None else new.index(word) for word in row]
        for t, word in enumerate(row):
            following = row[t + 1] if t + 1 < len(row) else None
            if word is None:
                continue
            first = t == 0 or word != row[t - 1]
            if "wraps" in wrong:
                first = word != row[t - 1]
            if "carried" in wrong and t == 0:
                first = b == 0 or word != words[b - 1][-1]
            if "cls_shift" in wrong:
                first, word = first, word + 1
                if word >= len(tags[b]):
                    continue
            if "previous" in wrong:
                word = word - 1
            tag = tags[b][word]
            if "last_piece" in wrong:
                y[b, t] = tag if word != following else -100
            elif first or "every_piece" in wrong:
                y[b, t] = tag
            elif "second_too" in wrong and (t < 2 or word != row[t - 2]):
                y[b, t] = tag
            elif "inside" in wrong:
                y[b, t] = tag + (tag % 2)  # B-X has an odd number, I-X the next
            elif "rest_o" in wrong:
                y[b, t] = 0
            if "word_0" in wrong and word == 0:  # `if word`, which is False for word 0
                y[b, t] = -100
            if "b_only" in wrong and y[b, t] > 0 and y[b, t] % 2 == 0:
                y[b, t] = -100
            if "numbers" in wrong and y[b, t] >= 0:
                y[b, t] = word
            if "from_1" in wrong and y[b, t] >= 0:
                y[b, t] += 1
            if "o_ignored" in wrong and y[b, t] == 0:
                y[b, t] = -100
            if "single" in wrong and word == following:
                y[b, t] = -100
        if "pieces_dropped" in wrong:
            kept = [y[b, t] for t in range(T) if y[b, t] != -100]
            y[b] = [*kept, *[-100] * (T - len(kept))]
    if "ignored_minus_1" in wrong:
        y[y == -100] = -1
    if "ignored_0" in wrong:
        y[y == -100] = 0
    if "padded_left" in wrong:
        for b, row in enumerate(words):
            y[b] = np.roll(y[b], T - len(row))
    if "to_the_shortest" in wrong:
        y[:, min(map(len, words)) :] = -100
    return y[::-1] if "backwards" in wrong else y


def by_where(tags, words):
    """Find where each word begins. A dictionary keeps the last value of a key, so it is filled from the end."""
    T = max(map(len, words))
    out = []
    for row_tags, row in zip(tags, words):
        begins = {word: t for t, word in reversed(list(enumerate(row))) if word is not None}
        labels = [-100] * T
        for word, t in begins.items():
            labels[t] = row_tags[word]
        out.append(labels)
    return np.array(out)


def by_arrays(tags, words):
    T = max(len(row) for row in words)
    of = np.array([[-1 if word is None else word for word in row] + [-1] * (T - len(row)) for row in words])
    before = np.concatenate([np.full((len(of), 1), -1), of[:, :-1]], axis=1)
    longest = max(len(row) for row in tags)
    table = np.array([list(row) + [0] * (longest + 1 - len(row)) for row in tags])
    return np.where((of >= 0) & (of != before), np.take_along_axis(table, of.clip(0), axis=1), -100)


def by_memory(tags, words):
    rows = []
    for b in range(len(words)):
        seen, labels = {None}, []
        for word in words[b]:
            labels.append(-100 if word in seen else tags[b][word])
            seen.add(word)
        rows.append(labels)
    y = np.full((len(rows), max(len(row) for row in rows)), -100, dtype=np.int64)
    for row, labels in zip(y, rows):
        row[: len(labels)] = labels
    return y


def sentence(rng, n, pieces=3, cut=0, markers=True):
    """n words with five kinds of tags; each has one to `pieces` pieces, but the last `cut` words have none."""
    tags = [int(tag) for tag in rng.permutation(np.resize([1, 2, 0, 3, 4], n))]
    row = [word for word in range(n - cut) for _ in range(int(rng.integers(1, pieces + 1)))]
    return tags, [None, *row, None] if markers else row


def batch(*sentences):
    return {"tags": [tags for tags, _ in sentences], "words": [row for _, row in sentences]}


def probes(rng):
    cut = ([3, 1, 2, 0, 1], [None, 0, 0, 0, 1, 2, 2, 3, 4, None])
    return {
        "a word without pieces in the middle": batch(([2, 1, 0, 3], [None, 0, 0, 2, 3, 3, None]), sentence(rng, 5)),
        "a special token in the middle": batch(([1, 2, 3], [None, 0, None, 1, 1, None, 2, None]), sentence(rng, 4)),
        "words in pieces": batch(sentence(rng, 6), cut, sentence(rng, 4)),
        "whole words": batch(sentence(rng, 5, pieces=1), sentence(rng, 3, pieces=1)),
        "words that were cut off": batch(sentence(rng, 7, cut=2), sentence(rng, 5, cut=3), cut),
    }


def edges(rng):
    return {
        "without [CLS] and [SEP]": batch(sentence(rng, 4, markers=False), ([1, 2], [0, 0, 1, 1])),
        "one word each, without [CLS] and [SEP]": batch(([2], [0, 0]), ([1], [0]), ([3, 1], [0, 1, 1])),
        "one word": batch(([3], [None, 0, 0, 0, None])),
        "nothing but [CLS] and [SEP]": batch(([0], [None, None]), ([2, 1], [None, 0, 1, None])),
    }


def every_word_once(y):
    return [int(label) for label in y[0] if label != -100] == [1, 0, 3, 4, 2]


MISTAKES = """  key · what it looks like · a question
wraps · at the first piece of a row, the piece before is looked up as row[-1], which is the last one ·
    which piece is row[t − 1] if t is 0?
carried · the last word of a row still counts as the word before when the next row begins ·
    the next sentence begins with its word 0: is that the word 0 of this one?
nth · the n-th tag goes to the n-th piece ·
    does the first piece belong to a word, and which word is split into three pieces?
nth_after_cls · the n-th tag goes to the n-th piece after [CLS] ·
    once a word is split in two, whose tag does the next word get?
cls_shift · every word gets the tag of the next one ·
    words are counted from 0: which entry of `tags` belongs to word 0?
previous · every word gets the tag of the one before ·
    words are counted from 0: which entry of `tags` belongs to word 0?
special_o · [CLS] and [SEP] are tagged O, and counted ·
    should a tagger get credit for its prediction at [CLS]?
padding_o · the padding behind short rows is tagged O, and counted ·
    a short sentence in a long batch: how much of its score would come from padding?
every_piece · every piece gets the tag of its word ·
    a name of one word has three pieces: how many B- tags would it get?
inside · further pieces get the I- tag of their word, and count ·
    if each word is judged once, how many labels should it have?
rest_o · further pieces are tagged O, and counted ·
    does the second half of a name not belong to the name?
last_piece · the last piece of a word gets its tag, not the first ·
    which piece does the docstring ask for?
o_ignored · words that are tagged O do not count ·
    is 0 a tag, or does it mean that there is no tag?
single · words with several pieces have no label at all ·
    which words are usually split into pieces, names or the word “the”?
pieces_dropped · the labels have moved to the front of their row ·
    does label t belong to piece t?
counted · words are counted as they appear, instead of being looked up by their number ·
    word 1 has no pieces: whose tag does the piece of word 2 get?
second_too · the second piece of a word gets a label as well ·
    if each word is judged once, how many labels should it have?
word_0 · word 0 is taken for no word: `if word` ·
    is 0 a number of a word like any other?
b_only · only B- tags and O are kept ·
    how does the model learn where a name goes on?
numbers · the labels are the numbers of the words, not their tags ·
    what does `tags` hold?
from_1 · the tags are counted from 1 ·
    which number does the docstring give to O?
ignored_minus_1 · positions that do not count get −1 instead of −100 ·
    which number marks what does not count?
ignored_0 · positions that do not count get 0 ·
    is 0 a tag, or does it mean that there is no tag?
padded_left · short rows are filled up on the left ·
    does label t belong to piece t?
to_the_shortest · rows are cut off at the length of the shortest ·
    T is the length of which sentence?
backwards · the sentences are in reverse order ·
    which sentence does the first row belong to?
"""

EXERCISE = Exercise(
    target="minilm.examples.subword_labels.subword_labels",
    section=("15", "Tags that drift"),
    task="A text is tagged word by word, but the model reads it piece by piece. Assign the tags to the pieces.",
    returns={"y": "sentence piece"},
    tiny=lambda: {"tags": [[1, 2, 0]], "words": [[None, 0, 0, 1, 2, None]]},
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "every word is counted once, with its own tag",
            lambda rng: {"five words": batch(([1, 0, 3, 4, 2], [None, 0, 1, 1, 2, 3, 3, 3, 4, None]))},
            every_word_once,
        ),
    ),
    forbidden=("subword_labels",),
    steps=(
        "a row of −100 for every sentence, as long as the longest [B, T]",
        "find the first piece of each word: the piece before it does not belong to the same word",
        "each of these pieces gets the tag of its word, looked up by the word's number",
    ),
    right={"where a word begins": by_where, "arrays": by_arrays, "what was seen before": by_memory},
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "Each piece knows its word, and each word knows its tag. To judge every word once, give a label to only one of its "
        "pieces: the first. Everything else gets −100, which losses and scores ignore.",
        "words[b] [pieces] → for each t: is it None? is it the same word as at t − 1? → if neither, tags[b][word], else −100 → "
        "rows padded with −100 to the longest, [B, T].",
        "y = full of −100, [B, T];  for b, for t, word: if word is not None and it is not the word of the piece before: y[b, t] "
        "= the tag of that word;  return y",
    ),
)
