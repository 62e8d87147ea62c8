"""`minilm schematics`: what it writes, and what it refuses in one sentence."""

import pytest
import tiny
from PIL import Image

from minilm.errors import InputError
from minilm.jobs.schematics import SHEET, SchematicsOptions, schematics
from minilm.viz.schematics import SCHEMATICS

TWO = ("gru_cell", "masks")


def test_two_of_them_as_svg_and_png_and_a_sheet(tmp_path, capsys):
    out = tmp_path / "deep" / "pictures"
    assert tiny.command("schematics", *TWO, "--out", str(out)) == 0
    assert capsys.readouterr().out == f"{out}: 2 schematics as SVG and PNG, and all of them in {SHEET}.\n"
    wanted = {f"{name}.{kind}" for name in TWO for kind in ("svg", "png")} | {SHEET}
    assert {path.name for path in out.iterdir()} == wanted
    for name in TWO:
        assert (out / f"{name}.svg").read_text(encoding="utf-8") == SCHEMATICS[name]().svg()
    assert Image.open(out / SHEET).size[0] > 2 * Image.open(out / "gru_cell.png").size[0] / 1.5


def test_all_of_them_as_svg_alone(tmp_path):
    paths = schematics(SchematicsOptions(out=tmp_path, png=False), tiny.silent)
    assert [path.name for path in paths] == [f"{name}.svg" for name in SCHEMATICS]
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_what_is_wrong_is_said_in_one_sentence(tmp_path, capsys):
    with pytest.raises(InputError, match="there is no schematic 'lstm_cel'; did you mean lstm_cell"):
        SchematicsOptions(names=("lstm_cel",))
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert tiny.command("schematics", "masks", "--out", str(tmp_path / "file")) == 2
    assert capsys.readouterr().err == f"minilm: {tmp_path / 'file'} is a file: give --out the name of a folder.\n"
