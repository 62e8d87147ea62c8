"""Words → pieces → words on real tweets: no word and no tag is lost, whatever the tokenizer does to the words.  F30, F31."""

import pytest
import torch
from torch import nn

from minilm.examples.labels import IGNORED
from minilm.experiments.tweets import TASK
from minilm.text import corpus
from minilm.text.tagged import TaggedLine
from minilm.text.tokenizer import train_wordpiece
from minilm.training.inference import predicted_tags, true_tags

SENTENCES, LONG = 500, 2_000


@pytest.fixture(scope="module")
def lines():
    return corpus.tagged("tweets")[:SENTENCES]


@pytest.fixture(scope="module")
def tokenizer(lines, tmp_path_factory):
    """So small a vocabulary that most words have several pieces, with every character that is needed."""
    file = tmp_path_factory.mktemp("tweets") / "text.txt"
    file.write_text("\n".join(" ".join(line.tokens) for line in lines), encoding="utf-8")
    return train_wordpiece([file], 600)


def words_of_rows(encoded, tokenizer):
    """The words of each line, from the ids and labels alone: a label stands where a word begins, and "##" before what continues."""
    out = [[] for _ in range(max(encoded.owner) + 1)]
    for owner, ids, labels in zip(encoded.owner, encoded.rows, encoded.labels, strict=True):
        assert [ids[0], ids[-1]] == [tokenizer.cls, tokenizer.sep] and labels[0] == labels[-1] == IGNORED
        for piece, label in zip(tokenizer.tokens(ids[1:-1]), labels[1:-1], strict=True):
            if label != IGNORED:
                out[owner].append("")
            out[owner][-1] += piece.removeprefix("##")
    return out


def as_read(word, tokenizer):
    """The word as the tokenizer reads it: in small letters, without accents. Of some characters it leaves nothing."""
    return "".join(tokenizer.normalise(word).split()) or "[UNK]"


@pytest.mark.parametrize("max_length", [None, 50])
def test_F30_500_real_sentences_come_back_word_by_word_and_tag_by_tag(max_length, lines, tokenizer):
    notes = []
    encoded = TASK.encode(lines, tokenizer, max_length, note=notes.append)
    found, expected = (
        words_of_rows(encoded, tokenizer),
        [[as_read(w, tokenizer) for w in line.tokens] for line in lines],
    )
    assert [len(words) for words in found] == [len(words) for words in expected]
    other = [
        (a, b) for own, words in zip(found, expected, strict=True) for a, b in zip(own, words, strict=True) if a != b
    ]
    assert (
        bool(other) == bool(notes) == (max_length is not None)
    )  # addresses with more pieces than a row holds, which is said
    assert not other or f"were cut at their ends: {len(other)}, such as '{other[0][1][:20]}" in notes[0]
    assert all(whole.startswith(beginning) and len(beginning) > 60 for beginning, whole in other)
    assert true_tags(encoded, TASK.labels) == [line.tags for line in lines]
    assert (len(encoded) > SENTENCES + 20) == (max_length is not None)  # many were cut into rows
    words = sum(len(line.tokens) for line in lines)
    assert words > 8_000 and sum(map(len, encoded.rows)) > 1.5 * words  # in several pieces each


class Table(nn.Module):
    """Gives every piece the tag that stands in a table, so that the tag of a word is known: that of its first piece."""

    def __init__(self, pieces):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.logits = nn.Parameter(torch.randn(pieces, len(TASK.labels), generator=generator))

    def forward(self, input_ids, token_type_ids=None, attention_mask=None):
        return self.logits[input_ids]


def test_F31_a_sentence_of_2000_words_is_tagged_whole(lines, tokenizer):
    tokens, tags = (sum((line[part] for line in lines), [])[:LONG] for part in (0, 1))
    model = Table(tokenizer.size)
    encoded = TASK.encode([TaggedLine(tokens, tags)], tokenizer, 64)
    assert len(encoded) > 60 and max(map(len, encoded.rows)) <= 64
    assert true_tags(encoded, TASK.labels) == [tags]
    (pieces,) = tokenizer.pieces_of_words([tokens])
    expected = [TASK.labels[int(model.logits[ids[0]].argmax())] for ids in pieces]
    assert predicted_tags(model, encoded, TASK.labels) == [expected]
    (found,) = TASK.predict(model, [TaggedLine(tokens, tags)], tokenizer, 64)
    assert all(found.text[each.start : each.end] == each.text for each in found.entities)
    assert len(found.entities) > 500 and found.entities[-1].end > len(found.text) - 100
