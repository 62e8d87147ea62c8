"""`minilm pixels`: a whole run at a small size, its files, its baselines, and bad input."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from tiny import command, silent

from minilm.examples.pixels import Pictures, digits, split
from minilm.experiments import pixels as experiment
from minilm.experiments.pixels import PixelsOptions, pixels
from minilm.experiments.table import figures_table
from minilm.formulas import pixels as formulas

SMALL = dict(seeds=1, steps=3, batch=4, width=12, depth=1, heads=3, each=2, classes=(3, 8), progress=False)
ROWS = [
    "nothing",
    "one histogram",
    "histogram per pixel",
    "histogram per pixel and class",
    "Transformer",
    "logistic regression",
]


@pytest.fixture(scope="module")
def few():
    """A tenth of the digits."""
    return digits().subset(np.arange(0, 1797, 10))


@pytest.fixture
def small(monkeypatch, few, tmp_path):
    monkeypatch.setattr(experiment, "digits", lambda: few)
    return lambda **changes: PixelsOptions(**SMALL | dict(development=30, test=40, out=tmp_path / "run") | changes)


def test_F24_a_run_writes_its_table_and_its_pictures(small):
    said = []
    rows = pixels(small(), said.append)
    out = small().out
    stored = json.loads((out / "pixels.json").read_text(encoding="utf-8"))
    assert stored["rows"] == rows and [row["model"] for row in rows] == ROWS and stored["options"]["steps"] == 3
    assert (out / "report.md").read_text(encoding="utf-8").startswith("# Pixels by class\n\n| model | bits per pixel |")
    assert Image.open(out / "drawn.png").size[0] > 100
    assert re.search(r"needs [\d.]+% (fewer|more) bits per pixel than a histogram of each pixel", said[-2])
    again = pixels(small(), silent)
    timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in each] for each in (rows, again)]
    assert timeless[0] == timeless[1]
    by_name = {row["model"]: row for row in rows}
    assert by_name["nothing"]["bits per pixel"] == pytest.approx(np.log2(17)) and "accuracy" not in by_name["nothing"]
    assert by_name["histogram per pixel"]["bits per pixel"] < by_name["one histogram"]["bits per pixel"]


def test_F24_the_histograms_are_those_of_the_formulas(few):
    learn, tune, test = split(few, 30, 40, 1)
    for name, K in (("histogram per pixel", 1), ("histogram per pixel and class", 10)):
        s, log_p = experiment.histogram(name, learn, tune, test)
        y = learn.y if K == 10 else np.zeros(len(learn), int)
        P = {k: formulas.pixel_histograms(learn.x, y, 17, K, k) for k in experiment.SMOOTHING}
        np.testing.assert_allclose(log_p, formulas.histogram_log_probabilities(P[s], test.x), atol=1e-9)
        own = tune.y if K == 10 else np.zeros(len(tune), int)
        scores = {
            k: formulas.bits_per_pixel(
                formulas.histogram_log_probabilities(P[k], tune.x)[np.arange(len(tune)), own], 64
            )
            for k in P
        }
        assert s == min(scores, key=scores.get)
        truth = test.y if K == 10 else np.zeros(len(test), int)
        assert experiment.bits_per_pixel(log_p, test) == pytest.approx(
            formulas.bits_per_pixel(log_p[np.arange(len(test)), truth], 64)
        )
    s, log_p = experiment.histogram("one histogram", learn, tune, test)
    p = (np.bincount(learn.x.ravel(), minlength=17) + s) / (learn.x.size + 17 * s)
    np.testing.assert_allclose(log_p[:, 0], np.log(p)[test.x].sum(axis=1), atol=1e-9)


def test_F24_accuracy_is_that_of_bayes_rule():
    rng = np.random.default_rng(2)
    learn = Pictures(np.zeros((9, 1), int), np.array([0] * 7 + [1, 2]), 2, 3)
    asked = Pictures(np.zeros((50, 1), int), rng.integers(3, size=50), 2, 3)
    log_p = rng.normal(size=(50, 3))
    p = formulas.class_probabilities(log_p, learn.prior())
    assert experiment.accuracy_of(log_p, learn, asked) == np.mean(p.argmax(axis=1) == asked.y)
    assert (p.argmax(axis=1) != log_p.argmax(axis=1)).any()  # the prior decides some of them


def test_the_transformer_learns_more_than_the_grey_levels(small, few):
    rows = pixels(small(steps=60, width=24, batch=16, learning_rate=1e-2), silent)
    by_name = {row["model"]: row for row in rows}
    assert by_name["Transformer"]["bits per pixel"] < by_name["one histogram"]["bits per pixel"]


def test_the_parts_in_order_are_the_same_for_every_seed(small, monkeypatch):
    seen = []
    original = experiment.fit
    monkeypatch.setattr(
        experiment, "fit", lambda o, learn, seed: seen.append(learn.x.copy()) or original(o, learn, seed)
    )
    for writers in (True, False):
        for seed in (0, 1):
            experiment.one_seed(small(other_writers=writers), seed)
    assert (seen[0] == seen[1]).all() and (seen[2] != seen[3]).any()


def test_the_table_has_a_mean_and_a_deviation_and_a_dash():
    rows = [dict(model="a", seed=s, bits=s + 1.0, seconds=2.0, parameters=1200) for s in range(3)]
    rows += [dict(model="b", seed=0, bits=0.5, hits=0.25, seconds=0.2, parameters=0)]
    assert figures_table(rows, {"bits": "{:.2f}", "hits": "{:.1f}"}).splitlines() == [
        "| model | bits | hits | training | parameters |",
        "|---|---:|---:|---:|---:|",
        "| a | 2.00 ± 1.00 | – | 2 s | 1,200 |",
        "| b | 0.50 | 0.2 | 0 s | – |",
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--classes", "3", "10"], "class 10 is not known: the classes are 0 to 9"),
        (["--classes", "-1"], "class -1 is not known"),
        (["--temperature", "-0.5"], "temperature -0.5 must be 0 (the most likely token) or above"),
        (["--width", "30"], "30 is not divisible by"),
        (["--seeds", "0"], "seeds must be at least 1, not 0"),
        (["--steps", "0"], "steps must be at least 1, not 0"),
        (["--test", "1700"], "do not fit into 1,797 pictures"),
        (["--batch", "2000"], "a batch of 2,000 pictures cannot be drawn from 1,197"),
        (["--learning-rate", "0"], "the learning rate must be above 0"),
        (["--dropout", "1.5"], "dropout"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_trained(given, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command("pixels", *given) == 2
    printed = capsys.readouterr()
    assert said in printed.err and printed.err.count("\n") == 1 and printed.out == ""
    assert not (tmp_path / "runs").exists()
