"""The built wheel, installed in an empty folder: everything that users need is in it, and it works without the source tree."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from minilm import __version__

TOP = Path(__file__).resolve().parents[1]
SOURCE = (
    "minilm",
    "notebooks",
    "data",
    "setup.cfg",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)  # a build reads only these
SIZES = "--width 12 --heads 3 --layers 1 --vocab-size 200 --length 24 --batch 4 --held-out 2 --evaluations 1".split()

TOY = """
import sys
from dataclasses import replace

from minilm.cli import main
from minilm.experiments import chinese, quickstart
from minilm.experiments.chinese import Chinese

Chinese.pretraining = replace(Chinese.pretraining, width=12, heads=3, layers=1, evaluations=1)
Chinese.recipes = {name: replace(recipe, epochs=1) for name, recipe in Chinese.recipes.items()}
Chinese.epochs, chinese.TEST = {}, 50
quickstart.workers_for = lambda device: 1
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from a copy of the source, because setuptools would also pack old files from build/."""
    tree, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCE:
        if (TOP / name).is_dir():
            shutil.copytree(TOP / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(TOP / name, tree)
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out, tree)
    (built,) = out.glob("minilm-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", "--no-compile", "--target", folder, wheel)
    return folder


def pip(*arguments) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def python(installed, tmp_path):
    """Run the installed minilm in a new Python process in an empty folder, away from the source tree."""

    def run(*arguments, code: int = 0) -> str:
        # This process's environment may point to the source tree (PYTHONPATH) and to files that the tests share.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environment |= {"PYTHONPATH": str(installed), "PYTHONUTF8": "1", "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return run


def files_of(tree: Path) -> set[str]:
    """The files under minilm/, without hidden files and files that Python compiled."""
    found = {path for path in (tree / "minilm").rglob("[!.]*") if path.is_file() and "__pycache__" not in path.parts}
    return {path.relative_to(tree).as_posix() for path in found}


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert not files_of(TOP) - names, "missing: name their ending under package_data in setup.cfg"
    assert "minilm/py.typed" in names
    assert [name for name in names if name.endswith(".json")], "the exercises have measured figures"


def test_every_notebook_is_in_the_wheel_and_nothing_else_is(wheel):
    place = f"minilm-{__version__}.data/data/share/minilm/notebooks/"
    names = zipfile.ZipFile(wheel).namelist()
    notebooks = {path.name for suffix in ("ipynb", "md") for path in (TOP / "notebooks").glob(f"*.{suffix}")}
    assert {name.removeprefix(place) for name in names if name.startswith(place)} == notebooks
    results = f"minilm-{__version__}.data/data/share/minilm/results/"
    measured = {path.name for path in (TOP / "data" / "results").glob("*.json")}
    assert {name.removeprefix(results) for name in names if name.startswith(results)} == measured
    others = {name for name in names if not name.startswith((place, results, f"minilm-{__version__}.dist-info/"))}
    assert others == files_of(TOP)


def test_it_is_the_installed_package_that_runs(python, installed):
    """The other tests of this file prove nothing if the source tree is found first."""
    file = python("-c", "import minilm; print(minilm.__file__)").strip()
    assert Path(file).resolve() == (installed / "minilm" / "__init__.py").resolve()
    assert python("-m", "minilm", "--version") == f"minilm {__version__}\n"
    assert "usage: minilm COMMAND" in python("-m", "minilm")
    assert "imdb" in python("-m", "minilm", "data")


def test_the_first_steps_of_the_quickstart(python, tmp_path):
    """The quickstart first prepares a corpus, pretrains and fine-tunes; here the text has only a few pages."""
    corpus = shutil.copy(TOP / "data" / "english.txt", tmp_path)
    python("-m", "minilm", "pretrain", "--corpus", corpus, "--out", "run", "--steps", 3, "--no-progress", *SIZES)
    assert json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))["hidden_size"] == 12
    filled = python("-m", "minilm", "fill-mask", "--model", "run", "she opens the [MASK] .", "--top", 2)
    assert len(re.findall(r"[\d.]+%", filled)) == 2
    labelled = ("--data", shutil.copy(TOP / "data" / "reviews.csv", tmp_path), "--model", "run", "--truncate")
    python("-m", "minilm", "finetune", *labelled, "--out", "fitted", "--recipe.epochs", 1, "--no-progress")
    assert re.match(r"(positive|negative)\t", python("-m", "minilm", "predict", "--model", "fitted", "a fine film"))


def test_the_quickstart(python, tmp_path):
    """The whole of it, in Chinese because that takes less time: on all the text, with a model and a test set of a toy's size."""
    few = ("--steps", 3, "--seeds", 1, "--labels", 20, "--no-progress")
    said = python("-c", TOY, "quickstart", "--language", "zh", *few)
    assert re.findall(r"── (\d)  ", said) == ["1", "2", "3", "4"]
    out = tmp_path / "runs" / "quickstart-zh"
    rows = json.loads((out / "ladder.json").read_text(encoding="utf-8"))
    assert [row["labels"] for row in rows] == [20] * 5
    assert {"ladder.png", "pretraining.png", "attention.png", "report.md"} <= {path.name for path in out.iterdir()}


def test_the_exercises(python, tmp_path):
    assert "softmax" in python("-m", "minilm", "exercise", "list")
    python("-m", "minilm", "exercise", "start", "softmax")
    assert list((tmp_path / "minilm-exercises").glob("e01_*.py"))
    python("-m", "minilm", "exercise", "check", "softmax", code=1)  # the stub is not solved yet


def test_the_notebooks(python, tmp_path):
    python("-m", "minilm", "notebooks", "--no-open", "--to", "copies")
    wanted = {path.name for path in (TOP / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    assert {path.name for path in (tmp_path / "copies").glob("*.ipynb")} == wanted


def test_the_front_door_opens(python):
    code = "import minilm; print(all(getattr(minilm, name) for name in minilm.MODULE_OF))"
    assert python("-c", code).strip() == "True"
