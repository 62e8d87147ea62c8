import signal

import numpy as np
import pytest
import torch

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.examples.labels import IGNORED
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, TextHeadConfig, TokenHeadConfig
from minilm.models.initialisation import initialise
from minilm.models.lstm import LSTMConfig, LSTMEncoder
from minilm.training.inference import predicted_labels, predicted_tags, probabilities, true_tags
from minilm.training.objectives import Classification
from minilm.training.supervised import Recipe, fit

SHAPE = TransformerConfig(vocab_size=30, width=12, layers=2, heads=3, feed_forward=20, max_length=9)
CLS, SEP, MARKS = 2, 3, (5, 6)


def dataset(rows, labels, owner):
    columns = {"input_ids": rows, "token_type_ids": [[0] * len(row) for row in rows], "labels": labels}
    return Dataset(columns, {"input_ids": 0, "token_type_ids": 0, "labels": IGNORED}, owner)


def texts(n=24, seed=0):
    """Texts of the form "[CLS] some words [SEP]"; each contains one of two marker words, which determines its class."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        words = rng.integers(7, 30, rng.integers(2, 6))
        words[rng.integers(len(words))] = MARKS[i % 2]
        rows.append([CLS, *words.tolist(), SEP])
    return dataset(rows, [i % 2 for i in range(n)], list(range(n)))


def classifier(seed=0, **head):
    model = Classifier(Bert(SHAPE), TextHeadConfig(("a", "b"), **head))
    initialise(model, generator=torch.Generator().manual_seed(seed))
    return model


def copies(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def changed(before, model):
    return {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}


def test_F08_head_only_leaves_every_other_weight_as_it_is():
    for pooling in ("mean", "cls"):
        model = classifier(pooling=pooling)
        before = copies(model)
        fit(model, texts(), Recipe(epochs=2, head_only=True), 0, bar=False)
        assert changed(before, model) == {"head.weight", "head.bias"}


def test_F02_otherwise_every_weight_moves():
    for pooling in ("mean", "cls"):
        model = classifier(pooling=pooling)
        before = copies(model)
        fit(model, texts(), Recipe(epochs=2), 0, bar=False)
        assert changed(before, model) == set(before)


def test_F08_head_only_trains_on_what_the_encoder_gives_without_dropout():
    """This is logistic regression on frozen vectors: with the same batches, dropout in the model changes nothing."""
    fitted = []
    for dropout in (0.0, 0.5):
        model = classifier(dropout=dropout)
        fit(model, texts(), Recipe(epochs=2, head_only=True), 0, bar=False)
        fitted.append(model.head.weight.detach())
    assert torch.equal(*fitted)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    fitted = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(fitted))  # the global generator must not matter
        model = classifier()
        fit(model, texts(), Recipe(epochs=2, patience=3), seed, bar=False)
        fitted.append(torch.nn.utils.parameters_to_vector(model.parameters()))
    assert torch.equal(fitted[0], fitted[1]) and not torch.equal(fitted[0], fitted[2])


def test_F07_a_separable_set_is_learnt():
    model = classifier()
    fit(model, texts(), Recipe(epochs=25, learning_rate=5e-3, embedding_learning_rate_scale=1.0), 0, bar=False)
    unseen = texts(200, seed=1)
    assert (predicted_labels(model, unseen) == np.array(unseen.labels)).mean() > 0.95
    assert not model.training


def tagged_lines(n=12, seed=0, room=7):
    """Lines of up to 20 words, cut into rows of at most `room`. Word 5 starts a name, and word 6 is inside a name."""
    rng = np.random.default_rng(seed)
    tags = ("O", "B-X", "I-X")
    rows, labels, owner, whole = [], [], [], []
    for i in range(n):
        words = rng.choice([5, 6, 10, 11, 12], rng.integers(3, 21)).tolist()
        line = [0 if word > 6 else 2 if word == 6 else 1 for word in words]
        whole.append([tags[k] for k in line])
        for start in range(0, len(words), room):
            rows.append([CLS, *words[start : start + room], SEP])
            labels.append([IGNORED, *line[start : start + room], IGNORED])
            owner.append(i)
    return dataset(rows, labels, owner), tags, whole


@pytest.mark.parametrize("kind", ["bert", "lstm"])
def test_F31_lines_that_were_cut_are_learnt_and_put_together_again(kind):
    examples, tags, whole = tagged_lines()
    assert true_tags(examples, tags) == whole and len(examples) > len(whole)
    if kind == "bert":
        model = Classifier(Bert(SHAPE), TokenHeadConfig(tags))
        initialise(model, generator=torch.Generator().manual_seed(0))
    else:
        generator = torch.Generator().manual_seed(0)
        encoder = LSTMEncoder(LSTMConfig(30, 12, 10, bidirectional=True), generator)
        model = Classifier(encoder, TokenHeadConfig(tags), generator)
    fit(model, examples, Recipe(epochs=40, learning_rate=1e-2, embedding_learning_rate_scale=1.0), 0, bar=False)
    unseen, _, wanted = tagged_lines(seed=1)
    assert predicted_tags(model, unseen, tags) == wanted


def test_probabilities_come_in_the_order_of_the_rows_and_without_padding():
    model, examples = classifier().eval(), texts()
    for i, row in enumerate(probabilities(model, examples)):
        alone = model(torch.tensor([examples.rows[i]])).softmax(dim=-1)[0].detach().numpy()
        np.testing.assert_allclose(row, alone, atol=1e-6)
        assert row.sum() == pytest.approx(1)
    tagger = Classifier(Bert(SHAPE), TokenHeadConfig(("O", "B-X", "I-X"))).eval()
    examples, _, _ = tagged_lines()
    assert [row.shape for row in probabilities(tagger, examples)] == [(len(row), 3) for row in examples.rows]


def mean_loss(model, examples):
    batches = (examples.batch(chosen) for chosen in examples.in_order())
    return Classification().measure(model, batches)["loss"]


def test_F28_the_mean_loss_is_over_all_that_counts():
    """The loss is not the mean of the batch means, because the batches have different sizes."""
    model, examples = classifier().eval(), texts(70)
    alone = [mean_loss(model, examples.subset([i])) for i in range(70)]
    assert mean_loss(model, examples) == pytest.approx(np.mean(alone), rel=1e-5)


def test_early_stopping_ends_the_training_and_puts_the_best_weights_back(monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 1.5, 0.1])
    monkeypatch.setattr(Classification, "measure", lambda *_: {"loss": next(losses)})
    model, seen = classifier(), []
    fit(model, texts(), Recipe(epochs=9, patience=2), 0, bar=False, on_epoch=lambda *_: seen.append(copies(model)))
    assert len(seen) == 4  # the third and fourth did not improve on the second
    assert not changed(seen[1], model) and changed(seen[3], model)


def test_what_early_stopping_looks_at_is_not_learnt_from(monkeypatch):
    held, learnt, real = [], [], Classification.step

    def measure(self, model, batches):
        held.extend(batch.input_ids for batch in batches)
        return {"loss": 1.0}

    def step(self, model, batch):
        learnt.append(batch.input_ids)
        return real(self, model, batch)

    monkeypatch.setattr(Classification, "measure", measure)
    monkeypatch.setattr(Classification, "step", step)
    fit(classifier(), texts(30), Recipe(epochs=1, patience=1), 0, bar=False)
    held, learnt = ({tuple(row[row != 0].tolist()) for ids in part for row in ids} for part in (held, learnt))
    assert len(held) == 3 and len(learnt) == 27 and not learnt & held


@pytest.mark.parametrize(("step", "ends"), [(0, True), (1, True), (2, True), (5, False)])
def test_ctrl_c_does_not_pass_a_half_fitted_model_for_a_fitted_one(step, ends, monkeypatch):
    """With three epochs of two steps, Ctrl-C comes inside an epoch, at its end, or in the very last step."""
    count, real = [0], Classification.step

    def pressed(*arguments):
        count[0] += 1
        if count[0] == step + 1:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(Classification, "step", pressed)
    before = signal.getsignal(signal.SIGINT)
    recipe = Recipe(epochs=3, batch=12)
    if ends:
        with pytest.raises(KeyboardInterrupt):
            fit(classifier(), texts(), recipe, 0, bar=False)
    else:
        fit(classifier(), texts(), recipe, 0, bar=False)
    assert count[0] == step + 1 and signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(epochs=0), "epochs must be at least 1, not 0"),
        (dict(epochs=10**9), "epochs must be at most 10,000, not 1,000,000,000"),
        (dict(batch=0), "batch must be at least 1, not 0"),
        (dict(learning_rate=0.0), "learning rate must be above 0, not 0.0"),
        (dict(warmup=1.0), "warmup must be at least 0 and below 1, not 1.0"),
        (dict(schedule="steep"), "schedule 'steep'"),
        (dict(clip=0.0), "clip must be above 0, not 0.0"),
        (dict(weight_decay=-1.0), "weight_decay must be at least 0, not -1.0"),
        (dict(embedding_learning_rate_scale=-1.0), "embedding_learning_rate_scale must be at least 0, not -1.0"),
        (dict(layer_decay=0.0), "layer_decay must be above 0 and at most 1 .1 means none., not 0.0"),
        (dict(label_smoothing=-0.1), "label_smoothing must be from 0 to 1, not -0.1"),
        (dict(patience=-1), "patience must be at least 0, not -1"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_when_it_is_made(changes, message):
    with pytest.raises(InputError, match=message):
        Recipe(**changes)
