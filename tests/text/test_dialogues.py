"""Conversations: the reader of `chitchat`, and the tokens that say whose turn it is."""

import json
import re

import pytest

from minilm.errors import InputError
from minilm.models.gpt import GPT, GPTConfig
from minilm.pretrained.protocol import open_model, save_model
from minilm.text import corpus
from minilm.text.causal_tokenizer import CausalTokenizer
from minilm.text.dialogues import MODEL, USER, Roles, chitchat
from minilm.text.tokenizer import train_wordpiece


def write(path, *conversations):
    """A file like that of the corpus. A conversation is a list of groups, a group a list of (sender, text)."""
    made = [[[{"sender": who, "text": text} for who, text in group] for group in each] for each in conversations]
    path.write_text(json.dumps({str(i): {"messages": each} for i, each in enumerate(made)}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text("hello how are you\nfine and you\ni like tea and rivers\n", encoding="utf-8")
    return train_wordpiece([file], 120)


def test_messages_in_a_row_are_one_turn_and_empty_ones_are_none(tmp_path):
    heard = []
    file = write(
        tmp_path / "a.json",
        [
            [("a", "Hi"), ("a", "you  there?\n")],
            [("b", " "), ("b", "")],
            [("a", "hello?")],
            [("b", "Yes")],
            [("a", "ok")],
        ],
        [[("c", "hello?")], [("c", "anybody?")]],
        [[("d", "")], [("e", "")]],
        [[("f", "hi, YOU there hello")], [("g", "yes!")], [("f", "ok")]],
        [[("f", "hi, you there")], [("g", "no!")]],
    )
    assert list(chitchat(file, heard.append)) == [["Hi you there? hello?", "Yes", "ok"], ["hi, you there", "no!"]]
    counts = [
        "2 conversations were left out because nobody answers",
        "1 conversations were left out because they repeat",
    ]
    assert [line.split(" in them")[0].split(" the words")[0] for line in heard] == counts


def test_the_conversations_are_the_ones_counted_by_another_route():
    """In the raw file, every message is by the sender of its group, and neighbouring groups have different senders."""
    raw = json.loads(corpus.corpus_file("chitchat", "dataset.json").read_text(encoding="utf-8"))
    groups = [[group for group in each["messages"] if any(m["text"].strip() for m in group)] for each in raw.values()]
    answered = [each for each in groups if len({group[0]["sender"] for group in each}) > 1]
    said = [" ".join(message["text"] for group in each for message in group) for each in answered]
    distinct = {re.sub(r"\W+", " ", text.lower()).strip(): len(each) for text, each in zip(said[::-1], answered[::-1])}
    found = list(corpus.documents("chitchat"))
    assert len(raw) == 7_168 and sum(len(each["messages"]) for each in raw.values()) == 138_737
    assert len(found) == len(distinct) == corpus.CORPORA["chitchat"].examples == 3_995
    # a group without text between two of one sender joins these two, so a few turns fewer than groups
    assert 0 <= sum(distinct.values()) - sum(map(len, found)) < 12
    assert found[0][:2] == ["Hello How are you doing today?", "whats up MD im doing good how are you doing?"]
    assert all(len(turns) > 1 and all(turn == " ".join(turn.split()) != "" for turn in turns) for turns in found)


def test_F29_roles_are_tokens_of_their_own_and_nobody_can_type_them(tokenizer):
    roles = Roles(tokenizer, add=True)
    assert (roles.user, roles.model) == (
        tokenizer.size,
        tokenizer.size + 1,
    ) and roles.tokenizer.size == tokenizer.size + 2
    typed = roles.tokenizer.ids([f"{USER} hello {MODEL}"])[0]
    assert not {roles.user, roles.model} & set(typed)
    hello = roles.tokenizer.ids(["hello"])[0]
    assert roles.turn(hello, model=True) == [roles.model, *hello, roles.tokenizer.end]
    assert roles.turn(hello, model=False)[0] == roles.user
    assert roles.tokenizer.text(roles.turn(hello, model=True)) == "hello"
    with pytest.raises(InputError, match=r"no \[USER\] and \[MODEL\]"):
        Roles(tokenizer)


def test_roles_come_back_from_a_run_folder(tokenizer, tmp_path):
    roles = Roles(tokenizer, add=True)
    save_model(tmp_path, GPT(GPTConfig(roles.tokenizer.size, 12, 1, 3, 24, 16)), roles.tokenizer)
    opened = open_model(tmp_path).tokenizer
    again = Roles(opened)
    assert type(opened) is CausalTokenizer and (again.user, again.model) == (roles.user, roles.model)
    assert again.tokenizer.ids([f"{USER} tea"]) == roles.tokenizer.ids([f"{USER} tea"])
