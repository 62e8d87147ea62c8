"""Conversations as batches for a model that answers: what was said before is read, and only the answers are learned.  F29.

A row holds some turns of a conversation, seen from one of its two sides: that person's turns are the model's, the other's are
its user's. The labels repeat the tokens of the model's turns and have −100 everywhere else, so that a model is trained to
answer, and not to ask.

Letters:  T tokens of a row · h turns of history before an answer
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from minilm.examples.batching import Batch, batches_of_like_length, pad
from minilm.examples.causal_lm import TextWindows
from minilm.examples.labels import IGNORED
from minilm.text.dialogues import Roles
from minilm.text.store import Store


def answer_labels(ids: np.ndarray, user: int, model: int) -> np.ndarray:
    r"""The labels [T] of a row of tokens `ids` [T]: those of the model's turns count, and everything else is −100.  F29.

    A turn begins with the token `user` or `model`, which is given and never predicted, and lasts until the next one. The token
    that ends a turn of the model belongs to it: without it, a model never learns to stop. Nothing is shifted here: `CausalLM`
    compares the logits at t with the label at t + 1.
    """
    ids = np.asarray(ids)
    begins = (ids == user) | (ids == model)
    # the last place at which a turn began, at or before each token; 0 in front of the first turn
    last = np.maximum.accumulate(np.where(begins, np.arange(len(ids)), 0))
    return np.where((ids[last] == model) & ~begins, ids, IGNORED)


def fit_history(turns: Sequence[list[int]], room: int) -> list[list[int]]:
    """The newest turns that fit into `room` tokens, each whole. If not even the newest fits, its end is kept, with its role."""
    kept: list[list[int]] = []
    for turn in reversed(turns):
        room -= len(turn)
        if room < 0:
            break
        kept.append(turn)
    if kept or not turns or (left := room + len(turns[-1])) < 2:
        return kept[::-1]
    newest = turns[-1]
    return [[newest[0], *newest[1 - left :]]]


def prompt_for(roles: Roles, turns: Sequence[list[int]], room: int) -> tuple[list[int], int]:
    """What a model reads before it answers, in at most `room` tokens, and how many of the `turns` are in it."""
    kept = fit_history(turns, room - 2)
    return [roles.tokenizer.begin, *(token for turn in kept for token in turn), roles.model], len(kept)


class Conversations:
    """The turns of a store of conversations, as rows of tokens with their roles.

    A turn of more than half of `length` tokens is cut after them, so that there is room for what it answers; a turn that was
    cut has no end, and nothing is learned about where it should be.
    """

    def __init__(self, store: Store, roles: Roles, length: int):
        self.ids, self.sentences, self.documents = store.ids, np.asarray(store.sentences), np.asarray(store.documents)
        self.roles, self.length = roles, length
        self.most = length // 2 - 1  # tokens of a turn, its role among them
        self.begin = roles.tokenizer.begin

    def __len__(self) -> int:
        return len(self.documents) - 1

    def lengths(self, i: int) -> np.ndarray:
        """The number of tokens of each turn of conversation i, with its role and its end."""
        return np.minimum(np.diff(self.sentences[self.documents[i] : self.documents[i + 1] + 1]) + 2, self.most)

    def turn(self, i: int, t: int, model: bool) -> list[int]:
        """Turn t of conversation i."""
        start, end = self.sentences[self.documents[i] + t : self.documents[i] + t + 2].tolist()
        return self.roles.turn(self.ids[start:end].tolist(), model)[: self.most]

    def row(self, i: int, a: int, b: int, side: int) -> list[int]:
        """The turns a to b − 1 of conversation i; those of `side` (0: the even ones) are the model's."""
        return [self.begin, *(token for t in range(a, b) for token in self.turn(i, t, t % 2 == side))]

    def answer(self, i: int, t: int, history: int) -> tuple[list[int], int]:
        """A row that ends with turn t as the model's answer, after at most `history` turns, and where the answer begins."""
        answer = self.turn(i, t, True)
        context, _ = prompt_for(self.roles, self.before(i, t, history), self.length - len(answer) + 1)
        return [*context, *answer[1:]], len(context) - 1

    def before(self, i: int, t: int, history: int) -> list[list[int]]:
        """The last `history` turns before turn t, which is the model's."""
        return [self.turn(i, s, s % 2 == t % 2) for s in range(max(0, t - history), t)]


class DialogueWindows(TextWindows):
    """`windows[step]`, without end: at most `size` rows of at most `length` tokens, padded to the longest of them.

    A round goes once through all conversations from both sides, so that every turn but the first is an answer. A row begins with
    at most `history` turns in at most half of its tokens, and goes on as long as there is room; every turn of the model in it
    counts, except one that stands at its beginning. With `history` 0 an answer stands alone. A batch depends on nothing but the
    seed and the number of the step.
    """

    def __init__(self, store: Store, roles: Roles, length: int, size: int, seed: int, history: int = 8):
        super().__init__(store, roles.tokenizer, length, size, seed)
        self.roles, self.history = roles, history
        self.conversations = Conversations(store, roles, length)
        self.all_rows = np.array(
            [row for i in range(len(self.conversations)) for row in self.rows_of(i)], dtype=np.int64
        ).reshape(-1, 5)

    def rows_of(self, i: int) -> list[tuple[int, int, int, int, int]]:
        """The rows (conversation, first turn, end, side, tokens) of conversation i."""
        n, rows = self.conversations.lengths(i).tolist(), []
        for side in (0, 1):
            t = side if side else 2  # turn 0 answers nothing
            while t < len(n):
                a, used = t, 0
                while a > max(0, t - self.history) and used + n[a - 1] <= self.length // 2:
                    a -= 1
                    used += n[a]
                used, b = 1 + used + n[t], t + 1
                while b + 1 < len(n) and b + 2 - a <= self.history + 1 and used + n[b] + n[b + 1] <= self.length:
                    used, b = used + n[b] + n[b + 1], b + 2
                rows.append((i, a, b, side, used))
                t = b + 1
        return rows

    def open_round(self, number: int) -> None:
        """Put all rows into batches, in the order of round `number`."""
        rng = np.random.default_rng([self.seed, number])
        self.rows = self.all_rows
        self.batches = batches_of_like_length(self.rows[:, 4], self.size, rng)
        self.round = number

    def make(self, rows: np.ndarray) -> Batch:
        """The batch of these rows. A turn at the beginning of a row answers nothing in it, and does not count."""
        out, labels = [], []
        for i, a, b, side, _ in rows.tolist():
            row = self.conversations.row(i, a, b, side)
            label = answer_labels(np.array(row), self.roles.user, self.roles.model)
            if self.history and a % 2 == side:
                label[: 1 + len(self.conversations.turn(i, a, True))] = IGNORED
            out.append(row)
            labels.append(label.tolist())
        return padded(out, labels, self.pad)


def padded(rows: list[list[int]], labels: list[list[int]], padding: int) -> Batch:
    """Rows and labels as a batch; padding stands at the end and never counts."""
    mask = pad([[1] * len(row) for row in rows], 0).bool()
    batch = Batch(pad(rows, padding), attention_mask=None if mask.all() else mask)
    return replace(batch, labels=pad(labels, IGNORED))


def answers(
    conversations: Conversations, chosen: Iterable[tuple[int, int]], history: int, size: int = 32
) -> list[Batch]:
    """The answers (conversation, turn) for measuring, one in each row: all models are asked for the same tokens."""
    rows, labels = [], []
    for i, t in chosen:
        row, start = conversations.answer(i, t, history)
        rows.append(row)
        labels.append([IGNORED] * (start + 1) + row[start + 1 :])  # the role is given
    order = np.argsort([len(row) for row in rows], kind="stable")
    parts = [order[i : i + size].tolist() for i in range(0, len(order), size)]
    return [padded([rows[i] for i in p], [labels[i] for i in p], conversations.roles.tokenizer.pad) for p in parts]


def every_answer(conversations: Conversations, among: Iterable[int]) -> list[tuple[int, int]]:
    """The answers (conversation, turn) of the conversations `among`: all turns but the first."""
    return [(i, t) for i in among for t in range(1, len(conversations.lengths(i)))]


def as_text(conversations: Conversations, chosen: Iterable[tuple[int, int]]) -> np.ndarray:
    """The answers (conversation, turn) one behind the other, each with the role of the model in front: a text for models that
    count (`formulas/kneser_ney.py`), in which the same tokens are predicted as in `answers`."""
    return np.array([token for i, t in chosen for token in conversations.turn(i, t, True)], dtype=np.int64)


def drawn(conversations: Conversations, among: Sequence[int], most: int, seed: int) -> list[tuple[int, int]]:
    """At most `most` answers (conversation, turn) of the conversations `among`, drawn with `seed`, in order."""
    all_answers = every_answer(conversations, among)
    chosen = np.random.default_rng(seed).permutation(len(all_answers))[:most]
    return [all_answers[j] for j in sorted(chosen.tolist())]
