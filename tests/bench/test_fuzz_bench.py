"""The campaign itself: it finds nothing in what we have, and finds every kind of fault in readers that are broken on purpose."""

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from minilm.bench import fuzz
from minilm.bench.fuzzing import campaign as campaigns, damage, tables
from minilm.bench.fuzzing.campaign import campaign, judge
from minilm.bench.fuzzing.damage import CANARY, KINDS, Damage, damaged
from minilm.bench.fuzzing.guard import Guard
from minilm.bench.fuzzing.target import Case, Target
from minilm.bench.fuzzing.targets import TARGETS
from minilm.bench.options import BenchOptions
from minilm.bench.run import bench
from minilm.errors import InputError
from minilm.text.files import Example

FEW = 12  # inputs of a round, in these tests


@pytest.fixture(scope="module")
def guard():
    """One for all tests, because Python never forgets an audit hook."""
    return Guard()


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(campaigns, "EXAMPLES", FEW)
    monkeypatch.chdir(tmp_path)


def found_by(target, guard, home, seconds=0.0, seed=0):
    report = list(campaign(target, seconds, seed, home, guard=guard))[-1]
    return report, [finding.sentence for finding in report.found.values()]


@pytest.mark.parametrize("name", TARGETS)
def test_right_inputs_are_read_and_nothing_is_lost(name, guard, tmp_path):
    """Without damage, every input is read; otherwise the campaign would be about refusals alone."""
    target = TARGETS[name]
    for number in range(min(target.right, 24)):
        folder = tmp_path / "home" / "input" / str(number)
        folder.mkdir(parents=True)
        target.make(folder, number)
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        case = Case(files, files, [], folder, number)
        outcome, _, sentence = judge(target, case, guard)
        assert outcome == "read", (number, sentence)


@pytest.mark.parametrize("name", TARGETS)
def test_a_round_against_each_reader_finds_nothing(name, guard, tmp_path):
    report, sentences = found_by(TARGETS[name], guard, tmp_path)
    assert sentences == [] and report.counts["read"] + report.counts["refused"] >= FEW // 2


def test_the_command_counts_writes_and_says_what_it_found(tmp_path):
    said = []
    options = BenchOptions("fuzz", out=tmp_path, minutes=0.001, targets=("csv", "questions"), progress=False, seed=3)
    found = bench(options, say=said.append)
    assert {name: row["findings"] for name, row in found["targets"].items()} == {"csv": [], "questions": []}
    assert all(row["inputs"] >= 100 and row["rounds"] >= 1 for row in found["targets"].values())
    assert "nothing found" in said and said[0].splitlines()[-1].startswith("together")


def test_an_unknown_target_and_a_missing_package_are_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="there is no target 'pickles': choose among csv, tsv, json-lines"):
        fuzz.measure(BenchOptions("fuzz", out=tmp_path, targets=("csv", "pickles")), print)
    monkeypatch.setattr(fuzz, "NEEDED", ("hypothesis", "no_such_package"))
    with pytest.raises(InputError, match=r"needs no_such_package: pip install 'minilm\[test\]'"):
        fuzz.measure(BenchOptions("fuzz", out=tmp_path), print)


STAND_IN = """
import random
from contextlib import nullcontext

def instrument_imports(include, exclude):
    return nullcontext()

def Setup(arguments, one):
    global seed, run
    seed, run = next(each for each in arguments if each.startswith("-seed=")), one

def Fuzz():
    rng = random.Random(seed)
    while True:
        run(rng.randbytes(rng.randint(0, 400)))
"""


def test_a_guided_campaign_reads_what_is_made_of_bytes(tmp_path, monkeypatch):
    """In place of atheris, which need not be installed, random bytes."""
    (tmp_path / "atheris.py").write_text(STAND_IN, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}")
    monkeypatch.syspath_prepend(tmp_path)
    options = BenchOptions("fuzz", out=tmp_path / "out", minutes=0.03, targets=("csv", "archives"), progress=False)
    said = []
    found = bench(replace(options, guided=True), say=said.append)["targets"]
    assert {name: row["findings"] for name, row in found.items()} == {
        "csv": [],
        "archives": [],
    } and "nothing found" in said
    assert found["csv"]["refused"] > 20 and found["csv"]["read"] > 20 and found["archives"]["inputs"] > 5


def test_a_guided_campaign_notes_what_is_lost_and_keeps_the_smallest(tmp_path, monkeypatch):
    (tmp_path / "atheris.py").write_text(STAND_IN, encoding="utf-8")
    broken_reader = (
        "import sys, dataclasses; from minilm.bench.fuzzing import tables, targets; old = targets.TARGETS['csv']; "
        "targets.TARGETS['csv'] = dataclasses.replace(old, read=lambda *a: old.read(*a)[:-1]); "
        "from minilm.bench.fuzzing import guided; guided.main('0', sys.argv[1], 'csv:1.5:0')"
    )
    surroundings = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}"}
    command = [sys.executable, "-c", broken_reader, str(tmp_path / "home")]
    assert subprocess.run(command, env=surroundings, check=False).returncode == 0
    report = json.loads((tmp_path / "home" / "csv" / "report.json").read_text(encoding="utf-8"))
    assert report["done"] and report["counts"]["finding"] > 5
    assert any("csv reads" in finding["sentence"] and finding["files"] for finding in report["findings"])


def test_guided_without_atheris_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz.importlib.util, "find_spec", lambda name: None if name == "atheris" else name)
    with pytest.raises(InputError, match="--guided needs atheris, which is not installed: pip install atheris"):
        fuzz.measure(BenchOptions("fuzz", out=tmp_path, guided=True), print)


def test_what_pandas_loses_itself_is_no_finding(guard, tmp_path):
    """(pandas 3.1 drops an empty first cell behind an empty line if lines end in a carriage return alone.)"""
    table = "label,pair,text\r\r,one,two\r"
    alone = pd.read_csv(io.StringIO(table, newline=""), dtype=str, keep_default_na=False, index_col=False)
    assert alone.to_numpy().tolist() != [
        ["", "one", "two"]
    ]  # if this fails, pandas is mended and the exception needless
    file = tmp_path / "table.csv"
    file.write_bytes(b"label,pair,text\r\r,one,two\r")
    assert tables.by_pandas(file, ",") is None
    file.write_bytes(b"label,pair,text\r,one,two\r")
    assert tables.by_pandas(file, ",").to_numpy().tolist() == [["", "one", "two"]]


# ---- readers that are broken on purpose


def broken(name, read):
    return replace(TARGETS[name], read=read)


@pytest.mark.parametrize("name", ["csv", "tsv", "json-lines", "questions", "text", "conll", "word-tag"])
def test_a_reader_that_drops_its_last_row_is_caught(name, guard, tmp_path):
    _, sentences = found_by(broken(name, lambda case, note: TARGETS[name].read(case, note)[:-1]), guard, tmp_path)
    assert sentences and all(" minilm read" in each or "and minilm" in each for each in sentences)


def test_a_cell_that_changes_is_caught(guard, tmp_path):
    def read(case, note):
        found = TARGETS["csv"].read(case, note)
        return [each._replace(text=each.text.rstrip(".")[:-1]) if hasattr(each, "text") else each for each in found]

    _, sentences = found_by(broken("csv", read), guard, tmp_path)
    assert sentences and all("reads text" in each for each in sentences)


def test_a_stray_mark_that_swallows_rows_is_caught(guard, tmp_path):
    """A reader that does what `csv` alone does: a mark too many joins two rows, and its own referee agrees with it."""
    target = broken(
        "csv", lambda case, note: [Example(row[0]) for row in csv.reader(io.StringIO(text, newline=""))][1:]
    )
    number = next(n for n in range(60) if tables.task_of(n) == "unlabelled")
    files = {"table.csv": b"text,label\n0 a,x\n1 b,y\n2 c,x\n"}
    after = {"table.csv": b'text,label\n"0 a,x\n1 b",y\n2 c,x\n'}
    (tmp_path / "table.csv").write_bytes(after["table.csv"])
    text = after["table.csv"].decode()
    case = Case(files, after, [Damage(0, "a mark", 0, 0)], tmp_path, number)
    assert judge(target, case, guard)[2] == "the table had 3 rows before quotation marks came or went, and has 2 now"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda case: {}["x"], "reading ended in KeyError"),
        (lambda case: [][1:2].pop(), "reading ended in IndexError"),
        (lambda case: (_ for _ in ()).throw(RecursionError("deep")), "reading ended in RecursionError"),
        (lambda case: (_ for _ in ()).throw(SystemExit(1)), "reading ended in SystemExit"),
        (lambda case: refuse("something is wrong."), "a refusal names no file"),
        (
            lambda case: (case.folder.parent / "out.txt").write_text("x", encoding="utf-8"),
            "something was run or written: open",
        ),
        (lambda case: os.mkdir(case.folder / "new"), "something was run or written: os.mkdir"),
        (lambda case: os.system("exit"), "something was run or written: os.system"),
        (lambda case: exec(damage.CODE, {}), "something was run or written: open"),
        (lambda case: unpickled(damage.PICKLE), "something was run or written: pickle.find_class"),
    ],
)
def test_every_kind_of_fault_is_caught(wrong, sentence, guard, tmp_path):
    target = replace(TARGETS["text"], name=sentence[-12:], read=lambda case, note: wrong(case), lost=lambda *_: "")
    report, sentences = found_by(target, guard, tmp_path)
    assert len(sentences) == 1 and sentence in sentences[0]
    assert next(iter(report.found.values())).case.damages == []  # hypothesis has made it as small as it can be


def refuse(sentence):
    raise InputError(sentence)


def unpickled(content):
    import pickle

    pickle.loads(content)  # noqa: S301 - that this runs code is what the test is about


def test_a_text_that_reaches_the_terminal_as_it_is_would_be_caught(guard, tmp_path):
    class Raw(InputError):
        def __init__(self, sentence):
            ValueError.__init__(self, sentence)

    def read(case, note):
        raise Raw(f"{case.folder} has \x1b[2J in it.")

    _, (sentence,) = found_by(broken("text", read), guard, tmp_path)
    assert "is not one line that can be shown" in sentence


SLOW = """
import sys, time, ctypes
from dataclasses import replace
from minilm.bench.fuzzing import campaign, targets
campaign.LONGEST = 1.0
def read(case, note):
    if case.damages:
        WRONG
targets.TARGETS["text"] = replace(targets.TARGETS["text"], read=read, lost=lambda *_: "")
campaign.main(*sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("wrong", "sentence"), [("time.sleep(60)", "takes longer than"), ("ctypes.string_at(0)", "ended with")]
)
def test_a_reader_that_hangs_or_crashes_ends_its_process_and_is_named(wrong, sentence, tmp_path, monkeypatch):
    script = tmp_path / "slow.py"
    script.write_text(SLOW.replace("WRONG", wrong), encoding="utf-8")
    start = subprocess.run

    def run(command, **how):
        return start([command[0], str(script), *command[command.index("-m") + 2 :]], **how)

    monkeypatch.setattr(fuzz.subprocess, "run", run)
    monkeypatch.setattr(fuzz, "MOST_CRASHES", 1)
    row = fuzz.campaigns(("text",), 1.0, 0, tmp_path / "fuzz", bar=False)["text"]
    (finding,) = row["findings"]
    assert sentence in finding["sentence"] and "a.txt" in finding["files"]
    fuzz.keep(row["findings"], tmp_path / "fuzz" / "text")
    assert (tmp_path / "fuzz" / "text" / "finding-1" / "a.txt").exists()


# ---- inputs


def test_the_same_seed_makes_the_same_inputs(guard, tmp_path):
    met = []
    target = Target("met", TARGETS["text"].make, lambda case, note: met.append((case.number, case.after)))
    for seed in (5, 5, 6):
        list(campaign(target, 0.0, seed, tmp_path, guard=guard))
    third = len(met) // 3
    assert met[:third] == met[third : 2 * third] != met[2 * third :]
    assert len({str(each) for each in met[:third]}) > third // 2


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_damage_changes_a_file_and_can_be_done_again(kind):
    files = {"a.csv": b'text,label\n"0 a, b",x\n1 b,y\n', "config.json": b'{\n"a": [1, {"b": "c"}]\n}'}
    changed = 0
    for place in (0, 9_000, 30_000, 65_535):
        for value in range(0, 400, 7):
            each = [Damage(value, kind, place, value)]
            changed += damaged(files, each) != files
            assert damaged(files, each) == damaged(files, each)
    assert changed > 60


def test_damage_to_an_empty_file_and_to_one_that_is_no_json():
    for content in (b"", b"\0", b"7", b"[]", b"\xff" * 9, b"\x02\0\0\0\0\0\0\0{}"):
        for kind in KINDS:
            damaged({"a": content}, [Damage(0, kind, 65_535, 99)])


def test_the_payloads_would_run(tmp_path, monkeypatch):
    """What the guard listens for is real: each payload writes its file if somebody runs it."""
    monkeypatch.chdir(tmp_path)
    for run in (lambda: unpickled(damage.PICKLE), lambda: exec(damage.CODE, {})):
        run()
        assert Path(CANARY).exists()
        Path(CANARY).unlink()


def test_importing_the_command_needs_no_hypothesis():
    code = "import sys; sys.modules['hypothesis'] = None; import minilm.bench.fuzz"
    subprocess.run([sys.executable, "-c", code], check=True)
