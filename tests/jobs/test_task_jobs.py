"""Every kind of task from its file to the saved model and back: `finetune`, `evaluate`, `predict`."""

import json
import random
import re

import pytest
import tiny
from tiny import silent, weights

from minilm.errors import InputError
from minilm.jobs.evaluate import EvaluateOptions, evaluate
from minilm.jobs.finetune import FinetuneOptions, finetune
from minilm.jobs.labelled_data import Part, set_aside
from minilm.jobs.predict import PredictOptions, predict
from minilm.jobs.pretrain import pretrain
from minilm.pretrained.protocol import open_classifier
from minilm.text.files import Example
from minilm.training import precision
from minilm.training.supervised import Recipe
from minilm.training.tasks import task_of

ONE = Recipe(epochs=1)
rng = random.Random(0)
WORDS = ["the", "a", "door", "hen", "dog", "good", "bad"]
TEXTS = sorted({" ".join(rng.choices(WORDS, k=6)) for _ in range(24)})
rng.shuffle(TEXTS)


def several(text):
    return ";".join(word for word in ("hen", "dog") if word in text.split())


def tags_of(text):
    return "\n".join(f"{word}\t{'N' if word in ('door', 'hen', 'dog') else 'X'}" for word in text.split())


def borders_of(text):
    return "\n".join(
        f"{c}\t{'S' if c in 'ab' else 'B' if i % 2 == 0 else 'E'}" for i, c in enumerate(text.replace(" ", "")[:8])
    )


QUESTIONS = [{"question": "who ?", "text": f"{text} {i}", "answer": text.split()[2], "start": len(" ".join(text.split()[:2])) + 1}
             for i, text in enumerate(TEXTS)]  # fmt: skip
RELATIONS = [f"<e1>{a}</e1> {i} the <e2>{b}</e2>,{a}" for i, (a, b) in enumerate([("hen", "dog"), ("dog", "hen")] * 12)]
FILES = {
    "labels": ("t.csv", "text,label\n" + "\n".join(f"{text},{several(text)}" for text in TEXTS)),
    "number": ("t.tsv", "text\tlabel\n" + "\n".join(f"{text}\t{text.count('o') + 0.5}" for text in TEXTS)),
    "relations": ("t.csv", "text,label\n" + "\n".join(RELATIONS)),
    "answers": ("t.jsonl", "\n".join(map(json.dumps, QUESTIONS))),
    "tags": ("t.conll", "\n\n".join(map(tags_of, TEXTS))),
    "words": ("t.conll", "\n\n".join(map(borders_of, TEXTS))),
}  # fmt: skip
FIGURES = {
    "labels": {"micro_f1", "macro_f1", "all_right"},
    "number": {"r2", "mse", "mae"},
    "relations": {"accuracy", "macro_f1"},
    "answers": {"exact", "f1"},
    "tags": {"accuracy", "macro_f1"},
    "words": {"f1", "precision", "recall"},
}


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    options = tiny.options(tmp_path_factory.mktemp("tasks"), steps=2)
    pretrain(options, silent)
    return options.out


@pytest.fixture(scope="module")
def fitted(book, tmp_path_factory):
    """For each kind of task: the file, the folder, and what was measured."""
    out = {}
    for kind, (name, content) in FILES.items():
        here = tmp_path_factory.mktemp(kind)
        (here / name).write_text(content + "\n", encoding="utf-8")
        options = FinetuneOptions(
            str(here / name), str(book), here / "out", task=kind, test=str(here / name), recipe=ONE
        )
        out[kind] = here / name, here / "out", finetune(options, silent)
    return out


@pytest.mark.parametrize("kind", FILES)
def test_what_is_measured_is_what_the_saved_model_gets(kind, fitted):
    data, folder, measured = fitted[kind]
    said = []
    again = evaluate(EvaluateOptions(folder, str(data)), said.append)
    assert again == pytest.approx(measured, rel=1e-4) and measured.keys() == FIGURES[kind]
    table = [line for line in said if line.startswith("| ")]
    if kind in ("labels", "relations", "tags"):
        assert "weighted average" in table[0] and "precision | recall | F1 | support" in table[0]
    else:
        assert not table


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_learns_in_bf16_and_is_measured_in_float32(kind, fitted, book, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "bf16_units", lambda: ["pretended"])
    data, folder, _ = fitted[kind]
    given = dict(model=str(book), task=kind, test=str(data), recipe=ONE, precision="bf16")
    measured = finetune(FinetuneOptions(str(data), out=tmp_path / "out", **given), silent)
    assert evaluate(EvaluateOptions(tmp_path / "out", str(data)), silent) == pytest.approx(measured, rel=1e-4)
    rounded, exact = weights(tmp_path / "out"), weights(folder)
    moved = sum((rounded[name] - start).square().sum() for name, start in weights(book).items() if name in rounded)
    apart = sum((rounded[name] - exact[name]).square().sum() for name in exact if name in weights(book))
    assert rounded.keys() == exact.keys() and 0 < apart < 0.2 * moved
    assert all(tensor.dtype == exact[name].dtype for name, tensor in rounded.items())


def test_every_kind_predicts_from_a_file_and_from_the_command_line(fitted):
    said = []
    for kind, (data, folder, _) in fitted.items():
        said.clear()
        found = predict(PredictOptions(folder, file=data), said.append)
        assert len(found) == 24 and len([line for line in said if not line.startswith("note")]) == 24, kind
    (number,) = predict(PredictOptions(fitted["number"][1], ("a good hen",)), said.append)
    assert said[-1] == f"{number.label}\ta good hen" and float(number.label) == pytest.approx(
        number.labels[0][1], rel=1e-3
    )
    (answer,) = predict(PredictOptions(fitted["answers"][1], ("the bad dog",), pair="who ?"), said.append)
    (entity,) = answer.entities
    assert "the bad dog"[entity.start : entity.end] == entity.text == answer.label
    assert said[-1] == f"{entity.text} {entity.start}–{entity.end}\tthe bad dog"
    (tags,) = predict(PredictOptions(fitted["tags"][1], ("the hen",)), said.append)
    assert [entity.text for entity in tags.entities] == ["the", "hen"] and said[-1].startswith("the/")
    (words,) = predict(PredictOptions(fitted["words"][1], ("abde",)), said.append)
    assert "".join(words.label.split()) == "abde" and {entity.kind for entity in words.entities} == {"word"}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"task": "number", "data": "t.conll"}, r"--task number needs labels of whole texts, and .*t.conll has a tag for every"),
        ({"task": "tags", "data": "t.csv"}, r"--task tags needs tags for every word, and .*t.csv has labels of whole texts"),
        ({"task": "words", "data": "peoples-daily"}, r"--task words does not go with the corpus .*, which is for --task entities"),
        ({"task": "entities", "data": "imdb"}, r"does not go with the corpus 'imdb', which is for --task classes"),
        ({"crf": True, "task": "answers", "data": "t.jsonl"}, r"--crf is for tagged words"),
        ({"development": -1}, r"development must be 0 or more|development"),
    ],
)  # fmt: skip
def test_tasks_that_do_not_go_with_the_data(changes, what, book, tmp_path):
    given = dict(data="t.csv", model=str(book), out=tmp_path / "out") | changes
    if given["data"].startswith("t."):
        given["data"] = str(tmp_path / given["data"])
    with pytest.raises(InputError, match=what):
        FinetuneOptions(**given)


def test_data_of_another_kind_is_refused_when_a_model_is_measured(fitted, tmp_path):
    (tmp_path / "t.csv").write_text("text,label\na hen,hen;cow\n", encoding="utf-8")
    with pytest.raises(InputError, match="text 1 of .* has the label 'cow', which was not seen in training"):
        evaluate(EvaluateOptions(fitted["labels"][1], str(tmp_path / "t.csv")), silent)
    with pytest.raises(InputError, match="was trained on tag labels, and peoples-daily has token labels"):
        evaluate(EvaluateOptions(fitted["tags"][1], "peoples-daily"), silent)
    (tmp_path / "t.conll").write_text("a\tZ\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 1 of .* has the tag 'Z', which was not seen in training"):
        evaluate(EvaluateOptions(fitted["tags"][1], str(tmp_path / "t.conll")), silent)
    with pytest.raises(InputError, match="the borders of words are written B, M, E and S"):
        finetune(
            FinetuneOptions(str(fitted["tags"][0]), str(fitted["tags"][1]), tmp_path / "o", task="words", recipe=ONE),
            silent,
        )
    with pytest.raises(InputError, match="tags single texts"):
        predict(PredictOptions(fitted["tags"][1], ("a",), pair="b"), silent)


def wrong_answers(**changes):
    """The questions, and one more that is the first with something changed."""
    return "\n".join(json.dumps(row) for row in [*QUESTIONS, QUESTIONS[0] | changes]) + "\n"


BAD = {
    "overlapping answers": (
        *("answers", "t.jsonl", wrong_answers(answer=TEXTS[0][2:] + " 0", start=2)),
        r"t.jsonl, line 25: the answer from 2 to \d+ overlaps the one of line 1, from \d+ to \d+: keep one of them",
    ),
    "an answer outside the text": (
        *("answers", "t.jsonl", wrong_answers(start=99)),
        r"t.jsonl, line 25: the answer from 99 to \d+ lies outside the text, which has \d+ characters",
    ),
    "an unknown tag": ("tags", "t.conll", "the\tX\nhen\tZ\n", "line 2 of .*t.conll has the tag 'Z', which was not seen"),
    "a relation without markers": (
        *("relations", "t.csv", "text,label\nthe hen and the dog,hen\n"),
        r"text 1 of .*t.csv has no <e1>: mark both entities, as in <e1>Anna</e1> lives in <e2>Bonn</e2>",
    ),
}  # fmt: skip


def refused(capsys, *arguments) -> str:
    """The one sentence with which the command line refuses something, with exit code 2."""
    capsys.readouterr()
    code, got = tiny.command(*arguments), capsys.readouterr()
    assert code == 2 and re.fullmatch(r"minilm: [^\n]+\.\n", got.err) and "Traceback" not in got.out, got
    return got.err


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(what, fitted, book, tmp_path, capsys):
    kind, name, content, message = BAD[what]
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert re.search(message, refused(capsys, "evaluate", "--model", fitted[kind][1], "--data", tmp_path / name))
    if kind != "tags":  # there, another tag is another label to learn
        if kind == "relations":
            (tmp_path / name).write_text(f"{FILES[kind][1]}\nthe hen and the dog,hen\n", encoding="utf-8")
            message = message.replace("text 1 ", "text 25 ")
        out = ("--task", kind, "--model", book, "--out", tmp_path / "out", "--no-progress")
        assert re.search(message, refused(capsys, "finetune", "--data", tmp_path / name, *out))
        assert not (tmp_path / "out" / "config.json").exists()
    if kind == "relations":
        said = refused(capsys, "predict", "--model", fitted[kind][1], "the hen and the dog")
        assert "text 1 of the command line has no <e1>" in said


def test_an_adapter_for_another_base_is_one_sentence_and_exit_code_2(fitted, book, tmp_path, capsys):
    data, other = fitted["relations"][0], fitted["tags"][1]
    options = (
        "--data",
        data,
        "--task",
        "relations",
        "--tune",
        "head",
        "--recipe.epochs",
        1,
        "--no-progress",
    )
    assert tiny.command("finetune", *options, "--model", book, "--out", tmp_path / "adapter") == 0
    for arguments in (("predict", RELATIONS[0].split(",")[0]), ("evaluate", "--data", data)):
        said = refused(capsys, *arguments, "--model", tmp_path / "adapter", "--base", other)
        assert re.search("the adapter .*adapter is for another base: the weights of .* have the SHA-256", said)


# ---------------------------------------------------------------------------- the development part


def test_one_line_per_epoch_and_the_best_epoch_is_kept(book, tmp_path):
    """The learning rate is so high that later epochs are worse: what is kept is the epoch of the best line."""
    data = tmp_path / "t.csv"
    data.write_text(
        "text,label\n" + "\n".join(f"{text},{'yes' if 'hen' in text else 'no'}" for text in TEXTS), encoding="utf-8"
    )
    said = []
    recipe = Recipe(epochs=6, learning_rate=3e-2, schedule="constant")
    options = FinetuneOptions(str(data), str(book), tmp_path / "out", development=8, recipe=recipe, held_out=4)
    finetune(options, said.append)
    lines = [line for line in said if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in lines] == [f"epoch {i} of 6" for i in range(1, 7)]
    assert all(
        "development loss " in line and ", accuracy 0." in line.replace("accuracy 1.", "accuracy 0.") for line in lines
    )
    accuracies = [float(line.split("accuracy ")[1][:5]) for line in lines]
    marked = [i for i, line in enumerate(lines) if line.endswith("· the best so far")]
    assert marked == [i for i, a in enumerate(accuracies) if a > max(accuracies[:i], default=-1)]
    assert any(f"{len(TEXTS) - 4 - 8} examples to learn from" in line for line in said)
    # the saved model has the accuracy of the best line on the same development part
    from minilm.jobs.finetune import load_material

    material = load_material(options)
    _, development = set_aside(material.train, 8, options.seed)
    loaded = open_classifier(tmp_path / "out")
    task = task_of(loaded.model.head_config)
    encoded = task.encode(development.examples, loaded.tokenizer, loaded.max_length)
    import torch

    assert task.measure(loaded.model, encoded, torch.device("cpu"))["accuracy"] == pytest.approx(
        max(accuracies), abs=5e-4
    )


def test_a_development_part_shares_no_text_with_what_is_learned_from():
    part = Part(
        [Example("a b", "x"), Example("A  B", "x"), Example("c", "y"), Example("d", "y")], "t.csv", [5, 6, 7, 8]
    )
    for seed in range(8):
        rest, development = set_aside(part, 2, seed)
        assert len(development.examples) == 2
        known = {e.text.casefold().replace(" ", "") for e in development.examples}
        assert not known & {e.text.casefold().replace(" ", "") for e in rest.examples}
        places = dict(zip(part.places, part.examples, strict=True))
        assert all(
            places[p] == e for some in (rest, development) for p, e in zip(some.places, some.examples, strict=True)
        )
    assert set_aside(part, 0, 0) == (part,)
    with pytest.raises(InputError, match="--development 4 of 4 examples leaves none to learn from"):
        set_aside(part, 4, 0)
    with pytest.raises(InputError, match="every example of t.csv is in the development part as well"):
        set_aside(Part(part.examples[:2], "t.csv", [0, 1]), 1, 0)
