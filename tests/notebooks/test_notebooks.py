"""The notebooks are complete and up to date, and each one runs; the build program notices every fault."""

import base64
import io
import json
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from pages import NOTEBOOKS, program
from PIL import Image

from minilm.viz import schematics
from minilm.viz.teaching import panels

build = program("build")
SOURCES = build.sources()
by_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


# ------------------------------------------------------------------------------- the notebooks themselves


def test_they_are_numbered_without_a_gap():
    assert [int(path.name[:2]) for path in SOURCES] == list(range(1, len(SOURCES) + 1)) and len(SOURCES) >= 12
    assert [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))] == [path.stem for path in SOURCES]


@by_notebook
def test_the_built_notebook_has_the_cells_of_its_source(source):
    build.check(source)


@by_notebook
def test_the_built_notebook_is_clean(source):
    target = source.with_suffix(".ipynb")
    assert target.stat().st_size <= build.LARGEST
    notebook = nbformat.read(target, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata == {"kernelspec": build.KERNEL, "language_info": {"name": "python"}}
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    count = 0
    for cell in notebook.cells:
        assert cell.metadata.keys() <= {"tags"}
        if cell.cell_type == "code":
            count += 1
            assert cell.execution_count == count  # each cell ran once, in order
            assert not build.failure(cell)
            assert not [o for o in cell.outputs if o.output_type == "stream" and o.name == "stderr"]
            assert build.foreign(cell.outputs) == []
    shown = {mime for c in notebook.cells for o in c.get("outputs", []) for mime in o.get("data", {})}
    assert shown & {"image/png", "image/svg+xml"}, "no picture"


# ------------------------------------------------------------------------------- the build program

TINY = """\
# %% [markdown]
# # 01 · Tiny

# %%
import os
import sys

assert sys.executable == {python!r}
from minilm.viz.teaching import FAST, panels

# %%
picture, axes = panels(width=2, height=1)
axes.plot([1, 2])
picture

# %%
for name in "ab":
    print(name, FAST, os.environ["OMP_NUM_THREADS"], flush=True)

# %%
for name in "ab":
    print(name, FAST, os.environ["OMP_NUM_THREADS"], flush=True)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with one small notebook, on a machine where `python3` is a different Python."""
    kernels = tmp_path / "jupyter" / "kernels" / "python3"
    kernels.mkdir(parents=True)
    spec = {"argv": ["no-such-python", "{connection_file}"], "display_name": "other", "language": "python"}
    (kernels / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    return folder_with(tmp_path / "books", {"01_tiny": TINY.format(python=sys.executable)})


def folder_with(folder: Path, books: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in books.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_building_twice_gives_the_same_bytes_and_nothing_of_this_machine(folder, capsys):
    assert build.main([], folder) == 0
    first = files(folder)
    assert re.search(r"01_tiny +[\d.]+ s +\d+ KB\n1 notebooks +[\d.]+ s\n", capsys.readouterr().out)
    assert build.main(["01_tiny"], folder) == 0
    assert files(folder) == first and first.keys() == {"01_tiny.py", "01_tiny.ipynb"}

    cells = nbformat.reads(first["01_tiny.ipynb"].decode(), as_version=4).cells
    assert [cell.cell_type for cell in cells] == ["markdown"] + ["code"] * 4
    assert "image/png" in cells[2].outputs[0].data
    picture = Image.open(io.BytesIO(base64.b64decode(cells[2].outputs[0].data["image/png"])))
    assert picture.mode == "P" and len(picture.convert("RGB").getcolors()) > 10 and picture.size[0] > 150
    assert [output.text for output in cells[3].outputs] == ["a False 2\nb False 2\n"]  # unsplit, complete, two threads
    assert cells[4].id == cells[3].id + "-2"
    assert build.main(["--check"], folder) == 0


SCHEMATIC = "# %%\nfrom minilm.viz import schematics\n\nschematics.gru_cell()\n"


def test_a_schematic_is_stored_once_as_svg_the_same_every_time(tmp_path):
    folder = folder_with(tmp_path, {"01_a": SCHEMATIC})
    assert build.main([], folder) == 0
    first = files(folder)
    assert build.main([], folder) == 0 and files(folder) == first
    (output,) = nbformat.reads(first["01_a.ipynb"].decode(), as_version=4).cells[0].outputs
    assert output.data.keys() == {"image/svg+xml", "text/plain"}
    assert output.data["image/svg+xml"].strip() == schematics.gru_cell().svg().strip()


def test_fast_writes_nothing(folder, capsys):
    text = (folder / "01_tiny.py").read_text(encoding="utf-8") + "\n# %%\nassert FAST\n"
    folder_with(folder, {"01_tiny": text})
    assert build.main(["--fast"], folder) == 0
    assert files(folder).keys() == {"01_tiny.py"}
    assert build.main([], folder) == 1  # the last cell fails, as the sizes are not small now
    assert capsys.readouterr().err == "01_tiny.py, line 25 (cell 6): AssertionError: assert FAST\n"


def test_a_cell_that_fails_is_named_and_overwrites_nothing(tmp_path, capsys):
    bad = "# %%\ndef ratio(a, b):\n    return a / b\n\n\n# %%\nprint('so far')\nratio(1, 0)\n"
    folder = folder_with(tmp_path, {"01_bad": bad, "02_good": "# %%\n1 + 1\n"})
    (folder / "01_bad.ipynb").write_text("the one before", encoding="utf-8")
    assert build.main([], folder) == 1
    assert capsys.readouterr().err == "01_bad.py, line 8 (cell 2): ZeroDivisionError: division by zero\n"
    assert (folder / "01_bad.ipynb").read_text(encoding="utf-8") == "the one before"
    assert (folder / "02_good.ipynb").exists()


def test_a_claim_that_fails_is_a_fault(tmp_path, capsys):
    cell = (
        "# %%\nfrom minilm.viz.teaching import agree, claim\n\n# %%\nclaim('It is so.', {true})\nagree('a', 1, {one})\n"
    )
    books = {
        "01_so": cell.format(true=True, one=1),
        "02_no": cell.format(true=False, one=1),
        "03_not": cell.format(true=True, one=2),
    }
    assert build.main([], folder_with(tmp_path, books)) == 1
    assert capsys.readouterr().err.splitlines() == [
        "02_no.py, line 5 (cell 2): AssertionError: no longer true: It is so.",
        "03_not.py, line 6 (cell 2): AssertionError: no longer equal: a: they differ by 1.0e+00, more than 1e-10",
    ]


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("import warnings\nwarnings.warn('careful')", "01_a.py, line 2 (cell 1): it warns: "),
        ("import os\nos.getcwd()", "01_a.py, line 2 (cell 1): its output contains a path of a machine, "),
        (
            "from IPython.display import SVG\nSVG('<svg xmlns=\"http://www.w3.org/2000/svg\"><script/></svg>')",
            "its SVG loads or",
        ),
        (
            'from IPython.display import SVG\nSVG(\'<svg xmlns="http://www.w3.org/2000/svg"><g id="/tmp/x"/></svg>\')',
            "a path of a",
        ),
        ("object()", "its output contains the address of an object, '0x"),
        ("print('x' * 700_000)", "01_a.ipynb would have 684 KB, but at most 600 KB are allowed"),
        ("import os\nos._exit(1)", "01_a.py: Kernel died"),
    ],
)
def test_what_should_not_be_read_is_not_written(cell, sentence, tmp_path, capsys):
    folder = folder_with(tmp_path, {"01_a": f"# %%\n{cell}\n"})
    assert build.main([], folder) == 1
    assert sentence in capsys.readouterr().err
    assert files(folder).keys() == {"01_a.py"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("saved /home/ada/run", "/home/ada/run"),
        (r"in C:\Users\ada", r"C:\Users\ada"),
        ("lib/site-packages/numpy", "site-packages"),
        ("at 2026-01-31 12:00:01", "2026-01-31 12:00"),
        ("<X at 0x7f09d9db58d0>", "0x7f09d9db58d0"),
    ],
)
def test_what_belongs_to_one_machine_is_seen(text, found):
    assert [what for _, what in build.foreign([nbformat.v4.new_output("stream", text=text)])] == [found]
    data = {"text/plain": text, "image/png": ""}
    assert [what for _, what in build.foreign([nbformat.v4.new_output("display_data", data)])] == [found]


def test_what_only_looks_like_it_is_let_pass():
    text = "and/or, 1/2, minilm/layers/attention.py, https://example.org/home/x, 0xff, 2026-01-31, T: 10:20"
    assert build.foreign([nbformat.v4.new_output("stream", text=text)]) == []


def test_a_picture_keeps_its_look_at_a_smaller_size():
    picture, axes = panels(width=4, height=2)
    axes.imshow(np.random.default_rng(0).random((5, 9)), cmap="Blues")
    before = picture._repr_png_()
    after = base64.b64decode(build.in_256_colours(base64.b64encode(before).decode()))
    one, other = (np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int) for png in (before, after))
    assert np.abs(one - other).max() < 48 and np.abs(one - other).mean() < 1  # of 255
    assert len(after) < 0.6 * len(before)
    clear = io.BytesIO()
    Image.new("RGBA", (3, 2)).save(clear, "PNG")  # unpainted areas become white, like the page
    after = base64.b64decode(build.in_256_colours(base64.b64encode(clear.getvalue()).decode()))
    assert Image.open(io.BytesIO(after)).convert("RGB").getcolors() == [(6, (255, 255, 255))]


def test_a_built_notebook_that_is_not_its_source_is_seen(tmp_path, capsys):
    text = "# %% [markdown]\n# # 01 · A\n\n# %%\nx = 1\n\n# %%\nx\n"
    folder = folder_with(tmp_path, {"01_a": text})
    source = folder / "01_a.py"

    def complaint() -> str:
        assert build.main(["--check"], folder) == 1
        return capsys.readouterr().err

    assert "01_a.ipynb does not exist" in complaint()
    build.written(build.read(source), source.with_suffix(".ipynb"))
    assert build.main(["--check"], folder) == 0
    for changed, sentence in [
        (text.replace("x = 1", "x = 2"), "older than 01_a.py, line 5 (cell 2)"),
        (text.replace("· A", "· B"), "older than 01_a.py, line 2 (cell 1)"),
        (text + "\n# %%\ny = 2\n", "older than 01_a.py, line 11 (cell 4)"),
        (text[: text.rindex("# %%")], "has a cell 3 that 01_a.py does not have"),
    ]:
        source.write_text(changed, encoding="utf-8")
        assert sentence in complaint() and not capsys.readouterr().out
    source.write_text(text, encoding="utf-8")
    notebook = nbformat.read(folder / "01_a.ipynb", as_version=4)
    notebook.cells[1].id = "drawn-by-lot"
    nbformat.write(notebook, folder / "01_a.ipynb")
    assert "cell 2" in complaint()


def test_another_cell_does_not_rename_the_rest(tmp_path):
    source = folder_with(tmp_path, {"01_a": "# %%\nx = 1\n\n# %%\nx\n"}) / "01_a.py"
    before = [cell.id for cell in build.read(source).cells]
    source.write_text("# %%\nx = 1\n\n# %%\ny = 2\n\n# %%\nx\n", encoding="utf-8")
    after = [cell.id for cell in build.read(source).cells]
    assert [after[0], after[2]] == before and after[1] not in before


def test_a_notebook_that_is_not_there_is_named(folder, capsys):
    assert build.main(["03_attention"], folder) == 2
    assert capsys.readouterr().err == "there is no notebook '03_attention' (known notebooks: 01_tiny).\n"
    assert [path.stem for path in build.sources(folder, ["01_tiny.ipynb"])] == ["01_tiny"]
