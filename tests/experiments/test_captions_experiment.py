"""`minilm captions`: a whole run at a small size, its figures by hand, its controls, and bad input.  F35."""

import json

import numpy as np
import pytest
from PIL import Image
from tiny import command, silent

from minilm.examples.pixels import digits, split
from minilm.experiments import captions as experiment
from minilm.experiments.captions import (
    EXACT,
    NAMED,
    REGRESSION,
    SHUFFLED,
    TO_PICTURE,
    TO_TEXT,
    TOWERS,
    CaptionsOptions,
    captions,
    measured,
)

SMALL = dict(seeds=1, steps=2, batch=4, width=12, layers=1, heads=3, test=60, development=60, progress=False)


def test_F35_a_run_writes_its_table_and_its_picture(tmp_path):
    said = []
    options = CaptionsOptions(**SMALL, out=tmp_path)
    rows = captions(options, said.append)
    stored = json.loads((tmp_path / "captions.json").read_text(encoding="utf-8"))
    assert stored["rows"] == rows and len(rows) == 4 and rows[-1]["model"] == REGRESSION
    assert rows[-1][NAMED] > 0.85 and TO_TEXT not in rows[-1]
    assert "95 % interval" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert Image.open(tmp_path / "found.png").size[0] > 300
    again = captions(options, silent)
    assert [{**row, "seconds": 0} for row in again] == [{**row, "seconds": 0} for row in rows]


def test_F35_the_figures_are_those_of_a_model_that_knows_everything(monkeypatch):
    learn, _, test = split(digits(), 60, 60, 0)
    said = experiment.meanings(test, experiment.borders(learn))
    words, mistaken = experiment.caption_tokenizer(), set()
    model = experiment.PictureText(CaptionsOptions(**SMALL).config(100))

    def knows(model, batch, pixels):
        """1 for what is true, 0.5 if only the digit is right; wrong about every digit in `mistaken`."""
        texts = [
            words.text(row[mask].tolist()) for row, mask in zip(batch.input_ids, batch.attention_mask, strict=True)
        ]
        out = np.zeros((len(pixels), len(texts)))
        for i, meaning in enumerate(said):
            for j, text in enumerate(texts):
                digit = experiment.NUMBERS[meaning.digit] in text.split()
                lean, stroke = experiment.LEANS[meaning.lean], experiment.STROKES[meaning.stroke]
                rest = {"left", "right", "thin", "bold"} & set(text.split()) == {lean, stroke} - {""}
                out[i, j] = (0.5 * digit + 0.5 * (digit and rest)) * (-1 if meaning.digit in mistaken else 1)
        return out

    monkeypatch.setattr(experiment, "compare", knows)
    perfect = measured(model, learn, test, 0)
    assert [perfect[name] for name in (NAMED, TO_TEXT, TO_PICTURE, EXACT)] == [1, 1, 1, 1]
    assert perfect["captions"] == len(set(said))
    mistaken.add(3)
    wrong = measured(model, learn, test, 0)
    share = float(np.mean([meaning.digit != 3 for meaning in said]))
    assert wrong[NAMED] == pytest.approx(share) and wrong[TO_TEXT] == pytest.approx(share) and wrong[TO_PICTURE] < 1


def test_F35_the_test_part_is_not_the_part_for_choices():
    found = [CaptionsOptions(**SMALL, measure_on_development=choose, rows=(TOWERS,)) for choose in (False, True)]
    test, tune = (experiment.one_seed(options, 0).rows[-1]["right"] for options in found)
    assert test != tune


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--batch", 1, "batch"),
        ("--test", 1797, "do not fit"),
        ("--width", 10, "not divisible"),
        ("--seeds", 0, "seeds"),
    ],
)
def test_F35_bad_options_get_one_sentence(option, value, words, capsys):
    assert command("captions", option, value) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


def test_F35_without_the_two_towers_there_is_no_picture(tmp_path):
    captions(CaptionsOptions(**SMALL, out=tmp_path, rows=(SHUFFLED,)), silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["captions.json", "report.md"]
