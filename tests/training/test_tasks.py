"""The kinds of labels, tested with models whose answers are easy to predict."""

import numpy as np
import pytest
import torch
from torch import nn

from minilm.errors import InputError
from minilm.examples.labelled import encode_tagged, encode_texts
from minilm.examples.labels import IGNORED
from minilm.models.heads import TextHeadConfig, TokenHeadConfig
from minilm.text.files import Example
from minilm.text.tagged import TaggedLine
from minilm.text.tokenizer import train_characters
from minilm.training.tasks import Entity, Prediction, Task, TextTask, TokenTask, shown, task_of

CPU = torch.device("cpu")
TEXT, TOKEN = TextTask(("bad", "good")), TokenTask(("B-LOC", "B-PER", "I-PER", "O"))
CLS, SEP = 2, 3


@pytest.fixture(scope="module")
def tokenizer():
    return train_characters(["abcdefgh 李鹏在北京。"])


class Counter(nn.Module):
    """Returns the logits (0, number of a − number of b), which say "good" for a text with more a than b."""

    def __init__(self, tokenizer):
        super().__init__()
        self.a, self.b = (tokenizer.ids([letter])[0][0] for letter in "ab")
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, input_ids, token_type_ids=None, attention_mask=None):
        assert not self.training and attention_mask is not None
        difference = (input_ids == self.a).sum(dim=1) - (input_ids == self.b).sum(dim=1)
        return torch.stack([torch.zeros(len(input_ids)), self.scale * difference], dim=1)


class Reader(nn.Module):
    """Tags each token with a table from token to tag; all other tokens get the last tag, O."""

    def __init__(self, tokenizer, tags):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(tokenizer.size, len(TOKEN.labels)))
        with torch.no_grad():
            self.table[:, -1] = 1
            for token, tag in tags.items():
                self.table[tokenizer.ids([token])[0][0], TOKEN.labels.index(tag)] = 2

    def forward(self, input_ids, token_type_ids=None, attention_mask=None):
        return self.table[input_ids]


def test_what_kinds_there_are():
    assert (TEXT.name, TEXT.metric, TOKEN.name, TOKEN.metric) == ("text", "accuracy", "token", "f1")
    assert (TEXT.per_token, TOKEN.per_token) == (False, True)
    assert isinstance(TEXT, Task) and isinstance(TOKEN, Task)
    assert TEXT == TextTask(("bad", "good")) != TextTask(("good", "bad")) and TEXT != TokenTask(("bad", "good"))
    with pytest.raises(AttributeError):
        TEXT.labels = ("a", "b")  # it is frozen


def test_a_head_says_which_task_it_is_for():
    assert TEXT.head(0.3, "cls") == TextHeadConfig(TEXT.labels, 0.3, "cls")
    assert TEXT.head() == TextHeadConfig(TEXT.labels, 0.1, "mean")
    assert TOKEN.head(0.3, "cls") == TokenHeadConfig(TOKEN.labels, 0.3)
    words = TokenTask(TOKEN.labels, "words", 3)
    assert words.head(0.3) == TokenHeadConfig(TOKEN.labels, 0.3, "words", 3)
    for task in (TEXT, words, TOKEN):
        assert task_of(task.head()) == task and type(task_of(task.head())) is type(task)


def test_the_labels_of_examples():
    assert TEXT.labels_of([Example("a", "good"), Example("b"), Example("c", "bad")]) == ["good", "bad"]
    lines = [TaggedLine(["a", "b"], ["O", "B-PER"]), TaggedLine(["c"], ["O"])]
    assert TOKEN.labels_of(lines) == ["O", "B-PER", "O"]


def test_F07_a_text_task_encodes_texts(tokenizer):
    examples = [Example("ab", "good"), Example("c", "bad", "de"), Example("f")]
    encoded = TEXT.encode(examples, tokenizer, 9)
    assert encoded == encode_texts(examples, TEXT.labels, tokenizer, 9)
    assert encoded.labels == [1, 0, IGNORED] and encoded.owner == [0, 1, 2]
    assert [len(row) for row in TEXT.encode([Example("abcdefgh")], tokenizer, 6, truncate=True).rows] == [6]
    with pytest.raises(InputError, match=r"text 8 of a\.csv has 8 tokens and the model takes 4"):
        TEXT.encode([Example("abcdefgh")], tokenizer, 6, where="a.csv", places=[7])
    with pytest.raises(InputError, match="text 1 of the data has the label 'meh', which was not seen in training"):
        TEXT.encode([Example("a", "meh")], tokenizer, None)


def test_F31_a_token_task_encodes_lines_and_cuts_long_ones(tokenizer):
    lines = [TaggedLine(list("abcd"), ["O", "B-PER", "I-PER", "O"]), TaggedLine(["e"], ["B-LOC"])]
    encoded = TOKEN.encode(lines, tokenizer, 5, truncate=False)
    assert encoded == encode_tagged(lines, TOKEN.labels, tokenizer, 5)
    assert encoded.owner == [0, 0, 1]
    assert encoded.labels == [[IGNORED, 3, 1, 2, IGNORED], [IGNORED, 3, IGNORED], [IGNORED, 0, IGNORED]]
    with pytest.raises(InputError, match=r"line 1 of b\.conll has the tag 'B-ORG'"):
        TOKEN.encode([TaggedLine(["a"], ["B-ORG"])], tokenizer, 5, where="b.conll")


def test_F30_a_text_task_measures_by_hand(tokenizer):
    texts = [("aab", "good"), ("b", "bad"), ("abb", "good"), ("ccccca", "good"), ("bbb", "bad"), ("a", "bad")]
    encoded = TEXT.encode([Example(*each) for each in texts], tokenizer, None)
    # good: 2 of 3 found, 2 of 3 guesses right: F1 2/3; bad: 2 of 3 found, 2 of 3 guesses right: 2/3
    assert TEXT.measure(Counter(tokenizer), encoded, CPU) == pytest.approx({"accuracy": 4 / 6, "macro_f1": 2 / 3})


@pytest.mark.parametrize("max_length", [None, 5])
def test_F30_a_token_task_measures_whole_entities_by_hand(max_length, tokenizer):
    """The result is the same for lines that are cut into rows of three."""
    model = Reader(tokenizer, {"a": "B-PER", "b": "I-PER", "c": "B-LOC"}).train()
    lines = [
        TaggedLine(list("abdcd"), ["B-PER", "I-PER", "O", "B-LOC", "O"]),  # two names, both found
        TaggedLine(list("ada"), ["B-PER", "I-PER", "O"]),  # one name, found but cut short; and one extra guess
    ]
    measured = TOKEN.measure(model, TOKEN.encode(lines, tokenizer, max_length), CPU)
    assert measured == pytest.approx({"precision": 2 / 4, "recall": 2 / 3, "f1": 4 / 7})


def test_F07_a_text_task_predicts_the_most_probable_label(tokenizer):
    """Predictions keep the order of the texts, although the batches are sorted by length."""
    model = Counter(tokenizer)
    found = TEXT.predict(model, [Example(text) for text in ("aaab", "b", "ab", "bbaaaaa")], tokenizer, None)
    assert [each.text for each in found] == ["aaab", "b", "ab", "bbaaaaa"]
    assert [each.label for each in found] == ["good", "bad", "bad", "good"]
    wanted = [1 / (1 + np.exp(-each)) for each in (2, 1, 0, 3)]
    np.testing.assert_allclose([each.probability for each in found], wanted, atol=1e-6)
    with pytest.raises(InputError, match="text 2 of the command line has 8 tokens and the model takes 4"):
        TEXT.predict(model, [Example("a"), Example("abcdefgh")], tokenizer, 6, where="the command line")
    (cut,) = TEXT.predict(model, [Example("ccccaaaa")], tokenizer, 6, truncate=True)
    assert cut == Prediction("ccccaaaa", "bad", 0.5)


@pytest.mark.parametrize("max_length", [None, 4])
def test_F31_a_token_task_predicts_entities(max_length, tokenizer):
    """A task that does not say what it tags takes the tokenizer's own units; lines that are cut work too."""
    tags = {"李": "B-PER", "鹏": "I-PER", "北": "B-LOC", "a": "B-PER", "b": "I-PER"}
    found = TOKEN.predict(
        *(Reader(tokenizer, tags), [Example("李鹏在北京。"), Example("a b c"), Example("c d")], tokenizer, max_length)
    )
    assert found == [
        Prediction("李鹏在北京。", "PER 李鹏, LOC 北", None, (Entity("PER", "李鹏", 0, 2), Entity("LOC", "北", 3, 4))),
        Prediction("a b c", "PER a b", None, (Entity("PER", "a b", 0, 3),)),
        Prediction("c d", "–", None),
    ]


def test_entities_as_they_are_shown():
    found = [Entity("PER", "Ada", 0, 3), Entity("LOC", "New York", 7, 15)]
    assert shown(found) == "PER Ada, LOC New York" and shown([]) == shown([], offsets=True) == "–"
    assert shown(found, offsets=True) == "PER Ada 0–3, LOC New York 7–15"
