import json
import re
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from tiny import DATA, same, silent, weights

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.jobs.finetune import EvaluateOptions, FinetuneOptions, evaluate, finetune, load_material, new_model, shown
from minilm.jobs.labelled_data import Columns
from minilm.jobs.pretrain import pretrain
from minilm.pretrained.protocol import open_classifier
from minilm.text import corpus
from minilm.text.tokenizer import Tokenizer
from minilm.training import metrics
from minilm.training.metrics import entity_scores, measure_texts
from minilm.training.state import read_metrics
from minilm.training.supervised import Recipe

ONE = Recipe(epochs=1)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetune")
    options = tiny.options(folder, steps=2)
    pretrain(options, silent)
    return options.out


@pytest.fixture
def options(book, tmp_path):
    def make(**changes):
        given = dict(data=str(DATA / "reviews.csv"), model=str(book), out=tmp_path / "out", truncate=True, recipe=ONE)
        return FinetuneOptions(**given | dict(progress=False) | changes)

    return make


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_F08_head_only_keeps_the_pretrained_encoder_bit_for_bit(pooling, options, book):
    finetune(options(pooling=pooling, recipe=Recipe(epochs=2, head_only=True)), silent)
    before, after = weights(book), weights(options().out)
    encoder = {name for name in after if name.startswith("mpnet.")}
    assert "mpnet.encoder.relative_attention_bias.weight" in encoder and "mpnet.pooler.dense.weight" not in encoder
    assert all(torch.equal(after[name], before[name]) for name in encoder)
    if pooling == "mean":
        assert after.keys() - encoder == {"classifier.weight", "classifier.bias"}
    else:  # the head of MPNetForSequenceClassification has the pooler in it
        parts = {f"classifier.{layer}.{kind}" for layer in ("dense", "out_proj") for kind in ("weight", "bias")}
        assert after.keys() - encoder == parts
        for kind in ("weight", "bias"):
            assert torch.equal(after[f"classifier.dense.{kind}"], before[f"mpnet.pooler.dense.{kind}"])


def test_F02_fine_tuning_moves_the_encoder(options, book):
    finetune(options(), silent)
    before, after = weights(book), weights(options().out)
    assert all(not torch.equal(after[name], before[name]) for name in after if name in before)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(options, tmp_path):
    outs = [tmp_path / name for name in "abc"]
    measured = [finetune(options(out=out, seed=seed), silent) for out, seed in zip(outs, (3, 3, 4))]
    assert measured[0] == measured[1] and same(weights(outs[0]), weights(outs[1]))
    assert not same(weights(outs[0]), weights(outs[2]))


def test_what_is_said_is_what_the_written_model_gets(options):
    """`evaluate` on the saved folder, with the data read again, measures the same values."""
    test = DATA / "reviews.csv"
    measured = finetune(options(test=str(test)), silent)
    again = evaluate(EvaluateOptions(options().out, str(test), truncate=True), silent)
    assert again == measured and measured.keys() == {"accuracy", "macro_f1"}
    (line,) = read_metrics(options().out)
    assert line["step"] == 4 and {key: line[key] for key in measured} == measured


def test_F07_a_few_examples_that_can_be_told_apart_are_learnt(options, tmp_path):
    table = tmp_path / "easy.csv"
    rows = [f"the hen is {word} today,{label}" for word, label in [("good", "yes"), ("bad", "no")] * 8]
    table.write_text("text,label\n" + "\n".join(rows), encoding="utf-8")
    recipe = Recipe(epochs=30, learning_rate=1e-2, embedding_learning_rate_scale=1.0)
    assert finetune(options(data=str(table), test=str(table), recipe=recipe), silent)["accuracy"] == 1.0


def test_pairs_are_told_apart_by_their_second_text(options, tmp_path):
    """The model needs both texts of a pair, because the same first text occurs with both labels."""
    table = tmp_path / "pairs.csv"
    rows = [f"the hen,{word},{label}" for word, label in [("a good dog", "yes"), ("a bad dog", "no")] * 8]
    table.write_text("text,second,label\n" + "\n".join(rows), encoding="utf-8")
    recipe = Recipe(epochs=30, learning_rate=1e-2, embedding_learning_rate_scale=1.0)
    columns = Columns(pair_column="second")
    chosen = options(data=str(table), test=str(table), columns=columns, recipe=recipe)
    assert finetune(chosen, silent)["accuracy"] == 1.0


def test_F31_lines_longer_than_the_model_are_cut_and_put_together(options, tmp_path):
    """Every 'hen' is a name; the lines have 40 words, but the model takes only 24 tokens."""
    rng = np.random.default_rng(0)
    lines = [rng.choice(["hen", "a", "the", "door"], 40) for _ in range(12)]
    table = tmp_path / "long.conll"
    blocks = ["\n".join(f"{word}\t{'B-HEN' if word == 'hen' else 'O'}" for word in line) for line in lines]
    table.write_text("\n\n".join(blocks), encoding="utf-8")
    recipe = Recipe(epochs=30, learning_rate=1e-2, embedding_learning_rate_scale=1.0)
    measured = finetune(options(data=str(table), recipe=recipe), silent)
    assert measured == {"f1": 1.0, "precision": 1.0, "recall": 1.0}
    config = json.loads((options().out / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["MPNetForTokenClassification"] and config["id2label"] == {"0": "B-HEN", "1": "O"}


def test_a_fine_tuned_model_lends_its_encoder_and_not_its_head(options, tmp_path):
    finetune(options(), silent)
    task = load_material(options()).task
    tokenizer = Tokenizer.load(options().out)
    old = open_classifier(options().out).model
    further = new_model(options(model=str(options().out)), task, tokenizer)
    fresh = new_model(options(), task, tokenizer)
    assert torch.equal(further.head.weight, fresh.head.weight) and not torch.equal(further.head.weight, old.head.weight)
    assert torch.equal(further.encoder.embeddings.tokens.weight, old.encoder.embeddings.tokens.weight)
    assert not torch.equal(fresh.encoder.embeddings.tokens.weight, old.encoder.embeddings.tokens.weight)


def test_the_held_out_part_is_the_same_for_every_seed_and_never_learnt_from(options):
    materials = [load_material(options(seed=seed, labels=labels)) for seed, labels in [(0, None), (1, None), (1, 9)]]
    first, other, few = (material.train.examples for material in materials)
    assert materials[0].test == materials[1].test == materials[2].test
    assert len(materials[0].test.examples) == 16 and [len(first), len(other), len(few)] == [48, 48, 9]
    assert set(first) == set(other) and first != other
    assert few == other[:9]
    assert not set(first) & set(materials[0].test.examples)


def test_a_class_that_a_small_sample_lacks_is_known_all_the_same(options, tmp_path):
    table = tmp_path / "rare.csv"
    rows = [f"{word} {i},{label}" for i in range(20) for word, label in [("good", "yes"), ("bad", "no")]] + [
        "odd,maybe"
    ]
    table.write_text("text,label\n" + "\n".join(rows), encoding="utf-8")
    for seed in range(4):
        assert load_material(options(data=str(table), labels=6, seed=seed)).task.labels == ("maybe", "no", "yes")


def test_a_model_that_is_there_is_not_overwritten(options):
    finetune(options(), silent)
    before, lines = weights(options().out), read_metrics(options().out)
    with pytest.raises(InputError, match="holds a model already"):
        finetune(options(seed=1), silent)
    assert same(weights(options().out), before) and read_metrics(options().out) == lines


@pytest.mark.parametrize("name", ["config.json", "pytorch_model.bin", "tokenizer.json", "tokenizer_config.json"])
def test_nor_is_a_part_of_one_that_others_wrote(options, name):
    options().out.mkdir(parents=True)
    (options().out / name).write_text("theirs", encoding="utf-8")
    with pytest.raises(InputError, match=f"holds a model already .{name}.: choose another --out"):
        finetune(options(), silent)
    assert [path.read_text(encoding="utf-8") for path in options().out.iterdir()] == ["theirs"]


def test_a_training_that_fails_leaves_nothing_in_the_way(options):
    with pytest.raises(InputError, match="no longer a number"):
        finetune(options(recipe=Recipe(epochs=2, learning_rate=1e30)), silent)
    finetune(options(), silent)


# ------------------------------------------------------------------------------- measures


def test_F30_accuracy_and_macro_f1_by_hand(monkeypatch):
    examples = Dataset({"input_ids": [[1]] * 5, "labels": [0, 0, 1, 1, 1]}, {"input_ids": 0}, list(range(5)))
    monkeypatch.setattr(metrics, "predicted_labels", lambda *_: np.array([0, 1, 1, 1, 0]))
    measured = measure_texts(torch.nn.Identity(), examples, torch.device("cpu"))
    # class 0: one right, one wrong, one missed: 1/2; class 1: two right, one wrong, one missed: 2/3
    assert measured == pytest.approx({"accuracy": 3 / 5, "macro_f1": (1 / 2 + 2 / 3) / 2})


def test_F30_entities_by_hand():
    true = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG", "I-ORG", "I-ORG"]]
    guessed = [["B-PER", "O", "O", "B-LOC"], ["B-LOC", "B-ORG", "I-ORG", "I-ORG"]]
    # two of the three true names are found whole; two of the four guesses are right
    wanted = {"precision": 2 / 4, "recall": 2 / 3, "f1": 2 * 2 / (4 + 3)}
    assert entity_scores(true, guessed) == pytest.approx(wanted)
    assert entity_scores(true, true) == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    nothing = [["O"] * 4] * 2
    assert entity_scores(true, nothing) == {"precision": None, "recall": 0.0, "f1": 0.0}
    assert entity_scores(nothing, guessed) == {"precision": 0.0, "recall": None, "f1": 0.0}
    assert entity_scores(nothing, nothing) == {"precision": None, "recall": None, "f1": None}


@pytest.mark.parametrize(
    ("true", "guessed", "said"),
    [
        (
            "O",
            "O",
            "f1 –, precision –, recall – (– is 0 divided by 0: the data has no entities, and the model found none)",
        ),
        ("O", "B-X", "f1 0.000, precision 0.000, recall – (– is 0 divided by 0: the data has no entities)"),
        ("B-X", "O", "f1 0.000, precision –, recall 0.000 (– is 0 divided by 0: the model found no entities)"),
        ("B-X", "B-X", "f1 1.000, precision 1.000, recall 1.000"),
    ],
)
def test_F30_what_would_be_0_divided_by_0_is_a_dash_with_its_reason(true, guessed, said):
    measured = entity_scores([[true]], [[guessed]])
    assert shown(measured) == said
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured


def test_a_folder_has_everything_that_predicting_needs(options, tmp_path):
    for model, tokenizer in [("scratch", options().model), ("lstm", options().model)]:
        out = tmp_path / model
        finetune(options(model=model, tokenizer=Path(tokenizer), out=out, labels=8), silent)
        opened = open_classifier(out)
        assert opened.model.labels == ("negative", "positive") and not opened.model.training
        assert opened.max_length == (128 if model == "scratch" else None)


@pytest.mark.parametrize("changes", [{}, {"labels": 5}, {"test": str(DATA / "reviews.csv")}, {"seed": 4}])
def test_a_text_that_is_too_long_is_named_by_its_place_in_the_file(changes, options, tmp_path):
    """Each text has a different length, so that the length in the message identifies the text."""
    path = tmp_path / "long.csv"
    rows = [f"{'a ' * (30 + i)},{'yes' if i % 2 else 'no'}" for i in range(20)]
    path.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        finetune(options(data=str(path), truncate=False, **changes), silent)
    place, length = re.match(r"text (\d+) of .*long.csv has (\d+) tokens", str(caught.value)).groups()
    assert int(length) == 30 + int(place) - 1


def test_a_held_out_text_that_is_too_long_is_named_by_its_place_in_the_file(options, tmp_path):
    path = tmp_path / "long.csv"
    chosen = options(data=str(path), truncate=False)
    place = corpus.split(20, 5, seed=0)[1][2]
    rows = [f"{'a ' * (30 if i == place else 3)}{chr(98 + i)},{'yes' if i % 2 else 'no'}" for i in range(20)]
    path.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    with pytest.raises(InputError, match=f"text {place + 1} of .*long.csv has 31 tokens"):
        finetune(chosen, silent)


# ------------------------------------------------------------------------------- the same text on both sides


def table_of(path, rows):
    path.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return str(path)


def test_a_text_that_is_held_out_is_not_learned_from(options, tmp_path):
    """Random labels on texts that all occur several times: without this, a model that learns by heart scores 1.000."""
    rng = np.random.default_rng(0)
    rows = [
        f"{'  ' if i % 3 else ''}{'TEXT' if i % 2 else 'text'} {i % 40},{rng.choice(['yes', 'no'])}" for i in range(120)
    ]
    data, said = table_of(tmp_path / "dups.csv", rows), []
    material = load_material(options(data=data, held_out=10), said.append)
    texts = [{" ".join(e.text.casefold().split()) for e in part.examples} for part in (material.train, material.test)]
    assert texts[0] and texts[1] and not texts[0] & texts[1]
    assert re.match(r"40 texts occur more than once in .*dups.csv, \d+ of them with different labels", said[0])
    assert re.fullmatch(
        r"\d+ of 110 examples .* have the same text as one that is held out, and are left out\.", said[1]
    )
    assert [corpus.labelled(data)[place] for place in material.train.places] == material.train.examples


def test_texts_that_contradict_each_other_are_said(options, tmp_path):
    rows = [f"word {i},{'yes' if i % 2 else 'no'}" for i in range(20)] + ["word 3,no"]
    said = []
    load_material(options(data=table_of(tmp_path / "a.csv", rows)), said.append)
    assert (
        said[0].startswith("1 text occurs more than once in ")
        and "1 of them with different labels, such as 'word 3'" in said[0]
    )


def test_a_test_file_is_taken_as_it_is_and_what_it_shares_is_said(options, tmp_path):
    rows = [f"word {i},{'yes' if i % 2 else 'no'}" for i in range(20)]
    data, test = table_of(tmp_path / "a.csv", rows), table_of(tmp_path / "b.csv", [*rows[:3], "other,no"])
    said = []
    material = load_material(options(data=data, test=test), said.append)
    assert len(material.train.examples) == 20 and len(material.test.examples) == 4
    assert said == [f"3 of 20 examples of {data} have a text that {test} has, too."]


def test_where_every_text_is_held_out_too_nothing_is_left_to_learn_from(options, tmp_path):
    with pytest.raises(
        InputError, match="every text of .* is held out as well: give different texts, or a --test file"
    ):
        load_material(options(data=table_of(tmp_path / "one.csv", ["good,yes", "Good,no"] * 8)))


def test_lines_of_tags_that_are_held_out_are_not_learned_from(options, tmp_path):
    path = tmp_path / "lines.conll"
    lines = [f"hen\tB-A\nnumber\tO\n{i % 6}\tO\n" for i in range(24)]
    path.write_text("\n".join(lines), encoding="utf-8")
    material = load_material(options(data=str(path)))
    train, test = ({tuple(line.tokens) for line in part.examples} for part in (material.train, material.test))
    assert train and test and not train & test


def test_what_was_changed_or_left_out_is_kept_in_the_run_folder(options, tmp_path):
    rows = [f"{'a ' * 40}{i},{'yes' if i % 2 else 'no'}" for i in range(20)]
    said = []
    finetune(options(data=table_of(tmp_path / "long.csv", rows)), said.append)
    notes = [line.removeprefix("note: ") for line in said if line.startswith("note: ")]
    assert any("were cut at the end to fit into the model" in note for note in notes)
    assert (options().out / "notes.txt").read_text(encoding="utf-8").splitlines() == notes


def test_what_a_tokenizer_does_not_see_is_said_and_kept(options, tmp_path):
    rows = [f"the hen {i} said ЖЖ and schön,{'yes' if i % 2 else 'no'}" for i in range(20)]
    data, said = table_of(tmp_path / "foreign.csv", rows), []
    finetune(options(data=data), said.append)
    kept = (options().out / "notes.txt").read_text(encoding="utf-8")
    for what in ("does not know", "accents are stripped from 20 characters"):
        assert any(what in line for line in said) and what in kept
    heard = []
    evaluate(EvaluateOptions(options().out, data), heard.append)
    assert "accents are stripped" in (options().out / "notes-evaluate.txt").read_text(encoding="utf-8")
    assert any("does not know" in line for line in heard)


def test_the_step_of_the_metrics_is_the_number_of_steps(options):
    finetune(options(labels=20, recipe=Recipe(epochs=3, batch=8)), silent)
    (line,) = read_metrics(options().out)
    assert line["step"] == 3 * 3


# ------------------------------------------------------------------------------- pairs


@pytest.fixture
def pairs(options, tmp_path):
    """A model of pairs, and the table that it was trained on."""
    table = tmp_path / "pairs.csv"
    rows = [
        f"the hen {i},{word},{label}" for i in range(4) for word, label in [("a good dog", "yes"), ("a bad dog", "no")]
    ]
    table.write_text("text,second,label\n" + "\n".join(rows), encoding="utf-8")
    finetune(options(data=str(table), columns=Columns(pair_column="second"), test=str(table)), silent)
    return options().out, str(table)


def test_a_model_knows_whether_it_wants_pairs(pairs, options, tmp_path):
    folder, table = pairs
    assert open_classifier(folder).model.head_config.pairs is True
    with pytest.raises(
        InputError, match="text 1 of .*pairs.csv has no second text, and the model was trained on pairs"
    ):
        evaluate(EvaluateOptions(folder, table), silent)
    single = tmp_path / "single"
    finetune(options(out=single), silent)
    with pytest.raises(InputError, match="text 1 of .* has a second text, and the model was trained on single texts"):
        evaluate(EvaluateOptions(single, table, Columns(pair_column="second")), silent)
