"""Answers in texts: their encoding, their loss and their decoding, against brute force and cross-entropy by hand.  F28."""

import itertools

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.examples.labels import IGNORED
from minilm.examples.spans import encode_questions, inside_text, tokens_of_answer, windows
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, SpanHeadConfig
from minilm.text.files import Example
from minilm.text.questions import Question
from minilm.text.tokenizer import train_characters
from minilm.training.losses import span_loss
from minilm.training.objectives import Classification
from minilm.training.span_decoding import best_spans
from minilm.training.span_task import SpanTask, answer_scores
from minilm.training.tasks import task_of

CPU = torch.device("cpu")


def brute(start, end, inside, longest):
    """The first of the best spans, by trying all of them in order."""
    T, best = len(start), None
    for i, j in itertools.product(range(T), range(T)):
        if i <= j < i + longest and inside[i] and inside[j] and (best is None or start[i] + end[j] > best[0]):
            best = start[i] + end[j], i, j
    return best[1:]


@pytest.mark.parametrize("seed", range(40))
def test_F28_the_best_span_is_that_of_brute_force(seed):
    rng = np.random.default_rng(seed)
    B, T, longest = int(rng.integers(1, 5)), int(rng.integers(1, 12)), int(rng.integers(1, 8))
    start, end = rng.integers(-3, 4, (2, B, T)).astype(float)  # whole numbers, so that there are equal sums
    inside = rng.random((B, T)) < 0.6
    inside[np.arange(B), rng.integers(0, T, B)] = True
    found = best_spans(start, end, inside, longest)
    assert found.tolist() == [[*brute(*row, longest)] for row in zip(start, end, inside, strict=True)]
    assert all(inside[b, t] for b, span in enumerate(found) for t in span)


def test_nothing_inside_and_no_length_are_refused():
    z = np.zeros((2, 3))
    with pytest.raises(InputError, match="row 1 has no token of the text"):
        best_spans(z, z, np.array([[True] * 3, [False] * 3]), 2)
    with pytest.raises(InputError, match="longest must be at least 1 token, not 0"):
        best_spans(z, z, z == 0, 0)


@pytest.fixture(scope="module")
def tokenizer():
    return train_characters(["abcdefghijklmnopqrstuvwxyz 谁会见客人江泽民。"])


def test_every_token_of_a_long_text_is_in_a_window_and_neighbours_share_half():
    for length, room in itertools.product(range(1, 40), range(1, 12)):
        found = windows(length, room, 3)
        assert {t for w in found for t in range(w.first, w.end)} == {*range(length)}
        assert all(0 < w.end - w.first <= room and w.before == 3 for w in found)
        assert length <= room or all(
            b.first - a.first <= max(1, room // 2 + room % 2) for a, b in itertools.pairwise(found)
        )
    assert windows(7, None, 2) == [(0, 7, 2)]


def test_F28_labels_point_at_the_answer_in_the_windows_that_hold_it_whole(tokenizer):
    text = "abcdefghijklmnop"
    question = Question("xy", text, "hij", 7)
    encoded = encode_questions([question], tokenizer, 2 + 3 + 6)  # six tokens of the text per window
    found = 0
    for row, label, window in zip(encoded.rows, encoded.labels, encoded.windows, strict=True):
        assert tokenizer.tokens(row[window.before : -1]) == [*text[window.first : window.end]]
        if label == [0, 0]:
            assert not (window.first <= 7 and 10 <= window.end)
        else:
            found += 1
            assert tokenizer.tokens(row[label[0] : label[1] + 1]) == ["h", "i", "j"]
    assert found >= 1 and len(encoded) > 3 and {*encoded.owner} == {0}
    (row,) = encode_questions([question._replace(answer=None, start=None)], tokenizer, None).labels
    assert row == [IGNORED, IGNORED]
    assert tokens_of_answer(Question("x", "ab cd", "b c", 1), [(0, 1), (1, 2), (3, 4), (4, 5)]) == (1, 2)


def test_questions_without_room_and_answers_without_tokens_are_refused(tokenizer):
    with pytest.raises(InputError, match="question 1 of q.jsonl has 3 tokens, and the model takes 6"):
        encode_questions([Question("abc", "de")], tokenizer, 6, "q.jsonl")
    with pytest.raises(InputError, match="question 5 of q.jsonl: the tokenizer keeps nothing of the answer"):
        encode_questions([Question("a", "b \x85 c", "\x85", 2)], tokenizer, 9, "q.jsonl", [4])
    with pytest.raises(InputError, match="text 1 of the data has no question: give it with --pair"):
        SpanTask().encode([Example("abc")], tokenizer, 9)


def batch_of(tokenizer, questions, max_length=None):
    encoded = encode_questions(questions, tokenizer, max_length)
    return encoded, encoded.batch(range(len(encoded)))


def test_F28_the_loss_is_the_mean_of_two_cross_entropies_over_the_text_and_cls(tokenizer):
    questions = [Question("xy", "abcdef", "cd", 2), Question("z", "ghi", "g", 0), Question("z", "abc")]
    _, batch = batch_of(tokenizer, questions)
    z = torch.randn(3, batch.input_ids.size(1), 2, generator=tiny.seeded(1), dtype=torch.float64, requires_grad=True)
    inside = inside_text(batch.input_ids, batch.token_type_ids, batch.attention_mask)
    assert [row.nonzero().flatten().tolist() for row in inside] == [[0, 4, 5, 6, 7, 8, 9], [0, 3, 4, 5], [0, 3, 4, 5]]
    loss = span_loss(z, batch.labels, inside)
    terms = []
    for b, places in ((0, [0, 4, 5, 6, 7, 8, 9]), (1, [0, 3, 4, 5])):  # the third has no answer, so it does not count
        for k in (0, 1):
            right = places.index(int(batch.labels[b, k]))
            terms.append(-z[b, places, k].log_softmax(0)[right])
    assert loss.count == 2 and loss.value.item() == pytest.approx(torch.stack(terms).mean().item(), abs=1e-12)
    (mine,) = torch.autograd.grad(loss.value, z)
    (theirs,) = torch.autograd.grad(torch.stack(terms).mean(), z)
    torch.testing.assert_close(mine, theirs, atol=1e-12, rtol=0)
    assert not mine[2].any() and not mine[0, 1:4].any()
    with pytest.raises(InputError, match="an answer lies outside the text"):
        span_loss(z, torch.tensor([[1, 4], [3, 3], [0, 0]]), inside)


class Oracle(nn.Module):
    """High logits at the first token of one kind and the last of another."""

    def __init__(self, tokenizer, first, last):
        super().__init__()
        self.ids = [tokenizer.ids([letter])[0][0] for letter in (first, last)]
        self.scale = nn.Parameter(torch.tensor(5.0))

    def forward(self, input_ids, token_type_ids=None, attention_mask=None):
        return torch.stack([self.scale * (input_ids == i) for i in self.ids], dim=-1)


@pytest.mark.parametrize("max_length", [None, 12])
def test_an_answer_is_found_in_any_window_and_has_its_offsets(max_length, tokenizer):
    text = "abcdefghi klmno pqrstuv"
    task, model = SpanTask(), Oracle(tokenizer, "m", "p")
    (found,) = task.predict(model, [Question("mp", text)], tokenizer, max_length)
    assert found.label == "mno p" and found.shown == f"mno p {text.index('m')}–{text.index('p') + 1}"
    encoded = task.encode([Question("mp", text, "mno p", 12), Question("mp", text, "mno", 12)], tokenizer, max_length)
    assert task.measure(model, encoded, CPU) == pytest.approx({"exact": 0.5, "f1": (1 + 2 / 3) / 2})
    (same,) = task.predict(model, [Example(text, None, "mp")], tokenizer, max_length)
    assert same == found  # the second text of a pair is the question


def test_a_question_is_never_the_answer(tokenizer):
    """Its tokens score highest, and the end scores before the start."""
    (found,) = SpanTask().predict(Oracle(tokenizer, "x", "a"), [Question("xa", "abc xbc")], tokenizer, None)
    assert found.text[found.entities[0].start : found.entities[0].end] == found.label and found.label in (
        "abc x",
        "a",
        "x",
    )


def test_F30_exact_match_and_f1_of_answers_by_hand():
    assert answer_scores("The Bonn!", "bonn") == (1.0, 1.0)
    assert answer_scores("江泽民主席", "江泽民") == pytest.approx((0.0, 2 * 3 / 8))
    assert answer_scores("Rome", "Bonn") == (0.0, 0.0) and answer_scores(".", "") == (1.0, 1.0)


def test_F28_a_small_model_learns_to_answer_and_its_head_says_its_task(tokenizer):
    """The answer is what stands behind the letter that is asked for: a place that only the question tells."""
    rng = np.random.default_rng(0)
    questions = []
    for _ in range(48):
        letters = "".join(rng.permutation([*"abcdef"]))
        asked = int(rng.integers(0, 5))
        questions.append(Question(letters[asked], letters, letters[asked + 1], asked + 1))
    sizes = TransformerConfig(tokenizer.size, 24, 2, 2, 32, 16, dropout=0.0, positions="relative")
    model = Classifier(Bert(sizes), SpanHeadConfig(dropout=0.0), tiny.seeded())
    from minilm.models.initialisation import initialise
    from minilm.training.supervised import Recipe, fit

    initialise(model, generator=tiny.seeded())
    task = task_of(model.head_config)
    assert task == SpanTask()
    encoded = task.encode(questions, tokenizer, 16)
    before = Classification().measure(model, [encoded.batch(range(48))])["loss"]
    fit(model, encoded, Recipe(epochs=25, learning_rate=5e-3, embedding_learning_rate_scale=1.0), 0, bar=False)
    assert Classification().measure(model, [encoded.batch(range(48))])["loss"] < before / 3
    assert task.measure(model, encoded, CPU)["exact"] > 0.9


def test_label_smoothing_is_refused(tokenizer):
    _, batch = batch_of(tokenizer, [Question("x", "abc", "a", 0)])
    sizes = TransformerConfig(tokenizer.size, 8, 1, 2, 8, 16)
    model = Classifier(Bert(sizes), SpanHeadConfig())
    assert isinstance(batch, Batch)
    with pytest.raises(InputError, match=r"label_smoothing 0.1 is for classes"):
        Classification(0.1).step(model, batch)
