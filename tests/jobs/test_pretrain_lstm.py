"""A left-to-right language model is pretrained, resumed, opened and fine-tuned with the same commands."""

import math
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from tiny import DATA, command, same, silent, weights

from minilm.errors import InputError
from minilm.examples.causal_lm import TextWindows
from minilm.jobs import showing
from minilm.jobs.finetune import EvaluateOptions, FinetuneOptions, evaluate, finetune
from minilm.jobs.pretrain import held_out_batches, prepare_for, pretrain
from minilm.models.heads import Classifier
from minilm.models.lstm import LSTMConfig, LSTMEncoder, LSTMLanguageModel
from minilm.pretrained.protocol import ARCHITECTURES, open_model
from minilm.training.objectives import CausalLM
from minilm.training.state import load_state, read_metrics
from minilm.training.supervised import Recipe
from minilm.viz import plots


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("pretrain-lstm")


@pytest.fixture
def run(shared, tmp_path):
    """Options of a run in its own folder; the prepared corpus is shared."""
    return lambda **changes: tiny.options(
        shared, **dict(out=tmp_path / "run", architecture="lstm", heads=4, dropout=0.1) | changes
    )


@pytest.fixture(scope="module")
def folder(shared):
    """An uninterrupted run, made by the command."""
    arguments = tiny.arguments(shared, out=shared / "straight", architecture="lstm", heads=4, dropout=0.1)
    assert command("pretrain", *arguments) == 0
    return shared / "straight"


def lines_of(folder):
    return [{name: value for name, value in line.items() if name != "seconds"} for line in read_metrics(folder)]


def state_of(folder):
    tensors, _ = load_state(folder)
    return tensors | {"progress": tensors["progress"][:2]}


def test_F23_the_folder_holds_a_language_model_and_what_was_measured(folder, run):
    loaded = open_model(folder)
    assert isinstance(loaded.model, LSTMLanguageModel) and not loaded.model.training and not loaded.lacking
    size = loaded.tokenizer.size
    assert loaded.model.config == LSTMConfig(size, embedding=12, hidden=12, layers=2, dropout=0.1)
    rows = read_metrics(folder)
    assert [row["step"] for row in rows] == [0, 4, 8, 12]
    figures = {"loss", "perplexity", "bits_per_character", "bits_per_byte"}
    assert all(row.keys() == {"step", "tokens", "seconds"} | figures for row in rows)
    windows = TextWindows(prepare_for(run(), silent).train, loaded.tokenizer, 24, 4, 0)
    assert rows[-1]["tokens"] == sum(windows[step].tokens for step in range(12)) > 12 * 4 * 12
    assert rows[-1]["loss"] < rows[0]["loss"] and rows[0]["loss"] == pytest.approx(math.log(size), abs=0.3)
    measured = CausalLM().measure(loaded.model, held_out_batches(prepare_for(run(), silent), 24, "causal"))
    assert {name: rows[-1][name] for name in measured} == pytest.approx(measured, rel=1e-6)


def test_the_picture_shows_the_loss_that_was_measured(folder, run, monkeypatch):
    assert (folder / "pretraining.png").read_bytes().startswith(b"\x89PNG")
    figures, real = [], plots.pretraining_curves
    monkeypatch.setattr(showing.plots, "pretraining_curves", lambda *a, **k: figures.append(real(*a, **k)))
    pretrain(run(steps=4), silent)
    pretrain(run(steps=4, architecture="bert", out=run().out.with_name("bert")), silent)
    (loss,), (masked, accuracy) = (figure.axes for figure in figures)
    assert loss.get_title() == "" and loss.get_title(loc="left") == "held-out loss per token (nats)"
    assert loss.lines[0].get_ydata().tolist() == [row["loss"] for row in read_metrics(run().out)]
    assert masked.get_title(loc="left") == "held-out masked-word loss (nats)"
    assert accuracy.get_title(loc="left") == "held-out next-sentence accuracy (95 % band)"


@pytest.mark.parametrize("steps", [(0,), (7,), (2, 9)])
def test_resumed_is_uninterrupted_bit_for_bit(steps, run, folder, monkeypatch):
    monkeypatch.setattr(showing.plots, "pretraining_curves", silent)
    tiny.ctrl_c_at(monkeypatch, TextWindows, *steps)
    for i, step in enumerate(steps):
        torch.manual_seed(i)  # the global generator must not matter
        with pytest.raises(KeyboardInterrupt):
            pretrain(run(resume=i > 0), silent)
        assert load_state(run().out)[0]["progress"][0] == step + 1
    pretrain(run(resume=True), silent)
    assert same(weights(run().out), weights(folder)) and same(state_of(run().out), state_of(folder))
    lines = {line["step"]: line for line in lines_of(run().out)}
    assert [lines[line["step"]] for line in lines_of(folder)] == lines_of(folder)


def test_a_run_is_not_resumed_with_another_architecture(folder, run):
    with pytest.raises(InputError, match=r"started with other options \(architecture was lstm and is bert\)"):
        pretrain(replace(run(), out=folder, architecture="bert", resume=True), silent)


def test_an_architecture_that_there_is_not_is_named_with_those_that_there_are(tmp_path, capsys):
    assert command("pretrain", *tiny.arguments(tmp_path, architecture="elman")) == 2
    names = ", ".join(architecture.name for architecture in ARCHITECTURES if architecture.has_name)
    assert f"architecture 'elman' is not known: choose one of {names}." in capsys.readouterr().err
    assert not (tmp_path / "run").exists() and not (tmp_path / "cache").exists()


def test_F07_a_pretrained_lstm_is_fine_tuned_by_the_command(folder, tmp_path, capsys):
    out = tmp_path / "classifier"
    arguments = ["--model", folder, "--data", DATA / "reviews.csv", "--out", out, "--no-progress"]
    assert command("finetune", *arguments, "--recipe.epochs", "1") == 0
    loaded = open_model(out)
    assert isinstance(loaded.model, Classifier) and isinstance(loaded.model.encoder, LSTMEncoder)
    assert loaded.model.labels == ("negative", "positive") and loaded.max_length is None
    before, after = weights(folder), weights(out)
    encoder = [name for name in after if name.startswith("encoder.")]
    assert len(encoder) == 1 + 2 * 3 and all(before[name].shape == after[name].shape for name in encoder)
    assert all(not torch.equal(before[name], after[name]) for name in encoder)  # training changed all of them
    assert "on 16 held-out examples: accuracy 0." in capsys.readouterr().out


def test_F08_with_the_head_alone_its_encoder_stays_bit_for_bit(folder, tmp_path):
    data, out = str(DATA / "reviews.csv"), tmp_path / "head"
    options = FinetuneOptions(
        *(data, str(folder), out), test=data, recipe=Recipe(epochs=2, head_only=True), progress=False
    )
    measured = finetune(options, silent)
    assert np.isfinite(list(measured.values())).all() and evaluate(EvaluateOptions(out, data), silent) == measured
    before, after = weights(folder), weights(out)
    assert all(torch.equal(before[name], after[name]) for name in after if name.startswith("encoder."))
    assert {name for name in after if not name.startswith("encoder.")} == {"head.weight", "head.bias"}
    assert after["head.weight"].shape == (2, 12)  # a new head, not one row per vocabulary entry


@pytest.mark.parametrize(
    "given",
    [
        *({"heads": 3}, {"norm": "pre"}, {"positions": "none"}, {"feed_forward": 20}, {"mask_rate": 0.3}),
        {"pooler_learning_rate_scale": 0.5},
        {"next_sentence_rest": 0.5},
    ],
)
def test_an_option_that_an_lstm_has_no_use_for_is_refused(given, run):
    (name,) = given
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')} means nothing to lstm: leave it out"):
        run(**given)
