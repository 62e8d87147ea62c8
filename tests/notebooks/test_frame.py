"""Every notebook has the same frame: a box at the top, questions before the answers, a summary and where to go at the end.

The documents themselves are not part of the repository, so that only the form of a quoted line can be checked here.
"""

import re
from pathlib import Path

import nbformat
import pytest
from changes import build, read
from pages import NOTEBOOKS

from minilm.exercises.catalogue import entries, load

SOURCES = build.sources()
by_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)

# Notebooks, without their numbers, whose frame is still to be built. Once a notebook has one, its name must go.
WITHOUT_FRAME: set[str] = set()

LEADS = ["Minutes.", "You need", "Afterwards you can", "The documents.", "Words."]
QUOTE = re.compile(r"D[0-4] §[\d.]+: “([^“”]+)”")
QUESTION = re.compile(
    r"\*\*Predict first\.\*\* (.+?\?)(?: [^?\n]*)?\n\n<details><summary>Answer</summary>\n\n(.+?)\n\n</details>",
    re.DOTALL,
)
LONGEST_RUN = 60  # seconds; a reader waits for the whole notebook
# Words that notebook 01 or the glossary explains once. Whoever uses them in another notebook links to the explanation.
EXPLAINED = "epoch nat logit FAST agree claim batch token embedding softmax".split()


def markdown(source: Path) -> list[str]:
    return [cell.source for cell in read(source).cells if cell.cell_type == "markdown"]


def box(text: str) -> dict[str, str]:
    """The paragraphs of the blockquote in the first cell, by their bold leads, in order."""
    quoted = [line[1:].strip() for line in text.splitlines() if line.startswith(">")]
    blocks = re.findall(r"(?m)(?:^>.*\n?)+", text)
    assert len(blocks) == 1, f"one blockquote, not {len(blocks)}"
    found = {}
    for paragraph in "\n".join(quoted).split("\n\n"):
        match = re.match(r"\*\*([^*]+)\*\*\s+(.*)", paragraph, re.DOTALL)
        assert match, f"a paragraph of the box begins with its bold lead: {paragraph[:60]}"
        found[match[1]] = " ".join(match[2].split())
    return found


def exercises_of(source: Path) -> list[tuple[str, str, str]]:
    """The exercises whose section is in this notebook: (name, minutes, difficulty)."""
    mine = [e for e in entries() if load(e.name).section[0] == source.stem[:2]]
    return [(e.name, str(e.minutes), e.difficulty) for e in mine]


def table(text: str) -> list[tuple[str, str, str]]:
    """The rows of the table of exercises at the end of a notebook: (name, minutes, difficulty)."""
    _, found, rest = text.partition("**Exercises.**")
    rows = re.findall(r"(?m)^\| `(?:minilm exercise start )?(\w+)` \| (\d+) \| (easy|medium|hard) \|$", rest)
    lines = [line for line in rest.splitlines() if line.startswith("|")]
    assert found and len(rows) == len(lines) - 2, "a table: | exercise | minutes | difficulty |"
    return rows


def faults(source: Path) -> list[str]:
    """What is missing in the frame of a notebook, in words; empty if nothing is."""
    texts = markdown(source)
    first, last = texts[0], texts[-1]
    try:
        paragraphs = box(first)
    except AssertionError as wrong:
        return [str(wrong)]
    if list(paragraphs) != LEADS:
        return [f"the box has the leads {list(paragraphs)}, not {LEADS}"]
    found = []
    if not re.match(r"# \d\d · ", first):
        found.append("the first line is a title such as # 04 · Attention")
    minutes = re.match(r"(\d+) to run, about (\d+) to read and try\.", paragraphs["Minutes."])
    if not minutes or not 1 <= int(minutes[1]) * 60 <= LONGEST_RUN:
        found.append("Minutes: `1 to run, about 50 to read and try.`, and no notebook runs longer than a minute")
    quotes = QUOTE.findall(paragraphs["The documents."])
    if not 1 <= len(quotes) <= 5 or not all(re.search("[\u4e00-\u9fff]", quote) for quote in quotes):
        found.append(f"one to five quoted lines, each like D4 §2.1.5: “…” (…), not {len(quotes)}")
    if len(quotes) != len(re.findall(r"” ?\(", paragraphs["The documents."])):
        found.append("each quoted line is followed by what it says, in English, in brackets")
    if source.stem[:2] != "01" and "](GLOSSARY.md#" not in paragraphs["Words."]:
        found.append("Words: at least one link to the glossary")
    for path, anchor in re.findall(r"\]\(([\w.]+?)(#[\w-]+)?\)", first):
        if not (NOTEBOOKS / path).exists():
            found.append(f"a link leads nowhere: {path}")
        elif anchor and anchor[1:] not in anchors(NOTEBOOKS / path):
            found.append(f"a link leads to no heading or word: {path}{anchor}")
    questions = [text for text in texts if "**Predict first.**" in text]
    count = sum(text.count("**Predict first.**") for text in questions)
    if not 2 <= count <= 4:
        found.append(f"two to four predict-first questions, not {count}")
    cells = read(source).cells
    for number, cell in enumerate(cells):
        if cell.cell_type == "markdown" and "**Predict first.**" in cell.source:
            if len(QUESTION.findall(cell.source)) != cell.source.count("**Predict first.**"):
                found.append(f"a question without its folded answer: {cell.source[:80]}")
            if number + 1 == len(cells) or cells[number + 1].cell_type != "code":
                found.append(f"the cell that answers comes right after the question: {cell.source[:80]}")
    summary = re.match(r"## In five lines\n+((?:.+\n?)+)", last)
    numbers = re.findall(r"(?m)^(\d+)\. ", summary[1]) if summary else []
    if numbers != list("12345"):
        found.append("the last cell begins with `## In five lines` and has five numbered items")
    reading = re.search(r"\*\*Where to read on\.\*\*(.*?)\n\n\*\*Exercises\.\*\*", last, re.DOTALL)
    works = re.split(r" · |\n[*-] ", reading[1].strip()) if reading else []
    works = [work for work in works if work.strip(" *\n")]
    if not 2 <= len(works) <= 5:
        found.append(f"`**Where to read on.**` with two to five works, and then `**Exercises.**`; found {len(works)}")
    own = exercises_of(source)
    known = {(e.name, str(e.minutes), e.difficulty) for e in entries()}
    try:
        if (sorted(table(last)) != sorted(own)) if own else not set(table(last)) <= known:
            wrong = sorted(set(table(last)) ^ set(own))
            found.append(f"the table of exercises is not that of `minilm exercise list`; wrong or missing: {wrong}")
    except AssertionError as wrong:
        found.append(str(wrong))
    if not own and not re.search(r"\*\*Exercises\.\*\*\s+\S", last):
        found.append("say below `**Exercises.**` that this notebook has none")
    return found


def anchors(path: Path) -> set[str]:
    """Where a link into a page can land: its headings, and `<a id="…">`. Of a notebook, the headings."""
    if path.suffix == ".ipynb":
        text = "\n".join(
            cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"
        )
    else:
        text = path.read_text(encoding="utf-8")
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    made = {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([\w-]+)">', text))


@by_notebook
def test_the_notebook_has_its_frame(source):
    if source.stem[3:] in WITHOUT_FRAME:
        assert "**Minutes.**" not in markdown(source)[0], f"{source.stem} has a frame: take it out of WITHOUT_FRAME"
        return
    assert faults(source) == []


def test_the_list_of_notebooks_without_a_frame_names_only_notebooks():
    assert WITHOUT_FRAME <= {path.stem[3:] for path in SOURCES}


# ------------------------------------------------------------------------------- words


def first_use(word: str) -> str:
    """The notebook whose prose or code uses the word first, "" if none does."""
    for source in SOURCES:
        cells = read(source).cells
        if any(re.search(rf"\b{word}s?\b", cell.source) for cell in cells):
            return source.stem
    return ""


@pytest.mark.parametrize("word", EXPLAINED)
def test_a_word_is_explained_before_its_first_use(word):
    """It has an entry of its own in the glossary, and its bold or italic explanation in 01, or in the notebook that uses it first."""
    glossary = anchors(NOTEBOOKS / "GLOSSARY.md")
    assert word.lower() in glossary, f"the glossary has no <a id={word.lower()!r}>"
    source = next(path for path in SOURCES if path.stem == first_use(word))
    texts = markdown(source)
    place = r"(\*{1,2}|`)" + word + r"s?\1|`" + word + r"\(|\[`?" + word + r"s?`?\]\(GLOSSARY\.md#"
    explained = [number for number, text in enumerate(texts) if re.search(place, text, re.IGNORECASE)]
    used = [number for number, text in enumerate(texts) if re.search(rf"\b{word}s?\b", text)]
    assert explained and explained[0] == used[0], f"{source.stem} uses {word!r} before it explains it"


@by_notebook
def test_the_box_links_the_words_that_the_notebook_uses(source):
    """At least one link to the glossary, if the notebook uses one of the words; notebook 01 explains them itself."""
    if source.stem[3:] in WITHOUT_FRAME or source.stem.startswith("01"):
        return
    text = "\n".join(markdown(source))
    used = [word for word in EXPLAINED if re.search(rf"\b{word}\b", text)]
    assert not used or "](GLOSSARY.md#" in box(markdown(source)[0])["Words."]


# ------------------------------------------------------------------------------- the test can fail

FRAME = """# %% [markdown]
# # 05 · Heads
#
# > **Minutes.** 1 to run, about 50 to read and try.
# >
# > **You need** attention, [notebook 04](04_attention.ipynb).
# >
# > **Afterwards you can** split a product into heads.
# >
# > **The documents.** D4 §2.1.5: “自注意力机制” (self-attention).
# >
# > **Words.** [nat](GLOSSARY.md#words-that-the-notebooks-use)
#
# Letters: none.

# %% [markdown]
# **Predict first.** Is it 2?
#
# <details><summary>Answer</summary>
#
# Yes.
#
# </details>

# %%
print(2)

# %% [markdown]
# **Predict first.** Is it 3?
#
# <details><summary>Answer</summary>
#
# No.
#
# </details>

# %%
print(2)

# %% [markdown]
# ## In five lines
# 1. a
# 2. b
# 3. c
# 4. d
# 5. e
#
# **Where to read on.** Vaswani and others, 2017, *Attention is all you need* · Bahdanau, 2015, *Translation*
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---|---|
# | `heads` | 30 | medium |
"""


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("", "", ""),
        ("> **Words.**", "> **Word.**", "leads"),
        ("> **You need** attention", "> You need attention", "bold lead"),
        ("# Letters: none.", "# > Letters: none.", "one blockquote"),
        ("1 to run, about 50", "2 to run, about 50", "no notebook runs longer"),
        ("D4 §2.1.5: “自注意力机制”", "D4 §2.1.5: “attention”", "quoted lines"),
        ("” (self-attention)", "”", "in English"),
        ("04_attention.ipynb", "04_attentive.ipynb", "leads nowhere"),
        ("#words-that", "#words-which", "no heading or word"),
        ("[nat](GLOSSARY.md#words-that-the-notebooks-use)", "nat", "link to the glossary"),
        ("# Yes.\n#\n# </details>", "# Yes.", "without its folded answer"),
        ("# </details>\n\n# %%\nprint(2)\n\n# %% [markdown]\n# **P", "# </details>\n#\n# **P", ""),  # two in a cell
        (
            "# **Predict first.** Is it 3?\n#\n# <details><summary>Answer</summary>\n#\n# No.\n#\n# </details>\n",
            "# x\n",
            "two to four",
        ),
        ("# 5. e\n", "", "five numbered items"),
        (" · Bahdanau, 2015, *Translation*", "", "two to five works"),
        ("30 | medium", "30 | hard", "wrong or missing"),
        ("| `heads` | 30 | medium |\n", "| `heads` | half an hour | medium |\n", "a table"),
    ],
)
def test_a_fault_of_the_frame_is_named(tmp_path, old, new, complaint):
    assert not old or FRAME.count(old) == 1
    source = tmp_path / "05_heads.py"
    source.write_text(FRAME.replace(old, new) if old else FRAME, encoding="utf-8")
    found = faults(source)
    assert [bool(complaint in fault) for fault in found] == [True] if complaint else found == []
