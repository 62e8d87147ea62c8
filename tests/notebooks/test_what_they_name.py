"""The notebooks' statements about the rest of the project: which exercise belongs where, and the README's figures."""

import re

import pytest
from pages import NOTEBOOKS, TOP

from minilm.errors import InputError
from minilm.exercises.catalogue import entries, load
from minilm.experiments.table import measured, summarise

SOURCES = {path.stem[:2]: path.read_text(encoding="utf-8") for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.py"))}


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
    assert len(named) >= 30 and set(named) <= {entry.name for entry in entries()} | {"NAME"}


def test_the_measured_rows_of_notebook_16_are_those_of_the_readme():
    """The notebook and the README show the same run: the file that the one reads gives the table that the other prints."""
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    rows = summarise(measured("quickstart-en"), "accuracy")
    assert len(rows) >= 9 and {row["labels"] for row in rows} == {500}
    for row in rows:
        printed = re.search(rf"^\| {re.escape(row['model'])} \| 500 \| ([\d.]+) ± ([\d.]+) \|", readme, re.MULTILINE)
        assert printed and printed.groups() == (f"{row['mean']:.3f}", f"{row['deviation']:.3f}"), row["model"]
    shown = re.search(r"^shown = \{\n(.*?)^\}", SOURCES["16"], re.MULTILINE | re.DOTALL)[1]
    assert set(re.findall(r'^    "(.+?)": ', shown, re.MULTILINE)) < {row["model"] for row in rows}
    with pytest.raises(InputError, match="there are no results named 'quickstart-fr'"):
        measured("quickstart-fr")
