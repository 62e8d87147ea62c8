"""`minilm bench race`: both contenders by one measurement and one kind of clock, which stands still meanwhile."""

import json
import sys

import numpy as np
import pytest
import torch
from tiny import DATA

from minilm.bench import race, trainer, watch as watches
from minilm.bench.options import BenchOptions
from minilm.bench.race import DEFAULTS, OURS, TUNED, compare, report, settings_of
from minilm.bench.run import bench
from minilm.bench.watch import Watch
from minilm.cli import main
from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.jobs import pretrain as pretraining, pretraining_data
from minilm.jobs.pretrain import prepare_for
from minilm.training.objectives import BertPretraining
from minilm.viz import plots, race as pictures

SIZES = dict(width=12, layers=2, heads=3, batch=5, length=24, vocab_size=200, progress=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def options(tmp_path, cache):
    def given(**more):
        where = dict(out=tmp_path, cache=cache, corpus=str(DATA / "english.txt"))
        return BenchOptions("race", **SIZES | where | more)

    return given


@pytest.fixture
def prepared(options):
    return prepare_for(settings_of(options()), lambda text: None)


def test_every_contender_is_measured_in_the_same_way(options, tmp_path):
    said = []
    given = options(steps=40, every_seconds=1e-6, limit_minutes=600.0, target=5.28, tuned=True)
    written = bench(given, said.append)
    assert json.loads((tmp_path / "race.json").read_text(encoding="utf-8")) == written
    assert [row["name"] for row in written["rows"]] == list(written["curves"]) == [OURS, DEFAULTS, TUNED]
    for row in written["rows"]:
        curve = written["curves"][row["name"]]
        assert [each["step"] for each in curve] == list(range(row["steps"] + 1))  # after every step
        assert np.all(np.diff([each["seconds"] for each in curve]) > 0)
        assert row["loss"] == curve[-1]["mlm_loss"] and row["minutes"] == curve[-1]["seconds"] / 60
        assert all(each["mlm_loss"] > 5.28 for each in curve[:-1])  # it stops when it is there
    ours, theirs, tuned = written["rows"]
    assert ours["minutes_to_target"] is not None and not ours["lower_bound"] and ours["ratio"] == 1
    end = theirs["minutes_to_target"] or theirs["minutes"]
    assert theirs["ratio"] == pytest.approx(end / ours["minutes_to_target"])
    usual = theirs["arguments"]
    assert (usual["learning_rate"], usual["per_device_train_batch_size"], usual["num_train_epochs"]) == (5e-5, 8, 3.0)
    changed = dict(learning_rate=1e-3, per_device_train_batch_size=16)
    assert tuned["arguments"] == usual | changed
    assert (tmp_path / "race.png").read_bytes()[:4] == b"\x89PNG"
    assert "minutes to 5.28" in said[-2] and written["held_out_words"] > 0


def test_the_rivals_loss_is_the_one_that_it_reports_itself(prepared, options):
    theirs = trainer.their_model(settings_of(options()), prepared.tokenizer.size).eval()
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(5, 200, (4, 17), generator=generator)
    mask = torch.arange(17) < torch.tensor([17, 9, 12, 5])[:, None]
    labels = torch.where((torch.rand(4, 17, generator=generator) < 0.3) & mask, ids, -100)
    batch = Batch(ids * mask, torch.zeros_like(ids), mask, labels, torch.full((4,), -100))
    ours = BertPretraining(0.0).measure(trainer.LikeOurs(theirs), [batch])["mlm_loss"]
    with torch.no_grad():
        own = theirs(batch.input_ids, attention_mask=mask.long(), labels=labels).loss
    assert ours == pytest.approx(float(own), abs=1e-6)


def test_the_rival_has_our_size_and_learns_from_all_the_text(prepared, options):
    settings = settings_of(options())
    config = trainer.their_model(settings, prepared.tokenizer.size).config
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (12, 2, 3)
    assert (config.intermediate_size, config.vocab_size) == (48, prepared.tokenizer.size)
    rows, t = trainer.Rows(prepared, settings.length, seed=0), prepared.tokenizer
    seen = 0
    for i, row in enumerate(map(rows.__getitem__, range(len(rows)))):
        start, end = rows.windows[i]
        assert row["input_ids"] == [t.cls, *prepared.train.ids[start:end].tolist(), t.sep]
        assert len(row["input_ids"]) <= settings.length
        assert row["special_tokens_mask"] == [1] + [0] * (end - start) + [1]
        seen += end - start
    assert seen > 0.9 * prepared.train.tokens  # short rests at the ends of documents are left out
    theirs = trainer.their_tokenizer(prepared)
    assert (theirs.mask_token_id, theirs.pad_token_id, len(theirs)) == (t.mask, t.pad, t.size)


def test_the_clock_stands_still_while_the_model_is_measured(options, monkeypatch):
    now = [100.0]
    losses = iter([9.0, 6.0, 5.5, 4.9])

    def measure(self, model, batches):
        now[0] += 1000  # measuring takes long
        return {"mlm_loss": next(losses)}

    monkeypatch.setattr(watches.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(BertPretraining, "measure", measure)
    watch = Watch([], options(every_seconds=10.0, limit_minutes=1.0, target=5.0))
    ended = []
    for step, seconds in enumerate([0, 4, 11, 15, 22, 30, 33]):  # of the contender's own time
        now[0] = 100.0 + seconds + 1000 * len(watch.rows)
        ended.append(watch.look(torch.nn.Identity(), step))
    assert [row["seconds"] for row in watch.rows] == [0, 11, 22, 33]  # every 10 seconds, as soon as a step is done
    assert [row["step"] for row in watch.rows] == [0, 2, 4, 6]
    assert ended == [False] * 6 + [True] and watch.over


def test_a_contender_is_stopped_when_its_time_is_up(options, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(watches.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(BertPretraining, "measure", lambda *_: {"mlm_loss": 7.0})
    watch = Watch([], options(every_seconds=1000.0, limit_minutes=1.0))
    assert not watch.look(torch.nn.Identity(), 0)
    now[0] = 59.0
    assert not watch.look(torch.nn.Identity(), 1) and len(watch.rows) == 1
    now[0] = 60.0
    assert watch.look(torch.nn.Identity(), 2) and len(watch.rows) == 2


def test_our_clock_starts_before_the_word_vectors_are_counted(options, prepared, monkeypatch):
    given = options(steps=2, every_seconds=1e-6)
    settings = settings_of(given)
    pretraining.vectors_for(prepared, settings)  # somebody has counted them before
    real, clocks, counted = pretraining_data.local_and_document_vectors, [], []

    def count(*arguments):
        counted.append(len(clocks))
        return real(*arguments)

    def watch():
        clocks.append(Watch([], given))
        return clocks[-1]

    monkeypatch.setattr(pretraining_data, "local_and_document_vectors", count)
    monkeypatch.setattr(BertPretraining, "measure", lambda *_: {"mlm_loss": 7.0})
    race.by_recipe(settings, prepared, watch)
    assert counted == [1]  # once more, and after the clock was started


def test_a_rival_that_was_stopped_gives_a_lower_bound():
    rows = [
        dict(name="ours", minutes_to_target=2.5, minutes=2.6, steps=900, loss=4.99),
        dict(name="theirs", minutes_to_target=None, minutes=30.0, steps=12000, loss=6.51),
        dict(name="tuned", minutes_to_target=10.0, minutes=10.1, steps=4000, loss=5.0),
    ]
    compare(rows)
    assert [(row["ratio"], row["lower_bound"]) for row in rows] == [(1, False), (12, True), (4, False)]
    _, ours, theirs, tuned = report(rows, 5.0).splitlines()
    assert ours.split() == ["ours", "2.50", "900", "4.990", "1.0", "×"]
    assert theirs.split() == ["theirs", ">", "30.0", "12,000", "6.510", "≥", "12.0", "×"]
    assert tuned.split()[-2:] == ["4.0", "×"]
    rows[0]["minutes_to_target"] = None  # we did not arrive: nothing can be compared
    compare(rows)
    assert [row["ratio"] for row in rows] == [None] * 3 and "×" not in report(rows, 5.0)


@pytest.mark.parametrize("package", ["transformers", "accelerate"])
def test_a_missing_package_is_said_in_one_sentence(package, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["bench", "race", f"--out={tmp_path}", f"--corpus={DATA / 'english.txt'}"]) == 2
    assert f"needs {package}, which is not installed: pip install" in capsys.readouterr().err


def test_where_a_curve_reaches_a_level():
    rows = [{"step": 100 * i, "mlm_loss": loss} for i, loss in enumerate([9.0, 6.0, 5.0, 5.5, 4.0])]
    assert plots.reached(rows, 5.5) == 150 and plots.reached(rows, 5.0) == 200 and plots.reached(rows, 9.5) == 0
    assert plots.reached(rows, 3.9) is None
    gap = [{"step": 0, "mlm_loss": float("inf")}, {"step": 10, "mlm_loss": 5.0}]
    assert plots.reached(gap, 6.0) == 10
    with pytest.raises(InputError, match="needs a number under 'seconds'"):
        plots.reached(rows, 5.0, "seconds")


def curve(losses, seconds):
    out = []
    for i, loss in enumerate(losses):
        where = dict(tokens=1e6 * i, step=100 * i, seconds=seconds * i)
        out.append(where | dict(mlm_loss=loss, nsp_accuracy=0.6, pairs=50))
    return out


def test_the_picture_says_where_a_run_reaches_the_loss_of_another_one(tmp_path):
    runs = {"new": curve([9, 5, 3], 60), "old": curve([9, 6, 4], 60), "never": curve([9, 8, 7], 60)}
    loss = plots.pretraining_curves(runs, tmp_path / "two.png", until="old").axes[0]
    assert loss.lines[3].get_ydata() == [4, 4]
    (point,) = [line for line in loss.lines if line.get_marker() == "o" and line.get_markerfacecolor() == "white"]
    assert (*point.get_xdata(), *point.get_ydata()) == (1.5, 4)
    assert [text.get_text() for text in loss.texts if "after" in text.get_text()] == ["4.00 after step 150, 1.5 min"]
    with pytest.raises(InputError, match="no run 'older' to compare with"):
        plots.pretraining_curves(runs, until="older")


def test_the_picture_of_a_race(tmp_path):
    curves = {"ours": curve([9, 6, 4.5], 30), "theirs": curve([9, 8, 7.5], 60)}
    figure = pictures.race(curves, 5.0, tmp_path / "race.png")
    (axis,) = figure.axes
    assert axis.get_xscale() == "log" and axis.lines[0].get_xdata().tolist() == [0, 0.5, 1]
    assert axis.lines[1].get_ydata().tolist() == [9, 8, 7.5] and list(axis.lines[2].get_ydata()) == [5, 5]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["ours: 5 after 0.8 min", "theirs: 5 not reached"]
    again = pictures.race(curves, 5.0, tmp_path / "again.png")
    assert again.axes and (tmp_path / "race.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    with pytest.raises(InputError, match="no race to draw"):
        pictures.race({}, 5.0)
