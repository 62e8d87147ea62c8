"""Words → pieces → words: every tag comes back, on real sentences, and a long sentence is tagged whole.  F31."""

import torch
from torch import nn

from minilm.examples.labelled import encode_tagged
from minilm.examples.labels import IGNORED
from minilm.pretrained.registry import locate
from minilm.text.corpus import POS, tagged
from minilm.text.files import Example
from minilm.text.tagged import TaggedLine
from minilm.text.tokenizer import Tokenizer, train_characters
from minilm.training.inference import predicted_tags, true_tags
from minilm.training.word_tasks import TagTask, TokenTask

SENTENCES = 250  # of each language


def tags_of(lines):
    return tuple(sorted({tag for line in lines for tag in line.tags}))


def test_F31_five_hundred_real_sentences_give_every_tag_back_and_every_word_from_its_pieces():
    """English words in the pieces of a published tokenizer, Chinese words in characters; rows are cut at 24 tokens."""
    tweets, news = tagged("tweets")[:SENTENCES], tagged(POS)[:SENTENCES]
    for lines, tokenizer in (
        (tweets, Tokenizer.load(locate("all-minilm-l6-v2"))),
        (news, train_characters([word for line in news for word in line.tokens])),
    ):
        data = encode_tagged(lines, tags_of(lines), tokenizer, 24)
        assert len(data) > len(lines) and max(map(len, data.rows)) <= 24  # many lines take several rows
        assert true_tags(data, tags_of(lines)) == [line.tags for line in lines]
        words = [[] for _ in lines]
        pieces = 0
        for owner, row, labels in zip(data.owner, data.rows, data.labels, strict=True):
            for token, label in zip(tokenizer.tokens(row)[1:-1], labels[1:-1], strict=True):
                pieces += label == IGNORED
                if label == IGNORED:
                    words[owner][-1] += token.removeprefix("##")
                else:
                    words[owner].append(token)
            assert labels[0] == labels[-1] == IGNORED
        assert pieces > 500  # and many words several pieces
        for line, found in zip(lines, words, strict=True):
            for word, joined in zip(line.tokens, found, strict=True):
                pieces_of_word = tokenizer.tokens(tokenizer.ids([word])[0][:22])  # so many fit into a row
                assert joined == "".join(pieces_of_word).replace("##", "")


class Table(nn.Module):
    """Tags each token by its id alone, so the right answer is known wherever a row was cut."""

    def __init__(self, size, labels):
        super().__init__()
        self.table = nn.Parameter(torch.randn(size, labels, generator=torch.Generator().manual_seed(0)))

    def forward(self, input_ids, token_type_ids=None, attention_mask=None):
        assert input_ids.size(1) <= 32
        return self.table[input_ids]


def test_F31_a_sentence_of_two_thousand_words_is_tagged_whole():
    tokenizer = train_characters(["abcdefgh"])
    words = ["abcdefgh"[i % 8] * (1 + i % 3) for i in range(2_000)]
    labels = ("A", "B", "C")
    task, model = TagTask(labels, "spaces"), Table(tokenizer.size, 3)
    expected = [labels[int(model.table[tokenizer.ids([word])[0][0]].argmax())] for word in words]
    (found,) = task.predict(model, [Example(" ".join(words))], tokenizer, 32)
    assert [entity.kind for entity in found.entities] == expected and len({*expected}) > 1
    assert [found.text[entity.start : entity.end] for entity in found.entities] == words
    encoded = encode_tagged([TaggedLine(words, ["A"] * 2_000)], labels, tokenizer, 32)
    assert predicted_tags(model, encoded, labels) == [expected] and len(encoded) > 100
    names = TokenTask(("B-X", "I-X", "O"), "spaces")
    (entities,) = names.predict(model, [Example(" ".join(words))], tokenizer, 32)
    assert entities.text == found.text and len(entities.entities) > 100
