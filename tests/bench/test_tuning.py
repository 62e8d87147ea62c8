"""The table of the frugal ways: a file per fit, so that it goes on where it was; what stands in a row; and the verdict."""

import json

import pytest
import tiny
import torch
from tiny import DATA, silent

from minilm.bench import prompts, tuning
from minilm.bench.options import BenchOptions
from minilm.errors import InputError
from minilm.experiments.ladder import Material
from minilm.jobs.pretrain import pretrain
from minilm.pretrained.protocol import encoder_config
from minilm.pretrained.run_folder import tokenizer_for
from minilm.text import corpus
from minilm.training.tasks import TextTask


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuning")
    options = tiny.options(folder, steps=1, evaluations=1)
    pretrain(options, silent)
    examples = corpus.labelled(str(DATA / "reviews.csv"))
    tokenizer = tokenizer_for(encoder_config(options.out)[1], options.out)
    task, cpu = TextTask(("negative", "positive")), torch.device("cpu")
    whole = Material.encoded(task, (examples[:40], examples[40:]), tokenizer, 24, cpu)
    return tuning.Base("own", str(options.out), whole, whole.with_examples(examples[:30], examples[30:40]))


def test_F32_a_fit_is_kept_and_not_made_again(base, tmp_path, monkeypatch):
    options = BenchOptions("tuning", out=tmp_path, labels=16, epochs=1)
    monkeypatch.setitem(tuning.WAYS, "low-rank", (tuning.Adaptation("low-rank", rank=2), (1e-3,), (1e-3,)))
    row = tuning.fitted(base, "low-rank", 1e-3, 0, False, options)
    assert row["parameters"] == 26 + 2 * 2 * (48 + 24) and row["share"] == row["parameters"] / (7512 + 26)
    assert 4 * row["parameters"] < row["bytes"] < 4 * row["parameters"] + 2000 and 0 <= row["accuracy"] <= 1
    (path,) = (tmp_path / "tuning").iterdir()
    path.write_text(json.dumps(row | {"accuracy": 0.125}), encoding="utf-8")
    assert tuning.fitted(base, "low-rank", 1e-3, 0, False, options)["accuracy"] == 0.125
    again = BenchOptions("tuning", out=tmp_path, labels=16, epochs=1, again=True)
    assert tuning.fitted(base, "low-rank", 1e-3, 0, False, again)["accuracy"] == row["accuracy"]


def test_F32_the_whole_table_and_its_verdict(base, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "bases", lambda options, say: [base])
    for way in ("all weights", "low-rank"):
        adaptation = tuning.Adaptation("all") if way == "all weights" else tuning.Adaptation("low-rank", rank=2)
        monkeypatch.setitem(tuning.WAYS, way, (adaptation, (1e-4, 1e-3), (1e-3,)))
    said: list[str] = []
    options = BenchOptions("tuning", out=tmp_path, rows=("all weights", "low-rank"), labels=16, epochs=1, seeds=2)
    found = tuning.measure(options, said.append)
    assert [row["model"] for row in found["rows"]] == ["all weights"] * 2 + ["low-rank"] * 2
    assert len(list((tmp_path / "tuning").iterdir())) == 2 * (2 + 2)
    assert any(line.startswith("low-rank, 4.16% trained") or "low-rank, " in line for line in said)
    assert "| low-rank |" in "\n".join(said)
    rows = [
        {
            "base": "own",
            "model": way,
            "labels": 5,
            "seed": 0,
            "accuracy": score,
            "share": 0.01,
            "seconds": 1,
            "parameters": 1,
        }
        for way, score in (("all weights", 0.75), ("low-rank", 0.7399))
    ]
    assert "more than a point below" in tuning.verdict(rows, "own")
    assert "within a point of" in tuning.verdict([rows[0], rows[1] | {"accuracy": 0.7401}], "own")


def test_F32_a_row_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="there is no row 'lora': choose from all weights; low-rank"):
        tuning.measure(BenchOptions("tuning", out=tmp_path, rows=("lora",)), silent)


def test_F33_few_labels_for_the_verbaliser_and_for_the_head(base, tmp_path, monkeypatch):
    vocabulary = base.test.tokenizer.backend.get_vocab()
    a, b = sorted(word for word in vocabulary if word.isalpha() and len(word) > 2)[:2]
    monkeypatch.setattr(prompts, "WORDS", ((a, b),))
    monkeypatch.setattr(prompts, "TEMPLATES", ("{text} so [MASK].", "[MASK]: {text}"))
    monkeypatch.setattr(prompts, "RECIPE", prompts.Recipe(epochs=1, batch=8))
    monkeypatch.setattr(prompts, "RATES", dict.fromkeys(prompts.RATES, (0.001,)))
    monkeypatch.setattr(prompts, "bases", lambda options, say: [base])
    monkeypatch.setattr(Material, "drawn", lambda self, labels, seed: list(range(min(labels, len(self.examples)))))
    said: list[str] = []
    found = prompts.measure(BenchOptions("prompts", out=tmp_path, seeds=1), said.append)
    assert len(found["wording"]) == 2 and {row["model"] for row in found["few"]} == set(prompts.RATES)
    assert "| [MASK]: {text} |" in "\n".join(said) and all(0 <= row["calibrated"] <= 1 for row in found["wording"])
    assert prompts.measure(BenchOptions("prompts", out=tmp_path, seeds=1), silent) == found
