"""`minilm bench recipe`: a grid of pretraining variants on equal budgets, one row each, and a table that survives Ctrl-C."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import DATA

from minilm.bench import recipe
from minilm.bench.options import BenchOptions
from minilm.bench.recipe import CPU, head_start, markdown
from minilm.bench.run import bench
from minilm.bench.variants import GRID, OLD, OLD_RECIPE, RECIPE, Variant, chosen, declared
from minilm.errors import InputError
from minilm.experiments import tracks
from minilm.experiments.chinese import Chinese
from minilm.experiments.english import English
from minilm.experiments.ladder import Material, Rung
from minilm.experiments.rungs import neural_rungs
from minilm.experiments.tracks import track_for
from minilm.jobs.pretrain import PretrainOptions
from minilm.text import corpus
from minilm.text.files import Example
from minilm.text.prepare import held_out_documents
from minilm.text.tagged import TaggedLine
from minilm.text.tokenizer import train_characters
from minilm.training.state import read_metrics
from minilm.training.supervised import Recipe
from minilm.training.tasks import TextTask, TokenTask

SIZES = dict(width=16, layers=2, heads=4, length=24, vocab_size=200, batch=5)


class Tiny(English):
    """A track whose pretraining takes half a second."""

    steps, labels, metric = 6, (8,), "accuracy"
    pretraining = PretrainOptions(corpus=str(DATA / "english.txt"), steps=6, evaluations=6, mask_rate=0.3, **SIZES)

    def material(self, prepared, settings, device, say):
        examples = corpus.labelled(str(DATA / "reviews.csv"))
        parts = examples[:24], examples[-8:]
        return Material.encoded(TextTask(("negative", "positive")), parts, prepared.tokenizer, settings.length, device)

    def development(self, material, settings):
        return English().development(material, settings)

    def rungs(self, start, keep=None):
        one = Recipe(epochs=1, learning_rate=1e-3)
        return neural_rungs(start, dict.fromkeys(("lstm", "scratch", "vectors", "start", "head", "pretrained"), one))


@pytest.fixture(autouse=True)
def tiny_track(monkeypatch):
    monkeypatch.setattr(tracks, "track_for", lambda language: Tiny())
    monkeypatch.setitem(OLD_RECIPE, "en", dict(positions="learned", layers=1, mask_rate=0.15))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(tmp_path, cache):
    """Run the command on the tiny track. Returns what it wrote and what it said."""

    def call(*variants, **more):
        said = []
        given = dict(out=tmp_path, cache=cache, seeds=2, workers=1, progress=False, variants=variants) | more
        written = bench(BenchOptions("recipe", **given), said.append)
        assert json.loads((tmp_path / "recipe-en.json").read_text(encoding="utf-8")) == written
        return written, "\n".join(said)

    return call


def test_a_row_says_what_was_measured(run, tmp_path):
    written, said = run("layers-3", "positions-sinusoidal")
    assert [row["name"] for row in written["rows"]] == [RECIPE, "positions-sinusoidal", "layers-3"]
    for row in written["rows"]:
        curve = read_metrics(tmp_path / "recipe-en" / "6" / row["name"])
        assert row["curve"] == curve and [each["step"] for each in curve] == [0, 1, 2, 3, 4, 5, 6]
        assert (row["loss_third"], row["loss"]) == (curve[2]["mlm_loss"], curve[6]["mlm_loss"])
        assert row["nsp_accuracy"] == curve[6]["nsp_accuracy"] and row["minutes"] == curve[6]["seconds"] / 60
        assert len(row["scores"]) == 2 and row["mean"] == pytest.approx(sum(row["scores"]) / 2)
        assert row["tokens"] == written["rows"][0]["tokens"]  # an equal budget
    assert written["rows"][2]["facts"]["pretraining"]["layers"] == 3
    assert written["rows"][2]["facts"]["finetuning"]["row"] == "Transformer pretrained, fine-tuned"
    assert written["size"]["width"] == 16 and written["head_start"] is None
    assert markdown(written["rows"]) in said


def test_what_is_finished_is_not_run_again(run, monkeypatch):
    first, _ = run("layers-3")
    real, ran = recipe.pretrain, []
    monkeypatch.setattr(recipe, "pretrain", lambda o, say: ran.append((o.out.name, o.resume)) or real(o, say))
    second, said = run("mask-15")
    assert ran == [("mask-15", False)] and "1 of 2 variants are to run" in said
    assert [row["name"] for row in second["rows"]] == [RECIPE, "layers-3", "mask-15"]  # also what an earlier call ran
    assert second["rows"][:2] == first["rows"]
    third, _ = run("mask-15", again=True)
    assert ran[1:] == [(RECIPE, False), ("mask-15", False)]
    assert [row["loss"] for row in third["rows"]] == [row["loss"] for row in second["rows"]]  # the same bits


def test_more_seeds_fine_tune_again_but_keep_the_pretraining(run, tmp_path):
    before, _ = run("mask-15")
    weights = (tmp_path / "recipe-en" / "6" / RECIPE / "model.safetensors").read_bytes()
    after, _ = run("mask-15", seeds=3)
    assert [len(row["scores"]) for row in after["rows"]] == [3, 3]
    assert after["rows"][0]["scores"][:2] == before["rows"][0]["scores"]
    assert after["rows"][0]["curve"] == before["rows"][0]["curve"]
    assert (tmp_path / "recipe-en" / "6" / RECIPE / "model.safetensors").read_bytes() == weights


def test_another_recipe_leaves_no_row_of_the_old_one(run, monkeypatch):
    run("mask-15", "layers-3")
    monkeypatch.setattr(Tiny, "pretraining", replace(Tiny.pretraining, learning_rate=1e-2))
    written, _ = run("layers-3")
    assert [row["name"] for row in written["rows"]] == [RECIPE, "layers-3"]  # mask-15 had another learning rate
    assert all(row["facts"]["pretraining"]["learning_rate"] == 1e-2 for row in written["rows"])


def test_ctrl_c_leaves_a_table_and_the_next_call_goes_on(run, tmp_path, monkeypatch):
    real, said = Rung.run, []

    def stopped(self, material, labels, seed):
        if "layers-3" in said[-1]:
            raise KeyboardInterrupt
        return real(self, material, labels, seed)

    monkeypatch.setattr(Rung, "run", stopped)
    given = dict(out=tmp_path, cache=tmp_path / "cache", seeds=2, workers=1, progress=False)
    with pytest.raises(KeyboardInterrupt):
        bench(BenchOptions("recipe", variants=("layers-3",), **given), said.append)
    left = json.loads((tmp_path / "recipe-en.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in left["rows"]] == [RECIPE] and "| recipe |" in said[-1]
    monkeypatch.setattr(Rung, "run", real)
    resumed = []
    pretrain = recipe.pretrain
    monkeypatch.setattr(recipe, "pretrain", lambda o, say: resumed.append((o.out.name, o.resume)) or pretrain(o, say))
    written, _ = run("layers-3")
    assert resumed == [("layers-3", True)] and len(written["rows"]) == 2


def test_a_variant_that_cannot_be_trained_is_said_and_the_others_go_on(run, monkeypatch):
    def overflow(options, say):
        if options.layers == 3:
            raise InputError("the loss is no longer a number at step 2.")
        return real(options, say)

    real = recipe.pretrain
    monkeypatch.setattr(recipe, "pretrain", overflow)
    written, said = run("layers-3", "mask-15")
    assert [row["name"] for row in written["rows"]] == [RECIPE, "mask-15"]
    assert "[layers-3] left out: the loss is no longer a number" in said


def test_the_recipe_beside_the_old_one(run, tmp_path):
    written, said = run(OLD, "layers-3")
    old, new = written["rows"][1], written["rows"][0]
    assert (old["name"], new["name"]) == (OLD, RECIPE)
    assert written["head_start"] == head_start(old, new)
    assert "old recipe's final loss" in said
    assert (tmp_path / "recipe-en" / "6" / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_shares_of_steps_and_minutes():
    def row(losses, seconds):
        curve = [{"step": 100 * i, "seconds": seconds * i, "mlm_loss": loss} for i, loss in enumerate(losses)]
        return {"curve": curve, "loss": losses[-1], "steps": curve[-1]["step"], "minutes": curve[-1]["seconds"] / 60}

    old, new = row([9, 6, 5, 4.5, 4], seconds=30), row([9, 5, 3, 2.5, 2.2], seconds=40)
    found = head_start(old, new)
    assert found == pytest.approx(dict(loss=4, step=150, minutes=1, share_of_steps=0.375, share_of_minutes=0.5))
    assert head_start(new, old) is None


def test_the_table_is_relative_to_the_first_variant():
    base = dict(metric="f1", loss_third=4.0, nsp_accuracy=None, minutes=5.0, asks="?")
    rows = [
        base | dict(name="a", loss=3.5, mean=0.7, scores=[0.69, 0.7, 0.71]),
        base | dict(name="b", loss=3.25, mean=0.75, scores=[0.75], nsp_accuracy=0.875),
    ]
    _, _, a, b = markdown(rows).splitlines()
    assert a == "| a | 4.000 | 3.500 | +0.000 | – | 5.0 | 0.700 ± 0.010 | +0.0 | ? |"
    assert b == "| b | 4.000 | 3.250 | -0.250 | 87.5% | 5.0 | 0.750 | +5.0 | ? |"
    assert markdown([]) == "No variant is finished."


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_declared_variant_can_be_trained_and_changes_something(language):
    base = track_for(language).pretraining  # the real one: this module's fixture replaces only the name in `tracks`
    variants = declared(language, base)
    assert variants[0].options(base) == base and variants[0].name == RECIPE
    assert len({variant.name for variant in variants}) == len(variants)
    other_budgets = {"steps-double": 2, "longer": 14 / 3} | {f"muon-{rate}-short": 0.85 for rate in (0.005, 0.01)}
    for variant in variants[1:]:
        options = variant.options(base)
        assert options != base and all(getattr(options, name) == value for name, value in variant.changes.items())
        tokens = base.steps * base.batch * other_budgets.get(variant.name, 1)
        assert options.seed == base.seed and options.steps * options.batch == pytest.approx(
            tokens, abs=options.batch / 2
        )
    left_out = {variant.name for variant in GRID} - {variant.name for variant in variants}
    assert {f"positions-{base.positions}", f"layers-{base.layers}"} <= left_out  # they are the recipe


def test_names_of_variants():
    variants = declared("en", Tiny.pretraining)
    assert [variant.name for variant in chosen(("mask-15", "layers-4"), variants)] == [RECIPE, "layers-4", "mask-15"]
    assert chosen((), variants) == variants
    with pytest.raises(InputError, match=r"variant 'layer-4' is not declared: choose from recipe, .*layers-4"):
        chosen(("layer-4",), variants)
    with pytest.raises(InputError, match="variant 'layers-2' is the recipe itself"):
        chosen(("layers-2",), variants)


def test_a_job_can_be_sent_to_another_process(run, tmp_path, cache, monkeypatch):
    sent = []
    monkeypatch.setattr(recipe, "run", lambda job, material, say: sent.append((job, material)))
    run("layers-3")
    job, material = pickle.loads(pickle.dumps(sent[1]))
    assert job.variant == sent[1][0].variant and job.facts == sent[1][0].facts
    assert material.examples == sent[1][1].examples


def test_texts_are_measured_on_a_part_of_the_pool():
    examples = [Example(f"text number {i}", "negative" if i % 2 else "positive") for i in range(50)]
    tokenizer = train_characters([example.text for example in examples], 60)
    material = Material.encoded(TextTask(("negative", "positive")), (examples[:40], examples[40:]), tokenizer, 40, CPU)
    found = English().development(material, Tiny.pretraining)
    learned, measured = ({example.text for example in part} for part in (found.examples, found.test_examples))
    assert len(measured) == 10 and len(learned) == 30 and not learned & measured
    assert learned | measured == {example.text for example in examples[:40]}  # and nothing of the test set
    assert len(found.test.lengths) == 10


def test_tagged_lines_are_measured_on_held_out_articles(monkeypatch):
    rng = np.random.default_rng(0)
    lines = [TaggedLine([chr(0x4E00 + int(c)) for c in rng.integers(900, size=30)], ["O"] * 30) for _ in range(40)]
    articles = [[2 * i, 2 * i + 1] for i in range(20)]
    monkeypatch.setattr(corpus, "tagged", lambda name: lines)
    monkeypatch.setattr(corpus, "articles", lambda: articles)
    settings = replace(Tiny.pretraining, held_out=4)
    held = held_out_documents(20, 4, 0).tolist()
    outside = [i for article in sorted(held) for i in articles[article]]
    inside = [line for i, line in enumerate(lines) if i not in outside]
    test, copied = outside[:3], outside[3]
    inside.append(TaggedLine(list(lines[copied].tokens), ["O"] * 30))  # occurs in what is learned from
    tokenizer = train_characters(["".join(line.tokens) for line in lines], 1000)
    task = TokenTask(("O", "B-PER", "I-PER"), units="characters")
    material = Material.encoded(task, (inside, [lines[i] for i in test]), tokenizer, 40, torch.device("cpu"))
    found = Chinese().development(material, settings)
    assert found.examples == inside and found.test_examples == [lines[i] for i in outside[4:]]


@pytest.mark.parametrize(
    "wrong", [dict(workers=0), dict(target=0.0), dict(every_seconds=-1.0), dict(limit_minutes=0.0)]
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(InputError):
        BenchOptions("recipe", **wrong)


def test_half_the_steps_for_batches_of_twice_the_size():
    base = replace(Tiny.pretraining, steps=7)
    assert Variant("x", "?", dict(batch=10)).options(base).steps == 4
