"""`finetune --crf` from the data to the folder and back; `transformers` and brute force over all paths are the referees."""

import random

import pytest
import tiny
from tiny import same, silent, weights

from minilm.jobs.finetune import EvaluateOptions, FinetuneOptions, evaluate, finetune
from minilm.jobs.predict import PredictOptions, predict
from minilm.jobs.pretrain import pretrain
from minilm.pretrained.protocol import open_classifier, save_model
from minilm.text.tokenizer import Tokenizer
from minilm.training.supervised import Recipe

FAST = Recipe(epochs=4, learning_rate=1e-2, embedding_learning_rate_scale=1.0)
TAGS = ("B-HEN", "I-HEN", "O")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A pretrained model of 24 positions, and lines in which "the hen" is an entity of two words; some are longer than it."""
    folder = tmp_path_factory.mktemp("crf")
    pretrain(tiny.options(folder, steps=2), silent)
    rng, blocks = random.Random(0), []
    for i in range(40):
        words = [rng.choice(["a", "door", "dog", "hen", "the hen"]) for _ in range(30 if i % 4 == 0 else 6)]
        rows = [("the\tB-HEN\nhen\tI-HEN" if word == "the hen" else f"{word}\tO") for word in words]
        blocks.append("\n".join(rows))
    (folder / "hens.conll").write_text("\n\n".join(blocks), encoding="utf-8")
    return folder


def options(here, out, **changes):
    given = dict(data=str(here / "hens.conll"), model=str(here / "run"), out=out, crf=True, recipe=FAST, progress=False)
    if changes.get("model") in ("lstm", "scratch"):
        given["tokenizer"] = here / "run"
    return FinetuneOptions(**given | changes)


@pytest.mark.parametrize("model", ["pretrained", "lstm", "scratch"])
@pytest.mark.parametrize("constraints", [False, True])
def test_F31_what_is_said_is_what_the_written_folder_gets(model, constraints, here, tmp_path):
    changes = {} if model == "pretrained" else {"model": model}
    test = str(here / "hens.conll")
    chosen = options(here, tmp_path / "out", test=test, crf_constraints=constraints, **changes)
    measured = finetune(chosen, silent)
    assert measured["f1"] > 0.8  # "hen" is an entity only behind "the"
    assert evaluate(EvaluateOptions(tmp_path / "out", test), silent) == measured
    loaded = open_classifier(tmp_path / "out").model
    assert bool(loaded.head_config.crf_allowed) == constraints and (loaded.crf.forbidden is not None) == constraints
    assert loaded.crf.A.abs().min() > 0  # it was trained
    (found,) = predict(PredictOptions(tmp_path / "out", ("a dog the hen",)), silent)
    assert [(entity.kind, entity.text) for entity in found.entities] == [("HEN", "the hen")]
    save_model(tmp_path / "again", loaded, Tokenizer.load(tmp_path / "out"))
    assert same(weights(tmp_path / "out"), weights(tmp_path / "again"))
    assert {"crf.A", "crf.start", "crf.end"} <= weights(tmp_path / "out").keys()
