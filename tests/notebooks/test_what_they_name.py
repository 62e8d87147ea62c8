"""The notebooks' statements about the rest of the project: which exercise belongs where, and the README's figures."""

import re

import pytest
from pages import NOTEBOOKS, TOP

from minilm.exercises.catalogue import entries, load

SOURCES = {path.stem[:2]: path.read_text(encoding="utf-8") for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.py"))}
LADDER = {
    "counting words (TF-IDF)": "TF-IDF + logistic regression",
    "Transformer from scratch": "Transformer",
    "… with word vectors": "Transformer + word vectors",
    "… pretrained seven minutes": "Transformer pretrained, fine-tuned",
}


def section(number: str, heading: str) -> str:
    """The text under a heading, up to the next one."""
    parts = re.split(r"^# ## (.+)$", SOURCES[number], flags=re.MULTILINE)
    return dict(zip((title.split("  (")[0] for title in parts[1::2]), parts[2::2]))[heading]


@pytest.mark.parametrize("name", [entry.name for entry in entries()])
def test_a_section_names_its_exercise(name):
    number, heading = load(name).section
    line = re.search(r"^# \*\*Exercises?\.\*\* (.*(\n# .+)*)", section(number, heading), re.MULTILINE)
    assert line and f"`{name}`" in line[1].replace("`minilm exercise start ", "`"), f"{number}, {heading}"


def test_an_exercise_that_a_notebook_names_is_there():
    named = re.findall(r"minilm exercise start (\w+)`", "".join(SOURCES.values()))
    assert len(named) >= 30 and set(named) <= {entry.name for entry in entries()}


@pytest.mark.parametrize("row", LADDER)
def test_the_bars_of_notebook_16_are_the_rows_of_the_readme(row):
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    score = re.search(rf"^\| {re.escape(LADDER[row])} \| 500 \| ([\d.]+) ", readme, re.MULTILINE)[1]
    assert f'"{row}": {score},' in SOURCES["16"]
