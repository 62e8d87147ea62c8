"""`minilm bench generate` on a tiny model: the contenders are one model, and all figures are there."""

import json

import pytest
import torch

from minilm.bench import generate as measured
from minilm.bench.generate import OURS, THEIRS, WITHOUT
from minilm.bench.options import BenchOptions
from minilm.bench.run import bench
from minilm.models.initialisation import initialise

TINY = dict(width=12, layers=2, heads=3, length=9, vocab_size=200, rounds=2, progress=False)


def test_F23_the_contenders_write_the_same_texts_and_their_speed_is_compared(tmp_path):
    said = []
    written = bench(BenchOptions("generate", **TINY, out=tmp_path), said.append)
    assert json.loads((tmp_path / "generate.json").read_text(encoding="utf-8")) == written
    for B in (1, 16):
        race = written[f"batch_{B}"]
        assert [row["name"] for row in race["rows"]] == [OURS, WITHOUT, THEIRS] and race["texts_alike"] == 1
        for row in race["rows"]:
            seconds, speed = row["median"]["seconds"], row["median"]["tokens_per_second"]
            assert seconds > 0 and speed == pytest.approx(B * 9 / seconds, rel=0.7)
        assert race["faster_than"][THEIRS] == race["ratios"][THEIRS]["median"] > 0
    assert "batch 1:" in "\n".join(said) and "batch 16:" in "\n".join(said)


def test_F23_another_model_is_noticed(tmp_path, monkeypatch):
    real = measured.twin

    def other(model):
        theirs = real(model)
        initialise(theirs, "published", torch.Generator().manual_seed(5))
        return theirs

    monkeypatch.setattr(measured, "twin", other)
    with pytest.raises(RuntimeError, match="the contenders are not the same model"):
        bench(BenchOptions("generate", **TINY, out=tmp_path), lambda _: None)
