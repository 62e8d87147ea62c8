"""`minilm pretrain --architecture gpt` and `minilm generate`: a run is trained, continued bit for bit, and writes."""

import json
import re

import numpy as np
import pytest
import tiny
import torch
from tiny import DATA, command, same, silent, weights

from minilm.errors import InputError
from minilm.examples.causal_lm import TextWindows
from minilm.jobs.generate import GenerateOptions, generate
from minilm.jobs.pretrain import build, held_out_batches, prepare_for, pretrain
from minilm.models.gpt import GPT, GPTConfig, learning_rate_scales
from minilm.pretrained.protocol import open_model
from minilm.text.prepare import document_sizes
from minilm.text.store import Store
from minilm.training.objectives import CausalLM
from minilm.training.state import load_state, read_metrics
from minilm.training.writing import Pieces, never_written, write
from minilm.viz import plots

UNITS = ("wordpiece", "characters", "bytes")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("gpt")


@pytest.fixture(scope="module")
def folders(shared):
    """A run for each kind of units, and one of an LSTM, made by the command."""
    for units in UNITS:
        arguments = tiny.arguments(shared, out=shared / units, units=units, objective="causal", steps=6)
        assert command("pretrain", *arguments) == 0
    assert command("pretrain", *tiny.arguments(shared, out=shared / "lstm", architecture="lstm", heads=4, steps=6)) == 0
    return {name: shared / name for name in (*UNITS, "lstm")}


@pytest.fixture
def run(shared, tmp_path):
    return lambda **changes: tiny.options(shared, **dict(out=tmp_path / "run", architecture="gpt") | changes)


# ---- pretraining


def test_F23_the_folder_holds_a_gpt_and_what_was_measured(folders, run):
    loaded = open_model(folders["wordpiece"])
    size = loaded.tokenizer.size
    assert type(loaded.model) is GPT and loaded.model.config == GPTConfig(size, 12, 2, 3, 48, 24) and not loaded.lacking
    rows = read_metrics(folders["wordpiece"])
    prepared = prepare_for(run(), silent)
    held_out = held_out_batches(prepared, 24, "causal")
    measured = CausalLM().measure(loaded.model, held_out)
    assert {name: rows[-1][name] for name in measured} == pytest.approx(measured, rel=1e-5)
    text = (prepared.folder / "held_out.txt").read_text(encoding="utf-8")
    documents = [" ".join(lines.split("\n")) for lines in text.strip().split("\n\n")]
    sizes = torch.cat([batch.text_sizes for batch in held_out]).sum(0).tolist()
    assert sizes == [sum(map(len, documents)), sum(len(document.encode()) for document in documents)]
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_documents_of_which_the_tokenizer_sees_nothing_have_no_size(run, tmp_path):
    prepared = prepare_for(run(), silent)
    file = tmp_path / "text.txt"
    file.write_text("one river\n\n\u200b\n\ntwo\nmore\n", encoding="utf-8")

    store = Store(np.zeros(3, np.uint16), np.array([0, 1, 2, 3]), np.array([0, 1, 3]))  # of two documents
    assert document_sizes(file, prepared.tokenizer, store).tolist() == [[9, 9], [8, 8]]


@pytest.mark.parametrize(("steps", "candidates"), [((0,), 0), ((2, 9), 40)])
def test_resumed_is_uninterrupted_bit_for_bit(steps, candidates, run, monkeypatch, tmp_path):
    """Also with candidates, which are drawn anew at every step."""
    monkeypatch.setattr(plots, "pretraining_curves", silent)
    changes = dict(dropout=0.1, candidates=candidates)
    straight = run(out=tmp_path / "straight", **changes)
    pretrain(straight, silent)
    tiny.ctrl_c_at(monkeypatch, TextWindows, *steps)
    for i in range(len(steps)):
        with pytest.raises(KeyboardInterrupt):
            pretrain(run(resume=i > 0, **changes), silent)
    pretrain(run(resume=True, **changes), silent)
    assert same(weights(run().out), weights(straight.out))
    assert load_state(run().out)[0]["progress"][0] == 12


def test_the_start_has_large_embeddings_and_logits_of_the_usual_size(run):
    prepared = prepare_for(run(width=24), silent)
    for vectors in (False, True):
        model = build(run(width=24, word_vectors=vectors), prepared)
        table = model.encoder.tokens.weight.detach()
        assert float(table.std()) == pytest.approx(0.08 * 24**0.5, rel=0.1)
        logits = model(torch.arange(20)[None]).detach()
        assert 0.1 < float(logits.std()) < 1
    options = run(width=16, heads=4)
    scales = options.optimisation.scales
    assert scales == learning_rate_scales(options.model_config(300)) and scales["encoder.tokens."] == 4.0
    assert run(init="published").optimisation.scales == {}
    assert (options.embedding_learning_rate_scale, run(architecture="lstm", heads=4).embedding_learning_rate_scale) == (
        0.3,
        0.1,
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            dict(objective="causal", architecture="bert"),
            "--objective causal and --architecture bert contradict each other",
        ),
        (dict(objective="bert", architecture="gpt"), "--objective bert and --architecture gpt contradict each other"),
        (dict(objective="masked"), "objective 'masked' is not known: choose bert or causal"),
        (dict(architecture="gpt", mask_rate=0.3), "--mask-rate means nothing to gpt: leave it out"),
        (dict(architecture="bert", candidates=500), "--candidates means nothing to bert: leave it out"),
        (dict(architecture="gpt", norm="pre"), "--norm means nothing to gpt: leave it out"),
        (dict(architecture="gpt", positions="mpnet"), "positions 'mpnet' is not known"),
        (
            dict(architecture="gpt", units="letters"),
            "units 'letters' are not known: choose one of wordpiece, characters, bytes",
        ),
        (dict(architecture="gpt", units="bytes", vocab_size=200), "a vocabulary of 200 is too small for bytes"),
    ],
)
def test_options_that_contradict_each_other_are_one_sentence(given, said, tmp_path, capsys):
    assert command("pretrain", *tiny.arguments(tmp_path, **given)) == 2
    assert said in capsys.readouterr().err


def test_what_is_left_out_follows_from_the_rest(run):
    assert (run(architecture=None).architecture, run(architecture=None, objective_name="causal").architecture) == (
        "bert",
        "gpt",
    )
    assert (run().lowercase, run(units="bytes").lowercase, run(units="bytes", lowercase=True).lowercase) == (
        True,
        False,
        True,
    )


def test_bytes_keep_the_text_of_a_document_as_it_is(folders, run):
    prepared = prepare_for(run(units="bytes"), silent)
    start, end = prepared.held_out.document_borders[:2]
    text = (prepared.folder / "held_out.txt").read_text(encoding="utf-8").split("\n\n")[0]
    assert prepared.tokenizer.text(prepared.held_out.ids[start:end].tolist()) == " ".join(text.split("\n"))


# ---- writing


@pytest.mark.parametrize("name", [*UNITS, "lstm"])
def test_F23_a_text_is_streamed_in_pieces_that_make_up_the_whole(name, folders, capsys):
    assert command("generate", folders[name], "the river", "--tokens", 30, "--seed", 3) == 0
    streamed = capsys.readouterr().out
    said = []
    (text,) = generate(GenerateOptions(folders[name], ("the river",), 30, seed=3), said.append)
    assert streamed == "the river" + text.text + "\n" and said[0] == "the river" + text.text
    assert len(text.written.ids) == 30 or text.written.reason == "end"
    loaded = open_model(folders[name])
    assert (
        loaded.tokenizer.text([*text.prompt_ids, *text.written.ids])
        == loaded.tokenizer.text(text.prompt_ids) + text.text
    )
    banned = never_written(loaded.model, loaded.tokenizer)
    assert loaded.tokenizer.end not in banned and not banned & {*text.written.ids} and len(banned) >= 4
    (other,) = generate(GenerateOptions(folders[name], ("the river",), 30, seed=4), silent)
    assert other.text != text.text


def test_several_prompts_are_continued_together_each_as_it_would_be_alone(folders):
    prompts = ("the old house", "a", "nobody came")
    greedy = dict(tokens=12, temperature=0.0)
    texts = generate(GenerateOptions(folders["bytes"], prompts, **greedy), silent)
    assert [text.prompt for text in texts] == [*prompts]
    for prompt, text in zip(prompts, texts, strict=True):
        assert generate(GenerateOptions(folders["bytes"], (prompt,), **greedy), silent)[0].text == text.text


def test_pieces_hold_back_half_a_character_and_no_space_is_lost(folders):
    tokenizer = open_model(folders["bytes"]).tokenizer
    text = " 北京 🎉 élan."
    pieces, ids = Pieces(tokenizer, tokenizer.prompt("in")), tokenizer.ids([text])[0]
    shown = [pieces.add(i) for i in ids]
    assert "".join(shown) == text and "" in shown and not any("\ufffd" in piece for piece in shown)
    half = Pieces(tokenizer, tokenizer.prompt("in"))
    assert [half.add(i) for i in tokenizer.ids(["é"])[0][:1]] == [""] and half.rest() == "\ufffd"
    words = open_model(folders["wordpiece"]).tokenizer
    ids = words.ids(["the oldest river, nobody."])[0]
    assert any(token.startswith("##") for token in words.tokens(ids))
    pieces = Pieces(words, words.prompt("in"))
    assert "".join(pieces.add(i) for i in ids) == words.text([*words.prompt("in"), *ids])[2:]


def test_a_stop_token_ends_a_text_and_beams_are_searched(folders):
    loaded = open_model(folders["wordpiece"])
    (free,) = write(loaded.model, loaded.tokenizer, ["the"], 25, temperature=1.5, seed=1)
    stop = next(token for token in loaded.tokenizer.tokens(free.written.ids) if not token.startswith("##"))
    (text,) = write(loaded.model, loaded.tokenizer, ["the"], 25, temperature=1.5, seed=1, stop=[stop])
    assert text.written.reason == "end" and loaded.tokenizer.tokens(text.written.ids)[-1] == stop
    pieces = []
    (best,) = write(loaded.model, loaded.tokenizer, ["the"], 6, beams=3, on_piece=lambda i, piece: pieces.append(piece))
    assert "".join(pieces) == best.text and best.written.score < 0


def test_what_happens_at_the_end_of_the_context_is_said(folders, shared, capsys):
    assert command("generate", folders["wordpiece"], "the", "--tokens", 40, "--temperature", 2) == 0
    assert "the text is longer than the 24 tokens that the model looks back" in capsys.readouterr().err
    arguments = tiny.arguments(shared, out=shared / "learned", objective="causal", positions="learned", steps=2)
    assert command("pretrain", *arguments) == 0
    assert json.loads((shared / "learned" / "config.json").read_text(encoding="utf-8"))["model_type"] == "gpt2"
    assert command("generate", shared / "learned", "the", "--tokens", 40, "--temperature", 2) == 0
    assert "the text ends where it does because it fills all 24 positions of the model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["river " * 30], r"prompt 1 has \d+ tokens, and the model reads 24: shorten it"),
        (["a", "--temperature", "-1"], r"temperature -1.0 must be 0 \(the most likely token\) or above"),
        (["a", "--top-k", "0"], "top_k 0 must be at least 1"),
        (["a", "--top-p", "0"], "top_p 0.0 must be above 0 and at most 1"),
        (["a", "--top-p", "1.1"], "top_p 1.1 must be above 0 and at most 1"),
        (["a", "--tokens", "0"], "tokens must be at least 1, not 0"),
        (["a", "--beams", "0"], "beams must be at least 1, not 0"),
        (
            ["a", "--beams", "2", "--temperature", "0.5"],
            "2 beams draw nothing at random, so --temperature means nothing",
        ),
        (
            ["a", "--temperature", "0", "--top-k", "3"],
            "temperature 0 draws nothing at random, so --top-k means nothing",
        ),
        (["a", "--stop", "the river"], r"'the river' cannot end a text: it is \d+ tokens"),
        (["a", "--seed", "-1"], "seed must be at least 0"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_printed_before_it(given, said, folders, capsys):
    assert command("generate", folders["wordpiece"], *given) == 2
    printed = capsys.readouterr()
    assert re.search(said, printed.err) and printed.err.count("\n") == 1 and printed.out == ""


def test_a_folder_of_another_architecture_is_refused(shared, capsys):
    assert command("pretrain", *tiny.arguments(shared, out=shared / "bert", steps=1)) == 0
    data = ["--data", DATA / "reviews.csv", "--model", shared / "bert", "--out", shared / "classifier"]
    assert command("finetune", *data, "--recipe.epochs", "1", "--no-progress", "--truncate") == 0
    capsys.readouterr()
    for name, kind in (("bert", "BertForPretraining"), ("classifier", "Classifier")):
        assert command("generate", shared / name, "the") == 2
        assert f"holds a {kind}, which writes no texts: name the folder of a gpt or an lstm" in capsys.readouterr().err
    assert command("generate", shared / "nowhere", "the") == 2
    with pytest.raises(InputError, match="is not a run folder"):
        generate(GenerateOptions(shared / "nowhere", ("the",)), silent)


def test_F07_a_pretrained_gpt_is_fine_tuned_by_the_command(folders, tmp_path, capsys):
    out = tmp_path / "classifier"
    arguments = [
        "--model",
        folders["wordpiece"],
        "--data",
        DATA / "reviews.csv",
        "--out",
        out,
        "--no-progress",
        "--truncate",
    ]
    assert command("finetune", *arguments, "--recipe.epochs", "1") == 0
    assert "held-out examples: accuracy 0." in capsys.readouterr().out
    assert open_model(out).model.labels == ("negative", "positive")
