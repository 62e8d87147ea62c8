"""The content of each picture is read back from the figure; only your eyes can judge how it looks."""

import struct
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.colors import to_hex

from minilm.errors import InputError
from minilm.viz import plots

SENTENCE = ["[CLS]", "北", "京", "$", "5", "$", "[SEP]"]


def run(losses, shares):
    """Rows of 200 pairs each, spread evenly over 3 million tokens and 6 minutes."""
    when = np.linspace(0, 1, len(losses))
    keys = ("tokens", "seconds", "mlm_loss", "nsp_accuracy", "pairs")
    return [dict(zip(keys, (int(t * 3e6), t * 360, *row, 200))) for t, *row in zip(when, losses, shares)]


@pytest.fixture
def runs():
    return {"warm": run([9.0, 6.0, 4.5], [0.5, 0.55, 0.61]), "published": run([9.0, 6.5, 6.2, 6.1], [0.5] * 4)}


def ladder_rows(labels=(500,), seeds=(0, 1, 2), metric="accuracy"):
    means = {"majority": 0.5, "LSTM": 0.57, "Transformer": 0.6, "Transformer pretrained, fine-tuned": 0.74}
    cases = [(model, n, seed) for model in means for n in labels for seed in seeds]
    return [{"model": model, "labels": n, "seed": seed, metric: means[model] + 0.01 * seed} for model, n, seed in cases]


def attention(L, H, T):
    z = np.exp(np.random.default_rng(0).normal(size=(L, H, T, T)))
    return list(z / z.sum(-1, keepdims=True))


def words(texts):
    return [text.get_text() for text in texts]


def axis_words(axis):
    return words(axis.get_xticklabels()), words(axis.get_yticklabels())


@pytest.fixture
def chinese_font(tmp_path, monkeypatch):
    """A font with the two characters 北京 and nothing else, the only one that matplotlib knows for Chinese."""
    pen, names, manager = TTGlyphPen(None), [".notdef", "north", "capital"], font_manager.fontManager
    pen.moveTo((100, 0)), pen.lineTo((500, 800)), pen.lineTo((900, 0)), pen.closePath()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord("北"): "north", ord("京"): "capital"})
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    font.setupHorizontalHeader(ascent=900, descent=-100)
    font.setupNameTable({"familyName": "Song of this test", "styleName": "Regular"})
    font.setupOS2(sTypoAscender=900)
    font.setupPost()
    font.save(tmp_path / "font.ttf")
    monkeypatch.setattr(plots, "CHINESE_FONTS", ("Song of",))
    monkeypatch.setattr(manager, "ttflist", list(manager.ttflist))
    manager.addfont(tmp_path / "font.ttf")
    return "Song of this test"


def test_wilson_by_hand():
    # 1 of 2, z = 1: (0.5 + 0.25 ± √(0.125 + 0.0625)) / 1.5
    assert plots.wilson(1, 2, z=1) == pytest.approx(((0.75 - 0.1875**0.5) / 1.5, (0.75 + 0.1875**0.5) / 1.5), abs=1e-15)
    # 5 of 10 and 8 of 10 at 95 %, to four decimal places, as in the usual tables
    assert plots.wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=5e-5)
    assert plots.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=5e-5)


def test_wilson_ends_solve_its_equation_and_stay_within_0_and_1():
    for successes, n in [(0, 1), (0, 40), (3.5, 7), (61, 100), (40, 40)]:
        for end in plots.wilson(successes, n):
            assert 0 <= end <= 1
            assert (successes / n - end) ** 2 == pytest.approx(1.96**2 * end * (1 - end) / n, abs=1e-12)
    assert plots.wilson(0, 40) == pytest.approx((0, 1.96**2 / (40 + 1.96**2)))  # its width is not 0
    for successes, n in [(0, 0), (3, 2), (-1, 5), (float("nan"), 5)]:
        with pytest.raises(InputError, match="are no share"):
            plots.wilson(successes, n)


def test_spread_keeps_what_is_apart_and_shares_the_move_of_what_is_not():
    np.testing.assert_allclose(plots.spread([3.0, 0.0], 1.0), [3, 0])
    np.testing.assert_allclose(plots.spread([1.0, 1.0], 1.0), [0.5, 1.5])
    np.testing.assert_allclose(plots.spread([5.0, 1.2, 1.0, 0.9], 1.0), [5, 31 / 30 + 1, 31 / 30, 31 / 30 - 1])
    assert plots.spread([], 1.0).size == 0


def test_curves_show_the_numbers_of_every_run(runs):
    figure = plots.pretraining_curves(runs, unigram=6)
    loss, accuracy = figure.axes
    assert [line.get_ydata().tolist() for line in loss.lines[:2]] == [[9.0, 6.0, 4.5], [9.0, 6.5, 6.2, 6.1]]
    assert loss.lines[0].get_xdata().tolist() == [0, 1.5, 3]
    assert loss.lines[2].get_ydata() == [6, 6] and accuracy.lines[2].get_ydata() == [0.5, 0.5]
    assert len({to_hex(line.get_color()) for line in loss.lines}) == 3
    assert words(loss.texts) == ["4.50", "6.10", "unigram 6.00"] and words(accuracy.texts) == [
        "61.0%",
        "50.0%",
        "chance",
    ]
    assert words(figure.legends[0].get_texts()) == ["warm (6.0 min)", "published (6.0 min)"]
    band = accuracy.collections[0].get_paths()[0].vertices
    at_the_end = band[band[:, 0] == 3.0, 1]
    assert (at_the_end.min(), at_the_end.max()) == pytest.approx(plots.wilson(122, 200))


def test_one_run_has_minutes_above_and_no_legend(runs):
    figure = plots.pretraining_curves({"warm": runs["warm"]})
    loss, accuracy = figure.axes
    assert not figure.legends and len(loss.lines) == 1
    (top,) = loss.child_axes
    assert top.get_xlabel() == "minutes"
    places = {label.get_text(): x for x, label in zip(top.get_xticks(), top.get_xticklabels())}
    assert places["0"] == 0 and places["6"] == pytest.approx(3.0) and places["3"] == pytest.approx(1.5)


def test_curves_without_seconds_with_one_row_or_with_a_diverged_loss(runs, tmp_path):
    bare = [{k: v for k, v in row.items() if k != "seconds"} for row in runs["warm"]]
    assert not plots.pretraining_curves({"bare": bare}).axes[0].child_axes
    legend = plots.pretraining_curves({"bare": bare, **runs}).legends[0]
    assert legend.get_texts()[0].get_text() == "bare"
    plots.pretraining_curves({"one": runs["warm"][:1]}, tmp_path / "one.png")
    lost = plots.pretraining_curves({"lost": run([9.0, float("nan"), float("inf")], [0.5] * 3)}, tmp_path / "lost.png")
    assert words(lost.axes[0].texts) == [] and np.isnan(lost.axes[0].lines[0].get_ydata()[1:]).all()


def test_the_curve_of_another_objective_stands_alone_and_needs_no_pairs(tmp_path):
    """A causal language model has one loss per token, and no share of correct pairs."""
    rows = [{"tokens": int(i * 1e6), "seconds": i * 60.0, "loss": 5.0 - i} for i in range(4)]
    figure = plots.pretraining_curves({"lstm": rows}, tmp_path / "loss.png", unigram=4.5, curves=("loss",))
    (axis,) = figure.axes
    assert axis.lines[0].get_ydata().tolist() == [5.0, 4.0, 3.0, 2.0] and not axis.collections
    assert axis.get_title(loc="left") == plots.CURVES["loss"]
    assert words(axis.texts) == ["2.00", "unigram 4.50"] and (tmp_path / "loss.png").stat().st_size > 1_000
    with pytest.raises(InputError, match="needs a number under 'mlm_loss'"):
        plots.pretraining_curves({"lstm": rows})


@pytest.mark.parametrize("key", ["tokens", "mlm_loss", "nsp_accuracy", "pairs"])
def test_curves_name_the_missing_number(runs, key):
    del runs["published"][1][key]
    with pytest.raises(InputError, match=f"run 'published', row 2, needs a number under '{key}'"):
        plots.pretraining_curves(runs)


def test_nothing_and_words_are_refused():
    with pytest.raises(InputError, match="no runs"):
        plots.pretraining_curves({})
    with pytest.raises(InputError, match="run 'x' has no rows"):
        plots.pretraining_curves({"x": []})
    with pytest.raises(InputError, match="the ladder has no rows"):
        plots.ladder([])
    with pytest.raises(InputError, match="row 1, needs a number under 'accuracy'; it has .*'good'"):
        plots.ladder([{"model": "LSTM", "labels": 500, "accuracy": "good"}])


def test_ladder_with_one_number_of_labels_has_bars_dots_whiskers_and_values():
    (axis,) = plots.ladder(ladder_rows()).axes
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([0.51, 0.58, 0.61, 0.75])
    assert axis_words(axis)[1] == ["majority", "LSTM", "Transformer", "Transformer pretrained, fine-tuned"]
    assert axis.yaxis_inverted() and axis.get_xlim()[0] == 0  # the first is on top; bars must start at 0
    assert words(axis.texts) == ["0.510 ± 0.010", "0.580 ± 0.010", "0.610 ± 0.010", "0.750 ± 0.010"]
    dots = [line.get_xdata() for line in axis.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots[3], [0.74, 0.75, 0.76])
    whisker = axis.collections[3].get_segments()[0]  # ± deviation (n − 1): 0.01 for 0.74, 0.75, 0.76
    np.testing.assert_allclose(whisker[:, 0], [0.74, 0.76], atol=1e-12)
    assert [to_hex(bar.get_facecolor()).upper() for bar in axis.patches] == [plots.PALE] * 3 + [plots.STRONG]
    assert axis.get_title(loc="left") == "accuracy with 500 labels"


def test_ladder_with_one_seed_has_no_dots_and_f1_is_read():
    (axis,) = plots.ladder(ladder_rows(seeds=(0,), metric="f1"), metric="f1", title="names found").axes
    assert len(axis.patches) == 4 and not axis.lines and not axis.collections
    assert words(axis.texts)[0] == "0.500" and axis.get_xlabel() == "F1" and axis.get_title(loc="left") == "names found"


def test_ladder_with_several_numbers_of_labels_has_a_line_for_each_model():
    rows = ladder_rows(labels=(100, 500, 2000))
    rows = [row for row in rows if not (row["model"] == "LSTM" and row["labels"] == 2000)]  # leave one gap
    (axis,) = plots.ladder(rows).axes
    assert axis.get_xscale() == "log" and len(axis.lines) == 4
    assert [len(line.get_xdata()) for line in axis.lines] == [3, 2, 3, 3]
    x = axis.lines[2].get_xdata(orig=False)
    np.testing.assert_allclose(x, [100, 500, 2000], rtol=0.03)  # points are slightly shifted
    assert axis_words(axis)[0] == ["100", "500", "2,000"]
    assert words(axis.texts)[3] == "Transformer pretrained, fine-tuned  0.750"
    assert np.diff(sorted(text.get_position()[1] for text in axis.texts)).min() > 0.01
    assert to_hex(axis.lines[0].get_color()) == plots.COLOURS[-1]


@pytest.mark.parametrize("key", ["model", "labels", "accuracy"])
def test_ladder_names_the_missing_key(key):
    rows = ladder_rows()
    del rows[2][key]
    with pytest.raises(InputError, match=key):
        plots.ladder(rows)


def test_maps_stand_in_a_grid_on_one_scale_with_words_at_the_outer_edge():
    tokens, layers = ["[CLS]", "not", "bad", "[SEP]"], attention(2, 3, 4)
    figure = plots.attention_maps(tokens, layers, title="not bad")
    *maps, bar = figure.axes
    assert len(maps) == 6
    for i, axis in enumerate(maps):
        np.testing.assert_array_equal(axis.images[0].get_array(), layers[i // 3][i % 3])
        assert axis.images[0].get_clim() == (0, np.max(layers))
        assert axis.get_title() == f"layer {i // 3 + 1} · head {i % 3 + 1}"
        assert axis_words(axis) == (tokens if i >= 3 else [], tokens if i % 3 == 0 else [])
    assert bar.get_ylabel() == "weight"
    assert set(words(figure.texts)) == {"not bad", "token looked at", "token that looks"}
    assert plots.attention_maps(["a", "b"], [np.zeros((1, 2, 2))]).axes[0].images[0].get_clim() == (0, 1)


@pytest.mark.parametrize(("L", "H", "T"), [(1, 1, 3), (12, 1, 3), (1, 12, 5), (2, 2, 40)])
def test_maps_of_any_number_fit_a_page(L, H, T, tmp_path):
    layers = [torch.tensor(layer, dtype=torch.float32) for layer in attention(L, H, T)]  # as a model returns them
    figure = plots.attention_maps(["word"] * T, layers, tmp_path / "maps.png")
    assert len(figure.axes) == L * H + 1 and figure.get_size_inches()[0] <= 22
    width, height = struct.unpack(">II", (tmp_path / "maps.png").read_bytes()[16:24])
    assert 300 < width < 4000 and 300 < height < 6000


def test_words_without_room_become_numbers_with_a_key():
    tokens = [f"word{i}" for i in range(1, 38)]
    figure = plots.attention_maps(tokens, attention(1, 12, 37))
    numbers = ["1", "5", "10", "15", "20", "25", "30", "35"]
    assert axis_words(figure.axes[0]) == (numbers, numbers)
    assert figure.axes[0].get_xticks().tolist() == [0, 4, 9, 14, 19, 24, 29, 34]
    key = words(figure.texts)[0].replace("\n", "   ").replace("\u00a0", " ")
    assert all(f"{i} word{i}" in key.split("   ") for i in range(1, 38))


@pytest.mark.parametrize("T", [100, 150, 151, 464, 1000])
def test_numbers_never_touch_and_a_long_key_is_left_out(T):
    figure = plots.attention_maps(["word"] * T, attention(1, 4, T))
    axis, renderer = figure.axes[0], figure.canvas.get_renderer()
    boxes = [label.get_window_extent(renderer) for label in axis.get_yticklabels()]
    steps = {int(a) - int(b) for a, b in zip(axis_words(axis)[1][2:], axis_words(axis)[1][1:])}
    assert len(boxes) > 4 and len(steps) == 1 and steps <= set(plots.STEPS)
    assert all(upper.y0 > lower.y1 for upper, lower in zip(boxes[1:], boxes[2:]))
    said = words(figure.texts)[0].replace("\n", " ")
    assert (f"The {T} tokens are too many to be named here" in said) == (T > 150)


def test_a_cell_is_never_smaller_than_two_dots_and_no_weight_is_lost():
    layers = attention(2, 12, 464)
    figure = plots.attention_maps(["word"] * 464, layers)
    for axis, layer in zip(figure.axes[:-1], np.concatenate(layers)):
        cells = axis.images[0].get_array()
        k = round(464 / len(cells))
        expected = [[layer[i : i + k, j : j + k].max() for j in range(0, 464, k)] for i in range(0, 464, k)]
        np.testing.assert_array_equal(cells, expected)
        box = axis.get_window_extent()
        assert box.height / figure.dpi * plots.DOTS / len(cells) > 1.9
        assert axis.get_xlim() == (-0.5, 463.5) and axis.get_ylim() == (463.5, -0.5)
        assert axis.images[0].get_extent() == [-0.5, k * len(cells) - 0.5, k * len(cells) - 0.5, -0.5]
    assert f"Each cell shows the largest of {k} × {k} weights." in words(figure.texts)[0].replace("\n", " ")
    assert plots.largest_in_blocks(np.arange(25.0).reshape(5, 5), 2).tolist() == [[6, 8, 9], [16, 18, 19], [21, 23, 24]]


@pytest.mark.filterwarnings("error")  # matplotlib warns about every missing glyph
def test_without_a_font_tokens_are_numbered_and_no_box_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "CHINESE_FONTS", ())
    figure = plots.attention_maps(SENTENCE, attention(1, 2, 7), tmp_path / "maps.png", title="北京")
    numbered = ["1 [CLS]", "2", "3", "4 $", "5 5", "6 $", "7 [SEP]"]
    assert axis_words(figure.axes[0]) == (numbered, numbered)
    assert plots.NO_FONT in words(figure.texts)[0].replace("\n", " ") and "北京" not in words(figure.texts)


@pytest.mark.filterwarnings("error")
def test_a_font_with_the_characters_is_found_and_used_for_these_texts_only(tmp_path, chinese_font):
    figure = plots.attention_maps(SENTENCE, attention(1, 2, 7), tmp_path / "maps.png", title="北京")
    first = figure.axes[0]
    assert axis_words(first) == (SENTENCE, SENTENCE) and {"北京", "token looked at"} < set(words(figure.texts))
    assert first.get_xticklabels()[1].get_fontfamily() == [plots.FONT, chinese_font]
    assert first.title.get_fontfamily() == [plots.FONT]
    assert [label.get_rotation() for label in first.get_xticklabels()] == [90, 0, 0, 90, 90, 90, 90]
    assert plots.fonts_for("plain") == [plots.FONT] and plots.fonts_for("北海") is None  # it lacks one character


def test_one_head_large_has_its_weights_in_the_cells(tmp_path):
    (weights,) = attention(1, 1, 3)[0]
    figure = plots.head_map(["a", "b", "c"], weights, tmp_path / "head.png", title="layer 1 · head 1")
    cells = figure.axes[0].texts
    assert [float(cell.get_text()) for cell in cells] == pytest.approx(weights.flatten().tolist(), abs=0.005)
    assert cells[1].get_position() == (1, 0)  # x is the column: the token looked at
    assert figure.axes[0].get_title() == "" and "layer 1 · head 1" in words(figure.texts)
    assert not plots.head_map(["a"] * 13, attention(1, 1, 13)[0][0]).axes[0].texts


def test_maps_of_nothing_or_of_another_shape_are_refused():
    for tokens, layers in ([], attention(1, 1, 3)), (["a"], []):
        with pytest.raises(InputError, match="no attention to draw"):
            plots.attention_maps(tokens, layers)
    for wrong in attention(1, 2, 4), [np.ones((3, 3))], [np.ones((2, 3, 3)), np.ones((1, 3, 3))], [np.ones((0, 3, 3))]:
        with pytest.raises(InputError, match=r"Layer \d has weights of shape .* for 3 tokens"):
            plots.attention_maps(["a", "b", "c"], wrong)
    with pytest.raises(InputError, match="shape"):
        plots.head_map(["a", "b"], np.ones((1, 2, 2)))


DRAWN = {
    "curves": lambda path: plots.pretraining_curves({"warm": run([9.0, 4.5], [0.5, 0.6])}, path, unigram=6.3),
    "bars": lambda path: plots.ladder(ladder_rows(), path),
    "lines": lambda path: plots.ladder(ladder_rows(labels=(100, 500)), path),
    "maps": lambda path: plots.attention_maps(["a", "b", "c"], attention(1, 2, 3), path),
    "head": lambda path: plots.head_map(["a", "b", "c"], attention(1, 1, 3)[0][0], path),
}


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_same_input_same_bytes_whatever_the_settings(draw, tmp_path):
    draw(tmp_path / "a.png")
    strange = {"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 20, "lines.linewidth": 9}
    with matplotlib.rc_context(strange):
        shown = draw(str(tmp_path / "b.png"))._repr_png_()
        assert {key: matplotlib.rcParams[key] for key in strange} == strange
    first = (tmp_path / "a.png").read_bytes()
    assert first == (tmp_path / "b.png").read_bytes()
    assert first[:8] == shown[:8] == b"\x89PNG\r\n\x1a\n" and b"Software" not in first and b"tIME" not in first
    width, height = struct.unpack(">II", first[16:24])
    assert 300 < width < 3500 and 250 < height < 2500
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_pyplot_is_not_imported():
    code = "import sys; from minilm.viz import plots; plots.ladder([dict(model='a', labels=5, accuracy=0.5)])"
    ask = f"{code}; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout == "False\n"
