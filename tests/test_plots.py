"""Pictures: what stands in them is read back from the figure; how they look is for the eye."""

import struct
import subprocess
import sys
import warnings

import matplotlib
import numpy as np
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.colors import to_hex

from minilm import plots
from minilm.errors import InputError

SENTENCE = ["[CLS]", "北", "京", "$", "5", "$", "[SEP]"]


def run(losses, shares, pairs=200, minutes=6.0):
    times = np.linspace(0, 1, len(losses))
    return [
        {"step": i, "tokens": int(t * 3e6), "seconds": t * minutes * 60, "mlm_loss": loss, "nsp_accuracy": share}
        | {"nsp_loss": 0.7, "pairs": pairs}
        for i, (t, loss, share) in enumerate(zip(times, losses, shares))
    ]


@pytest.fixture
def runs():
    return {"warm": run([9.0, 6.0, 4.5], [0.5, 0.55, 0.61]), "published": run([9.0, 6.5, 6.2, 6.1], [0.5] * 4)}


def ladder_rows(labels=(500,), seeds=(0, 1, 2), metric="accuracy"):
    means = {"majority": 0.5, "LSTM": 0.57, "MiniLM": 0.6, "MiniLM pretrained, fine-tuned": 0.74}
    return [
        {"model": model, "labels": n, "seed": seed, metric: mean + 0.01 * seed, "seconds": 3.0, "parameters": 7}
        for model, mean in means.items()
        for n in labels
        for seed in seeds
    ]


def attention(L, H, T, seed=0):
    z = np.exp(np.random.default_rng(seed).normal(size=(L, H, T, T)))
    return list(z / z.sum(-1, keepdims=True))


def texts(figure):
    return [text.get_text() for text in figure.texts]


def axis_words(axis):
    return [label.get_text() for label in axis.get_xticklabels()], [
        label.get_text() for label in axis.get_yticklabels()
    ]


def notes_at(axis):
    return [text.get_text() for text in axis.texts]


@pytest.fixture
def chinese_font(tmp_path):
    """A font with the two characters 北京 and nothing else, known to matplotlib for one test."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0)), pen.lineTo((500, 800)), pen.lineTo((900, 0)), pen.closePath()
    shape, font = pen.glyph(), FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "north", "capital"])
    font.setupCharacterMap({ord("北"): "north", ord("京"): "capital"})
    font.setupGlyf({".notdef": shape, "north": shape, "capital": shape})
    font.setupHorizontalMetrics({name: (1000, 0) for name in (".notdef", "north", "capital")})
    font.setupHorizontalHeader(ascent=900, descent=-100)
    font.setupNameTable({"familyName": "WenQuanYi of this test", "styleName": "Regular"})
    font.setupOS2(sTypoAscender=900)
    font.setupPost()
    font.save(tmp_path / "font.ttf")
    font_manager.fontManager.addfont(tmp_path / "font.ttf")
    yield "WenQuanYi of this test"
    manager = font_manager.fontManager
    manager.ttflist = [entry for entry in manager.ttflist if entry.name != "WenQuanYi of this test"]


@pytest.fixture
def only_that_font(chinese_font, monkeypatch):
    monkeypatch.setattr(plots, "CHINESE_FONTS", (chinese_font,))


@pytest.fixture
def no_chinese_font(monkeypatch):
    monkeypatch.setattr(plots, "CHINESE_FONTS", ())


# Wilson's interval


def test_wilson_by_hand():
    # 1 of 2, z = 1: (0.5 + 0.25 ± √(0.125 + 0.0625)) / 1.5
    assert plots.wilson(1, 2, z=1) == pytest.approx(((0.75 - 0.1875**0.5) / 1.5, (0.75 + 0.1875**0.5) / 1.5), abs=1e-15)
    # 5 of 10 and 8 of 10 at 95 %, worked out to four places in the usual tables
    assert plots.wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=5e-5)
    assert plots.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=5e-5)


def test_wilson_ends_solve_its_equation_and_stay_within_0_and_1():
    for successes, n in [(0, 1), (0, 40), (3.5, 7), (61, 100), (40, 40)]:
        for end in plots.wilson(successes, n):
            assert 0 <= end <= 1
            assert (successes / n - end) ** 2 == pytest.approx(1.96**2 * end * (1 - end) / n, abs=1e-12)
    assert plots.wilson(0, 40)[0] == 0 and plots.wilson(40, 40)[1] == 1
    assert plots.wilson(0, 40)[1] == pytest.approx(1.96**2 / (40 + 1.96**2))  # not nothing


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5), (float("nan"), 5)])
def test_wilson_refuses_what_is_no_share(successes, n):
    with pytest.raises(InputError, match="are no share"):
        plots.wilson(successes, n)


# Labels that do not lie upon each other


def test_spread_keeps_what_is_apart_and_shares_the_move_of_what_is_not():
    np.testing.assert_allclose(plots.spread([3.0, 0.0], 1.0), [3, 0])
    np.testing.assert_allclose(plots.spread([1.0, 1.0], 1.0), [0.5, 1.5])
    np.testing.assert_allclose(plots.spread([5.0, 1.2, 1.0, 0.9], 1.0), [5, 31 / 30 + 1, 31 / 30, 31 / 30 - 1])
    assert plots.spread([], 1.0).size == 0


def test_spread_is_the_nearest_of_many_that_are_apart():
    rng = np.random.default_rng(3)
    heights = rng.normal(size=5).tolist()
    placed, order = plots.spread(heights, 0.6), np.argsort(heights)
    assert np.diff(placed[order]).min() >= 0.6 - 1e-12
    cost = ((placed - heights) ** 2).sum()
    for _ in range(500):
        other = placed + rng.normal(scale=0.05, size=5)
        if np.diff(other[order]).min() >= 0.6:
            assert ((other - heights) ** 2).sum() >= cost - 1e-12


# Curves


def test_curves_show_the_numbers_of_every_run(runs):
    figure = plots.pretraining_curves(runs, unigram=6)
    loss, accuracy = figure.axes
    assert [line.get_ydata().tolist() for line in loss.lines[:2]] == [[9.0, 6.0, 4.5], [9.0, 6.5, 6.2, 6.1]]
    assert loss.lines[0].get_xdata().tolist() == [0, 1.5, 3]
    assert loss.lines[2].get_ydata() == [6, 6] and accuracy.lines[2].get_ydata() == [0.5, 0.5]
    assert len({to_hex(line.get_color()) for line in loss.lines}) == 3
    assert notes_at(loss) == ["4.50", "6.10", "unigram 6.00"] and notes_at(accuracy) == ["61.0%", "50.0%", "chance"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["warm (6.0 min)", "published (6.0 min)"]


def test_band_is_wilsons(runs):
    accuracy = plots.pretraining_curves(runs).axes[1]
    corners = accuracy.collections[0].get_paths()[0].vertices
    at_the_end = corners[corners[:, 0] == 3.0, 1]
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
    assert notes_at(lost.axes[0]) == [] and np.isnan(lost.axes[0].lines[0].get_ydata()[1:]).all()


@pytest.mark.parametrize("key", ["tokens", "mlm_loss", "nsp_accuracy", "pairs"])
def test_curves_name_the_missing_number(runs, key):
    del runs["published"][1][key]
    with pytest.raises(InputError, match=f"run 'published', row 2, needs a number under '{key}'"):
        plots.pretraining_curves(runs)


def test_curves_of_nothing_are_refused():
    with pytest.raises(InputError, match="no runs"):
        plots.pretraining_curves({})
    with pytest.raises(InputError, match="run 'x' has no rows"):
        plots.pretraining_curves({"x": []})


# The ladder


def test_ladder_with_one_number_of_labels_has_bars_dots_whiskers_and_values(tmp_path):
    figure = plots.ladder(ladder_rows(), tmp_path / "ladder.png")
    (axis,) = figure.axes
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([0.51, 0.58, 0.61, 0.75])
    assert axis_words(axis)[1] == ["majority", "LSTM", "MiniLM", "MiniLM pretrained, fine-tuned"]
    assert axis.yaxis_inverted() and axis.get_xlim()[0] == 0  # the first on top; a bar cut off below would mislead
    assert notes_at(axis) == ["0.510 ± 0.010", "0.580 ± 0.010", "0.610 ± 0.010", "0.750 ± 0.010"]
    dots = [line.get_xdata() for line in axis.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots[3], [0.74, 0.75, 0.76])
    whisker = axis.collections[3].get_segments()[0]  # ± the deviation with n − 1: of 0.74, 0.75, 0.76 it is 0.01
    np.testing.assert_allclose(whisker[:, 0], [0.74, 0.76], atol=1e-12)
    assert [to_hex(bar.get_facecolor()).upper() for bar in axis.patches] == [plots.PALE] * 3 + [plots.STRONG]
    assert axis.get_title(loc="left") == "accuracy with 500 labels"


def test_ladder_with_one_seed_has_no_dots_and_f1_is_read(tmp_path):
    figure = plots.ladder(ladder_rows(seeds=(0,), metric="f1"), metric="f1", title="names found")
    (axis,) = figure.axes
    assert len(axis.patches) == 4 and not axis.lines and not axis.collections
    assert notes_at(axis)[0] == "0.500" and axis.get_xlabel() == "F1" and axis.get_title(loc="left") == "names found"


def test_ladder_with_several_numbers_of_labels_has_a_line_for_each_model():
    rows = ladder_rows(labels=(100, 500, 2000))
    rows = [row for row in rows if not (row["model"] == "LSTM" and row["labels"] == 2000)]  # one gap
    (axis,) = plots.ladder(rows).axes
    assert axis.get_xscale() == "log" and len(axis.lines) == 4
    assert [len(line.get_xdata()) for line in axis.lines] == [3, 2, 3, 3]
    np.testing.assert_allclose(axis.lines[2].get_xdata(), [100, 500, 2000], rtol=0.03)  # a little aside of each other
    assert axis_words(axis)[0] == ["100", "500", "2,000"]
    assert notes_at(axis)[3] == "MiniLM pretrained, fine-tuned  0.750"
    heights = sorted(text.get_position()[1] for text in axis.texts)
    assert np.diff(heights).min() > 0.01
    assert to_hex(axis.lines[0].get_color()) == plots.COLOURS[-1]


@pytest.mark.parametrize("key", ["model", "labels", "accuracy"])
def test_ladder_names_the_missing_key(key):
    rows = ladder_rows()
    del rows[2][key]
    with pytest.raises(InputError, match=key):
        plots.ladder(rows)


def test_ladder_of_nothing_or_of_words_is_refused():
    with pytest.raises(InputError, match="the ladder has no rows"):
        plots.ladder([])
    with pytest.raises(InputError, match="row 1, needs a number under 'accuracy'; it has .*'good'"):
        plots.ladder([{"model": "LSTM", "labels": 500, "accuracy": "good"}])


# Maps of attention


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
    assert bar.get_ylabel() == "weight" and {"not bad", "token looked at", "token that looks"} == set(texts(figure))


@pytest.mark.parametrize(("L", "H", "T"), [(1, 1, 3), (12, 1, 3), (1, 12, 5), (2, 2, 40)])
def test_maps_of_any_number_fit_a_page(L, H, T, tmp_path):
    figure = plots.attention_maps(["word"] * T, attention(L, H, T), tmp_path / "maps.png")
    assert len(figure.axes) == L * H + 1 and figure.get_size_inches()[0] <= 22
    width, height = struct.unpack(">II", (tmp_path / "maps.png").read_bytes()[16:24])
    assert 300 < width < 4000 and 300 < height < 6000


def test_words_without_room_become_numbers_with_a_key():
    tokens = [f"word{i}" for i in range(1, 38)]
    figure = plots.attention_maps(tokens, attention(1, 12, 37))
    numbers = ["1", "5", "10", "15", "20", "25", "30", "35"]
    assert axis_words(figure.axes[0]) == (numbers, numbers)
    assert figure.axes[0].get_xticks().tolist() == [0, 4, 9, 14, 19, 24, 29, 34]
    key = texts(figure)[0].replace("\n", "   ").replace("\u00a0", " ")
    assert all(f"{i} word{i}" in key.split("   ") for i in range(1, 38))


def test_maps_take_tensors_and_zeros():
    layers = [torch.tensor(layer, dtype=torch.float32) for layer in attention(2, 1, 3)]
    assert len(plots.attention_maps(["a", "b", "c"], layers).axes) == 3
    assert plots.attention_maps(["a", "b"], [np.zeros((1, 2, 2))]).axes[0].images[0].get_clim() == (0, 1)


@pytest.mark.usefixtures("no_chinese_font")
def test_without_a_font_tokens_are_numbered_and_no_box_is_drawn(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns at every box
        figure = plots.attention_maps(SENTENCE, attention(1, 2, 7), tmp_path / "maps.png", title="北京")
    words = ["1 [CLS]", "2", "3", "4 $", "5 5", "6 $", "7 [SEP]"]
    assert axis_words(figure.axes[0]) == (words, words)
    assert plots.NO_FONT in texts(figure)[0] and "北京" not in texts(figure)


@pytest.mark.usefixtures("only_that_font")
def test_a_font_with_the_characters_is_found_and_used_for_these_texts_only(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plots.attention_maps(SENTENCE, attention(1, 2, 7), tmp_path / "maps.png", title="北京")
    first = figure.axes[0]
    assert (
        axis_words(first) == (SENTENCE, SENTENCE) and "北京" in texts(figure) and plots.NO_FONT not in texts(figure)[0]
    )
    both = [plots.FONT, "WenQuanYi of this test"]
    assert first.get_xticklabels()[1].get_fontfamily() == both and first.title.get_fontfamily() == [plots.FONT]
    assert [label.get_rotation() for label in first.get_xticklabels()] == [90, 0, 0, 90, 90, 90, 90]


@pytest.mark.usefixtures("only_that_font")
def test_a_font_that_lacks_one_character_is_not_used():
    assert plots.fonts_for("北京") == [plots.FONT, "WenQuanYi of this test"]
    assert plots.fonts_for("北海") is None
    assert plots.fonts_for("plain") == [plots.FONT]


def test_one_head_large_has_its_weights_in_the_cells(tmp_path):
    (weights,) = attention(1, 1, 3)[0]
    figure = plots.head_map(["a", "b", "c"], weights, tmp_path / "head.png", title="layer 1 · head 1")
    cells = figure.axes[0].texts
    assert [float(cell.get_text()) for cell in cells] == pytest.approx(weights.flatten().tolist(), abs=0.005)
    assert cells[1].get_position() == (1, 0)  # x is the column: the token looked at
    assert figure.axes[0].get_title() == "" and "layer 1 · head 1" in texts(figure)
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


# The file, and what is left alone

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
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 20, "lines.linewidth": 9}):
        before = matplotlib.rcParams.copy()
        figure = draw(str(tmp_path / "b.png"))
        assert matplotlib.rcParams == before
        shown = figure._repr_png_()
    first = (tmp_path / "a.png").read_bytes()
    assert first == (tmp_path / "b.png").read_bytes()
    assert first[:8] == shown[:8] == b"\x89PNG\r\n\x1a\n" and b"Software" not in first and b"tIME" not in first
    width, height = struct.unpack(">II", first[16:24])
    assert 300 < width < 3500 and 250 < height < 2500
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_pyplot_is_not_imported():
    code = "import sys; from minilm import plots; plots.ladder([dict(model='a', labels=5, accuracy=0.5)])"
    ask = f"{code}; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout == "False\n"
