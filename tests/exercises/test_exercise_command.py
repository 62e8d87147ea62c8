"""`minilm exercise …` as a learner uses it, from the first `start` to the solution."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from minilm.cli import main
from minilm.exercises import command, folder, report
from minilm.exercises.catalogue import entries, find, load
from minilm.exercises.progress import FILE, Progress
from minilm.exercises.stub import EMPTY, stub

RIGHT = "e = np.exp(z - z.max(axis=-1, keepdims=True))\n    return e / e.sum(axis=-1, keepdims=True)"
WRONG = "e = np.exp(z - z.max())\n    return e / e.sum()"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "minilm-exercises"


@pytest.fixture
def run(capsys, here):
    """Run `minilm exercise …` and return its exit code and what it printed."""

    def run(*arguments):
        code = main(["exercise", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out + err

    return run


def write(folder: Path, body: str, name: str = "softmax") -> Path:
    path = folder / f"{find(name).stem}.py"
    before, _, _ = stub(load(name)).partition("    # 1.")
    path.write_text(f"{before}    {body}\n", encoding="utf-8")
    return path


def test_the_first_ten_minutes(run, here):
    assert run("list")[1].endswith("start with: minilm exercise start\n")
    code, said = run("start")
    assert (
        code == 0
        and f"minilm-exercises: {len(entries())} new files." in said
        and "minilm exercise check softmax" in said
    )
    assert {path.stem for path in here.glob("e*.py")} == {entry.stem for entry in entries()}
    code, said = run("check")
    assert (
        code == 1
        and said.startswith("✗ softmax   layer 0 of 7: not written yet\n")
        and "e01_softmax.py: `raise" in said
    )

    write(here, WRONG)
    code, said = run("check", "softmax")
    assert (
        code == 1
        and "Looks like: the maximum and the sum are taken over the whole array instead of over each row"
        in " ".join(said.split())
    )
    assert said.rstrip().endswith("next: minilm exercise hint softmax")
    said = " ".join(run("hint", "softmax")[1].split())  # however wide the terminal is
    assert said.startswith("softmax, about your last check: the maximum and the sum are taken over the whole array")
    assert "hint 1 of 3" not in said and "“yours” is what this mistake makes of it: " in said
    assert "softmax, hint 1 of 3: " in run("hint", "softmax")[1]
    assert "hint 2 of 3" in run("hint", "1")[1] and "✗ softmax" in run("list")[1]

    write(here, RIGHT)
    assert "~ softmax" in run("list")[1]
    code, said = run("check")
    assert code == 0 and said.startswith("✓ softmax   passed") and "next: minilm exercise check log_softmax" in said
    code, said = run("list")
    assert "✓ softmax" in said and "· log_softmax" in said and f"1 of {len(entries())} passed.  next: " in said
    assert "e02_log_softmax.py, then minilm exercise check log_softmax" in said
    code, said = run("solution", "softmax")
    assert code == 0 and "# minilm/formulas/cross_entropy.py, line " in said and "return e / e.sum" in said


def test_start_never_overwrites_and_reset_keeps_a_copy(run, here):
    run("start", "softmax", "2")
    path = write(here, WRONG)
    assert "1 new file, 1 file left as it was" in run("start", "softmax", "attention")[1] and WRONG in path.read_text(
        encoding="utf-8"
    )
    code, said = run("reset", "softmax")
    assert code == 0 and "your earlier file is now" in said and EMPTY in path.read_text(encoding="utf-8")
    assert WRONG in path.with_suffix(".py.old").read_text(encoding="utf-8")
    assert "· softmax" in run("list", "softmax")[1]


def test_a_bare_stub_has_no_steps(run, here):
    run("start", "softmax", "--bare")
    assert "# 1." not in (here / "e01_softmax.py").read_text(encoding="utf-8")
    assert "· softmax" in run("list", "softmax")[1]


def test_the_solution_opens_after_three_different_tries_and_stubs_are_none(run, here):
    run("start", "softmax")
    for _ in range(4):
        run("check", "softmax")
    for i in range(3):
        code, said = run("solution", "softmax")
        assert code == 2 and f"so far {i})" in said and "`minilm exercise hint softmax` helps" in said
        write(here, f"return z + {i}")
        run("check", "softmax")
        run("check", "softmax")  # checking the same file again does not count as a try
    assert run("solution", "softmax")[0] == 0


def test_several_at_once_a_line_each(run, here):
    run("start", "softmax", "log_softmax", "sinusoids")
    write(here, RIGHT)
    code, said = run("check", "softmax", "log_softmax", "9")
    assert code == 1 and said.splitlines()[-1] == "1 of 3 passed." and len(said.splitlines()) == 4


def test_it_works_from_inside_the_folder_and_with_a_folder_of_ones_own(run, here, monkeypatch, tmp_path):
    assert run("start", "softmax", "--folder", "mine")[0] == 0
    said = run("check", "softmax", "--folder", "mine")[1]
    assert "next: minilm exercise hint softmax --folder mine" in said
    monkeypatch.chdir(tmp_path / "mine")
    write(Path(), RIGHT)
    assert run("start", "log_softmax")[1].startswith("this folder: 1 new file.")
    code, said = run("check", "e01_softmax.py")
    assert code == 0 and "next: minilm exercise check log_softmax" in said
    assert "✓ softmax" in run("list")[1] and not Path("minilm-exercises").exists()


@pytest.mark.parametrize("width", [80, 60, 200])
def test_the_list_has_a_line_for_each_exercise_however_narrow_the_terminal_is(run, here, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    run("start")
    *lines, _ = run("list")[1].splitlines()
    assert len(lines) == len(entries()) and max(map(len, lines)) <= width
    assert any(line.endswith(" …") for line in lines) == (width < 100)


BAD = {
    ("nap",): "there is no action 'nap': choose one of list, start, check",
    ("chek",): "there is no action 'chek': did you mean check?",
    ("Soluton", "softmax"): "there is no action 'Soluton': did you mean solution?",
    ("check", "sofmax"): "there is no exercise 'sofmax': did you mean softmax",
    ("check", "99"): "there is no exercise '99': `minilm exercise list` shows them all.",
    ("check", "softmax", "--folder", "nowhere"): "there is no folder nowhere yet: `minilm exercise start` creates it.",
    ("start", "--folder", "a_file"): "a_file is a file, but the exercises need a folder: give another name.",
    ("reset",): "say which exercise you want to start again",
    ("watch", "attention"): "there is no file minilm-exercises/e10_attention.py",
    ("watch", "softmax", "attention"): "watch looks at one file",
    (
        "check",
        "attention",
    ): "there is no file minilm-exercises/e10_attention.py: `minilm exercise start attention` creates it.",
    (
        "check",
        "--folder",
        "empty",
    ): "there is no file empty/e01_softmax.py: `minilm exercise start softmax --folder empty`",
    ("list", "--folder", "a_file"): "a_file is a file, but the exercises need a folder: give another name.",
    ("list", "nothing"): "there is no exercise 'nothing'",
    ("start", "sofmax"): "did you mean softmax",
    ("start", "--folder", "a_file/below"): "there is a file where a folder is needed",
    ("reset", "sofmax"): "did you mean softmax",
    ("hint", "--folder", "nowhere"): "there is no folder nowhere yet",
    (
        "hint",
        "--folder",
        "empty",
    ): "there is no file empty/e01_softmax.py: `minilm exercise start softmax --folder empty`",
    ("solution", "--folder", "nowhere"): "there is no folder nowhere yet",
    ("watch", "--folder", "nowhere"): "there is no folder nowhere yet",
    ("quality", "sofmax"): "did you mean softmax",
    ("quality", "--seeds", "0"): "--seeds 0 must be 1 or more",
    ("check", "--seconds", "3"): "--seconds is only for grade: check does not take it.",
    ("hint", "nothing"): "there is no exercise 'nothing'",
    ("solution", "softmax"): "the solution of softmax is shown after a pass or 3 failed tries",
}


@pytest.mark.parametrize("arguments", BAD, ids=" ".join)
def test_bad_input_gets_one_sentence(arguments, run, here):
    run("start", "softmax")
    Path("a_file").write_text("x", encoding="utf-8")
    Path("empty").mkdir()
    code, said = run(*arguments)
    assert code == 2 and said.startswith("minilm: ") and len(said.strip().splitlines()) == 1
    assert BAD[arguments].replace("/", str(Path("/"))) in said


@pytest.mark.parametrize("arguments", [("check", "--colour"), ("grade", "in", "--seed", "x")], ids=" ".join)
def test_options_that_cannot_be_read_are_reported_by_tyro(arguments, run):
    code, said = run(*arguments)
    assert code == 2 and arguments[-2 if "--seed" in arguments else -1] in said and "Traceback" not in said


@pytest.mark.parametrize("action", ["start", "check", "hint"])
def test_a_full_disk_gets_one_sentence_and_leaves_nothing_behind(action, run, here, monkeypatch):
    run("start", "softmax")
    before = (here / FILE).read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    write(here, WRONG)
    monkeypatch.setattr("minilm.exercises.progress.os.replace", full)
    code, said = run(action, "softmax")
    assert code == 2 and "minilm: nothing can be written in minilm-exercises (No space left on device): " in said
    assert (here / FILE).read_bytes() == before and [path.name for path in here.glob(f"{FILE}.*")] == []


def test_the_list_of_an_empty_folder_says_how_to_begin(run, here):
    here.mkdir()
    assert run("list")[1].endswith(f"0 of {len(entries())} passed.  next: minilm exercise start softmax\n")


def test_all_means_what_was_started(run, here):
    run("start", "softmax", "log_softmax")
    assert run("check", "all")[1].splitlines()[-1] == "0 of 2 passed."


def test_a_second_reset_does_not_lose_the_work_that_the_first_one_kept(run, here):
    run("start", "softmax")
    old = write(here, WRONG).with_suffix(".py.old")
    run("reset", "softmax")
    assert "your earlier file" not in run("reset", "softmax")[1] and WRONG in old.read_text(encoding="utf-8")
    write(here, "return z")
    run("reset", "softmax")
    assert WRONG in old.read_text(encoding="utf-8") and "return z" in Path(f"{old}2").read_text(encoding="utf-8")


def test_what_comes_next_is_there_or_is_started(run, here):
    run("start", "attention", "layer_norm")
    assert "layer_norm   layer 0 of 7: not written yet" in run("check")[1]  # number 7 is the first one in the folder
    run("start", "softmax")
    write(here, RIGHT)
    assert "next: minilm exercise check layer_norm" in run("check", "softmax")[1]
    for name in ("e07_layer_norm.py", "e10_attention.py"):
        (here / name).unlink()
    assert "next: minilm exercise start log_softmax" in run("check", "softmax")[1]


def test_colours_only_where_they_are_wanted(monkeypatch):
    class Terminal:
        isatty = staticmethod(lambda: True)

    monkeypatch.setattr(report.sys, "stdout", Terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert report.may_colour()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not report.may_colour()


def test_it_can_be_imported_where_posix_is_not():
    code = """
import signal, sys
sys.modules["resource"] = None
for name in ("SIGALRM", "SIGKILL", "SIGXCPU", "setitimer", "alarm"):
    delattr(signal, name)
from minilm.exercises.grading import child, grade, guard, isolated, windows_job as jobs, teacher
from minilm.exercises import command, notebook
from minilm.exercises.grading.isolated import ending
assert ending(guard.TIME, 1, 1)[0] == "time"
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=folder_environment())


@pytest.mark.parametrize("content", ["", "[]", '{"softmax": 3}', '{"softmax": {"failed": [1]}}', "\0"])
def test_a_broken_progress_file_costs_nothing(content, run, here):
    run("start", "softmax")
    (here / FILE).write_text(content, encoding="utf-8")
    assert "· softmax" in run("list", "softmax")[1]
    write(here, RIGHT)
    assert run("check", "softmax")[0] == 0 and "✓ softmax" in run("list", "softmax")[1]


def test_what_is_remembered_is_a_checksum_and_its_verdict(run, here):
    run("start", "softmax")
    path = write(here, WRONG)
    run("check", "softmax")
    record = json.loads((here / FILE).read_text(encoding="utf-8"))["softmax"]
    assert list(record["failed"].values()) == [2] and list(record["mistakes"].values()) == ["whole"]
    assert record["failed"].keys() == record["mistakes"].keys() and record["titles"] == {}
    wrong = path.read_text(encoding="utf-8")
    write_again = path.write_text(wrong + "\n# a note\n", encoding="utf-8")
    assert write_again and Progress(here).state(find("softmax")) == ("changed", 0)
    path.write_text(wrong, encoding="utf-8")  # the old content is back, so the old verdict holds
    assert Progress(here).state(find("softmax")) == ("failed", 2)


def test_watch_checks_at_every_save(here):
    options = command.ExerciseOptions("watch", ("softmax",))
    command.start(options, lambda _: None)
    saves, said = [WRONG, RIGHT], []

    def say(text):
        said.append(text)
        if text[:1] in "✗✓" and saves:
            path = here / "e01_softmax.py"
            path.write_text(f"import numpy as np\ndef softmax(z):\n    {saves.pop(0)}\n", encoding="utf-8")

    assert command.watch(options, say, rounds=6, pause=0) == 0
    verdicts = [text.split("\n")[0] for text in said if text[:1] in "✗✓"]
    assert [verdict.split(":")[0] for verdict in verdicts] == [
        "✗ softmax   layer 0 of 7",
        "✗ softmax   layer 2 of 7",
        "✓ softmax   passed",
    ]


def test_watch_waits_for_a_file_that_is_gone(here):
    options = command.ExerciseOptions("watch", ("softmax",))
    command.start(options, lambda _: None)
    said = []

    def say(text):
        said.append(text)
        if text[:1] == "✗":
            (here / "e01_softmax.py").unlink()
        elif "is gone" in text:
            write(here, RIGHT)

    assert command.watch(options, say, rounds=4, pause=0) == 0
    assert [text[:1] for text in said if text[:1] in "✗m✓"] == ["✗", "m", "✓"]


def test_watch_ends_with_ctrl_c(here, monkeypatch):
    options = command.ExerciseOptions("watch", ("softmax",))
    command.start(options, lambda _: None)
    monkeypatch.setattr(command.time, "sleep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    assert command.watch(options, lambda _: None) == 0


def test_plain_pytest_works_in_the_folder_with_our_message_first(here):
    folder.start(here, [find("softmax"), find("log_softmax"), find("cross_entropy")])
    write(here, RIGHT)
    write(here, "return z", "log_softmax")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"],
        cwd=here,
        env={**folder_environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert ran.returncode == 1 and "1 failed, 1 passed, 1 skipped" in ran.stdout, ran.stdout + ran.stderr
    assert "\n✗ log_softmax   layer 2 of 7: the tiny example\n" in ran.stdout and "Traceback" not in ran.stdout
    assert "SKIPPED [1] test_exercises.py" in ran.stdout and "cross_entropy is not written yet" in ran.stdout
    assert Progress(here).state(find("softmax"))[0] == "passed"


def folder_environment():
    import os

    top = str(Path(command.__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": top, "PYTHONIOENCODING": "utf-8"}


def test_the_list_loads_neither_torch_nor_a_spec():
    code = (
        "import sys; from minilm.cli import main; main(['exercise', 'list']); "
        "sys.exit('torch' in sys.modules or any('exercises.specs.' in name for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=folder_environment(), capture_output=True)
