import json
from itertools import product

import pytest
import tiny
import torch
from tiny import DATA, silent

from minilm.bench import precision, processes, scale
from minilm.bench.generated_text import write_text_of_size
from minilm.bench.options import BenchOptions
from minilm.bench.run import bench
from minilm.bench.tuning import Base
from minilm.errors import InputError
from minilm.experiments.ladder import Material
from minilm.jobs.pretrain import pretrain
from minilm.pretrained.protocol import encoder_config
from minilm.pretrained.run_folder import tokenizer_for
from minilm.text.corpus import labelled
from minilm.training import precision as precision_of_training
from minilm.training.supervised import Recipe
from minilm.training.tasks import TextTask


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "LENGTHS", (8,))
    monkeypatch.setattr(scale, "STEPS_OF_CORPUS", 2)
    monkeypatch.setattr(processes, "STEPS", 3)
    monkeypatch.setattr(processes, "TEXT", 0.2)
    monkeypatch.setattr(processes, "WARM_UP", 0)
    return lambda *rows, **more: BenchOptions(
        "scale", out=tmp_path, rows=rows, rounds=1, threads=1, progress=False, **more
    )


def test_the_rows_of_attention_and_of_corpora(small, tmp_path):
    said = []
    found = bench(small("attention", "corpus", megabytes=(0.1,)), say=said.append)
    assert [row["T"] for row in found["attention"]["rows"]] == [8] and "processes" not in found
    assert all(row["written_ms"] > 0 and row["fused_ms"] > 0 for row in found["attention"]["rows"])
    sizes = [row["megabytes"] for row in found["corpus"]["rows"]]
    assert len(sizes) == 1 and 0.1 <= sizes[0] < 0.3
    assert all(row["train_peak_mb"] > 50 and row["steps_per_second"] > 0 for row in found["corpus"]["rows"])
    assert json.loads((tmp_path / "scale.json").read_text(encoding="utf-8"))["corpus"] == found["corpus"]
    assert any(line.lstrip().startswith("T ") for line in said)


def test_one_and_two_processes_learn_the_same(small):
    said = []
    found = bench(small("processes"), say=said.append)["processes"]
    assert found["losses_apart"] <= 1e-5 and len(found["faster"]) == 1 and 1.8 < found["at_best"] < 2
    assert "their losses are at most" in said[0] and any("if nobody waited" in line for line in said)
    (one,), two = found["parts"]["one process"], found["parts"]["two processes"]
    assert len(two) == 2 and one["reducing_ms"] == 0 < two[0]["reducing_ms"]
    for clock in ("wall", "cpu"):
        whole = sum(one[clock][part] for part in processes.PARTS)
        assert one[clock]["the whole step"] == pytest.approx(whole) and one[clock]["forward and backward"] > whole / 2
        assert one[clock]["waiting and reducing"] == 0 < two[1][clock]["waiting and reducing"]


def test_processes_that_learn_something_else_are_no_result(small, monkeypatch):
    """Without this, two wrong processes would be twice as fast."""
    monkeypatch.setattr(processes, "run_in", lambda count, *_: [{"mlm_loss": 5.0 + count / 1000, "seconds": 1.0}])
    with pytest.raises(RuntimeError, match="1.0e-03 apart"):
        processes.processes(small("processes"), print)


def test_the_generated_text_has_sentences_and_documents(tmp_path):
    write_text_of_size(tmp_path / "a.txt", 0.3, seed=1)
    write_text_of_size(tmp_path / "b.txt", 0.3, seed=1)
    text = (tmp_path / "a.txt").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.txt").read_text(encoding="utf-8")
    documents = text.rstrip("\n").split("\n\n")
    assert {len(document.split("\n")) for document in documents} == {10}
    counts = sorted(torch.tensor([text.split().count(word) for word in sorted(set(text.split()))[:50]]).tolist())
    assert counts[-1] > 5 * counts[0] >= 5  # a few words are frequent and most are rare


def test_bf16_learns_nearly_the_same_and_is_left_out_where_no_processor_has_it(small, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "SIZES", ((1, 8),))
    options = small("precision", steps=4, corpus=str(DATA / "english.txt"), cache=tmp_path / "cache")
    for units in (["pretended"], []):
        for module in (precision, precision_of_training):
            monkeypatch.setattr(module, "bf16_units", lambda units=units: units)
        said = []
        found = bench(options, say=said.append)["precision"]
        assert found["units"] == units and f"multiplies bf16 with: {units[0] if units else 'nothing'}" in said[0]
        if not units:
            assert found["rows"] == [] and "this processor has no unit for bf16" in said[1]
            continue
        (row,) = found["rows"]
        assert len(row["faster"]) == 3 and all(per_second > 0 for per_second in row["steps_per_second"].values())
        losses = [row["measured"][name]["mlm_loss"] for name in ("float32", "bf16")]
        assert losses[0] != losses[1] and losses == pytest.approx([losses[0]] * 2, abs=0.005)


def test_fine_tuning_in_bf16_beside_float32(small, tmp_path, monkeypatch):
    settings = tiny.options(tmp_path, steps=1, evaluations=1)
    pretrain(settings, silent)
    examples, tokenizer = (
        labelled(str(DATA / "reviews.csv")),
        tokenizer_for(encoder_config(settings.out)[1], settings.out),
    )
    task = TextTask(("negative", "positive"))
    material = Material.encoded(task, (examples[:40], examples[40:]), tokenizer, 24, torch.device("cpu"))
    monkeypatch.setattr(precision, "bases", lambda options, say: [Base("own", str(settings.out), material, material)])
    for units in (["pretended"], []):
        for module in (precision, precision_of_training):
            monkeypatch.setattr(module, "bf16_units", lambda units=units: units)
        said = []
        found = bench(small("fine-tuning", labels=8, seeds=2, seed=3), say=said.append)["fine-tuning"]
        assert found["units"] == units and bool(found["rows"]) == bool(units) == any(
            "float32, s" in line for line in said
        )
        if units:
            assert [(r["seed"], r["precision"]) for r in found["rows"]] == [*product((3, 4), ("float32", "bf16"))]
            assert all(row["labels"] == 8 and row["seconds"] > 0 <= row["accuracy"] <= 1 for row in found["rows"])
            kept = [
                precision.fit_in(name, precision.bases(0, 0)[0], Recipe(epochs=1), 8, 3)[0]
                for name in ("float32", "bf16")
            ]
            assert any(not torch.equal(a, b) for a, b in zip(*(model.parameters() for model in kept), strict=True))
        else:
            assert "this processor has no unit for bf16" in said[1]


def test_an_unknown_part_is_refused(small):
    with pytest.raises(
        InputError, match="scale has no part 'speed': choose from attention, corpus, processes, precision, fine-tuning"
    ):
        scale.measure(small("speed"), print)
    with pytest.raises(InputError, match="megabytes must be above 0"):
        BenchOptions("scale", megabytes=(0.0,))
