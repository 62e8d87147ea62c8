"""Every suggestion of "What to try" has a folded answer, and what an answer quotes is what the changed notebook prints.

`notebooks/answers.py` follows the suggestions at full size and records what they print in `answers/NN_name.json`; nothing
runs here. After a change to a notebook or its suggestions: `python notebooks/answers.py NN` (or --stale), and correct the
answers. `python notebooks/answers.py --check` follows everything again and compares; that takes some minutes.
"""

import json
import re
from pathlib import Path

import changes
import pytest
from changes import build, paragraphs, read
from pages import program

answers = program("answers")
SOURCES = build.sources()
by_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)

# Notebooks, without their numbers, whose answers are still to be written. Once a notebook has them, its name must go.
WITHOUT_ANSWERS: set[str] = set()

FOLDED = re.compile(r"<details><summary>Answers</summary>\n\n(.*?)\n\n</details>", re.DOTALL)
ITEM = re.compile(r"(?m)^(\d+)\. ")
TEXT = re.compile(r"(?ms)^ *```text\n(.*?)^ *```$")
SHORTEST_PART = 12  # characters: less than that may occur in a printed line by chance; a whole line may be shorter


def cells_with_suggestions(source: Path) -> list[str]:
    markdown = [cell.source for cell in read(source).cells if cell.cell_type == "markdown"]
    return [text for text in markdown if "**What to try.**" in text]


def suggested_in_order(source: Path) -> list[str]:
    """The sentences of TRY in the order in which the notebook has them."""
    text = " · ".join(paragraphs(source))
    found = list(answers.sentences(source))
    assert sorted(found, key=text.index) == found, "TRY has another order than the notebook"
    return found


def folded(text: str) -> list[list[str]]:
    """For each paragraph "What to try" of a cell its answers, one string for each item. Raises AssertionError if it has none."""
    parts = text.split("**What to try.**")[1:]
    found = []
    for part in parts:
        paragraph, blank, rest = part.partition("\n\n")
        match = FOLDED.match(rest)
        assert blank and match, f"no folded answers below: {' '.join(paragraph.split())[:80]}"
        begins = [m.start() for m in ITEM.finditer(match[1])]
        numbers = [int(m[1]) for m in ITEM.finditer(match[1])]
        assert begins[:1] == [0] and numbers == list(range(1, len(numbers) + 1)), "the items are numbered 1, 2, 3 …"
        found.append([match[1][a:b].strip() for a, b in zip(begins, [*begins[1:], None])])
    return found


def not_printed(item: str, printed: list[list[str]]) -> list[str]:
    """The lines that the item quotes and no change has printed."""
    lines = {line.strip() for change in printed for line in change}
    quoted = [line.strip() for block in TEXT.findall(item) for line in block.splitlines() if line.strip()]
    return [
        line
        for line in quoted
        if line not in lines and not (len(line) >= SHORTEST_PART and any(line in whole for whole in lines))
    ]


def has_answers(source: Path) -> bool:
    return any("<summary>Answers</summary>" in text for text in cells_with_suggestions(source))


def faults(source: Path) -> list[str]:
    """What is wrong with the answers of a notebook, in words; empty if nothing is."""
    recorded, sentences = answers.recorded(source), suggested_in_order(source)
    items = [item for text in cells_with_suggestions(source) for paragraph in folded(text) for item in paragraph]
    if len(items) != len(sentences):
        return [f"{len(sentences)} sentences suggest something, and {len(items)} items answer"]
    wanted = answers.wanted(source)
    if list(recorded) != sentences or any(recorded[s]["code"] != answers.made_of(wanted[s]) for s in sentences):
        stale = [s for s in sentences if recorded.get(s, {}).get("code") != answers.made_of(wanted[s])]
        return [f"not recorded, or from other code (python notebooks/answers.py --stale): {stale or 'the order'}"]
    found = []
    for sentence, item in zip(sentences, items):
        found += [
            f"not printed: {line!r}, in the answer to: {sentence}"
            for line in not_printed(item, recorded[sentence]["printed"])
        ]
        if len(re.sub(r"```.*?```", "", item, flags=re.DOTALL).split()) < 8:
            found.append(f"an answer says what happens and why: {sentence}")
    return found


@by_notebook
def test_every_suggestion_has_an_answer_that_quotes_what_is_printed(source):
    if source.stem[3:] in WITHOUT_ANSWERS:
        assert not has_answers(source), f"{source.stem} has answers: take it out of WITHOUT_ANSWERS"
        return
    assert faults(source) == []


@by_notebook
def test_each_paragraph_has_as_many_answers_as_suggestions(source):
    """Counted for each paragraph, so that a missing answer does not shift those of the next one."""
    if source.stem[3:] in WITHOUT_ANSWERS:
        return
    items = [len(paragraph) for text in cells_with_suggestions(source) for paragraph in folded(text)]
    sentences = suggested_in_order(source)
    assert items == [sum(s in paragraph for s in sentences) for paragraph in paragraphs(source)]


def test_nothing_is_recorded_for_a_notebook_that_is_not_there():
    assert {path.stem for path in answers.ANSWERS.glob("*.json")} <= {path.stem for path in SOURCES}
    assert WITHOUT_ANSWERS <= {path.stem[3:] for path in SOURCES}


# ------------------------------------------------------------------------------- the test and the program can fail

ITEMS = """**What to try.** Double `x`: what does it print? Halve `x`.

<details><summary>Answers</summary>

1. It prints twice as much, because `y` is proportional to `x`:

   ```text
   y = 4
   of 12 examples, 3 are right
   ```
2. Half as much.

</details>

And on it goes.
"""


def test_items_and_their_lines_are_found():
    assert [[item[:9] for item in paragraph] for paragraph in folded(ITEMS)] == [["1. It pri", "2. Half a"]]
    first = folded(ITEMS)[0][0]
    printed = [["y = 2"], ["y = 4", "of 12 examples, 3 are right (25 %)"]]
    assert not_printed(first, printed) == []  # a whole line, or a long part of one
    assert not_printed(first, [["y = 44", "of 12 examples, 3 are right"]]) == ["y = 4"]
    assert not_printed(first, [["y = 4"]]) == ["of 12 examples, 3 are right"]
    assert not_printed(first, []) == ["y = 4", "of 12 examples, 3 are right"]
    assert not_printed("1. No lines.", []) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n\n<details><summary>Answers", "\n\nA sentence between.\n\n<details><summary>Answers"),
        ("2. Half", "3. Half"),
        ("1. It", "It"),
        ("\n</details>", ""),
    ],
)
def test_a_paragraph_without_well_formed_answers_is_noticed(old, new):
    assert ITEMS.count(old) == 1
    with pytest.raises(AssertionError):
        folded(ITEMS.replace(old, new))


TINY = """\
# %% [markdown]
# # 01 · Tiny
# ## One section

# %%
import sys
from minilm.viz.teaching import claim, panels

x = 2
print("in a time of 3 s")
print(f"x is {x}")
panels()[0]

# %%
claim("It is even.", x % 2 == 0)
x / 2

# %% [markdown]
# **What to try.** Set `x` to 3, then to 4. Set `x` to 0: is it even?
#
# ## Another section

# %%
print("not in the section")
"""
LIST = """
TRY = [
    *(("Set `x` to 3, then to 4.", [("x = 2", f"x = {x}")]) for x in (3, 4)),
    ("Set `x` to 0: is it even?", [("x = 2", "x = 9")]),
]
BELOW = "import warnings\\nwarnings.warn('x is small')\\nprint('below', 'it', file=sys.stderr)"
FULL = {"Set `x` to 0: is it even?": [[("x = 2", "x = 0"), ("after", "x % 2", BELOW)]]}
REMARKS = []
VARIATIONS = []
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A notebook, its suggestions, and where their answers go."""
    books, lists = tmp_path / "books", tmp_path / "lists"
    for folder, text in ((books, TINY), (lists, LIST)):
        folder.mkdir()
        (folder / "01_tiny.py").write_text(text, encoding="utf-8")
    source = books / "01_tiny.py"
    monkeypatch.setattr(answers.build, "sources", lambda: [source])
    monkeypatch.setattr(answers, "ANSWERS", tmp_path / "answers")
    monkeypatch.setattr(changes, "SUGGESTIONS", lists)
    return source


def test_what_changes_print_is_recorded_and_compared(tiny, capsys):
    assert answers.main(["01"]) == 0 and "2 of 2 sentences followed" in capsys.readouterr().out
    file = answers.ANSWERS / "01_tiny.json"
    found = json.loads(file.read_text(encoding="utf-8"))
    assert [answer["printed"] for answer in found] == [
        [["x is 3", "no longer true: It is even.", "1.5"], ["x is 4", "✓ It is even.", "2.0"]],
        [["x is 0", "✓ It is even.", "0.0", "below it"]],  # no time, no picture, no warning, nothing of another section
    ]
    assert answers.main(["--check"]) == 0 and answers.main(["01_tiny", "--show", "--only", "x` to 0"]) == 0
    shown = capsys.readouterr().out
    assert "▸ x = 0" in shown and "      below it" in shown and "x is 3" not in shown

    found[0]["printed"][1][0] = "x is 5"
    file.write_text(json.dumps(found), encoding="utf-8")
    assert answers.main(["--check"]) == 1
    assert capsys.readouterr().err == "01_tiny.py: recorded otherwise:\n  Set `x` to 3, then to 4.\n"
    assert (
        answers.main(["--stale"]) == 0 and "  0 of 2 sentences followed" in capsys.readouterr().out
    )  # the code is the same
    assert answers.main(["--only", "x` to 3"]) == 0 and "  1 of 2 sentences followed" in capsys.readouterr().out
    assert answers.main(["--check"]) == 0

    tiny.write_text(TINY.replace("x / 2", "x / 4"), encoding="utf-8")
    assert "not recorded, or from other code" in faults_of(tiny)[0]
    assert answers.main(["--stale"]) == 0 and "  2 of 2 sentences followed" in capsys.readouterr().out
    assert answers.recorded(tiny)["Set `x` to 3, then to 4."]["printed"][1][-1] == "1.0"


def faults_of(source: Path) -> list[str]:
    text = source.read_text(encoding="utf-8")
    folded_answers = "<details><summary>Answers</summary>\n\n1. a\n2. b\n\n</details>\n"
    lines = "".join(f"# {line}".rstrip() + "\n" for line in f"\n{folded_answers}".splitlines())
    source.write_text(text.replace("is it even?\n#\n", f"is it even?\n{lines}#\n"), encoding="utf-8")
    found = faults(source)
    source.write_text(text, encoding="utf-8")
    return found


def test_a_change_that_fails_is_named_and_nothing_is_written(tiny, capsys):
    tiny.write_text(TINY.replace("x / 2", "1 / (x - 4)"), encoding="utf-8")
    assert answers.main([]) == 1 and not answers.ANSWERS.exists()
    assert "Set `x` to 3, then to 4.\n  code cell 2: ZeroDivisionError" in capsys.readouterr().err
    assert answers.main(["7"]) == 2 and capsys.readouterr().err == "there is no notebook '7'.\n"
