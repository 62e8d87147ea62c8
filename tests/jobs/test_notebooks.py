"""`minilm notebooks`: the learner's own text is never lost, and Jupyter opens in the folder of the copies."""

import configparser
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import tiny
from pages import NOTEBOOKS, TOP

from minilm.errors import InputError
from minilm.jobs import notebooks as job
from minilm.jobs.notebooks import COPIED, INDEX, NotebooksOptions, copy, notebooks, open_jupyter, source_folder

NAMES = ("01_a.ipynb", "02_b.ipynb")
GLOSSARY = "GLOSSARY.md"


@pytest.fixture
def source(tmp_path) -> Path:
    """Two notebooks, their index, the glossary, and files that are not notebooks."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name in (*NAMES, GLOSSARY, "build.py", "01_a.py", "scratch.ipynb"):
        (folder / name).write_text(f"{name}, first edition", encoding="utf-8")
    link = "[minilm/layers/attention.py](../minilm/layers/attention.py): `attention` · [01 · A](01_a.ipynb)"
    (folder / INDEX).write_text(link, encoding="utf-8")
    return folder


@pytest.fixture
def here(source, tmp_path, monkeypatch) -> Path:
    """An empty folder to work in, on a machine whose minilm has the two notebooks."""
    monkeypatch.setattr(job, "source_folder", lambda: source)
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


def test_they_are_copied_with_their_index(here, capsys):
    assert tiny.command("notebooks", "--no-open") == 0
    folder = here / "minilm-notebooks"
    assert {path.name for path in folder.iterdir()} == {INDEX, GLOSSARY, COPIED, *NAMES}
    assert (folder / "01_a.ipynb").read_text(encoding="utf-8") == "01_a.ipynb, first edition"
    # the source files are not copied, so links to them would be broken
    text = (folder / INDEX).read_text(encoding="utf-8")
    assert text == "minilm/layers/attention.py: `attention` · [01 · A](01_a.ipynb)"
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "minilm-notebooks: 4 new." and out[1].endswith("jupyter lab minilm-notebooks") and len(out) == 2


def test_what_the_learner_changed_is_left_alone_and_the_rest_brought_up_to_date(source, here, capsys):
    to = Path("mine/books")
    options = NotebooksOptions(to=to, open=False)
    assert notebooks(options, tiny.silent).new == (GLOSSARY, INDEX, *NAMES)
    assert notebooks(options, tiny.silent).same == (GLOSSARY, INDEX, *NAMES)
    (to / NAMES[0]).write_text("my own notes", encoding="utf-8")
    for name in NAMES:
        (source / name).write_text(f"{name}, second edition", encoding="utf-8")

    capsys.readouterr()
    for _ in range(2):  # the second time, the result is the same
        done = notebooks(options)
        assert done.kept == NAMES[:1] and NAMES[1] in done.refreshed + done.same
        assert (to / NAMES[0]).read_text(encoding="utf-8") == "my own notes"
        assert (to / NAMES[1]).read_text(encoding="utf-8") == "02_b.ipynb, second edition"
        assert "Left alone, because you changed them: 01_a.ipynb (--force overwrites them)." in capsys.readouterr().out

    (to / NAMES[0]).write_text("01_a.ipynb, first edition", encoding="utf-8")  # undo the change
    assert notebooks(options, tiny.silent).refreshed == NAMES[:1]
    (to / NAMES[0]).write_text("my own notes", encoding="utf-8")
    assert notebooks(NotebooksOptions(to=to, open=False, force=True), tiny.silent).refreshed == NAMES[:1]
    assert (to / NAMES[0]).read_text(encoding="utf-8") == "01_a.ipynb, second edition"


@pytest.mark.parametrize("memory", ["", "[1]", '{"01_a.ipynb": 1}', None])
def test_without_its_memory_every_file_that_differs_counts_as_the_learners(memory, source, tmp_path):
    to = tmp_path / "to"
    copy(source, to)
    (to / NAMES[0]).write_text("my own notes", encoding="utf-8")
    (to / COPIED).unlink() if memory is None else (to / COPIED).write_text(memory, encoding="utf-8")
    done = copy(source, to)
    assert done.kept == NAMES[:1] and done.same == (GLOSSARY, INDEX, NAMES[1]) and not done.new + done.refreshed


def test_a_copy_that_was_thrown_away_comes_back(source, tmp_path):
    copy(source, tmp_path / "to")
    (tmp_path / "to" / NAMES[1]).unlink()
    assert copy(source, tmp_path / "to").new == NAMES[1:]


def test_a_target_that_will_not_do_is_named(source, here, capsys):
    Path("a-file").write_text("", encoding="utf-8")
    assert tiny.command("notebooks", "--to", "a-file") == 2
    assert capsys.readouterr().err == "minilm: a-file is a file: give --to the name of a folder.\n"
    assert tiny.command("notebooks", "--to", source) == 2
    assert "is where the notebooks come from: give --to another folder." in capsys.readouterr().err


# ------------------------------------------------------------------------------- where they are installed


def test_in_a_checkout_they_lie_beside_the_package():
    assert source_folder() == NOTEBOOKS
    assert len(list(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))) >= 12


@pytest.mark.parametrize("way", ["data", "user", "target"])
def test_a_wheel_puts_them_under_share(way, source, tmp_path, monkeypatch):
    """`pip install` puts a wheel's data in a different place in an environment, with --user and with --target."""
    prefix = tmp_path / "prefix"
    user = sysconfig.get_preferred_scheme("user")
    paths = {user: tmp_path / "user"} if way == "user" else {sysconfig.get_default_scheme(): prefix}
    monkeypatch.setattr(sysconfig, "get_path", lambda name, scheme: str(paths.get(scheme, tmp_path / "none")))
    monkeypatch.setattr(job, "BESIDE", prefix / "site-packages")
    with pytest.raises(InputError, match="came without its notebooks"):
        source_folder()
    root = {"data": prefix, "user": tmp_path / "user", "target": prefix / "site-packages"}[way]
    shutil.copytree(source, root / "share" / "minilm" / "notebooks")
    assert source_folder() == root / "share" / "minilm" / "notebooks"


def test_the_wheel_holds_what_the_command_looks_for():
    config = configparser.ConfigParser()
    config.read_string((TOP / "setup.cfg").read_text(encoding="utf-8"))
    patterns = config["options.data_files"]["share/minilm/notebooks"].split()
    packed = {path.name for pattern in patterns for path in TOP.glob(pattern)}
    pages = {INDEX, GLOSSARY, "README.md", "README.zh-CN.md"}
    assert packed == {path.name for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")} | pages


# ------------------------------------------------------------------------------- Jupyter


class FakeJupyter:
    """Replaces the process: Ctrl-C arrives while it runs, and it ends with the exit code `code`."""

    code = 0
    started: list[list[str]] = []

    def __init__(self, command):
        self.interrupts = 2
        self.started.append(command)

    def wait(self) -> int:
        self.interrupts -= 1
        if self.interrupts >= 0:
            raise KeyboardInterrupt
        return self.code


def test_jupyter_opens_in_the_folder_and_has_the_ctrl_c_to_itself(here, monkeypatch, capsys):
    monkeypatch.setattr(job.subprocess, "Popen", FakeJupyter)
    monkeypatch.setattr(FakeJupyter, "started", [])
    assert tiny.command("notebooks", "--to", "books") == 0
    assert FakeJupyter.started == [[sys.executable, "-m", "jupyterlab", str((here / "books").resolve())]]
    assert "Opening Jupyter; press Ctrl-C to end it." in capsys.readouterr().out

    monkeypatch.setattr(FakeJupyter, "code", 1)
    assert tiny.command("notebooks", "--to", "books") == 2
    err = "minilm: Jupyter ended with the code 1. To try again:  jupyter lab books\n"
    assert capsys.readouterr().err == err


@pytest.mark.parametrize("folder", ["my notebooks", "it's mine", "a $HOME", "a&b", "书 本", "plain/books-1"])
def test_the_command_that_is_printed_opens_this_folder(folder, here, monkeypatch, capsys):
    assert tiny.command("notebooks", "--no-open", "--to", folder) == 0
    typed = capsys.readouterr().out.splitlines()[1].split("To open them:  ")[1]
    if sys.platform != "win32":  # what a shell makes of it
        program = "jupyter() { printf '%s\n' \"$@\"; }; "
        heard = subprocess.run(["sh", "-c", program + typed], capture_output=True, encoding="utf-8", check=True).stdout
        assert heard.splitlines() == ["lab", folder]
    assert (typed == f"jupyter lab {folder}") == (folder == "plain/books-1")

    monkeypatch.setattr(job.subprocess, "Popen", FakeJupyter)
    monkeypatch.setattr(FakeJupyter, "code", 1)
    assert tiny.command("notebooks", "--to", folder) == 2
    assert capsys.readouterr().err.endswith(f"To try again:  {typed}\n")


@pytest.mark.parametrize(("folder", "typed"), [("my books", 'jupyter lab "my books"'), ("books", "jupyter lab books")])
def test_on_windows_it_is_quoted_for_its_shell(folder, typed, monkeypatch):
    monkeypatch.setattr(job.sys, "platform", "win32")
    assert job.command(Path(folder)) == typed


def test_without_jupyter_it_says_what_brings_it(here, monkeypatch, capsys):
    find, missing = importlib.util.find_spec, {"jupyterlab", "notebook"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else find(name))
    assert tiny.command("notebooks") == 2
    err = capsys.readouterr().err
    assert "not installed here: pip install jupyterlab brings it (--no-open copies only)." in err
    assert (here / "minilm-notebooks" / "01_a.ipynb").exists()

    missing.remove("notebook")  # the other program is enough
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else object())
    monkeypatch.setattr(job.subprocess, "Popen", FakeJupyter)
    monkeypatch.setattr(FakeJupyter, "started", [])
    open_jupyter(here, tiny.silent)
    assert FakeJupyter.started[0][2] == "notebook"
