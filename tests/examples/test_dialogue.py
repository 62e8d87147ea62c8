"""Rows of conversations: what counts, what is read, and what is left out."""

import numpy as np
import pytest
import torch
import writers
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.examples.dialogue import (
    Conversations,
    DialogueWindows,
    answer_labels,
    answers,
    drawn,
    fit_history,
    prompt_for,
)
from minilm.examples.labels import IGNORED
from minilm.text.dialogues import Roles
from minilm.text.store import Store
from minilm.text.tokenizer import train_wordpiece
from minilm.training.diversity import distinct_n
from minilm.training.objectives import Answers, CausalLM

LENGTH = 24


@pytest.fixture(scope="module")
def roles(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text("hello how are you\nfine and you\ni like tea and rivers\n", encoding="utf-8")
    return Roles(train_wordpiece([file], 120), add=True)


@pytest.fixture(scope="module")
def store():
    """Forty conversations of 2 to 15 turns of 1 to 20 tokens, all of which are different in number."""
    rng = np.random.default_rng(3)
    turns = rng.integers(2, 16, size=40)
    lengths = rng.integers(1, 21, size=turns.sum())
    ids = rng.integers(5, 60, size=lengths.sum()).astype(np.uint16)
    return Store(ids, np.r_[0, lengths.cumsum()], np.r_[0, turns.cumsum()])


def labels_one_by_one(ids, user, model):
    """A second way: walk along the row and remember whose turn it is."""
    out, speaks = [], None
    for token in ids:
        if token in (user, model):
            out, speaks = [*out, IGNORED], token
        else:
            out.append(token if speaks == model else IGNORED)
    return out


def test_F29_only_the_tokens_of_answers_count():
    rng = np.random.default_rng(0)
    for size in range(40):
        ids = rng.integers(0, 7, size=size)
        assert answer_labels(ids, 5, 6).tolist() == labels_one_by_one(ids.tolist(), 5, 6)
    row = np.array([2, 5, 11, 3, 6, 12, 13, 3, 5, 14, 3, 6, 15, 3])  # [CLS] [USER] … [SEP] [MODEL] … [SEP] …
    assert answer_labels(row, 5, 6).tolist() == [-100] * 5 + [12, 13, 3] + [-100] * 4 + [15, 3]


def test_the_newest_turns_are_kept_whole_and_the_newest_at_least_in_part():
    turns = [[9, 1, 1], [8, 2, 2, 2], [9, 3]]
    expected = {0: [], 1: [], 2: turns[2:], 5: turns[2:], 6: turns[1:], 8: turns[1:], 9: turns, 99: turns}
    assert {room: fit_history(turns, room) for room in expected} == expected
    assert fit_history([[9, 1], [8, 2, 3, 4, 5]], 3) == [[8, 4, 5]]  # its role, and its end
    assert fit_history([], 5) == []
    for room in range(40):
        assert sum(map(len, fit_history(turns, room))) <= room


@pytest.mark.parametrize("history", [0, 1, 2, 3, 8])
def test_F29_every_turn_but_the_first_is_an_answer_and_reads_what_came_before(history, roles, store):
    windows = DialogueWindows(store, roles, LENGTH, 4, 0, history)
    conversations = windows.conversations
    seen = set()
    windows.open_round(0)
    for batch in map(windows.make, (windows.rows[chosen] for chosen in windows.batches)):
        assert batch.labels is not None and batch.input_ids.size(1) <= LENGTH
        for row, label in zip(batch.input_ids.tolist(), batch.labels.tolist(), strict=True):
            counted = [t for t, value in enumerate(label) if value != IGNORED]
            assert counted and all(label[t] == row[t] for t in counted)
            assert row[0] == roles.tokenizer.begin and roles.user not in label and roles.model not in label
            first = row.index(roles.model if history == 0 else roles.user)
            assert counted[0] > first and (history == 0) == (roles.user not in row)
    for i, a, b, side, used in windows.all_rows.tolist():
        assert used == len(conversations.row(i, a, b, side)) <= LENGTH and b - a <= history + 1
        seen |= {(i, t) for t in range(a, b) if t % 2 == side and (t > a or history == 0)}
    turns = np.diff(store.documents).tolist()
    assert seen == {(i, t) for i, n in enumerate(turns) for t in range(1, n)}


def test_a_batch_depends_on_the_seed_and_the_step_alone(roles, store):
    one, other = (DialogueWindows(store, roles, LENGTH, 4, 5, 3) for _ in range(2))
    later = [other[step].input_ids for step in (130, 7, 0)]
    assert all(torch.equal(one[step].input_ids, ids) for step, ids in zip((130, 7, 0), later, strict=True))
    assert not torch.equal(DialogueWindows(store, roles, LENGTH, 4, 6, 3)[0].input_ids, one[0].input_ids)


def test_all_models_are_asked_for_the_same_tokens(roles, store):
    conversations = Conversations(store, roles, LENGTH)
    asked = drawn(conversations, range(20, 40), 50, seed=1)
    assert len(set(asked)) == 50 == len(asked) and min(i for i, _ in asked) >= 20 and asked == sorted(asked)
    assert len(drawn(conversations, range(20), 9999, seed=1)) == int(np.diff(store.documents)[:20].sum()) - 20
    targets = []
    for history in (0, 1, 4):
        batches = answers(conversations, asked, history, size=7)
        assert max(batch.input_ids.size(1) for batch in batches) <= LENGTH
        rows = [tuple(label for label in row if label != IGNORED) for batch in batches for row in batch.labels.tolist()]
        targets.append(sorted(rows))
    assert targets[0] == targets[1] == targets[2]
    assert targets[0] == sorted(tuple(conversations.turn(i, t, True)[1:]) for i, t in asked)
    i, t = next((i, t) for i, t in asked if t > 3)
    row, start = conversations.answer(i, t, 2)
    assert row[start] == roles.model and row[start:] == conversations.turn(i, t, True)
    assert row[1:start] == [
        w for turn in fit_history(conversations.before(i, t, 2), LENGTH - 1 - len(row[start:])) for w in turn
    ]


def test_a_prompt_ends_where_the_answer_begins(roles):
    turns = [roles.turn([7] * n, model=i % 2 == 1) for i, n in enumerate((9, 2, 3))]
    ids, kept = prompt_for(roles, turns, 12)
    assert kept == 2 and ids == [roles.tokenizer.begin, *turns[1], *turns[2], roles.model]
    assert prompt_for(roles, [], 12) == ([roles.tokenizer.begin, roles.model], 0)


@pytest.mark.parametrize("make", [writers.gpt, writers.lstm])
def test_logits_where_they_count_give_the_loss_and_gradient_of_all_logits(make):
    model, rng = make(), torch.Generator().manual_seed(1)
    ids = torch.randint(0, writers.V, (4, 9), generator=rng)
    mask = torch.arange(9) < torch.tensor([9, 4, 7, 5])[:, None]
    labels = ids.masked_fill(torch.rand(ids.shape, generator=rng) < 0.5, IGNORED)
    loss = CausalLM().loss(model, Batch(ids, attention_mask=mask, labels=labels))
    loss.value.backward()
    got = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    wanted = labels.masked_fill(~mask, IGNORED)[:, 1:]
    theirs = F.cross_entropy(model(ids[:, :-1], mask[:, :-1]).flatten(0, 1), wanted.flatten())
    theirs.backward()
    assert loss.count == int((wanted != IGNORED).sum()) and float(loss.value.detach()) == pytest.approx(
        float(theirs.detach()), rel=1e-12
    )
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(got[name], parameter.grad, rtol=1e-9, atol=1e-12)
    nothing = CausalLM().loss(model, Batch(ids, labels=torch.full_like(ids, IGNORED)))
    assert nothing.count == 0 and float(nothing.value.detach()) == 0


def test_F29_at_first_everything_counts_and_then_the_answers_alone():
    model, rng = writers.gpt(), torch.Generator().manual_seed(2)
    ids = torch.randint(0, writers.V, (3, 8), generator=rng)
    batch = Batch(ids, labels=ids.masked_fill(torch.arange(8) < 5, IGNORED))
    objective = Answers(warm_up=0.7)
    losses = {progress: objective.at(progress).loss(model, batch).value for progress in (0.0, 0.69, 0.7, 1.0)}
    assert losses[0.0] == losses[0.69] == CausalLM().loss(model, Batch(ids)).value
    assert losses[0.7] == losses[1.0] == CausalLM().loss(model, batch).value != losses[0.0]
    assert Answers().at(0.0).loss(model, batch).value == losses[1.0]


def test_distinct_n_counts_runs_inside_texts():
    texts = [[1, 2, 1, 2], [1, 2], [3], []]
    assert distinct_n(texts, 1) == 3 / 7 and distinct_n(texts, 2) == 2 / 4 and distinct_n(texts, 4) == 1
    assert np.isnan(distinct_n(texts, 5)) and np.isnan(distinct_n([], 1))
    with pytest.raises(InputError, match="at least 1"):
        distinct_n(texts, 0)
