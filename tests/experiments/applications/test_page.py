"""The tables of the page are those of the files in data/results."""

import json
from pathlib import Path

import pytest

from minilm.experiments.applications import monitor, recommend, service
from minilm.experiments.table import details_table, markdown_table

TOP = Path(__file__).resolve().parents[3]
PAGE = (TOP / "minilm/experiments/applications/README.md").read_text(encoding="utf-8")


def rows(name):
    return json.loads((TOP / "data" / "results" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("columns", [service.COLUMNS, service.KINDS])
def test_answers(columns):
    assert details_table(rows("service")["rows"], 407, list(columns), "answers", columns) in PAGE


def test_intents():
    assert markdown_table(rows("service")["intents"], "accuracy") in PAGE


def test_alarms():
    found = rows("monitor")
    assert details_table(found, 500, list(monitor.ALARM), "labelled sentences", monitor.ALARM) in PAGE


def test_films():
    found = rows("recommend")
    assert details_table(found, found[0]["labels"], list(recommend.COLUMNS), "people", recommend.COLUMNS) in PAGE
