"""`minilm exercise handout` and `solutions`, and what `grade` says about bad input."""

import csv
import errno
import os
import zipfile
from pathlib import Path

import pytest

from minilm.cli import main
from minilm.exercises.catalogue import entries, find, load
from minilm.exercises.grading import teacher
from minilm.exercises.grading.grade import Grade
from minilm.exercises.grading.sources import source_for
from minilm.exercises.grading.submissions import LARGEST, read_class
from minilm.exercises.grading.tables import class_page, write_wide
from minilm.exercises.stub import EMPTY, definition, stub


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main(["exercise", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out + err

    return run


def test_the_handout_holds_stubs_and_no_line_of_a_solution(run, tmp_path):
    assert run("handout", "softmax", "22", "--out", "a.zip") == (
        0,
        "a.zip is written: 2 exercises, without solutions.\n",
    )
    with zipfile.ZipFile("a.zip") as parts:
        found = {name.rpartition("/")[2]: parts.read(name).decode() for name in parts.namelist()}
    assert set(found) == {"e01_softmax.py", "e22_adamw.py", "test_exercises.py", "README.md"}
    for name in ("softmax", "adamw"):
        content = found[f"{find(name).stem}.py"]
        assert content == stub(load(name)) and EMPTY in content
        text, node = definition(load(name).target)
        body = [line.strip() for line in text.splitlines()[node.body[0].end_lineno : node.end_lineno]]
        assert body and not any(line in content for line in body if line and not line.startswith("#"))
    assert "minilm exercise check softmax --folder ." in found["README.md"]


def test_the_same_handout_is_the_same_file(run, tmp_path):
    for name in ("a.zip", "b.zip"):
        run("handout", "softmax", "--bare", "--out", name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile("a.zip") as parts:
        assert parts.read("minilm-exercises/e01_softmax.py").decode() == stub(load("softmax"), guided=False)


def test_an_untouched_handout_is_graded_as_not_written(run, tmp_path):
    (tmp_path / "in").mkdir()
    run("handout", "softmax", "--out", "in/anna.zip")
    assert run("grade", "in", "softmax", "--seed", "1")[0] == 0
    with open("grades.csv", encoding="utf-8-sig", newline="") as file:
        assert next(csv.DictReader(file))["softmax"] == "not written yet"


def test_solutions_go_into_a_folder_or_a_zip_and_overwrite_nothing(run, tmp_path):
    assert run("solutions", "softmax") == (0, "solutions is written: 1 solution.\n")
    source = (tmp_path / "solutions" / "e01_softmax.py").read_text(encoding="utf-8")
    compile(source, "solution", "exec")
    assert "return e / e.sum(axis=-1, keepdims=True)" in source and source.startswith('"""Exercise 1')
    assert run("check", "softmax", "--folder", "solutions")[0] == 0
    code, said = run("solutions", "softmax", "heads")
    assert code == 2 and "already exists" in said and not (tmp_path / "solutions" / "e13_heads.py").exists()
    assert run("solutions", "--out", "all.zip")[0] == 0
    with zipfile.ZipFile("all.zip") as parts:
        assert len(parts.namelist()) == len(entries())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("grade",), "say where the submissions are"),
        (("grade", "nowhere"), "there is no folder nowhere"),
        (("grade", "a.txt"), "a.txt is a file"),
        (("grade", "empty"), "nothing to grade in empty"),
        (("grade", "in", "sofmax"), "did you mean softmax"),
        (("grade", "in", "--out", "grades.txt"), "ends in .csv"),
        (("grade", "in", "--out", "nowhere/g.csv"), "there is no folder nowhere"),
        (("grade", "in", "--seed", "-3"), "--seed must be 0 or more"),
        (("grade", "in", "--seconds", "0"), "--seconds must be more than 0"),
        (("grade", "in", "--seconds", "nan"), "--seconds must be more than 0"),
        (("grade", "in", "--memory", "-1"), "--memory from 1"),
        (("grade", "in", "--bare"), "--bare is only for start, reset, handout: grade does not take it."),
        (("solutions", "--seed", "1"), "--seed is only for grade"),
        (("check", "--out", "x"), "--out is only for"),
        (("handout", "nothing"), "there is no exercise 'nothing'"),
        (("handout", "--out", "folder"), "ends in .zip"),
        (("handout", "softmax", "--out", "there.zip"), "already exists"),
        (("handout", "softmax", "--out", "nowhere/h.zip"), "there is no folder nowhere"),
        (("solutions", "nothing"), "there is no exercise 'nothing'"),
        (("solutions", "softmax", "--out", "a.txt"), "a.txt is a file"),
        (("solutions", "softmax", "--out", "there.zip"), "already exists"),
    ],
)
def test_bad_input_is_one_clear_sentence(run, tmp_path, arguments, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "anna.py").write_text("", encoding="utf-8")
    for name in ("a.txt", "there.zip"):
        (tmp_path / name).write_text("", encoding="utf-8")
    code, text = run(*arguments)
    assert code == 2 and said in text
    assert text.startswith("minilm: ") and text.count("\n") == 1


def test_two_of_one_name_are_two_learners(tmp_path):
    (tmp_path / "anna").mkdir()
    for name in ("anna.zip", "anna.py", "ben.py", ".hidden.py", "notes.pdf"):
        (tmp_path / name).write_bytes(b"")
    learners = [submission.learner for submission in read_class(tmp_path)]
    assert len(set(learners)) == len(learners) == 4 and {"anna", "ben"} < set(learners)


def test_of_two_the_one_that_is_written_counts_and_a_zip_in_a_folder_is_opened(tmp_path):
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "e01_softmax.py").write_text(stub(load("softmax")), encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "anna" / "work.zip", "w") as parts:
        parts.writestr("final/e01_softmax.py", "def softmax(z):\n    return 1\n")
        parts.writestr("e02_log_softmax.py", "def log_softmax(z): pass\n\n\ndef cross_entropy(logits): pass\n")
    (submission,) = read_class(tmp_path)
    assert source_for(submission, find("softmax")).place == "final/e01_softmax.py"
    assert source_for(submission, find("cross_entropy")).place == ""  # a helper in another exercise's file


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no links and pipes on Windows (2026-11-26)")
def test_links_pipes_and_names_that_no_table_holds(tmp_path):
    (tmp_path / "anna").mkdir()
    (tmp_path / "ben.py").write_text("def softmax(z): return 1", encoding="utf-8")
    (tmp_path / "anna" / "e01_softmax.py").symlink_to(tmp_path / "ben.py")
    (tmp_path / "clara.py").symlink_to(tmp_path / "nowhere.py")
    os.mkfifo(tmp_path / "david.py")
    os.mkdir(os.fsencode(tmp_path) + b"/na\nme")
    found = read_class(tmp_path)
    assert [s.learner for s in found] == ["anna", "ben", "clara", "david", "na?me"]
    assert [bool(s.files) for s in found] == [False, True, False, False, False]


def test_ctrl_c_keeps_what_is_graded(run, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for name in ("anna", "ben"):
        (tmp_path / "in" / f"{name}.py").write_text("", encoding="utf-8")

    def two(submissions, wanted, seed, limits):
        yield Grade("anna", find("softmax"), "missing")
        raise KeyboardInterrupt

    monkeypatch.setattr(teacher.grading, "grade", two)
    code, said = run("grade", "in", "softmax", "--seed", "1")
    assert code == 130 and "0 of 1 passed" in said
    assert "anna,0,1,missing,1" in (tmp_path / "grades.csv").read_text(encoding="utf-8-sig")

    def nobody(submissions, wanted, seed, limits):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(teacher.grading, "grade", nobody)
    code, said = run("grade", "in", "softmax", "--seed", "1")
    assert code == 130 and "Nobody was graded" in said
    assert "anna,0,1,missing,1" in (tmp_path / "grades.csv").read_text(encoding="utf-8-sig")
    run("grade", "in", "softmax", "--out", "new.csv")
    assert not list(tmp_path.glob("new*"))


@pytest.mark.parametrize("arguments", [("handout", "softmax"), ("solutions", "softmax"), ("grade", "in", "softmax")])
def test_a_full_disk_is_one_sentence_and_leaves_no_half_file(run, tmp_path, monkeypatch, arguments):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "anna.py").write_text("", encoding="utf-8")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(Path, "write_text", full)
    code, said = run(*arguments)
    assert code == 2 and said.splitlines()[-1].startswith("minilm: the disk is full")
    assert not (tmp_path / "handout.zip").exists()


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "anna.zip", "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("e01_softmax.py", b"#" * (50 << 20))
    (submission,) = read_class(tmp_path)
    assert len(submission.files["e01_softmax.py"]) == LARGEST[".py"] + 1
    assert source_for(submission, find("softmax")).trouble == "e01_softmax.py is larger than 2 MB"


def test_names_cannot_become_formulas_or_markdown(tmp_path):
    entry = find("softmax")
    grades = [Grade("=cmd()", entry, "time", "endless | loop"), Grade("<b>", entry, "passed")]
    write_wide(tmp_path / "g.csv", grades, [entry], 1)
    assert "'=cmd()" in (tmp_path / "g.csv").read_text(encoding="utf-8-sig")
    assert "endless \\| loop" in class_page(grades, [entry], 1)
