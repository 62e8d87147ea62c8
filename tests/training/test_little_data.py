"""The switches for little data, each against PyTorch, scikit-learn or its definition."""

import copy
import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from tiny import seeded
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.examples.batching import Batch, Dataset
from minilm.examples.labels import IGNORED
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.heads import SEVERAL, Classifier, TextHeadConfig, TokenHeadConfig
from minilm.models.initialisation import initialise
from minilm.training.class_weights import balanced_weights, weighted_cross_entropy
from minilm.training.inference import probabilities
from minilm.training.loop import Step
from minilm.training.losses import cross_entropy
from minilm.training.multi_task import SecondTask, TwoTasks, endless
from minilm.training.objectives import Classification
from minilm.training.optimizer import parameter_groups
from minilm.training.penalties import Penalised
from minilm.training.self_training import sure_of, together
from minilm.training.supervised import Recipe, fit

SHAPE = TransformerConfig(vocab_size=30, width=12, layers=2, heads=3, feed_forward=20, max_length=9)


def dataset(rows, labels):
    columns = {"input_ids": rows, "token_type_ids": [[0] * len(row) for row in rows], "labels": labels}
    return Dataset(columns, {"input_ids": 0, "token_type_ids": 0, "labels": IGNORED}, list(range(len(rows))))


def texts(n=16, seed=0, ones=2):
    rng = np.random.default_rng(seed)
    rows = [[2, *rng.integers(5, 30, rng.integers(2, 6)).tolist(), 3] for _ in range(n)]
    return dataset(rows, [int(i % ones == 0) for i in range(n)])


def classifier(seed=0, labels=("a", "b"), **head):
    model = Classifier(Bert(SHAPE), TextHeadConfig(labels, **{"dropout": 0.0} | head))
    initialise(model, generator=seeded(seed))
    return model


def moved(model, before):
    return {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}


@pytest.mark.parametrize("smoothing", [0.0, 0.15])
def test_F08_class_weights_are_those_of_torch(smoothing):
    z = torch.randn(4, 7, 5, dtype=torch.float64, generator=seeded(), requires_grad=True)
    y = torch.randint(5, (4, 7), generator=seeded(1))
    y[1, 2:5] = IGNORED
    w = torch.tensor([0.1, 3.0, 0.5, 2.0, 1.0], dtype=torch.float64)
    ours = weighted_cross_entropy(z, y, w, smoothing)
    (g,) = torch.autograd.grad(ours.value, z)
    theirs = F.cross_entropy(z.flatten(0, 1), y.flatten(), weight=w, ignore_index=IGNORED, label_smoothing=smoothing)
    (wanted,) = torch.autograd.grad(theirs, z)
    torch.testing.assert_close(ours.value, theirs, atol=1e-12, rtol=0)
    torch.testing.assert_close(g, wanted, atol=1e-12, rtol=0)
    unweighted = cross_entropy(z, y, smoothing).value.detach()
    assert ours.count == 25 and (theirs.detach() - unweighted).abs() > 1e-2
    nothing = weighted_cross_entropy(z, torch.full_like(y, IGNORED), w, smoothing)
    assert float(nothing.value.detach()) == 0 and nothing.count == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_F08_label_smoothing_is_that_of_torch(smoothing):
    z = torch.randn(9, 4, dtype=torch.float64, generator=seeded(3), requires_grad=True)
    y = torch.tensor([0, 1, 2, 3, IGNORED, 2, 2, 0, 1])
    ours, theirs = cross_entropy(z, y, smoothing).value, F.cross_entropy(z, y, label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    (a,), (b,) = torch.autograd.grad(ours, z), torch.autograd.grad(theirs, z)
    torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


def test_F08_balanced_weights_are_those_of_scikit_learn():
    labels = [0] * 3 + [1] * 11 + [2] * 2
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced_weights(dataset([[2]] * 16, labels), 3) == pytest.approx(wanted.tolist(), abs=1e-12)
    tagged = dataset([[2]] * 3, [[IGNORED, 0, 1], [0, 0, 0], [IGNORED, 2, IGNORED]])
    assert balanced_weights(tagged, 4) == (6 / 16, 6 / 4, 6 / 4, 0.0)


def test_F08_class_weights_change_what_is_learned_from_a_rare_class():
    """One text in eight is of class 1, and all texts look alike: with weights, the model finds both classes equally probable."""
    examples = dataset([[2, 7, 8, 3]] * 32, [int(i % 8 == 0) for i in range(32)])
    found = []
    for weighted in (False, True):
        model = classifier()
        fit(model, examples, Recipe(40, 32, 0.3, warmup=0, head_only=True, class_weights=weighted), 0, bar=False)
        found.append(float(probabilities(model, examples)[0][1]))
    assert found == pytest.approx([1 / 8, 1 / 2], abs=0.05)


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (TextHeadConfig(("a", "b"), problem_type=SEVERAL), "class weights are for classes"),
        (TokenHeadConfig(("a", "b"), crf=True), "class weights are not for a CRF"),
    ],
)
def test_class_weights_are_refused_where_there_are_no_classes(head, says):
    with pytest.raises(InputError, match=says):
        fit(Classifier(Bert(SHAPE), head), texts(), Recipe(epochs=1, class_weights=True), 0, bar=False)


def test_F03_every_parameter_has_its_own_layers_rate():
    model = classifier()
    groups = parameter_groups(model, 0.01, 0.5, layer_decay=0.6)
    scale = {name: group["scale"] for group in groups for name in group["names"]}
    assert scale.keys() == dict(model.named_parameters()).keys()
    for name, found in scale.items():
        depth = 3 if name.startswith("head.") else 0 if "embeddings" in name else 1 + int(name.split("layers.")[1][0])
        table = 0.5 if name.startswith("encoder.embeddings") and "norm" not in name else 1.0
        assert found == pytest.approx(table * 0.6 ** (2 - min(depth, 2))), name
    assert sorted({round(s, 3) for s in scale.values()}) == [0.18, 0.36, 0.6, 1.0]


def test_gradual_unfreezing_reaches_one_layer_more_each_time():
    model, seen = classifier(), []
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    def after_epoch(epoch, progress):
        names = moved(model, before)
        depths = sorted({model.depth_of(name) for name in names}, reverse=True)
        seen.append((epoch, depths))

    recipe = Recipe(epochs=9, batch=8, unfreeze_every=2, weight_decay=0.1, warmup=0.0)
    fit(model, texts(), recipe, 0, bar=False, on_epoch=after_epoch)
    head, two, one = [math.inf], [math.inf, 2], [math.inf, 2, 1]
    every = [*one, 0]
    assert seen == list(enumerate([head, head, two, two, one, one, every, every, every], start=1))
    assert moved(model, before) == set(before) and all(p.requires_grad for p in model.parameters())


def test_unfreezing_leaves_what_is_not_trained_frozen():
    model = classifier()
    model.encoder.embeddings.requires_grad_(False)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    fit(model, texts(), Recipe(epochs=5, unfreeze_every=1), 0, bar=False)
    assert {model.depth_of(name) for name in set(before) - moved(model, before)} == {0}
    assert not any(p.requires_grad for p in model.encoder.embeddings.parameters())


class Flat(Classification):
    """An objective whose loss is 0 times the logits, so that only what is added to it has a gradient."""

    def step(self, model, batch):
        loss = 0 * model(batch.input_ids).sum()
        return Step(loss, {"loss": loss.detach()}, batch.tokens)


def test_F01_the_penalties_have_the_gradients_of_their_formulas():
    model = classifier()
    objective = Penalised(Flat(), model, towards_zero=0.3, towards_start=0.7)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=seeded(4)))
    step = objective.step(model, Batch(torch.tensor([[2, 7, 3]])))
    step.loss.backward()
    for name, p in model.named_parameters():
        wanted = torch.zeros_like(p)
        if p.ndim > 1:
            start = 0 if name.startswith("head.") else 0.7 * (p.detach() - before[name])
            wanted = 0.3 * p.detach() + start
        torch.testing.assert_close(p.grad, wanted, atol=1e-6, rtol=0)
    assert float(step.shown["loss"]) == 0


def test_F01_weights_stay_nearer_to_where_they_started():
    distance = []
    for alpha in (0.0, 100.0):
        model = classifier()
        before = {name: p.detach().clone() for name, p in model.encoder.named_parameters()}
        fit(model, texts(), Recipe(epochs=4, l2_start=alpha), 0, bar=False)
        distance.append(sum((p.detach() - before[name]).square().sum() for name, p in model.encoder.named_parameters()))
    assert distance[1] < 0.8 * distance[0]


def gradients(model, step):
    model.zero_grad()
    step.loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def two_heads():
    first = classifier()
    second = Classifier(first.encoder, TokenHeadConfig(("O", "X", "Y"), dropout=0.0), seeded(1))
    one = texts().batch([0, 1, 2])
    other = dataset([[2, 9, 8, 3], [2, 6, 3]], [[IGNORED, 1, 2, IGNORED], [IGNORED, 0, IGNORED]]).batch([0, 1])
    return first, second, one, other


def test_F28_the_gradients_of_two_heads_add_up_in_the_encoder():
    first, second, one, other = two_heads()
    alone, beside = Classification(), Classification()
    a, b = gradients(first, alone.step(first, one)), gradients(second, beside.step(second, other))
    second.zero_grad()
    both = TwoTasks(Classification(), SecondTask(second, lambda step: other, weight=0.25))
    found = gradients(first, both.step(first, one))
    for name, g in found.items():
        wanted = a[name] if name.startswith("head.") else a[name] + 0.25 * b[name]
        torch.testing.assert_close(g, wanted, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(second.head.weight.grad, 0.25 * b["head.weight"], atol=1e-6, rtol=1e-5)
    assert any((b[name].abs() > 1e-4).any() for name in found if not name.startswith("head."))


def test_F28_both_heads_are_trained_and_the_first_model_is_itself_again():
    first, second, _, other = two_heads()
    names = set(first.state_dict())
    before = [copy.deepcopy(model.state_dict()) for model in (first, second)]
    steps = []
    task = SecondTask(second, lambda step: steps.append(step) or other)
    fit(first, texts(), Recipe(epochs=2, batch=8), 0, bar=False, second=task)
    assert set(first.state_dict()) == names and not hasattr(first, "beside") and steps == [0, 1, 2, 3]
    assert first.encoder is second.encoder and not second.training
    for model, old in zip((first, second), before):
        assert all(not torch.equal(p, old[name]) for name, p in model.named_parameters() if "token_types" not in name)


def test_the_batches_of_a_second_task_never_end_and_show_everything_once_per_epoch():
    examples = texts(7)
    batch_at = endless(examples, 3, seed=0)
    for _ in range(2):
        epoch = [batch_at(step) for step in (0, 1, 2)]
        rows = sorted(tuple(row[row > 0].tolist()) for batch in epoch for row in batch.input_ids)
        assert rows == sorted(map(tuple, examples.rows))
    later = [batch_at(step).input_ids for step in range(3, 9)]
    assert len(later) == 6 and torch.equal(batch_at(4).input_ids, later[1])


def test_F01_a_teacher_labels_only_what_it_is_sure_of_and_never_looks_at_labels():
    model, unlabelled = classifier(seed=3), texts(20, seed=5)
    y_hat = np.array(probabilities(model, unlabelled))
    confidence = float(np.median(y_hat.max(axis=1)))
    found = sure_of(model, unlabelled, confidence)
    wanted = [i for i in range(20) if y_hat[i].max() >= confidence]
    assert 0 < len(wanted) < 20 and found.owner == wanted
    assert found.rows == [unlabelled.rows[i] for i in wanted] and found.labels == y_hat[wanted].argmax(axis=1).tolist()
    other = Dataset({**unlabelled.columns, "labels": [IGNORED] * 20}, unlabelled.pad_values, unlabelled.owner)
    assert sure_of(model, other, confidence).labels == found.labels
    assert len(sure_of(model, unlabelled, 1.0)) == 0
    with pytest.raises(InputError, match="confidence must be above 0 and at most 1, not 0"):
        sure_of(model, unlabelled, 0)


def test_two_sets_together_keep_their_owners_apart():
    a, b = texts(3), texts(4, seed=1)
    both = together(a, b)
    assert both.rows == a.rows + b.rows and both.labels == a.labels + b.labels and both.owner == list(range(7))


def test_an_augmented_fit_sees_other_texts_with_the_same_labels_and_a_plain_one_its_own():
    examples, seen = texts(8), []

    def augment(batch):
        seen.append(batch)
        return Batch(batch.input_ids.clamp(max=6), batch.token_type_ids, batch.attention_mask, batch.labels)

    found = []
    for change in (None, augment, lambda batch: batch):
        model = classifier()
        fit(model, examples, Recipe(epochs=2, batch=4), 0, bar=False, augment=change)
        found.append(torch.nn.utils.parameters_to_vector(model.parameters()))
    assert torch.equal(found[0], found[2]) and not torch.equal(found[0], found[1]) and len(seen) == 4


@pytest.mark.parametrize("name", ["unfreeze_every", "l2", "l2_start"])
def test_a_negative_switch_is_one_sentence(name):
    with pytest.raises(InputError, match=f"{name} must be at least 0, not -1"):
        Recipe(**{name: -1})
