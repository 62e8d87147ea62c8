r"""Labels on answers only: what a model of conversations learns.  F29.  20 minutes, easy."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed

USER, MODEL, END = 5, 6, 3


def flawed(ids, user, model, wrong=frozenset()):
    ids = np.asarray(ids)
    if "user" in wrong:
        user, model = model, user
    if "last_only" in wrong or "first_only" in wrong:
        places = np.flatnonzero(ids == model)
        if len(places):
            i = places[-1 if "last_only" in wrong else 0]
            stop = next((j for j in range(i + 1, len(ids)) if ids[j] in (user, model)), len(ids))
            ids_seen = np.where((np.arange(len(ids)) > i) & (np.arange(len(ids)) < stop), ids, -100)
            return ids_seen
    speaks = "before" in wrong
    out = np.full(len(ids), -100)
    for t, token in enumerate(ids):
        if token == user:
            if ("next_role" in wrong) and speaks and t:
                out[t] = token
            speaks = "never_ends" in wrong and speaks
        elif token == model:
            speaks = True
            if "role" in wrong:
                out[t] = token
        elif speaks or "everything" in wrong:
            out[t] = token
    last_of_turn = np.append(np.isin(ids[1:], (user, model)), True)[: len(ids)]
    if "no_end" in wrong:
        out[last_of_turn] = -100
    if "only_end" in wrong:
        out[~last_of_turn] = -100
    if "no_first" in wrong:
        out[1:][ids[:-1] == model] = -100
    if "shifted" in wrong:
        out = np.append(out[1:], -100)[: len(ids)]
    if "zero" in wrong:
        out = np.where(out == -100, 0, out)
    if "minus_1" in wrong:
        out = np.where(out == -100, -1, out)
    if "mask" in wrong:
        out = (out != -100).astype(int)
    if "packed" in wrong:
        out = out[out != -100]
    return out


def walk(ids, user, model):
    out, counts = [], False
    for token in ids:
        if token == user or token == model:
            counts = token == model
            out.append(-100)
        else:
            out.append(token if counts else -100)
    return np.array(out, dtype=int)


def by_turns(ids, user, model):
    out = np.full(len(ids), -100)
    starts = [t for t, token in enumerate(ids) if token in (user, model)]
    for a, b in zip(starts, [*starts[1:], len(ids)]):
        if ids[a] == model:
            out[a + 1 : b] = ids[a + 1 : b]
    return out


def by_counting(ids, user, model):
    ids = np.asarray(ids)
    roles = ids[(ids == user) | (ids == model)]
    number = np.cumsum((ids == user) | (ids == model))  # the number of the turn, 0 before the first
    speaker = np.concatenate([[user], roles])[number]
    return np.where((speaker == model) & (ids != model), ids, -100)


def conversation(rng, *lengths, first=USER, begin=True):
    """A row with turns of these lengths; END stands at the end of each. The id 0 is a token like any other."""
    row, role = [2] if begin else [], first
    for n in lengths:
        row += [role, *rng.permutation(np.r_[0, np.arange(10, 40)])[:n].tolist(), END]
        role = USER + MODEL - role
    return {"ids": np.array(row, dtype=int), "user": USER, "model": MODEL}


def probes(rng):
    cut = conversation(rng, 3, 4, 2, 5)
    cut["ids"] = cut["ids"][:-2]
    return {
        "a message and its answer": conversation(rng, 3, 4),
        "four turns": conversation(rng, 2, 3, 4, 2),
        "the model begins": conversation(rng, 4, 2, 3, first=MODEL),
        "the row ends with a message": conversation(rng, 2, 3, 4),
        "an answer that was cut": cut,
        "other roles": conversation(rng, 3, 2, 4, 3) | {"user": MODEL, "model": USER},
    }


def edges(rng):
    twice = conversation(rng, 2, 3, 3)
    twice["ids"] = np.concatenate([twice["ids"], [MODEL, 11, END]])
    return {
        "no turn at all": {"ids": np.array([2, 14, 15]), "user": USER, "model": MODEL},
        "an empty answer": conversation(rng, 3, 0, 2, 3),
        "two answers in a row": twice,
        "the row ends with the model's role": {
            "ids": np.array([2, 14, USER, 15, END, MODEL]),
            "user": USER,
            "model": MODEL,
        },
        "a single token": {"ids": np.array([MODEL]), "user": USER, "model": MODEL},
    }


MISTAKES = """  key · what it looks like · a question
shifted · the labels are already shifted by one ·
    the loss compares the logits at t with the label at t + 1: who shifts, and how often?
everything · the user's turns count as well ·
    should the model learn to write the messages that people send to it?
user · the user's turns count, and the model's do not ·
    who is to be trained here?
role · the token that says that the model speaks counts too ·
    when you ask the model for an answer, who writes this token?
no_end · the token that ends an answer does not count ·
    how does the model learn when to stop?
only_end · only the token that ends an answer counts ·
    which other tokens of the answer should the model learn?
no_first · the first word of an answer does not count ·
    after the token of its role, what is the first thing that the model has to write?
last_only · only the last answer counts ·
    a row has two answers of the model: what does it learn from the first one?
first_only · only the first answer counts ·
    a row has two answers of the model: what does it learn from the second one?
never_ends · everything after the first answer counts ·
    what ends a turn?
before · what stands before the first turn counts too ·
    whose words are those before the first role?
next_role · the token of the user's role after an answer counts too ·
    is it the model that decides that the user speaks next?
zero · what does not count has the label 0 ·
    0 is the id of a token: what does the loss do with it?
minus_1 · what does not count has the label −1 ·
    which label does the loss leave out?
mask · this says which tokens count, and not which tokens they are ·
    a label is the id of a token: where are the ids?
packed · only the labels that count are left ·
    how does the loss know at which position each label belongs?
"""

EXERCISE = Exercise(
    target="minilm.examples.dialogue.answer_labels",
    section=("18", "Only the answers count"),
    task="A row of tokens holds a conversation. Every turn begins with the token of its speaker, `user` or `model`. Return the "
    "labels: the tokens of the model's turns, without those of the roles, and −100 everywhere else. Shift nothing.",
    returns={"labels": "token"},
    tiny=lambda: {"ids": np.array([2, 5, 11, 12, 3, 6, 13, 3]), "user": 5, "model": 6},
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "the labels that count are tokens of the row, at their own places",
            lambda rng: {"four turns": conversation(rng, 2, 3, 4, 2)},
            lambda labels: len(labels) == 20 and set(np.flatnonzero(labels != -100)) <= set(range(20)),
        ),
    ),
    forbidden=("answer_labels",),
    steps=(
        "find the places at which a turn begins: those of the two roles",
        "for every token, whose turn it belongs to: that of the last role at or before it",
        "keep the tokens of the model's turns, but not the roles themselves; everything else is −100",
    ),
    right={"a walk": walk, "turn by turn": by_turns, "counting": by_counting},
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "A model that answers reads everything and is asked only for its own words. What a label says is which token is right at a "
        "place; −100 says that nobody asks. The end of an answer is one of its tokens, and the role in front of it is not.",
        "ids [T] → where a turn begins [T] → for each place the last such place at or before it [T] → the role that stands there "
        "[T] → keep ids where it is the model's and the place itself is no role.",
        "begins = ids is user or model;  last = running maximum of (t where begins, else 0);  labels = ids where ids[last] is "
        "model and not begins, else −100",
    ),
)
