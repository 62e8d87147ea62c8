"""Every formula can be followed from the document to its test, and INDEX.md lists the places."""

import re
from pathlib import Path

import pytest
from pages import NOTEBOOKS, TOP, program

index = program("index")
THREADS = index.scan()


@pytest.mark.parametrize("id", index.FORMULAS)
def test_every_formula_has_all_its_ends(id):
    assert index.missing(id, THREADS[id]) == []


def test_the_index_is_what_would_be_written():
    assert index.main(["--check"]) == 0


def test_every_link_of_the_index_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", index.page())
    assert len(links) > 100
    assert [link for link in links if not (NOTEBOOKS / link).exists()] == []


def test_every_name_in_the_index_stands_in_its_file():
    lines = [
        line for line in index.page().splitlines() if re.match(r"\* \*\*(In NumPy|As printed|In the library)", line)
    ]
    for file, names in re.findall(r"\]\(\.\./([^)]+)\)(?:: ((?:`[\w.]+`(?:, )?)+))?", "\n".join(lines)):
        known = dict(index.docstrings(TOP / file))
        assert known.keys() >= set(re.findall(r"`([\w.]+)`", names)), file


def test_the_table_has_every_formula_once_and_in_order():
    ids = list(index.FORMULAS)
    assert len(ids) == sum(len(chapter) for chapter in index.CHAPTERS.values()) == 37 and ids == sorted(ids)
    assert {f"F{n:02}" for n in range(1, 38)} == {*ids, *index.LATER}
    for formula in index.FORMULAS.values():
        assert formula.printed in index.PRINTED and re.fullmatch(r"(D[0-4] [^·]+)( · D[0-4] [^·]+)*", formula.where)
        assert bool(formula.note) or formula.printed != "wrong", f"{formula.id}: say what is wrong"


def test_the_places_named_by_hand_exist():
    for id, places in index.ALSO.items():
        for file, name in places:
            assert name in dict(index.docstrings(TOP / file)), f"{id}: {file} has no {name}"


def test_a_heading_names_only_formulas_that_are_known():
    for ids, section in index.sections(TOP):
        assert ids and set(ids) <= {*index.FORMULAS, *index.LATER}, section


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("F18, F19", ["F18", "F19"]),
        ("The losses. F01, F04–F06 and F08.", ["F01", "F04", "F05", "F06", "F08"]),
        ("test F12_to_F14 are zero", ["F12", "F13", "F14"]),
        ("F12–14", ["F12", "F13", "F14"]),
        ("#00F072, F1, F180, BF18, F40", []),
    ],
)
def test_numbers_are_read_from_text(text, ids):
    assert index.ids_in(text) == ids


# ------------------------------------------------------------------------------- a broken link in the chain

TREE = {
    "minilm/formulas/cross_entropy.py": '"""F11."""\ndef loss():\n    "F11."\ndef loss_as_printed():\n    "F11, wrong."\n',
    "minilm/training/losses.py": '"""Losses."""\nclass Loss:\n    def mean(self):\n        "F04, F11."\n',
    "notebooks/08_language.py": "# %% [markdown]\n# # 08 · Language\n\n# %% [markdown]\n# ## Surprise  (F11 · D1 §4.2)\n",
    "tests/formulas/test_cross_entropy.py": "def test_F08_F11_by_hand(): ...\n",
    "tests/training/test_losses.py": "class TestLoss:\n    def test_F11_mean(self): ...\n",
}


@pytest.fixture
def tree(tmp_path) -> Path:
    for file, text in TREE.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    return tmp_path


def lost(tree: Path) -> list[str]:
    return index.missing("F11", index.scan(tree)["F11"])


def test_a_whole_thread_is_followed(tree):
    assert lost(tree) == []
    thread = index.scan(tree)["F11"]
    assert thread.notebook == [("08_language", "08 · Language", "Surprise")]
    assert thread.numpy == {"minilm/formulas/cross_entropy.py": ["loss", "loss_as_printed"]}
    assert thread.as_printed == {"minilm/formulas/cross_entropy.py": ["loss_as_printed"]}
    assert thread.library == {"minilm/training/losses.py": ["Loss.mean"]}
    assert list(thread.tests) == ["tests/formulas/test_cross_entropy.py", "tests/training/test_losses.py"]
    assert thread.exercises == {}
    text = "\n".join(index.block(index.FORMULAS["F11"], thread))
    assert (
        "* **As printed:** [minilm/formulas/cross_entropy.py](../minilm/formulas/cross_entropy.py): `loss_as_printed`"
        in text
    )
    assert "* **Notebook:** [08 · Language](08_language.ipynb): *Surprise*" in text and text.endswith(
        "**Exercise:** –\n"
    )


@pytest.mark.parametrize(
    ("file", "old", "end"),
    [
        ("minilm/formulas/cross_entropy.py", "F11", "a function in minilm/formulas/"),
        ("minilm/formulas/cross_entropy.py", "_as_printed", "a function …_as_printed"),
        ("minilm/training/losses.py", "F11", "a function or class in the library"),
        ("notebooks/08_language.py", "F11", "a section of a notebook"),
        ("tests/formulas/test_cross_entropy.py", "F11", "a test in tests/formulas/"),
    ],
)
def test_a_lost_end_is_named(tree, file, old, end):
    (tree / file).write_text((tree / file).read_text(encoding="utf-8").replace(old, ""), encoding="utf-8")
    assert end in lost(tree)


def test_an_exercise_is_found_when_there_is_one(tree):
    folder = tree / "minilm" / "exercises" / "specs"
    folder.mkdir(parents=True)
    (folder / "loss.py").write_text('"""Cross-entropy.  F11."""\n', encoding="utf-8")
    (folder / "other.py").write_text('"""Another.\n\nNot F11.\n"""\ndef f():\n    "As in F11."\n', encoding="utf-8")
    assert index.scan(tree)["F11"].exercises == {"minilm/exercises/specs/loss.py": []}


def test_the_index_is_written_and_checked(tree, capsys):
    assert index.main(["--check"], tree) == 1
    assert index.main([], tree) == 0
    assert "F18 lacks a section of a notebook, " in capsys.readouterr().err
    assert index.main(["--check"], tree) == 0
    (tree / "tests" / "formulas" / "test_other.py").write_text("def test_F11_again(): ...\n", encoding="utf-8")
    assert index.main(["--check"], tree) == 1
    assert capsys.readouterr().err == "notebooks/INDEX.md is out of date: run `python notebooks/index.py`.\n"
    assert index.main(["--chek"], tree) == 2
