"""The ladder: every rung gets the same material, every fit gets a row, and you can add a rung of your own."""

import pickle
from dataclasses import FrozenInstanceError, fields, replace
from functools import partial

import numpy as np
import pytest
import torch
from tiny import DATA

from minilm.errors import InputError
from minilm.experiments import ladder
from minilm.experiments.intervals import f1_interval
from minilm.experiments.ladder import Baseline, Climber, Material, Outcome, Rung, climb, pool_of
from minilm.experiments.rungs import Start, neural_rungs
from minilm.experiments.table import HIGH, LOW, curve_table, deviation, markdown_table, mean_of, summarise
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig, parameter_count
from minilm.models.initialisation import initialise
from minilm.pretrained.protocol import architecture_named, open_classifier, open_encoder, save_model
from minilm.text import corpus
from minilm.text.tokenizer import train_characters
from minilm.training.entity_report import overlaps
from minilm.training.supervised import Recipe
from minilm.training.tasks import TextTask, TokenTask

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def material():
    """24 film reviews for training and 8 for testing; every character is a token."""
    examples = corpus.labelled(str(DATA / "reviews.csv"))
    tokenizer = train_characters([example.text for example in examples], 60)
    parts = (examples[:24], examples[-8:])
    return Material.encoded(TextTask(("negative", "positive")), parts, tokenizer, 40, CPU)


@pytest.fixture(scope="module")
def start(material, tmp_path_factory):
    """What the networks start from: a "pretrained" folder (its weights are random) and random word vectors."""
    config = TransformerConfig(material.tokenizer.size, 12, 2, 3, 24, max_length=40)
    model = BertForPretraining(config)
    initialise(model, "fan-in", torch.Generator().manual_seed(7))
    folder = tmp_path_factory.mktemp("start") / "pretrained"
    save_model(folder, model, material.tokenizer)
    size = architecture_named("bert").vector_size(config, "neighbours")
    vectors = np.random.default_rng(0).normal(size=(config.vocab_size, size)).astype(np.float32)
    return Start(config, vectors, folder)


def small_recipes():
    names = ("lstm", "scratch", "vectors", "start", "head", "pretrained")
    return {name: Recipe(epochs=1, batch=4, learning_rate=3e-3) for name in names}


def always(score, material, labels, seed):
    """A baseline whose score is fixed in advance."""
    return Outcome(score, 0.0, 0)


def share_of_first(material, labels, seed):
    """A baseline that depends on the drawn examples, so that its score differs from seed to seed."""
    return Outcome(material.drawn(labels, seed)[0] / 100, 0.0, len(material.test_examples))


# ------------------------------------------------------------------------------- the material


def test_the_material_is_frozen_and_no_rung_changes_it(material, start):
    for field in fields(Material):
        with pytest.raises(FrozenInstanceError):
            setattr(material, field.name, getattr(material, field.name))
    before = pickle.dumps((material.examples, material.test_examples, material.pool, material.test))
    for rung in (*neural_rungs(start, small_recipes()), Baseline("first", share_of_first)):
        rung.run(material, 5, 0)
    assert pickle.dumps((material.examples, material.test_examples, material.pool, material.test)) == before


def test_a_seed_draws_the_same_examples_for_every_model(material):
    assert material.drawn(4, 0) == material.drawn(4, 0) != material.drawn(4, 1)
    assert material.drawn(24, 3) == list(range(24)) and len(set(material.drawn(20, 1))) == 20
    assert material.sample(4, 1).rows == [material.pool.rows[i] for i in material.drawn(4, 1)]
    with pytest.raises(InputError, match="25 labels were asked for, but there are 24"):
        material.drawn(25, 0)


def test_a_line_that_was_cut_is_drawn_whole():
    """The seed draws whole lines: a long line has several rows, and all of them are used for training."""
    lines = corpus.tagged(DATA / "entities-zh.conll")
    task = TokenTask(tuple(sorted({tag for line in lines for tag in line.tags})))
    tokenizer = train_characters(["".join(line.tokens) for line in lines])
    cut = Material.encoded(task, (lines[5:], lines[:5]), tokenizer, 12, CPU)
    assert len(cut.pool) > len(cut.examples)
    for seed in range(3):
        chosen = cut.drawn(6, seed)
        found = cut.sample(6, seed)
        assert sorted(set(found.owner)) == chosen
        assert len(found) == sum(owner in chosen for owner in cut.pool.owner)


def test_every_network_is_fitted_to_the_same_examples(material, start, monkeypatch):
    fitted = []
    monkeypatch.setattr(
        ladder, "fit", lambda model, examples, recipe, seed, *_, **__: fitted.append(examples.rows) or 0.0
    )
    for seed in (0, 1):
        for rung in neural_rungs(start, small_recipes()):
            rung.run(material, 5, seed)
    assert len(fitted) == 14
    assert all(rows == material.sample(5, i // 7).rows for i, rows in enumerate(fitted)) and fitted[0] != fitted[7]


# ------------------------------------------------------------------------------- the rungs


def test_the_seven_networks_are_what_their_names_say(material, start):
    """The same seed builds equal networks. Word vectors fill the embedding table; pretrained weights fill the whole encoder."""
    models = {rung.name: rung.build(material.task, 0) for rung in neural_rungs(start, small_recipes())}
    assert list(models)[0::3] == ["LSTM", "Transformer + word vectors", "Transformer pretrained, fine-tuned"]
    for rung in neural_rungs(start, small_recipes()):
        again, other = rung.build(material.task, 0).state_dict(), rung.build(material.task, 1).state_dict()
        assert all(torch.equal(again[name], tensor) for name, tensor in models[rung.name].state_dict().items())
        assert not torch.equal(again["head.weight"], other["head.weight"])
        assert isinstance(rung, Climber) and rung.what
    vectors = torch.from_numpy(start.vectors)
    for name, model in models.items():
        table = model.encoder.token_table.weight[
            :, -vectors.size(1) :
        ]  # only these features come from the word vectors
        alike = torch.nn.functional.cosine_similarity(table, vectors).min().item()
        assert (alike > 0.99) == ("+ word vectors" in name), name
    pretrained = open_encoder(start.pretrained).model.encoder.state_dict()
    for name in ("Transformer pretrained, head only", "Transformer pretrained, fine-tuned"):
        own = models[name].encoder.state_dict()
        assert all(torch.equal(own[key], tensor) for key, tensor in pretrained.items())


def test_head_only_moves_the_head_alone_and_counts_it_alone(material, start):
    rungs = {rung.name: rung for rung in neural_rungs(start, small_recipes())}
    head, whole = (rungs[f"Transformer pretrained, {how}"].run(material, 5, 0) for how in ("head only", "fine-tuned"))
    assert head.parameters == 12 * 2 + 2
    assert whole.parameters == parameter_count(rungs["Transformer"].build(material.task, 0)) > 3_000


def test_the_model_of_the_first_seed_is_kept(material, start, tmp_path):
    *_, tuned = neural_rungs(start, small_recipes(), tmp_path / "kept")
    tuned.run(material, 5, 1)
    assert not (tmp_path / "kept").exists()
    score = tuned.run(material, 5, 0).score
    kept = open_classifier(tmp_path / "kept")
    assert kept.model.labels == material.task.labels
    assert material.task.measure(kept.model, material.test, CPU)["accuracy"] == score


CRF_ROWS = [
    ("LSTM", False),
    ("LSTM + word vectors", False),
    ("LSTM + word vectors, CRF", True),
    ("Transformer", False),
    ("Transformer, CRF", True),
    ("Transformer + word vectors", False),
    ("Transformer + word vectors + neighbour heads", False),
    ("Transformer + word vectors + neighbour heads, CRF", True),
    ("Transformer pretrained, head only", False),
    ("Transformer pretrained, fine-tuned", False),
    ("Transformer pretrained, fine-tuned, CRF", True),
]


def test_F31_the_rows_of_a_tagger_with_a_crf(start, tmp_path):
    """A row with a CRF follows the one without it, with the same recipe and the same weights; the last one is kept."""
    recipes = {name: replace(recipe, epochs=i + 2) for i, (name, recipe) in enumerate(small_recipes().items())}
    epochs = {"LSTM": {5: 31}, "Transformer, CRF": {5: 32, 50: 33}}
    rungs = neural_rungs(start, recipes, tmp_path / "kept", epochs, crf=True)
    task = TokenTask(("O", "B-X", "I-X"))
    models = [rung.build(task, 0) for rung in rungs]
    assert [(rung.name, model.crf is not None) for rung, model in zip(rungs, models, strict=True)] == CRF_ROWS
    assert [rung.keep for rung in rungs] == [None] * 10 + [tmp_path / "kept"]
    assert {rung.name: rung.epochs for rung in rungs if rung.epochs} == epochs
    assert [rung.recipe_for(5).epochs for rung in rungs] == [31, 2, 2, 3, 32, 4, 5, 5, 6, 7, 7]
    assert [rung.trained for rung in rungs].index("head") == 8 and [r.trained for r in rungs].count("head") == 1
    for i in (i for i, (_, crf) in enumerate(CRF_ROWS) if crf):
        own, bare = models[i].state_dict(), models[i - 1].state_dict()
        assert rungs[i].name == f"{rungs[i - 1].name}, CRF" and rungs[i].recipe == rungs[i - 1].recipe
        assert {name for name in own if not name.startswith("crf.")} == set(bare)
        assert all(torch.equal(own[name], tensor) for name, tensor in bare.items() if name.startswith("encoder."))
    plain = neural_rungs(start, recipes, tmp_path / "kept", epochs)
    assert [rung.name for rung in plain] == [name for name, crf in CRF_ROWS if not crf]
    assert [rung.keep is not None for rung in plain] == [False] * 6 + [True]


@pytest.mark.parametrize(
    ("labels", "epochs"),
    [(1, 40), (100, 40), (199, 40), (200, 40), (201, 12), (400, 12), (2_000, 12), (2_001, 3), (10**6, 3)],
)
def test_the_epochs_are_those_of_the_nearest_number_of_labels_by_their_ratio(labels, epochs):
    """200 is twice 100 and half of 400: of two equally near ones the smaller counts. By difference, 2,001 would be 400's."""
    recipe = Recipe(epochs=7, learning_rate=0.5)
    rung = Rung("x", lambda task, seed: None, "everything", recipe, epochs={400: 12, 100: 40, 10_000: 3})
    assert rung.recipe_for(labels) == replace(recipe, epochs=epochs)
    assert replace(rung, epochs={}).recipe_for(labels) == recipe
    assert replace(rung, trained="head").recipe_for(labels) == replace(recipe, epochs=epochs, head_only=True)


def test_a_row_is_fitted_for_the_epochs_of_its_number_of_labels(material, start, monkeypatch):
    fitted = []
    monkeypatch.setattr(ladder, "fit", lambda model, examples, recipe, *_, **__: fitted.append(recipe.epochs) or 0.0)
    rung = replace(neural_rungs(start, small_recipes())[0], epochs={4: 9, 20: 5})
    for labels in (3, 8, 12):
        rung.run(material, labels, 0)
    assert fitted == [9, 9, 5]


# ------------------------------------------------------------------------------- the table


def test_rows_stand_in_order_and_every_fit_is_there(material):
    rungs = [Baseline(name, partial(always, score)) for name, score in [("a", 0.25), ("b", 0.5)]]
    rows = climb(rungs, material, (3, 7), 2, bar=False)
    assert [(row["model"], row["labels"], row["seed"], row["accuracy"]) for row in rows] == [
        *[("a", 3, 0, 0.25), ("a", 3, 1, 0.25), ("b", 3, 0, 0.5), ("b", 3, 1, 0.5)],
        *[("a", 7, 0, 0.25), ("a", 7, 1, 0.25), ("b", 7, 0, 0.5), ("b", 7, 1, 0.5)],
    ]


def test_side_by_side_gives_the_same_rows_and_a_failure_is_not_lost(material, start):
    """Networks and baselines are sent, with all that they need, to processes that start empty ("spawn")."""
    rungs = [*neural_rungs(start, small_recipes())[2:4], Baseline("first", share_of_first)]
    rungs.append(Rung("again", rungs[0].build, "head", Recipe(epochs=1)))
    for rung in rungs:
        assert pickle.loads(pickle.dumps(rung)).name == rung.name
    one, two = (climb(rungs, material, (3,), 2, workers=workers, bar=False) for workers in (1, 2))
    assert len(one) == 8 and [without_clock(row) for row in one] == [without_clock(row) for row in two]
    assert one[-4]["accuracy"] == material.drawn(3, 0)[0] / 100 and one[-4]["parameters"] == 8
    with pytest.raises(ZeroDivisionError), pool_of(2) as submit:
        submit(divmod, 1, 0)()


def without_clock(row):
    return {key: value for key, value in row.items() if key != "seconds"}


def test_F30_mean_and_deviation_by_hand():
    rows = [
        dict(model=model, labels=5, seed=seed, f1=score, seconds=2.0 * seed, parameters=1234)
        for model, scores in [("x", (0.1, 0.2, 0.6)), ("y", (0.5,))]
        for seed, score in enumerate(scores)
    ]
    x, y = summarise(rows, "f1")
    assert (x["model"], x["mean"], x["seconds"]) == ("x", pytest.approx(0.3), 2.0)
    assert x["deviation"] == pytest.approx(((0.2**2 + 0.1**2 + 0.3**2) / 2) ** 0.5)  # n − 1
    assert y["deviation"] == deviation([0.5]) == 0.0 and mean_of(rows, "f1", "y", 5) == 0.5
    assert markdown_table(rows, "f1").splitlines()[2:] == [
        *("| x | 5 | 0.300 ± 0.265 | 2 s | 1,234 |", "| y | 5 | 0.500 | 0 s | 1,234 |"),  # one seed has no deviation
    ]
    assert curve_table([*rows, rows[0] | {"labels": 1_000}], "f1").splitlines() == [
        *("| f1 | 5 | 1,000 |", "|---|---:|---:|"),
        *("| x | 0.300 ± 0.265 | 0.100 |", "| y | 0.500 | – |"),
    ]
    for row, borders in zip(rows, ((0.0, 0.2), (0.1, 0.3), (0.5, 0.7)), strict=False):
        row.update(zip((LOW, HIGH), borders, strict=True))
    head, _, first, second = markdown_table(rows, "f1").splitlines()
    assert head == "| model | labels | f1 | 95 % interval | training | parameters |"
    assert first == "| x | 5 | 0.300 ± 0.265 | 0.200–0.400 | 2 s | 1,234 |" and " | – | 0 s |" in second


def test_F30_the_interval_of_an_f1_is_that_of_the_bootstrap():
    """By its definition, with one F1 for each draw of the lines; and it holds the F1 of most other samples of lines."""
    rng = np.random.default_rng(5)
    T, G = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    both = np.minimum(T, G) - (rng.random(60) < 0.3) * np.minimum(1, np.minimum(T, G))
    low, high = f1_interval(both.tolist(), (T + G).tolist(), seed=2)
    again, each = np.random.default_rng(2), []
    for lines in again.integers(60, size=(2_000, 60)):
        each.append(2 * sum(both[i] for i in lines) / sum(T[i] + G[i] for i in lines))
    assert (low, high) == pytest.approx((np.quantile(each, 0.025), np.quantile(each, 0.975)), abs=1e-12)
    assert f1_interval([0, 0], [0, 0]) == (0.0, 0.0) and f1_interval([1, 2], [2, 4]) == (1.0, 1.0)
    true, guessed = [["B-A", "I-A", "O", "B-B"], ["O"]], [["B-A", "I-A", "B-B", "O"], ["B-A"]]
    assert overlaps(true, guessed) == ([1, 0], [4, 1])


def test_workers_are_cores_and_one_on_a_graphics_card(monkeypatch):
    monkeypatch.setattr(ladder.os, "cpu_count", lambda: 16)
    assert ladder.workers_for(torch.device("cpu")) == 4
    assert ladder.workers_for(torch.device("cuda")) == 1
