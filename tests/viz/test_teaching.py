import os
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from pages import TOP

from minilm.viz.plots import COLOURS, MARKERS, Picture
from minilm.viz.teaching import agree, claim, panels


@pytest.fixture(autouse=True)
def a_learner(monkeypatch):
    monkeypatch.delenv("MINILM_BUILD", raising=False)


@pytest.mark.parametrize("ok", [True, np.bool_(True), np.array([True, True]), torch.tensor(True), torch.ones(2, 2) > 0])
@pytest.mark.parametrize("building", ["0", "1"])
def test_a_claim_that_is_true_is_printed(ok, building, monkeypatch, capsys):
    monkeypatch.setenv("MINILM_BUILD", building)
    claim("The risk falls.", ok)
    assert capsys.readouterr().out == "✓ The risk falls.\n"


@pytest.mark.parametrize(
    "ok", [False, np.bool_(False), np.array([True, False]), torch.tensor([False, True]), np.ones(0) > 0, []]
)
def test_a_false_claim_is_said_to_a_learner_and_raised_while_building(ok, monkeypatch, capsys):
    claim("The risk falls.", ok)
    assert capsys.readouterr().out == "no longer true: The risk falls.\n"
    monkeypatch.setenv("MINILM_BUILD", "1")
    with pytest.raises(AssertionError, match="no longer true: The risk falls."):
        claim("The risk falls.", ok)


@pytest.mark.parametrize("ok", [1.0, np.nan, "yes", torch.tensor(1)])
def test_a_claim_needs_a_truth_value(ok):
    with pytest.raises(TypeError, match="claim: 'The risk falls.' is given .*, not a truth value"):
        claim("The risk falls.", ok)


def test_agree_says_how_close(capsys):
    agree("by hand", np.ones(3), torch.ones(3, requires_grad=True))
    agree("by machine", [1.0, 2.0], [1.0, 2.0 + 3e-12])
    agree("roughly", 1, 1.01, atol=0.1)
    agree("of nothing", [], [])
    assert capsys.readouterr().out.splitlines() == [
        "by hand: equal to the last bit",
        "by machine: equal to 3e-12",
        "roughly: equal to 1e-02",
        "of nothing: equal to the last bit",
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "sentence"),
    [
        ([1.0], [1.0 + 2e-10], r"loss: they differ by 2\.0e-10, more than 1e-10"),
        (np.ones((2, 3)), np.ones((3, 2)), r"loss: the shapes \(2, 3\) and \(3, 2\) differ"),
        (
            np.ones(3),
            1.0,
            r"loss: the shapes \(3,\) and \(\) differ",
        ),  # a forgotten mean would pass because of broadcasting
        ([np.nan], [np.nan], "loss: they differ by nan"),
    ],
)
def test_agree_says_what_is_not_equal_and_raises_it_while_building(ours, theirs, sentence, monkeypatch, capsys):
    agree("loss", ours, theirs)
    assert re.fullmatch(f"no longer equal: {sentence}.*\n", capsys.readouterr().out)
    monkeypatch.setenv("MINILM_BUILD", "1")
    with pytest.raises(AssertionError, match=f"no longer equal: {sentence}"):
        agree("loss", ours, theirs)
    assert capsys.readouterr().out == ""


def draw():
    picture, (left, right) = panels(1, 2, width=4, height=2, sharey=True, width_ratios=[1, 3])
    left.plot([1, 2])
    right.set_title("costs $5, and $6_")  # a dollar sign must not start a formula
    return picture, left, right


def test_panels_give_a_picture_that_shows_itself():
    before = dict(matplotlib.rcParams)
    picture, left, right = draw()
    assert isinstance(picture, Picture) and tuple(picture.get_size_inches()) == (4, 2)
    assert right.get_ylim() == left.get_ylim()
    png = picture._repr_png_()
    assert png.startswith(b"\x89PNG") and png == draw()[0]._repr_png_()
    assert dict(matplotlib.rcParams) == before
    assert panels()[1].get_figure() is not picture


def test_what_is_drawn_later_keeps_to_the_style():
    _, (left, right) = panels(1, 2)
    left.plot([1, 2], label="a $ and a $")
    left.set_title("on the left")
    assert left.get_title(loc="left") == "on the left" and left.get_title() == ""
    legend = left.legend()
    assert legend.get_frame().get_edgecolor()[3] == 0 and not legend.get_texts()[0].get_parse_math()
    right.semilogy([1e-3, 2e4])
    right.figure.draw_without_rendering()
    assert {"10⁻³", "10⁰", "10³"} & {label.get_text() for label in right.get_yticklabels()}
    assert not any("$" in label.get_text() for label in right.get_yticklabels() + right.get_xticklabels())
    right.set(yscale="linear")
    right.figure.draw_without_rendering()
    assert "10000" in {label.get_text() for label in right.get_yticklabels()}


def test_lines_and_bars_can_be_told_apart_in_grey():
    _, axis = panels()
    plain = [axis.plot([1, 2], color=colour)[0] for colour in COLOURS[:6]]
    looks = [line._dash_pattern for line in plain]  # what `set_linestyle` was given has no public getter
    assert len({str(look) for look in looks}) == 6 and plain[0].get_linestyle() == "-"
    dotted = [axis.plot([1, 2], "o-", color=colour)[0] for colour in COLOURS[:6]]
    assert [line.get_marker() for line in dotted] == list(MARKERS[:6])
    assert {line.get_linestyle() for line in dotted} == {"-"}
    chosen = axis.plot([1, 2], ":", color=COLOURS[1]) + axis.plot([1, 2], "s-", color=COLOURS[2])
    chosen += axis.plot([1, 2], color=COLOURS[1], ls="-") + axis.plot([1, 2], color=COLOURS[1], lw=5)
    assert [line.get_linestyle() for line in chosen] == [":", "-", "-", "-"] and chosen[1].get_marker() == "s"
    bars = [axis.bar([1, 2], [1, 2], color=colour, label="as the legend says") for colour in COLOURS[:5]]
    assert len({each[0].get_hatch() for each in bars}) == 5 and bars[0][0].get_hatch() is None
    assert axis.bar([1], [1], color=COLOURS[1])[0].get_hatch() is None  # no legend, nothing to tell apart


@pytest.mark.parametrize(("value", "fast"), [("1", True), ("0", False), (None, False)])
def test_fast_is_asked_of_the_environment(value, fast):
    environment = {name: text for name, text in os.environ.items() if name != "MINILM_FAST"}
    environment |= {} if value is None else {"MINILM_FAST": value}
    ask = "import sys; from minilm.viz.teaching import FAST; assert 'matplotlib.pyplot' not in sys.modules; print(FAST)"
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=TOP, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(fast)
