"""`bench little-data`: a file per fit, pairs of fits on the same texts, Student's intervals, and nothing of the test set chosen by."""

import json

import numpy as np
import pytest
import tiny
import torch
from scipy import stats
from tiny import DATA, silent

from minilm.bench import little_data as bench
from minilm.bench.options import BenchOptions
from minilm.bench.tuning import Base
from minilm.errors import InputError
from minilm.examples.labels import IGNORED
from minilm.experiments.intervals import student
from minilm.experiments.ladder import Material
from minilm.jobs.pretrain import pretrain
from minilm.pretrained.protocol import encoder_config
from minilm.pretrained.run_folder import tokenizer_for
from minilm.text import corpus
from minilm.training.tasks import TextTask


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    settings = tiny.options(tmp_path_factory.mktemp("little"), steps=1, evaluations=1)
    pretrain(settings, silent)
    examples = corpus.labelled(str(DATA / "reviews.csv"))
    tokenizer = tokenizer_for(encoder_config(settings.out)[1], settings.out)
    task, cpu = TextTask(("negative", "positive")), torch.device("cpu")
    whole = Material.encoded(task, (examples[:40], examples[40:]), tokenizer, 24, cpu)
    return Base("own", str(settings.out), whole, whole.with_examples(examples[:30], examples[30:40]))


def row(name, seed, accuracy):
    facts = {"setting": "–", "labels": 16, "seconds": 1.0, "parameters": 1}
    return {"model": name, "seed": seed, "accuracy": accuracy, **facts}


def test_the_interval_is_students():
    values = [0.71, 0.74, 0.73, 0.69, 0.75]
    mean, low, high = student(values)
    wanted = stats.t.interval(0.95, df=4, loc=np.mean(values), scale=stats.sem(values))
    assert (low, high) == pytest.approx(wanted, abs=1e-12) and mean == pytest.approx(0.724)
    assert student([0.5]) == (0.5, -np.inf, np.inf)


def test_a_difference_is_one_of_pairs_so_that_what_both_share_goes_away():
    plain, gains = [0.60, 0.70, 0.80], [0.010, 0.012, 0.011]
    rows = [row(bench.PLAIN, s, a) for s, a in enumerate(plain)]
    rows += [row("L2", s, a + g) for s, (a, g) in enumerate(zip(plain, gains))]
    mean, low, high = bench.difference(rows, "L2")
    assert mean == pytest.approx(1.1) and 0 < low < mean < high < 1.5
    assert "+1.1 [" in bench.table(rows, "L2") and "higher: L2; lower: none" in bench.verdict(rows)
    worse = rows[:3] + [row("L2", s, a - g) for s, (a, g) in enumerate(zip(plain, gains))]
    assert "higher: none; lower: L2" in bench.verdict(worse)
    noise = rows[:3] + [row("L2", s, a + g) for s, (a, g) in enumerate(zip(plain, [0.05, -0.05, 0.01]))]
    assert "higher: none; lower: none" in bench.verdict(noise)


def test_the_switches_of_a_table_are_fitted_and_a_fit_is_not_made_again(base, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "bases", lambda options, say: [base])
    monkeypatch.setattr(bench, "RECIPE", bench.replace(bench.RECIPE, epochs=1, batch=8))
    monkeypatch.setattr(bench, "UNLABELLED", 8)
    monkeypatch.setattr(corpus, "tagged", lambda name: [corpus_line() for _ in range(9)])
    for name in bench.SWITCHES:
        monkeypatch.setitem(bench.SWITCHES, name, bench.SWITCHES[name][:1])  # nothing to choose
    monkeypatch.setitem(bench.SWITCHES, "L2", bench.changed("λ = {:g}", "l2", 1e-4, 1e-3))
    said = []
    options = BenchOptions("little-data", out=tmp_path, labels=16, seeds=1)
    found = bench.measure(options, said.append)["rows"]
    assert [r["model"] for r in found] == list(bench.ROWS)
    files = {path.name: path for path in (tmp_path / "little-data").iterdir()}
    assert len(files) == len(bench.ROWS) + 2 and sum(name.endswith("-development.json") for name in files) == 2
    path = files["label-smoothing-ε-=-0.1-16-0-test.json"]
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"accuracy": 0.125}), encoding="utf-8")
    again = bench.measure(
        BenchOptions("little-data", out=tmp_path, labels=16, seeds=1, rows=("label smoothing",)), silent
    )
    assert [r["model"] for r in again["rows"]] == [bench.PLAIN, "label smoothing"] and again["rows"][1][
        "accuracy"
    ] == 0.125
    assert any(line.startswith("L2, on the development part: λ = 0.0001: ") for line in said)
    with pytest.raises(InputError, match="there is no row 'hope': choose from the recipe; early stopping"):
        bench.measure(BenchOptions("little-data", out=tmp_path, rows=("hope",)), silent)


def corpus_line():
    from minilm.text.tagged import TaggedLine

    return TaggedLine(["the", "film", "by", "bea"], ["O", "O", "O", "B-person"])


def test_the_rare_class_is_rare_and_every_row_gets_the_same_texts(base):
    drawn = bench.skewed(base.test, 10, 1)
    labels = [base.test.examples[i].label for i in drawn]
    assert labels.count("positive") == 1 and labels.count("negative") == 9 and drawn == bench.skewed(base.test, 10, 1)
    free = bench.without_labels(base.test, base.test.drawn(16, 0), 0)
    rows = {tuple(r) for r in base.test.sample(16, 0).rows}
    assert set(free.labels) == {IGNORED} and len(free) == 24 and not {tuple(r) for r in free.rows} & rows
