"""Conversations: who says what, turn by turn, and the tokens that say whose turn it is.  F29.

A conversation is a list of turns, and two people take turns: lines 1, 3, 5 … are one person's, lines 2, 4, 6 … the other's.
So a text file of conversations is an ordinary text file, with one turn per line and a blank line between conversations.

    [CLS] [USER] hi , how are you ? [SEP] [MODEL] fine , and you ? [SEP] [USER] …

The model's turns are those of one of the two people; the other one is its user. Which is which is a matter of choice, so
every conversation can be learned from both sides.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken

from minilm.errors import InputError
from minilm.files.notes import Note, unheard
from minilm.text.causal_tokenizer import CausalTokenizer
from minilm.text.duplicates import WORD
from minilm.text.tokenizer import Tokenizer

USER, MODEL = "[USER]", "[MODEL]"


def chitchat(path: Path, note: Note = unheard) -> Iterator[list[str]]:
    """The conversations of the corpus `chitchat`: what a person writes in a row, in several messages, is one turn.

    Left out are conversations in which nobody answers, and those whose words are those of an earlier conversation; `note`
    hears how many.
    """
    lone = repeated = 0
    seen: set[str] = set()
    for conversation in json.loads(path.read_text(encoding="utf-8")).values():
        turns = turns_of(conversation["messages"])
        if len(turns) < 2:
            lone += 1
            continue
        if (key := " ".join(WORD.findall(" ".join(turns).lower()))) in seen:
            repeated += 1
            continue
        seen.add(key)
        yield turns
    if lone:
        note(f"{lone:,} conversations were left out because nobody answers in them.")
    if repeated:
        note(f"{repeated:,} conversations were left out because they repeat the words of another one.")


def turns_of(messages: list[list[dict[str, str]]]) -> list[str]:
    """The turns of one conversation. A turn of empty messages is none, and what stands around it may be one person's."""
    turns: list[tuple[str, str]] = []  # who, what
    for group in messages:
        for message in group:
            if text := " ".join(message["text"].split()):
                who = message["sender"]
                if turns and turns[-1][0] == who:
                    turns[-1] = who, f"{turns[-1][1]} {text}"
                else:
                    turns.append((who, text))
    return [text for _, text in turns]


class Roles:
    """A tokenizer of a model that writes, with the two tokens that say whose turn begins. What people type never becomes one.

    Raises InputError, if the tokens are not to be added, for a tokenizer that has none.
    """

    def __init__(self, tokenizer: Tokenizer, add: bool = False):
        causal = CausalTokenizer.of(tokenizer)
        if add:
            backend = type(causal.backend).from_str(causal.to_json())
            backend.add_special_tokens([AddedToken(role, special=True) for role in (USER, MODEL)])
            causal = CausalTokenizer(backend, causal.names)
        vocabulary = causal.backend.get_vocab()
        if USER not in vocabulary or MODEL not in vocabulary:
            raise InputError(f"the tokenizer has no {USER} and {MODEL}: it is not that of a model for conversations.")
        self.tokenizer, self.user, self.model = causal, vocabulary[USER], vocabulary[MODEL]

    def turn(self, ids: list[int], model: bool) -> list[int]:
        """A whole turn: its role, its words, and the token that ends it."""
        return [self.model if model else self.user, *ids, self.tokenizer.end]
