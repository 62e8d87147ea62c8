"""Every exercise says how long it takes and how hard it is, everywhere with the same words."""

import re

import pytest
from pages import TOP

from minilm.exercises import catalogue
from minilm.exercises.catalogue import entries, load
from minilm.exercises.command import exercise
from minilm.exercises.stub import solution, stub


def test_the_readme_lists_all_of_them():
    text = (TOP / "minilm" / "exercises" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.+) \| ([F\d, ]*) \| (\d+) \| (\w+) \|$", text, re.MULTILINE)
    wanted = [(e.number, e.name, e.title, ", ".join(e.formulas), e.minutes, e.difficulty) for e in entries()]
    assert rows == [tuple(map(str, row)) for row in wanted]


def test_list_and_stub_say_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    lines: list[str] = []
    exercise(say=lines.append)
    for entry, line in zip(entries(), lines, strict=False):
        assert re.search(rf" {entry.name} +{entry.minutes:2} min {entry.difficulty} +{re.escape(entry.title)}$", line)
        assert f"\nAbout {entry.minutes} minutes, {entry.difficulty}.\n" in stub(load(entry.name))


def test_the_estimates_are_plausible():
    """They follow the length of the solution: nothing of ten lines takes longer than something hard of twenty."""
    lengths = {e.name: len(solution(load(e.name)).splitlines()) for e in entries()}
    by_word = {word: [e for e in entries() if e.difficulty == word] for word in ("easy", "medium", "hard")}
    for entry in entries():
        assert entry.minutes % 5 == 0 and 10 <= entry.minutes <= 60, entry
    longest = [max(e.minutes for e in group) for group in by_word.values()]
    shortest = [min(e.minutes for e in group) for group in by_word.values()]
    assert longest == sorted(longest) and shortest == sorted(shortest)
    mean = [sum(lengths[e.name] for e in group) / len(group) for group in by_word.values()]
    assert mean == sorted(mean)


@pytest.mark.parametrize(
    "first",
    [
        "Softmax.  F01.",
        "Softmax.  F01.  15 minutes.",
        "Softmax  F01.  15 minutes, easy.",
        "Softmax.  F01.  15 minutes, simple.",
    ],
)
def test_a_spec_without_them_is_named(first, tmp_path, monkeypatch):
    (tmp_path / "e01_softmax.py").write_text(f'"""{first}"""\n', encoding="utf-8")
    monkeypatch.setattr(catalogue, "SPECS", tmp_path)
    with pytest.raises(AssertionError, match="e01_softmax.py begins with: Softmax"):
        catalogue.entries.__wrapped__()


def test_an_exercise_may_belong_to_no_formula(tmp_path, monkeypatch):
    (tmp_path / "e01_nap.py").write_text('"""A nap (short).  20 minutes, easy."""\n', encoding="utf-8")
    (tmp_path / "e02_two.py").write_text('"""Two naps.  F01, F02.  5 minutes, hard."""\n', encoding="utf-8")
    monkeypatch.setattr(catalogue, "SPECS", tmp_path)
    found = catalogue.entries.__wrapped__()
    assert found[0] == (1, "nap", "A nap (short)", (), 20, "easy", "e01_nap") and found[1].formulas == ("F01", "F02")
