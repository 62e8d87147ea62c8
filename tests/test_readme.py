"""The README says the same in both languages, its links lead somewhere, and its tables are those of the notebooks and rooms."""

import re
from collections import Counter

import pytest
from pages import NOTEBOOKS, TOP, program

ENGLISH, CHINESE = "README.md", "README.zh-CN.md"
TEXTS = {name: (TOP / name).read_text(encoding="utf-8") for name in (ENGLISH, CHINESE)}
ROOMS = {room: f"minilm/{room}/README.md" for room in ("experiments", "pretrained", "explorer", "exercises", "bench")}
PAGES = [*TEXTS, *ROOMS.values(), "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md"]
PAGES += ["minilm/experiments/RECIPE.md", "notebooks/GLOSSARY.md", *(f"notebooks/{name}" for name in TEXTS)]
LESSONS = {name: (TOP / "notebooks" / name).read_text(encoding="utf-8") for name in TEXTS}
NUMBER = r"(?<![A-Za-z\d_.,])\d+(?:[.,]\d+)*"


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ .+$", without_code(text), re.MULTILINE)


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", re.sub("<!--.*?-->", "", text), flags=re.MULTILINE | re.DOTALL)


def code(text: str) -> list[list[str]]:
    """The lines of each code block without comments; for a folder tree, only the names in it."""
    blocks = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if language:
            blocks.append([re.sub(r"\s+#.*$", "", line) for line in block.splitlines()])
        else:
            blocks.append(re.findall(r"^ *[\w.-]+/|[\w-]+\.(?:py|md)", block, re.MULTILINE))
    return blocks


def tables(text: str) -> list[list[str]]:
    """The rows of each table, without its header."""
    return [rows.splitlines() for rows in re.findall(r"^\|[-:| ]+\|\n((?:\|.*\n)*)", text, re.MULTILINE)]


def pictures(text: str) -> list[str]:
    return re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)


def links(text: str) -> list[str]:
    """The targets of all links in the order of the text, without the link to the other language."""
    return [link for link in re.findall(r"(?<!!)\[[^\]]*\]\(([^)]+)\)", text) if link not in TEXTS]


def anchors(text: str) -> list[str]:
    """The anchors for `#…` in links: each heading in lower case, with hyphens for spaces and without punctuation."""
    return [re.sub(r"[^\w -]", "", h.lstrip("#").strip().lower()).replace(" ", "-") for h in headings(text)]


def numbered(text: str) -> list[str]:
    """All links. A link to a heading of the same page becomes the heading's number, because headings are translated."""
    places = anchors(text)
    return [f"#{places.index(link[1:])}" if link[1:] in places else link for link in links(text)]


def inline(text: str) -> list[str]:
    """The `names` in running text, sorted, because their order may differ between the languages."""
    return sorted(re.findall(r"`([^`]+)`", without_code(text)))


def differences(english: list, chinese: list, where: str) -> list[str]:
    """One sentence for each pair that differs, and one if something has no counterpart."""
    found = [
        f"{where} {i}: {a!r} in English, {b!r} in Chinese"
        for i, (a, b) in enumerate(zip(english, chinese), 1)
        if a != b
    ]
    if len(english) != len(chinese):
        found.append(f"{where}: {len(english)} in English, {len(chinese)} in Chinese")
    return found


def number_differences(english: str, chinese: str) -> list[str]:
    """For each section, the numbers that occur in only one language, in running text and in tables."""
    found = []
    sections = [re.split(r"^#+ ", without_code(text), flags=re.MULTILINE)[1:] for text in (english, chinese)]
    for one, other in zip(*sections):
        a, b = (Counter(re.findall(NUMBER, section)) for section in (one, other))
        for there, only in (("English", a - b), ("Chinese", b - a)):
            if only:
                found.append(f"# {one.splitlines()[0]}: {', '.join(only.elements())} only in {there}")
    return found


def out_of_step(english: str, chinese: str) -> list[str]:
    """All differences between the two pages, one sentence each."""
    levels = [[heading.split(" ")[0] for heading in headings(text)] for text in (english, chinese)]
    found = differences(*levels, "heading")
    found += differences(code(english), code(chinese), "code block")
    for i, (a, b) in enumerate(zip(tables(english), tables(chinese)), 1):
        if not any("](" in row for row in a):  # figures are copied; only a table of links is translated
            found += differences(a, b, f"table {i}, row")
    found += differences([len(t) for t in tables(english)], [len(t) for t in tables(chinese)], "rows of table")
    found += differences(pictures(english), pictures(chinese), "picture")
    found += differences(numbered(english), numbered(chinese), "link")
    found += differences(inline(english), inline(chinese), "`name`")
    return found + number_differences(english, chinese)


@pytest.mark.parametrize("texts", [TEXTS, LESSONS], ids=["the project", "the notebooks"])
def test_the_two_languages_are_in_step(texts):
    faults = out_of_step(*texts.values())
    assert not faults, "README.zh-CN.md is not in step with README.md:\n" + "\n".join(faults)


def test_each_language_links_to_the_other():
    assert f"[中文]({CHINESE})" in TEXTS[ENGLISH] and f"[English]({ENGLISH})" in TEXTS[CHINESE]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("\n## 许可", "\n### 许可", r"heading \d+: '##' in English, '###' in Chinese"),
        ("minilm fill-mask --model", "minilm guess --model", r"code block \d: "),
        ("  layers/ ", "  layer/ ", r"code block \d: "),
        ("| 9,955 |", "| 9,956 |", "table 1, row 2: "),
        ("data/pictures/ladder.png", "data/pictures/ladder-zh.png", "picture 2: "),
        ("9.3 分钟", "9.5 分钟", "# minilm: 9.3 only in English"),
        ("`minilm bench initialisation`", "`minilm bench start`", "`name` "),
        ("](CONTRIBUTING.md)", "](contributing.md)", r"link \d+: "),
        ("](#安装与运行) ·", "](#从哪里开始) ·", "link 2: "),
    ],
)
def test_a_difference_is_named(old, new, sentence):
    english, chinese = TEXTS.values()
    assert old in chinese
    assert any(re.match(sentence, fault) for fault in out_of_step(english, chinese.replace(old, new, 1)))


@pytest.mark.parametrize("name", PAGES)
def test_every_link_and_picture_is_there(name):
    text = (TOP / name).read_text(encoding="utf-8")
    for link in [*links(text), *pictures(text)]:
        path, _, anchor = link.partition("#")
        there = (TOP / name).parent / path if path else TOP / name
        assert link.startswith("https://") or there.exists(), link
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("name", TEXTS)
def test_the_contents_list_every_section_in_order(name):
    contents = TEXTS[name].split("\n## ")[0]
    sections = [heading[3:] for heading in headings(TEXTS[name]) if heading.startswith("## ")]
    assert re.findall(r"\[([^\]]+)\]\(#", contents) == sections and len(sections) >= 7


@pytest.mark.parametrize("room", ROOMS)
def test_each_page_of_a_room_is_linked(room):
    assert all(ROOMS[room] in links(text) for text in TEXTS.values())


def test_the_ladder_of_the_readme_is_that_of_its_room():
    room = tables((TOP / ROOMS["experiments"]).read_text(encoding="utf-8"))
    first_screen = tables(TEXTS[ENGLISH])
    assert first_screen[0] == room[0]
    names = [[row.split(" | ")[0] for row in table] for table in room]
    assert names[0] == names[1]
    scores = [{row.split(" | ")[2] for row in table} for table in room]
    chosen = {row.split(" | ")[2].strip("* |") for row in first_screen[1]}
    assert any(chosen < table for table in scores[2:])  # after the two English tables


def test_the_quality_of_the_exercises_is_what_was_measured():
    measured = tables((TOP / "minilm/exercises/quality/exercises_quality.md").read_text(encoding="utf-8"))[0]
    assert measured in tables((TOP / ROOMS["exercises"]).read_text(encoding="utf-8")) and len(measured) == 8


def ranges(ids: set[str]) -> str:
    """`F01–F03, F05`."""
    numbers, parts = sorted(int(id[1:]) for id in ids), []
    for n in numbers:
        if parts and parts[-1][-1] == n - 1:
            parts[-1].append(n)
        else:
            parts.append([n])
    return ", ".join(f"F{p[0]:02}–F{p[-1]:02}" if len(p) > 2 else ", ".join(f"F{n:02}" for n in p) for p in parts)


def test_ranges_of_formulas():
    assert ranges({"F03", "F01", "F02", "F05", "F08", "F07"}) == "F01–F03, F05, F07, F08" and ranges(set()) == ""


@pytest.mark.parametrize("name", TEXTS)
def test_the_table_of_notebooks_is_that_of_the_notebooks(name):
    index = program("index")
    wanted = []
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.py")):
        title = re.search(r"^# # (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)[1]
        ids = {id for found, section in index.sections(TOP) if section.file == path.stem for id in found}
        wanted.append([f"| [{title}]({path.stem}.ipynb)", ranges(ids)])
    rows = [row for table in tables(LESSONS[name]) for row in table]
    assert [row.split(" | ")[:2] for row in rows] == wanted
