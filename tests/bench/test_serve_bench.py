"""`minilm bench serve` on tiny models: all questions are asked, and a wrong answer is noticed."""

import json

import pytest
import tiny

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed (2026-11-27)")

from minilm.bench import serve as measured
from minilm.bench.options import BenchOptions
from minilm.bench.run import bench
from minilm.errors import InputError


def options(tmp_path, **changes):
    given = dict(width=12, layers=1, heads=3, length=40, vocab_size=300, steps=6, corpus=str(tiny.DATA / "english.txt"))
    return BenchOptions(
        "serve", **given | dict(texts=str(tiny.DATA / "reviews.csv"), out=tmp_path, cache=tmp_path) | changes
    )


def test_every_question_is_asked_by_one_client_and_by_four(tmp_path):
    said = []
    written = bench(options(tmp_path), said.append)
    assert json.loads((tmp_path / "serve.json").read_text(encoding="utf-8")) == written
    names = ["predict", "fill-mask", "similar", "explore", "generate"]
    assert [(row["name"], row["clients"]) for row in written["rows"]] == [(name, n) for name in names for n in (1, 4)]
    for row in written["rows"]:
        assert len(row["seconds"]) == 6 and 0 < min(row["seconds"]) <= row["p50"] <= row["p95"] <= max(row["seconds"])
    assert "p95 ms" in "\n".join(said)


def test_an_answer_that_is_not_the_models_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "ask", lambda connection, name, asked: (0.1, {"predictions": []}))
    with pytest.raises(RuntimeError, match="does not answer what the model says"):
        bench(options(tmp_path), lambda _: None)


def test_too_few_texts_are_named(tmp_path):
    with pytest.raises(InputError, match="requests need more: lower --steps"):
        bench(options(tmp_path, steps=5000), lambda _: None)
