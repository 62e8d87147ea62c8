"""Several labels, a number and relations: by hand, against scikit-learn, against `transformers`, and learned by small models."""

import re

import numpy as np
import pytest
import tiny
import torch
import transformers
from sklearn.metrics import classification_report
from torch import nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.heads import NUMBER, SEVERAL, Classifier, TextHeadConfig
from minilm.models.initialisation import initialise
from minilm.pretrained.protocol import open_classifier, save_model
from minilm.text.files import Example
from minilm.text.relations import marked
from minilm.text.tokenizer import train_characters
from minilm.training.entity_report import MACRO, MICRO, WEIGHTED, label_rows
from minilm.training.losses import squared_error
from minilm.training.metrics import number_scores, several_scores
from minilm.training.objectives import Classification
from minilm.training.supervised import Recipe, fit
from minilm.training.tasks import task_of
from minilm.training.text_tasks import LabelsTask, NumberTask, RelationTask, TextTask

CPU = torch.device("cpu")
AVERAGES = {MICRO: "micro avg", MACRO: "macro avg", WEIGHTED: "weighted avg"}
QUICK = dict(learning_rate=5e-3, embedding_learning_rate_scale=1.0)


@pytest.fixture(scope="module")
def tokenizer():
    return train_characters(["abcdefghijklmnopqrstuvwxyz @#^~ <>/12 ."])


def model_for(task, tokenizer, pooling="mean", dropout=0.0):
    sizes = TransformerConfig(tokenizer.size, 16, 1, 2, 24, 24, dropout=dropout)
    model = Classifier(Bert(sizes), task.head(dropout, pooling), tiny.seeded())
    initialise(model, generator=tiny.seeded())
    return model


# ---------------------------------------------------------------------------- a report per class


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("several", [False, True])
def test_F30_rows_and_averages_are_those_of_scikit_learn(several, seed):
    rng = np.random.default_rng(seed)
    names, n = ("a", "b", "c", "d")[: 2 + seed % 3], int(rng.integers(3, 30))
    shape = (n, len(names)) if several else (n,)
    true, guessed = (rng.integers(0, 2 if several else len(names), shape) for _ in range(2))
    if several:  # each label occurs
        true[0] = 1
    else:
        true[: len(names)] = range(len(names)) if n >= len(names) else true[: len(names)]
    numbers = {} if several else {"labels": range(len(names))}
    theirs = classification_report(true, guessed, target_names=names, output_dict=True, zero_division=0, **numbers)
    theirs["micro avg"] = theirs.get("micro avg") or dict.fromkeys(
        ("precision", "recall", "f1-score"), theirs["accuracy"]
    ) | {"support": n}
    rows = label_rows(true, guessed, names)
    assert [row.name for row in rows][-3:] == [*AVERAGES]
    for row in rows:
        expected = theirs[AVERAGES.get(row.name, row.name)]
        keys = ("precision", "recall", "f1-score", "support")
        assert [value or 0.0 for value in row[1:]] == pytest.approx([expected[key] for key in keys]), row.name


def test_F30_a_class_that_nobody_has_is_left_out_and_no_guess_is_a_dash():
    rows = {row.name: row for row in label_rows([0, 0, 2], [0, 0, 0], ("a", "b", "c"))}
    assert rows.keys() == {"a", "c", *AVERAGES} and rows["c"][1:] == (None, 0.0, 0.0, 1)
    assert label_rows(np.zeros((2, 3), int), np.zeros((2, 3), int), "abc") == []


# ---------------------------------------------------------------------------- several labels


def test_F05_several_labels_are_zeros_and_ones_and_their_loss_is_torchs(tokenizer):
    task = LabelsTask(("x", "y", "z"), False)
    data = task.encode([Example("ab", "x;z"), Example("c", ""), Example("de")], tokenizer, None)
    assert data.labels == [[1, 0, 1], [0, 0, 0], [-100] * 3]
    model = model_for(task, tokenizer).double()
    batch = data.batch([0, 1, 2])
    loss = Classification().loss(model, batch)
    logits = model(batch.input_ids, batch.token_type_ids, batch.attention_mask)[:2]
    expected = F.binary_cross_entropy_with_logits(logits, torch.tensor([[1, 0, 1], [0, 0, 0]], dtype=torch.float64))
    assert loss.count == 6 and loss.value.item() == pytest.approx(expected.item(), abs=1e-12)
    with pytest.raises(InputError, match="text 1 of the data has the label 'w', which was not seen in training"):
        task.encode([Example("ab", "x;w")], tokenizer, None)
    with pytest.raises(InputError, match="no text of t.csv has a label"):
        LabelsTask.names_of([Example("a", ""), Example("b", "")], "t.csv")
    assert LabelsTask.names_of([Example("a", "y;x"), Example("b", "")], "t.csv") == ("x", "y")


def test_F30_several_labels_are_measured_by_hand():
    true, guessed = [[1, 0, 1], [0, 0, 0], [1, 0, 0]], [[1, 0, 0], [0, 0, 0], [1, 0, 1]]
    # x: 2 of 2 right; z: one missed, one wrong; y: nobody has it, so it does not count
    assert several_scores(true, guessed) == pytest.approx(
        {"micro_f1": 2 * 2 / (3 + 3), "macro_f1": 0.5, "all_right": 1 / 3}
    )
    assert several_scores([[0]], [[0]]) == {"micro_f1": None, "macro_f1": None, "all_right": 1.0}


def test_F05_a_small_model_learns_two_labels_at_once_and_shows_them(tokenizer):
    rng = np.random.default_rng(1)
    examples = []
    for _ in range(60):
        letters = rng.permutation([*"abcdefgh"])[:4]
        examples.append(Example("".join(letters), ";".join(x for x in "ab" if x in letters)))
    task = LabelsTask(LabelsTask.names_of(examples, "it"), False)
    model, data = model_for(task, tokenizer), task.encode(examples, tokenizer, 24)
    fit(model, data, Recipe(epochs=20, **QUICK), 0, bar=False)
    measured, table = task.reported(model, data, CPU, examples)
    assert measured["all_right"] > 0.95 and measured == task.measure(model, data, CPU)
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [
        "| a",
        "| b",
        *(f"| {name}" for name in AVERAGES),
    ]
    both, none = task.predict(model, [Example("bacd"), Example("cdef")], tokenizer, 24)
    assert [label for label, _ in both.labels] == ["a", "b"] and none.labels == () and none.shown == "–"
    assert both.shown == ", ".join(f"{label} {p:.3f}" for label, p in both.labels) and both.probability is None


# ---------------------------------------------------------------------------- a number


def test_a_number_is_learned_in_deviations_and_its_loss_is_the_mean_squared_error(tokenizer):
    examples = [Example("ab", "1010"), Example("cd", "1030"), Example("ef", "1020.5")]
    task = NumberTask.learnt_from(("number",), examples)
    numbers = np.array([1010, 1030, 1020.5])
    assert (task.center, task.scale) == pytest.approx((numbers.mean(), numbers.std()))
    data, model = task.encode(examples, tokenizer, None), model_for(task, tokenizer).double()
    batch = data.batch([0, 1, 2])
    logits = model(batch.input_ids, batch.token_type_ids, batch.attention_mask)
    loss = Classification().loss(model, batch)
    assert loss.value.item() == pytest.approx(
        F.mse_loss(logits[:, 0], torch.tensor(numbers)).item() / task.scale**2, rel=1e-6
    )
    assert abs(logits.mean().item() - task.center) < 3 * task.scale  # it begins near the mean, whatever the unit
    before = logits.detach()
    model.settle()
    torch.testing.assert_close(
        model(batch.input_ids, batch.token_type_ids, batch.attention_mask), before, rtol=1e-12, atol=0
    )
    assert (model.head_config.center, model.head_config.scale) == (0.0, 1.0)


def test_the_gradient_of_the_squared_error_is_that_of_finite_differences():
    y_hat = torch.tensor([1.0, -2.0, 4.0], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: squared_error(z, y, 3.0).value, y_hat)
    assert squared_error(y_hat, y, 3.0).value.item() == pytest.approx((0.25 + 9 + 0) / 27)


def test_numbers_are_measured_by_hand():
    found = number_scores([1.0, 2.0, 3.0], [1.0, 2.0, 5.0])
    assert found == pytest.approx({"r2": 1 - (4 / 3) / (2 / 3), "mse": 4 / 3, "mae": 2 / 3})
    assert number_scores([1.0, 1.0], [0.0, 1.0])["r2"] is None
    assert NumberTask(("number",)).better({"mse": 2.0, "r2": 0.5, "mae": 1.0}) == -2.0


def test_a_small_model_learns_a_large_number(tokenizer):
    rng = np.random.default_rng(2)
    examples = []
    for _ in range(60):
        n = int(rng.integers(0, 7))
        examples.append(Example("".join(rng.permutation([*("a" * n), *("b" * (6 - n))])), str(5000 + 100 * n)))
    task = NumberTask.learnt_from(("number",), examples)
    model, data = model_for(task, tokenizer), task.encode(examples, tokenizer, 24)
    fit(model, data, Recipe(epochs=15, **QUICK), 0, bar=False)
    assert task.measure(model, data, CPU)["r2"] > 0.95
    (found,) = task.predict(model, [Example("aabbbb")], tokenizer, 24)
    assert float(found.label) == pytest.approx(5200, abs=80) and found.shown == found.label


def test_numbers_that_teach_nothing_or_are_none():
    with pytest.raises(InputError, match="every number of n.csv is 3: there is nothing to learn"):
        NumberTask.learnt_from(("number",), [Example("a", "3"), Example("b", "3.0")], "n.csv")
    with pytest.raises(InputError, match="a label of imdb holds 'negative', which is not a number"):
        NumberTask.learnt_from(("number",), [Example("a", "negative")], "imdb")


@pytest.mark.parametrize("problem", [SEVERAL, NUMBER])
def test_both_heads_are_saved_and_transformers_computes_their_logits(problem, tokenizer, tmp_path):
    task = LabelsTask(("x", "y", "z"), False) if problem == SEVERAL else NumberTask(("number",), False, 700.0, 90.0)
    model = model_for(task, tokenizer, "cls").eval()
    model.settle()
    save_model(tmp_path / "out", model, tokenizer)
    opened = open_classifier(tmp_path / "out").model
    assert opened.head_config == model.head_config and type(task_of(opened.head_config)) is type(task)
    theirs = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert theirs.config.problem_type == problem
    ids = torch.tensor([[2, 7, 9, 3]])
    with torch.no_grad():
        logits = theirs(ids).logits
        torch.testing.assert_close(model(ids), logits, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(opened(ids), logits, rtol=1e-5, atol=1e-4)


def test_heads_that_contradict_themselves():
    for given, what in (
        (dict(labels=("a", "b"), problem_type=NUMBER), "has one label, its name"),
        (dict(labels=("a", "b"), problem_type="ranking"), "problem_type 'ranking' is not known"),
        (dict(labels=("a", "b"), pooling="markers"), "needs two different tokens as markers"),
        (dict(labels=("a", "b"), pooling="markers", markers=(4, 4)), "needs two different tokens as markers"),
        (dict(labels=("a", "b"), markers=(4, 5)), "needs two different tokens as markers"),
        (dict(labels=()), "needs at least two labels"),
    ):
        with pytest.raises(InputError, match=what):
            TextHeadConfig(**given)


# ---------------------------------------------------------------------------- relations


def test_markers_become_signs_and_bad_ones_are_refused():
    assert marked("<e1>Anna</e1> of <e2>Bonn</e2>.", "@#", "it") == " @ Anna @  of  # Bonn # ."
    assert marked("<e2>Bonn</e2> has <e1>Anna</e1>", "@#", "it") == " # Bonn #  has  @ Anna @ "
    for text, what in (
        ("Anna of Bonn", "text 3 has no <e1>: mark both entities"),
        ("<e1>Anna</e1> of <e2>Bonn", "text 3 has no </e2>"),
        ("<e1>A</e1> <e1>B</e1> <e2>C</e2>", "text 3 has <e1> more than once"),
        ("<e1>Anna of <e2>Bonn</e1></e2>", "the markers overlap or are in the wrong order"),
        ("</e1>Anna<e1> of <e2>Bonn</e2>", "the markers overlap or are in the wrong order"),
        ("<e1> </e1> of <e2>Bonn</e2>", "there is nothing between <e1> and </e1>"),
        ("<e1>a@b</e1> of <e2>Bonn</e2>", "text 3 has the sign '@', which marks entities"),
    ):
        with pytest.raises(InputError, match=what):
            marked(text, "@#", "text 3")


def test_the_vector_of_a_relation_is_that_of_its_two_markers(tokenizer):
    examples = [Example("<e1>a</e1> b <e2>c</e2>", "x"), Example("<e2>c</e2> @ <e1>abc</e1>", "y")]
    task = RelationTask.learnt_from(("x", "y"), examples).for_tokenizer(tokenizer, examples)
    assert task.signs == ("#", "^")  # @ occurs in a text
    data, model = task.encode(examples, tokenizer, None), model_for(task, tokenizer).eval()
    batch = data.batch([0, 1])
    hidden = model.encoder(batch.input_ids, batch.token_type_ids, batch.attention_mask).hidden
    tokens = [tokenizer.tokens(row) for row in data.rows]
    for b, row in enumerate(tokens):
        x = torch.cat([hidden[b, row.index(sign)] for sign in task.signs])
        expected = F.linear(x, model.head.weight, model.head.bias)
        torch.testing.assert_close(model(batch.input_ids, batch.token_type_ids, batch.attention_mask)[b], expected)
    assert task_of(model.head_config).encode(examples, tokenizer, None).rows == data.rows
    with pytest.raises(InputError, match="text 1 of the data was cut before its second entity"):
        task.encode(examples, tokenizer, 6, truncate=True)
    with pytest.raises(InputError, match="the vocabulary has no two signs"):
        task.for_tokenizer(train_characters(["abc"]), examples)


def test_only_the_markers_tell_two_relations_apart(tokenizer, tmp_path):
    """The same texts stand in both classes: who is first and who is second is all that differs."""
    rng, examples = np.random.default_rng(3), []
    for _ in range(24):
        a, b = rng.permutation([*"abcdef"])[:2]
        examples.append(Example(f"<e1>{a}</e1> eats <e2>{b}</e2>", "eats"))
        examples.append(Example(f"<e2>{a}</e2> eats <e1>{b}</e1>", "eaten"))
    task = RelationTask.learnt_from(("eaten", "eats"), examples).for_tokenizer(tokenizer, examples)
    model, data = model_for(task, tokenizer), task.encode(examples, tokenizer, 24)
    fit(model, data, Recipe(epochs=12, **QUICK), 0, bar=False)
    assert task.measure(model, data, CPU)["accuracy"] == 1.0
    save_model(tmp_path / "out", model, tokenizer)
    opened = open_classifier(tmp_path / "out")
    again = task_of(opened.model.head_config)
    (found,) = again.predict(opened.model, [Example("<e2>f</e2> eats <e1>a</e1>")], opened.tokenizer, 24)
    assert found.label == "eaten" and type(again) is RelationTask and again != TextTask(again.labels, False)
    plain = TextTask(("eaten", "eats"), False)
    bare = [Example(re.sub("</?e[12]>", "", e.text), e.label) for e in examples]
    blind = model_for(plain, tokenizer)
    fit(blind, plain.encode(bare, tokenizer, 24), Recipe(epochs=12, **QUICK), 0, bar=False)
    assert plain.measure(blind, plain.encode(bare, tokenizer, 24), CPU)["accuracy"] == pytest.approx(0.5, abs=0.15)
    assert isinstance(blind, nn.Module)
