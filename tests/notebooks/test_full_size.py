"""Every notebook at the sizes that readers run, with every claim an error. (`test_suggestions.py` runs them small, with every
suggestion.)

`build.py` runs a notebook in a Jupyter kernel of its own, which takes some seconds to start, and so does importing PyTorch; here
`learner.py` runs all of them in forks of one process that has imported it. What they show has to pass the checks of `build.py`.
"""

import nbformat
import pytest
from changes import build, code
from readers import followed

by_notebook = pytest.mark.parametrize("source", build.sources(), ids=lambda source: source.stem)


def with_outputs(source, outputs: list[dict]):
    """The notebook with what `learner.py` says of each code cell, as a Jupyter kernel would have sent it."""
    notebook = build.read(source)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell, said in zip(cells, outputs, strict=True):
        streams = [("stderr", said["err"])] if said["err"] else [("stdout", said["out"])] if said["out"] else []
        cell.outputs = [nbformat.v4.new_output("stream", name=name, text=text) for name, text in streams]
        cell.outputs += [nbformat.v4.new_output("execute_result", data) for data in said["shown"]]
    return notebook


@by_notebook
def test_the_notebook_runs_at_full_size(source, tmp_path, tmp_path_factory):
    report = followed(code(source), [], tmp_path, tmp_path_factory.mktemp("own"), fast=False)
    assert report["whole"] == "" and not list(tmp_path.iterdir())
    built = build.cleaned(with_outputs(source, report["outputs"]), source)  # a Fault says in which cell what is wrong
    assert len(nbformat.writes(built, version=4).encode()) <= build.LARGEST


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("import warnings\nwarnings.warn('careful')", "it warns"),
        ("import os\nos.getcwd()", "its output contains a path"),
        (
            "from IPython.display import SVG\nSVG('<svg xmlns=\"http://www.w3.org/2000/svg\"><script/></svg>')",
            "its SVG loads",
        ),
        ("from minilm.viz.teaching import FAST\nassert FAST", ""),
        ("from minilm.viz.teaching import claim\nclaim('It is so.', False)", ""),
    ],
)
def test_what_should_not_be_read_is_seen(cell, fault, tmp_path, tmp_path_factory):
    source = tmp_path / "01_a.py"
    source.write_text(f"# %%\n{cell}\n", encoding="utf-8")
    report = followed(code(source), [], tmp_path, tmp_path_factory.mktemp("own"), fast=False)
    if fault:
        with pytest.raises(build.Fault, match=fault):
            build.cleaned(with_outputs(source, report["outputs"]), source)
    else:
        assert report["whole"].startswith("code cell 1: AssertionError")
