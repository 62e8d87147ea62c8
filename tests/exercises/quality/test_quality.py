"""Tests every kind of mutant. Deliberately bad exercises must miss the quality bars; our own must meet them."""

import ast
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from minilm import cli
from minilm.exercises.catalogue import entries, load
from minilm.exercises.checks import check
from minilm.exercises.grading.solutions import solution_file
from minilm.exercises.learner import check_file
from minilm.exercises.plan import plan_of
from minilm.exercises.quality import measuring, report as page, timing
from minilm.exercises.quality.measuring import Settings, measure, verdict
from minilm.exercises.quality.mutants import Mutant, mutants, mutations
from minilm.exercises.quality.survivors import SURVIVORS, explained
from minilm.exercises.quality.timing import seconds_for
from minilm.exercises.spec import Wrong
from minilm.exercises.stub import parts
from minilm.formulas import cross_entropy

SOFTMAX = load("softmax")
MANY = len(SOFTMAX.wrong)
QUICK = Settings(seeds=1, right_seeds=1, runs=1)
LIVE = replace(QUICK, every=6)
ELSEWHERE = (
    "dropout",
    "masking",
    "next_sentence",
)  # 200,000 draws each: test_every_exercise judges their mistakes
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "utf-8"}


def keys(source, keep=()):
    return [key for key, _ in mutations(ast.parse(source).body[0], keep)]


def body_of(line):
    return keys(f"def f(x, y, z):\n    return {line}\n")


def test_axis():
    assert body_of("x.sum(axis=-1, keepdims=True)") == [
        "axis: x.sum(axis=-1, keepdims=True) → x.sum(keepdims=True)",
        "dropped: x.sum(axis=-1, keepdims=True) → x",
        "axis: x.sum(axis=-1, keepdims=True) → x.sum(axis=0, keepdims=True)",
        "axis: x.sum(axis=-1, keepdims=True) → x.sum(axis=-1, keepdims=False)",
    ]
    assert body_of("x.T") == ["axis: x.T → x"]
    assert body_of("x.shape[-2]") == ["axis: x.shape[-2] → x.shape[-1]"]
    assert "axis: x.size(0) → x.size(-1)" in body_of("x.size(0)")


def test_sign():
    assert body_of("-x") == ["sign: -x → x"]
    assert "sign: x + y → x - y" in body_of("x + y") and "sign: x - y → x + y" in body_of("x - y")
    assert body_of("~x") == ["sign: ~x → x"]
    assert body_of("x < y") == ["sign: x < y → x <= y"] and body_of("x == y") == ["sign: x == y → x != y"]


def test_constant():
    assert "constant: x * 2 → x * 3" in body_of("x * 2") and "constant: x * 0.5 → x * 1.0" in body_of("x * 0.5")
    assert body_of("f(flag=True)") == ["constant: f(flag=True) → f(flag=False)"]
    assert body_of("x[1:]") == ["constant: x[1:] → x[2:]"]
    assert body_of("-1") == ["constant: return -1 → return 0"]


def test_dropped():
    assert {"dropped: x * y → x", "dropped: x * y → y"} == set(body_of("x * y"))
    assert "dropped: x - y → -y" in body_of("x - y") and "dropped: x / y → x" in body_of("x / y")
    assert body_of("np.exp(x)") == ["dropped: np.exp(x) → x"] and body_of("x.sqrt()") == ["dropped: x.sqrt() → x"]
    assert {"dropped: x if z else y → x", "dropped: x if z else y → y"} == set(body_of("x if z else y"))
    assert keys("def f(x):\n    x += y\n") == ["sign: x += y → x -= y", "dropped: x += y → pass"]
    assert keys("def f(x):\n    if x:\n        y = z\n")[:2] == [
        "dropped: if x: y = z → if True: y = z",
        "dropped: if x: y = z → if False: y = z",
    ]


def test_swapped():
    assert "swapped: x @ y → y @ x" in body_of("x @ y") and "swapped: x - y → y - x" in body_of("x - y")
    assert body_of("f(x, y)") == ["swapped: f(x, y) → f(y, x)"] and body_of("f(x, x)") == []
    assert body_of("np.where(x, y, z)") == ["swapped: np.where(x, y, z) → np.where(x, z, y)"]


def test_what_is_about_bad_input_or_not_the_learners_stays():
    text = '''def f(x: Array[2], n: int = 3) -> Array[2]:
    """1 + 1"""
    check_shape("x", x, 1 + 1)
    if n - 1 < 0:
        raise InputError(f"{n + 1} is wrong")
    if len(x):
        low = min(x)
        if low < 0:
            raise InputError("negative")
    return x
'''
    assert keys(text) == []
    assert keys(
        "class A:\n    def f(self):\n        return 1\n\n    def g(self):\n        return 2\n", keep=("f",)
    ) == ["constant: return 2 → return 3"]


def test_a_mutant_is_the_whole_exercise_with_one_change_and_the_library_stays_what_it_is():
    z = np.array([[1.0, 2.0, 4.0]])
    before, found = cross_entropy.softmax(z), list(mutants(SOFTMAX))
    assert len({mutant.key for mutant in found}) == len(found) > 10
    for mutant in found:
        if mutant.key == "dropped: np.exp(z - z.max(axis=-1, keepdims=True)) → z - z.max(axis=-1, keepdims=True)":
            np.testing.assert_allclose(mutant.pieces["softmax"](z), (z - 4) / (z - 4).sum())
            break
    else:
        pytest.fail("no such mutant")
    assert (cross_entropy.softmax(z) == before).all()


def test_helpers_are_changed_too():
    assert "minilm.formulas.optimizers.adam_step" in parts(load("adamw"))
    assert any("m_hat" in m.key or "b1" in m.key or "betas" in m.key for m in mutants(load("adamw")))


def test_every_explanation_is_about_a_mutant_that_passes():
    found = json.loads(page.PUBLISHED.read_text(encoding="utf-8"))
    passing = [
        (row["exercise"], *explained(row["exercise"], key)) for row in found["exercises"] for key in row["passing"]
    ]
    for each in SURVIVORS:
        assert each.sort in ("same", "not asked", "survived") and each.why
        about = {exercise for exercise, sort, why in passing if (sort, why) == (each.sort, each.why)}
        assert about and about >= set(each.exercises.split()), each


def test_an_endless_mutant_is_killed_and_a_slow_one_gets_more_time(monkeypatch):
    monkeypatch.setattr(measuring, "PATIENCE", 0.3)

    def endless(z):
        while True:
            pass

    naps = iter([1.0])

    def slow(z):
        measuring.time.sleep(next(naps, 0.0))  # takes time by the clock, but no processor time
        return cross_entropy.softmax(z)

    assert verdict(SOFTMAX, Mutant("endless", {"softmax": endless}), 0.3) is None
    assert verdict(SOFTMAX, Mutant("slow", {"softmax": slow}), 0.3).passed


def test_a_good_exercise_meets_all_bars():
    row = measure(SOFTMAX, QUICK)
    found = page.tally([row], QUICK, (1.5, 1.0, ""))
    assert found["faults"] == [] and row["lapses"] == [] and row["passing"] == []
    assert row["killed"] >= 10 and row["named_mutants"] >= 1 and row["wrong"] == [MANY, MANY]
    text = page.markdown(found)
    assert f"| wrong variants rejected (1 seeds each) | {MANY} of {MANY} (100 %) | 100 % |" in text
    assert f"| 1 softmax | {MANY} | 4 | {row['misnamed_pairs'][1]} | 15 | 15 | 0 | 0 |" in text
    assert "checks all 1 | 1.5 (1.0 of processor time) | < 20 |" in text


def bad(name):
    """A deliberately bad version of the softmax exercise, and the message that it gets."""
    same = Wrong("nothing is wrong", "is it?", code=cross_entropy.softmax)
    twin = Wrong("the same once more", "is it?", code=SOFTMAX.mistake("axis_0")["softmax"])
    blind = {"only": {"z": np.array([[0.5]])}}
    return {
        "a mistake that equals the reference": ({"wrong": {**SOFTMAX.wrong, "same": same}}, "wrong variants rejected"),
        "a right style that is wrong": ({"right": {**SOFTMAX.right, "zeros": np.zeros_like}}, "right styles accepted"),
        "two mistakes that are one": ({"wrong": {"axis_0": SOFTMAX.wrong["axis_0"], "twin": twin}}, "mistakes named"),
        "probes that see nothing": (
            dict(probes=lambda rng: blind, tiny=lambda: blind["only"], edges=None, properties=(), gradient=None),
            "mutants of the references killed",
        ),
        "a property that holds now and then": (
            {"properties": (replace(SOFTMAX.properties[0], holds=lambda y: y[0, 0] < 0.2),)},
            "flakes",
        ),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "a mistake that equals the reference",
        "a right style that is wrong",
        "two mistakes that are one",
        "probes that see nothing",
        "a property that holds now and then",
    ],
)
def test_a_bad_exercise_falls_below_its_bar(name):
    fields, said = bad(name)
    settings = replace(QUICK, runs=12 * len(entries())) if said == "flakes" else QUICK
    row = measure(replace(SOFTMAX, **fields), settings)
    faults = page.tally([row], settings)["faults"]
    assert any(said in fault for fault in faults), faults
    assert row["lapses"] or said.startswith("mutants")
    assert page.line(row, page.tally([row], settings)).count("\n") >= 1


def test_a_name_that_does_not_hold_elsewhere_is_a_wrong_name(monkeypatch):
    monkeypatch.setattr("minilm.exercises.diagnosis.common", lambda found: ("no_max",))
    plan_of.cache_clear()
    row = measure(SOFTMAX, QUICK)
    assert row["misnamed_mutants"][0] and row["misnamed_pairs"][0]
    assert any("wrong names, mutants" in fault for fault in page.tally([row], QUICK)["faults"])


def test_seconds_that_are_too_many_and_a_reference_that_does_not_pass_are_faults(monkeypatch):
    clock, _, complaint = seconds_for(["softmax"])
    assert clock > 0 and complaint == ""
    monkeypatch.setattr(timing, "solution_file", lambda exercise: "softmax = 3\n")
    _, _, complaint = seconds_for(["softmax"])
    assert "must be a function" in complaint
    faults = page.tally([], QUICK, (20.0, 3.0, complaint))["faults"]
    assert len(faults) == 2 and "and the bar is 20" in faults[0] and "does not pass" in faults[1]


def test_the_command_writes_and_keeps_and_says_when_it_is_not_good_enough(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page, "entries", lambda: entries()[:2])
    monkeypatch.setattr(page, "seconds_for", lambda names: (1.0, 1.0, ""))
    out = tmp_path / "runs" / "exercises_quality.json"
    assert cli.main(["exercise", "quality", "softmax", "--seeds", "1"]) == 0
    said = capsys.readouterr().out
    assert (
        f" 1 softmax: {MANY} of {MANY} rejected, {MANY} of {MANY} named, 8 of 8 accepted, 15 of 15 mutants killed"
        in said
    )
    assert f"{out.relative_to(tmp_path)} and exercises_quality.md are written." in said
    assert cli.main(["exercise", "quality", "--seeds", "1"]) == 0
    said = capsys.readouterr().out
    assert (
        "1 exercises have not changed since they were measured" in said
        and f" 2 log_softmax: {len(load('log_softmax').wrong)} of" in said
        and "1 softmax:" not in said
    )
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [row["exercise"] for row in found["exercises"]] == ["softmax", "log_softmax"] and found["faults"] == []
    monkeypatch.setattr(page, "checksum_of", lambda name: "something else")
    assert page.earlier_rows(out, Settings(**found["settings"])) == {}
    monkeypatch.setattr(page, "SECONDS", 0.5)
    assert cli.main(["exercise", "quality", "softmax", "--seeds", "1"]) == 1
    assert "✗ seconds in which" in capsys.readouterr().out
    assert cli.main(["exercise", "quality", "--seeds", "0"]) == 2
    assert cli.main(["exercise", "quality", "nonsense"]) == 2


@pytest.mark.parametrize(
    ("name", "sort", "left_out", "key"),
    [
        ("clipping", "probes", "just below the bound", "constant: factor >= 1 → factor >= 2"),
        ("label_smoothing", "edges", "a single label", "constant: max(len(losses), 1) → max(len(losses), 2)"),
    ],
)
def test_without_this_input_a_mutant_passes_that_nobody_has_explained(name, sort, left_out, key):
    exercise = load(name)
    mutant = next(mutant for mutant in mutants(exercise) if mutant.key == key)

    def fewer(rng):
        return {key: inputs for key, inputs in getattr(exercise, sort)(rng).items() if key != left_out}

    assert check(exercise, plan_of(exercise, 0).reference).passed  # also loads torch before the time is measured
    assert not verdict(exercise, mutant).passed
    assert verdict(replace(exercise, **{sort: fewer}), mutant).passed
    assert explained(name, key) == ("survived", "")


def live():
    """Measure a little of everything in all exercises: every mistake and every correct style once, about six pairs of
    mistakes, every sixth mutant, and the reference once by itself and once in a learner's file."""
    measuring.PATIENCE, once = 1.0, measuring.verdict
    measuring.verdict = lambda exercise, mutant, patience=1.0: once(exercise, mutant, patience)
    rows, refused = [], []
    with tempfile.TemporaryDirectory() as folder:
        for entry in entries():
            exercise, path = load(entry.name), Path(folder, f"{entry.stem}.py")
            path.write_text(solution_file(exercise), encoding="utf-8")
            report = check_file(exercise, path)
            refused += [] if report.passed else [str(report)]
            plan = plan_of(exercise, 0)
            plan.pairs = dict(list(plan.pairs.items())[:: 1 + len(plan.pairs) // 6])
            settings = replace(LIVE, seeds=0, right_seeds=0) if entry.name in ELSEWHERE else LIVE
            rows.append(measure(exercise, settings))
            plan_of.cache_clear()
    return {"rows": rows, "refused": refused}


def test_the_suite_meets_its_bars():
    """Measure the bars now; the published table uses more seeds. A separate process does not check the shapes
    in signatures, which makes it three times as fast."""
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, encoding="utf-8", env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    rows, found = measured["rows"], page.tally(measured["rows"], LIVE)
    assert found["faults"] == [], "\n".join([*found["faults"], *(lapse for row in rows for lapse in row["lapses"])])
    assert measured["refused"] == [], "\n".join(measured["refused"])
    assert [row["exercise"] for row in rows] == [entry.name for entry in entries()]
    assert all(row["killed"] and row["flakes"][1] == 1 for row in rows)


def test_the_published_table_is_of_the_exercises_as_they_are():
    found = json.loads(page.PUBLISHED.read_text(encoding="utf-8"))
    assert found["settings"] == asdict(Settings()) and [row["exercise"] for row in found["exercises"]] == [
        entry.name for entry in entries()
    ]
    changed = [row["exercise"] for row in found["exercises"] if row["made of"] != page.checksum_of(row["exercise"])]
    assert not changed, f"measure again, with `minilm exercise quality`, and copy runs/{page.PUBLISHED.name}: {changed}"
    seconds = [each for each in found["table"] if "seconds" in each]
    faults = page.tally(found["exercises"], Settings())["faults"]
    assert faults == [] and seconds and sum(row["flakes"][1] for row in found["exercises"]) >= 1000
    assert page.PUBLISHED.with_suffix(".md").read_text(encoding="utf-8") == page.markdown(found)


if __name__ == "__main__":
    print(json.dumps(live()))
