"""`finetune --crf` from the data to the folder and back; `transformers` and brute force over all paths are the referees."""

import json
import random
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import transformers
from tiny import DATA, command, same, silent, weights

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.experiments import rungs
from minilm.files.checksums import unseal
from minilm.formulas import crf as formulas
from minilm.jobs.finetune import EvaluateOptions, FinetuneOptions, evaluate, finetune, new_model
from minilm.jobs.predict import PredictOptions, predict
from minilm.jobs.pretrain import pretrain
from minilm.models.config import TransformerConfig
from minilm.pretrained.protocol import open_classifier, open_encoder, save_model
from minilm.text.tag_schemes import BIO
from minilm.text.tagged import TaggedLine
from minilm.text.tokenizer import Tokenizer
from minilm.training.inference import predicted_tags
from minilm.training.objectives import Classification
from minilm.training.optimizer import parameter_groups
from minilm.training.supervised import Recipe
from minilm.training.tasks import TextTask, TokenTask

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


@pytest.mark.parametrize(("model", "constraints"), [("pretrained", False), ("pretrained", True), ("lstm", True)])
def test_F31_what_is_said_is_what_the_written_folder_gets(model, constraints, here, tmp_path):
    test, changes = str(here / "hens.conll"), {} if model == "pretrained" else {"model": model}
    chosen = options(here, tmp_path / "out", test=test, crf_constraints=constraints, **changes)
    measured = finetune(chosen, silent)
    assert measured["f1"] > (0.7 if model == "pretrained" else 0.5)  # "hen" is an entity only behind "the"
    assert evaluate(EvaluateOptions(tmp_path / "out", test), silent) == measured
    loaded = open_classifier(tmp_path / "out").model
    forbidden = torch.zeros(4, 4, dtype=torch.bool)
    forbidden[2:, 1] = constraints  # no I-HEN after O, nor at the start
    assert ((loaded.crf.A == 0) == forbidden[:3, :3]).all()  # the other scores were trained
    assert loaded.head_config.crf_allowed == (("1111", "1111", "1011", "1011") if constraints else ())
    (found,) = predict(PredictOptions(tmp_path / "out", ("a dog the hen",)), silent)
    if model == "pretrained":
        assert [(entity.kind, entity.text) for entity in found.entities] == [("HEN", "the hen")]
    save_model(tmp_path / "again", loaded, Tokenizer.load(tmp_path / "out"))
    assert same(weights(tmp_path / "out"), weights(tmp_path / "again"))
    assert {"crf.A", "crf.start", "crf.end"} <= weights(tmp_path / "out").keys()


# ---------------------------------------------------------------------------- without training, or with very little of it


def drawn_tagger(here, crf_constraints=False):
    """A BERT of 24 positions with random weights, large enough to use all tags, and random scores of the CRF."""
    tokenizer = Tokenizer.load(here / "run")
    task = TokenTask(TAGS, "words")
    model = new_model(options(here, here / "never", crf_constraints=crf_constraints), task, tokenizer)
    generator = torch.Generator().manual_seed(0 if crf_constraints else 2)  # with these, all tags are used
    with torch.no_grad():
        for parameter in (model.head.weight, *model.crf.parameters()):
            parameter.copy_(2 * torch.randn(parameter.shape, generator=generator))
    return model.eval(), task, tokenizer


def long_lines(seed, count=12):
    rng = random.Random(seed)
    lengths = [rng.choice((1, 2, 7, 30, 55)) for _ in range(count)]
    lines = [[rng.choice(["a", "door", "dog", "hen", "the", "xylophone"]) for _ in range(n)] for n in lengths]
    tags = [[rng.choice(TAGS) for _ in line] for line in lines]
    return [TaggedLine(*pair) for pair in zip(lines, map(BIO.to_bio, tags), strict=True)]


@torch.no_grad()
def emissions_of(model, encoded):
    """The logits of each line's words, one row at a time, and joined."""
    lines = [[] for _ in range(max(encoded.owner) + 1)]
    for i, owner in enumerate(encoded.owner):
        logits = model(torch.tensor([encoded.rows[i]]))[0]
        lines[owner].append(logits[torch.tensor(encoded.labels[i]) != -100].double().numpy())
    return [np.concatenate(line) for line in lines]


@pytest.mark.parametrize("constraints", [False, True])
def test_F31_lines_that_were_cut_get_the_best_path_of_the_whole_line(constraints, here):
    model, task, tokenizer = drawn_tagger(here, constraints)
    lines = long_lines(1)
    encoded = task.encode(lines, tokenizer, 24)
    assert len(encoded) > len(lines)
    allowed = model.head_config.allowed_steps.numpy() if constraints else np.ones((4, 4), dtype=bool)
    A, start, end = (each.detach().double().numpy() for each in (model.crf.A, model.crf.start, model.crf.end))
    scores = (
        np.where(allowed[:3, :3], A, -np.inf),
        np.where(allowed[3, :3], start, -np.inf),
        np.where(allowed[:3, 3], end, -np.inf),
    )
    expected = [[TAGS[k] for k in formulas.viterbi(E[None], *scores)[0][0]] for E in emissions_of(model, encoded)]
    found = predicted_tags(model, encoded, TAGS)
    assert found == expected and len({tag for line in found for tag in line}) == 3
    argmax = [[TAGS[k] for k in E.argmax(-1)] for E in emissions_of(model, encoded)]
    assert found != argmax  # the transitions matter
    if constraints:
        assert all(BIO.to_bio(line) == line for line in found) and not all(BIO.to_bio(line) == line for line in argmax)


def test_F31_a_line_without_words_has_no_tags(here):
    model, task, tokenizer = drawn_tagger(here)
    lines = [TaggedLine([], []), TaggedLine(["hen"], ["O"]), TaggedLine([], [])]
    assert [len(tags) for tags in predicted_tags(model, task.encode(lines, tokenizer, 24), TAGS)] == [0, 1, 0]
    assert predicted_tags(model, task.encode(lines[:1], tokenizer, 24), TAGS) == [[]]


def test_F31_the_parts_of_a_line_have_no_start_and_no_end_of_their_own(here):
    """The loss of a batch, from the formulas: what a part lacks is a score of 0."""
    model, task, tokenizer = drawn_tagger(here)
    lines = long_lines(2)
    encoded = task.encode(lines, tokenizer, 24)
    total, words = 0.0, 0
    A, start, end = (each.detach().double().numpy() for each in (model.crf.A, model.crf.start, model.crf.end))
    for i, owner in enumerate(encoded.owner):
        begins, ends = encoded.columns["begins"][i], encoded.columns["ends"][i]
        assert begins == (i == 0 or encoded.owner[i - 1] != owner)
        assert ends == (i == len(encoded) - 1 or encoded.owner[i + 1] != owner)
        y = np.array([label for label in encoded.labels[i] if label != -100])
        part = encoded.subset([i])
        (E,) = emissions_of(model, Dataset(part.columns, part.pad_values, [0]))
        total += len(y) and formulas.crf_loss(E[None], A, start * begins, end * ends, y[None])
        words += len(y)
    loss = Classification().loss(model, encoded.batch(range(len(encoded))))
    assert loss.count == words == sum(len(line.tokens) for line in lines)
    assert loss.value.item() == pytest.approx(total / words, rel=1e-5)


def test_F31_a_part_may_go_on_with_an_entity_even_under_constraints(here):
    """A row that begins with I-HEN, because its line was cut there, is no mistake, and a line that does so is one."""
    model, task, tokenizer = drawn_tagger(here, crf_constraints=True)
    line = TaggedLine(["the", *["hen"] * 40], ["B-HEN", *["I-HEN"] * 40])
    encoded = task.encode([line], tokenizer, 24)
    assert len(encoded) > 1 and [label for label in encoded.labels[1] if label != -100][0] == TAGS.index("I-HEN")
    assert Classification().loss(model, encoded.batch(range(len(encoded)))).value.isfinite()
    wrong = task.encode([TaggedLine(["hen"], ["I-HEN"])], tokenizer, 24)
    with pytest.raises(
        InputError, match="the true tags of sentence 0 of the batch take a step that the CRF's constraints"
    ):
        Classification().loss(model, wrong.batch([0]))


def test_transformers_opens_the_folder_and_leaves_the_crf_out(here, tmp_path):
    model, task, tokenizer = drawn_tagger(here)
    save_model(tmp_path, model, tokenizer)
    theirs, report = transformers.MPNetForTokenClassification.from_pretrained(tmp_path, output_loading_info=True)
    ours = {"crf.A", "crf.start", "crf.end", "mpnet.embeddings.minilm_token_types.weight"}
    assert set(report["unexpected_keys"]) <= ours and not report["missing_keys"]
    ids = torch.tensor([tokenizer.pair(tokenizer.ids(["a dog the hen"])[0])[0]])
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(ids).logits, model(ids), rtol=0, atol=1e-5)
    theirs.save_pretrained(tmp_path / "again")  # without the CRF, but its config.json still says that there is one
    shutil.copy(tmp_path / "tokenizer.json", tmp_path / "again")
    with pytest.raises(InputError, match=r"missing crf\.A, crf\.start, crf\.end"):
        open_classifier(tmp_path / "again")


@pytest.mark.parametrize("kind", ["bert", "lstm"])
def test_a_folder_with_a_crf_lends_its_encoder_and_nothing_of_its_head(kind, here, tmp_path):
    tokenizer, task = Tokenizer.load(here / "run"), TokenTask(TAGS, "words")
    chosen = options(here, tmp_path, **({} if kind == "bert" else {"model": "lstm"}))
    model = new_model(chosen, task, tokenizer)
    with torch.no_grad():
        model.crf.A.fill_(2)
    save_model(tmp_path / "out", model, tokenizer)
    opened = open_classifier(tmp_path / "out").model
    assert opened.head_config == model.head_config and torch.equal(opened.crf.A, model.crf.A)
    notes = []
    encoder = open_encoder(tmp_path / "out", notes.append).model.encoder
    for crf in (True, False):
        further = new_model(
            options(here, tmp_path, model=str(tmp_path / "out"), crf=crf), task, tokenizer, notes.append
        )
        assert (further.crf is not None) == crf and not (crf and further.crf.A.any())
        for name, weight in further.encoder.named_parameters():
            assert torch.equal(weight, dict(encoder.named_parameters())[name])
    assert notes == []
    config = tmp_path / "out" / "config.json"
    unseal(tmp_path / "out")
    entries = json.loads(config.read_text(encoding="utf-8"))
    for change, message in (
        ({"crf": False}, r"unknown crf\.A, crf\.end, crf\.start"),
        (
            {"crf_allowed": ["1111"] * 3},
            "crf_allowed must be 4 strings of 4 digits 0 and 1 for 3 labels, and needs crf",
        ),
        ({"crf_allowed": ["111"] * 4}, "crf_allowed must be 4 strings of 4 digits"),
        ({"crf_allowed": ["1112"] * 4}, "crf_allowed must be 4 strings of 4 digits"),
        ({"crf": False, "crf_allowed": ["1111"] * 4}, "needs crf"),
    ):
        config.write_text(json.dumps(entries | {"minilm_head": entries["minilm_head"] | change}), encoding="utf-8")
        with pytest.raises(InputError, match=message):
            open_classifier(tmp_path / "out")


def test_F31_head_only_trains_the_head_and_the_crf_and_patience_puts_the_best_back(here, tmp_path):
    chosen = options(here, tmp_path / "out", labels=12, recipe=replace(FAST, head_only=True, patience=1))
    finetune(chosen, silent)
    before, after = weights(here / "run"), weights(tmp_path / "out")
    assert all(torch.equal(after[name], before[name]) for name in after if name.startswith("mpnet."))
    own = {name for name in after if not name.startswith("mpnet.")}
    assert own == {"classifier.weight", "classifier.bias", "crf.A", "crf.start", "crf.end"}
    assert all(after[name].any() for name in own)


def test_the_scores_of_the_crf_learn_at_their_own_rate_and_do_not_decay(here, tmp_path):
    model, _, _ = drawn_tagger(here)
    groups = parameter_groups(model, 0.01, 0.1, layer_decay=0.5, scales={"crf.": 10.0})
    of = {name: group for group in groups for name in group["names"]}
    for name in ("crf.A", "crf.start", "crf.end"):
        assert (of[name]["scale"], of[name]["weight_decay"]) == (10.0, 0.0)
    assert (of["head.weight"]["scale"], of["head.weight"]["weight_decay"]) == (1.0, 0.01)
    assert Recipe().optimisation().scales == {"crf.": 10.0}
    still = replace(FAST, epochs=1, crf_learning_rate_scale=0.0)
    finetune(options(here, tmp_path / "out", labels=8, recipe=still), silent)
    assert not weights(tmp_path / "out")["crf.A"].any() and weights(tmp_path / "out")["classifier.bias"].any()
    with pytest.raises(InputError, match="crf_learning_rate_scale"):
        Recipe(crf_learning_rate_scale=-1)
    with pytest.raises(InputError, match="the learning rate's scale for crf. must be at least 0, not -1"):
        parameter_groups(model, scales={"crf.": -1})


def test_the_rungs_of_a_ladder_may_have_a_crf():
    config = TransformerConfig(vocab_size=40, width=12, layers=1, heads=3, feed_forward=8, max_length=16)
    start = rungs.Start(config, np.zeros((40, 4), np.float32), Path("nowhere"))
    for build in (rungs.lstm, partial(rungs.transformer, scheme="fan-in")):
        for crf in (False, True):
            assert (build(TokenTask(TAGS), 0, start, crf=crf).crf is not None) == crf


def test_a_crf_is_refused_where_it_has_no_place(here, tmp_path, capsys):
    where = ("finetune", "--model", here / "run", "--out", tmp_path / "out", "--no-progress")
    assert command(*where, "--data", DATA / "reviews.csv", "--crf") == 2
    assert "--crf is for tagged words, and" in capsys.readouterr().err
    assert command(*where, "--data", here / "hens.conll", "--crf-constraints") == 2
    assert "--crf-constraints is for a CRF: add --crf, or leave it out." in capsys.readouterr().err
    assert command(*where, "--data", here / "hens.conll", "--crf", "--recipe.label-smoothing", "0.1") == 2
    assert "label smoothing is not for a CRF" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    for task in (TextTask(("a", "b")), TokenTask(("NOUN", "VERB"))):
        with pytest.raises(InputError, match="labels"):
            task.head(crf=True, crf_constraints=True)
    with pytest.raises(InputError, match="constraints are for a CRF"):
        TokenTask(TAGS).head(crf_constraints=True)
    model, task, tokenizer = drawn_tagger(here)
    batch = task.encode(long_lines(3, 2), tokenizer, 24).batch([0])
    with pytest.raises(InputError, match="label_smoothing 0.1 is not for a CRF"):
        Classification(0.1).step(model, batch)
