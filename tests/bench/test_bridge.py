"""`minilm bench bridge` on a model with a few hundred weights: every part is measured, and a wrong part is noticed."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from minilm.bench import bridge
from minilm.bench.bridge import aims, hidden_states, mixed_lengths, parity, round_trip
from minilm.bench.options import BenchOptions
from minilm.bench.run import bench
from minilm.errors import InputError
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.initialisation import initialise
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.pretrained.protocol import open_encoder, save_model
from minilm.text import corpus
from minilm.text.tokenizer import train_wordpiece

DATA = Path(__file__).resolve().parents[2] / "data"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("bridge") / "tiny"
    tokenizer = train_wordpiece([DATA / "english.txt"], 200)
    config = TransformerConfig(tokenizer.size, width=12, layers=2, heads=3, feed_forward=8, max_length=90, dropout=0.1)
    model = SentenceEncoder(Bert(config))
    initialise(model, generator=torch.Generator().manual_seed(0))
    save_model(out, model, tokenizer)
    return out


@pytest.fixture
def options(folder, tmp_path):
    where = dict(
        out=tmp_path, cache=tmp_path / "cache", corpus=str(DATA / "english.txt"), texts=str(DATA / "reviews.csv")
    )
    sizes = dict(rounds=3, steps=1, labels=12, seeds=2, epochs=1, sentences=20, held_out=8, vocab_size=200)
    return BenchOptions("bridge", model=str(folder), progress=False, **where | sizes)


def test_every_part_is_measured_and_written(options, tmp_path):
    said = []
    written = bench(options, said.append)
    assert json.loads((tmp_path / "bridge.json").read_text(encoding="utf-8")) == written
    assert written["parity"]["float64"]["largest"] < 1e-12 and written["parity"]["float32"]["largest"] < 2e-5
    assert len(written["parity"]["float32"]["after_each_layer"]) == 3 and written["parity"]["sentences"] == 20
    assert written["parity"]["lowest_cosine"] == pytest.approx(1, abs=1e-6)
    assert all(written["round_trip"].values())
    tuned = written["finetuning"]
    assert tuned["ladder_row"] == "tiny, fine-tuned" and tuned["recipe"]["epochs"] == 1
    for who, name in (("ours", "minilm"), ("theirs", "transformers")):
        assert len(tuned[who]["each"]["accuracy"]) == 2 and 0 <= tuned[who]["accuracy"] <= 1
        assert tuned[who]["accuracy"] == pytest.approx(np.mean(tuned[who]["each"]["accuracy"]))
        assert min(tuned[who]["each"]["seconds"]) > 0
        assert name in "\n".join(said)
    seconds = [tuned[who]["each"]["seconds"] for who in ("ours", "theirs")]
    assert tuned["seconds_ours_over_theirs"] == pytest.approx(np.median(np.divide(*seconds)))
    assert [row["name"] for row in tuned["step"]["rows"]] == ["minilm", "transformers"]
    names = [row["name"] for row in written["inference"]["rows"]]
    assert names[:2] == ["minilm", "transformers"] and written["inference"]["vectors_apart"] < 1e-5
    assert "minilm, products by oneDNN" in names
    assert ("sentence-transformers" in names) == (written["inference"]["sentence-transformers"] is not None)
    assert written["aims"]["hidden states within 1e-9 in float64"] is True
    assert len(written["aims"]) == 8 + ("sentence-transformers" in names)


def test_a_missing_referee_is_said(options, monkeypatch):
    said = []
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    assert bridge.sentence_transformer(options.out, said.append) is None
    assert "sentence-transformers is not installed and is left out" in said[0]
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match="pip install transformers"):
        bench(options, said.append)
    assert not (options.out / "bridge.json").exists()


def test_a_difference_is_seen(folder, monkeypatch):
    texts = [example.text for example in corpus.labelled(str(DATA / "reviews.csv"))][:6]
    opened = open_encoder(folder)
    with torch.no_grad():
        opened.model.encoder.stack.layers[1].feed_forward.inner.bias[0] += 1e-3
    found = parity(opened, texts)
    assert max(found["float64"]["after_each_layer"][:2]) < 1e-12 < 1e-6 < found["float64"]["after_each_layer"][2]
    answers = round_trip(opened)
    assert answers["ours_theirs_ours_bit_equal"] and not answers["published_file_equal"]


def test_hidden_states_are_those_of_the_model_and_lengths_are_mixed(folder):
    opened = open_encoder(folder)
    ids, attention_mask = torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]]), torch.tensor([[True] * 4, [True] * 3 + [False]])
    states = hidden_states(opened.model, ids, attention_mask)
    hidden = opened.model.encoder(ids, attention_mask=attention_mask).hidden
    torch.testing.assert_close(states[-1], hidden[attention_mask])
    assert len(states) == 3 and all(state.shape == (7, 12) for state in states)
    texts = ["a" * n for n in (5, 1, 9, 3, 7)]
    assert [len(text) for text in mixed_lengths(texts, 3)] == [1, 5, 9] and len(mixed_lengths(texts, 99)) == 5


def test_aims_that_are_missed_are_told():
    figures = {
        "parity": {"float32": {"largest": 3e-5}, "float64": {"largest": 1e-10}, "lowest_cosine": 0.9999999},
        "round_trip": {"a": True, "b": False},
        "inference": {"ratios": {"transformers": {"median": 1.6}, "sentence-transformers": {"median": 0.9}}},
        "finetuning": {
            "ours": {"accuracy": 0.76},
            "seconds_ours_over_theirs": 0.7,
            "step": {"ratios": {"transformers": {"median": 0.99}}},
        },
    }
    assert list(aims(figures).values()) == [False, True, True, False, False, True, False, True, False]
