"""Every schematic draws, nothing in it overlaps, its numbers are right, and a picture that changes is noticed.

If a schematic was changed on purpose, look at it, then accept it:

    minilm schematics --no-png --out data/schematics
    MINILM_ACCEPT=1 python -m pytest tests/viz/test_schematics.py
"""

import io
import itertools
import os
import re
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from layout import faults
from pages import TOP
from PIL import Image, ImageFilter

from minilm.examples.pixels import Pictures
from minilm.layers import attention as layer
from minilm.layers.positions import RelativeBias, bucket
from minilm.layers.recurrent import GRUCell, LSTMCell
from minilm.models import bert_start
from minilm.models.sampling import sampling_probabilities
from minilm.viz import schematics
from minilm.viz.schematics import SCHEMATICS, Schematic, attention as drawn, crf, kit, pictures, places, words, writing
from minilm.viz.schematics.svg import COLOURS

SVG_FOLDER, SMALL_FOLDER = TOP / "data" / "schematics", Path(__file__).parent / "schematics"
ACCEPT = "MINILM_ACCEPT=1 python -m pytest tests/viz/test_schematics.py"
FAINT = 8  # of 255 grey levels, after blurring: other fonts of the same text differ by up to 6, a missing arrow by more
by_name = pytest.mark.parametrize("name", SCHEMATICS)


@cache
def drawn_once(name: str) -> Schematic:
    return SCHEMATICS[name]()


@cache
def svg_of(name: str) -> str:
    return drawn_once(name).svg()


def texts(picture: Schematic) -> list[str]:
    return [label.artist.get_text() for label in picture.labels]


def elements(svg: str) -> list[tuple]:
    """What the SVG shows: tag, text, look, and the numbers of its place."""
    found = []
    for element in ElementTree.fromstring(svg):
        place = " ".join(element.attrib.pop(key, "") for key in ("d", "x", "y"))
        commands = re.findall("[A-Za-z]", place)
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", place)]
        found.append((element.tag, element.text, sorted(element.attrib.items()), commands, numbers))
    return found


def contrast(one: str, other: str) -> float:
    """The ratio of the luminances of two colours, from 1 to 21 (WCAG 2)."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


# ------------------------------------------------------------------------------- how they look


@by_name
def test_nothing_overlaps_and_no_text_leaves_its_box(name):
    assert list(faults(drawn_once(name))) == []


BAD = {
    "'a long name' leaves its box": lambda p: p.box(100, 50, 40, 30, "a long name"),
    "'high' leaves its box": lambda p: p.box(100, 50, 60, 10, "high"),
    "'far' leaves the picture": lambda p: p.write(195, 50, "far"),
    "'one' and 'two' overlap": lambda p: (p.write(100, 50, "one"), p.write(115, 55, "two")),
    "'beside' runs into the box at (60, 50)": lambda p: (p.box(60, 50, 40, 30), p.write(90, 50, "beside")),
    "an arrow runs through 'shape'": lambda p: (p.write(100, 50, "shape"), p.arrow((60, 50), (150, 50))),
    "an arrow runs through the box at (100, 50)": lambda p: (p.box(100, 50, 40, 30), p.arrow((60, 50), (150, 50))),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_ugly_is_seen(fault):
    picture = Schematic(200, 100, "a bad example")
    BAD[fault](picture)
    assert fault in list(faults(picture))


@pytest.mark.parametrize("name", ["rnn_cell", "many_heads"])
def test_the_png_is_sharp_and_the_same_twice(name):
    picture = SCHEMATICS[name]()
    png = picture._repr_png_()
    width, height = Image.open(io.BytesIO(png)).size
    assert (width, height) == tuple(np.floor(picture.get_size_inches() * 150 + 1e-6))
    assert SCHEMATICS[name]()._repr_png_() == png
    assert SCHEMATICS[name]().svg() == picture._repr_svg_() == svg_of(name)


@by_name
def test_the_svg_is_text_that_can_turn_dark_and_changes_nothing_else_on_a_page(name):
    picture, svg = drawn_once(name), svg_of(name)
    assert picture.get_size_inches()[0] * 72 <= 760  # wider pictures would be scaled down on a page
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    assert sorted(e.text for e in root.iter(space + "text")) == sorted(texts(picture))
    assert root.find(space + "title").text == picture.about and picture.about.endswith(".")
    assert not re.search(r"<script|href|url\(|<!--|20\d\d-\d\d|id=", svg)
    rules = root.find(space + "style").text
    assert all(rule.startswith(".minilm ") for rule in re.findall(r"(?:^|[{}])([^{}@]+)\{", rules))
    lights = {colour.light for colour in COLOURS.values()}
    for element in root.iter():
        classes = element.get("class", "").split()
        for letter, look in (("f", "fill"), ("s", "stroke")):
            if (colour := element.get(look, "none")) != "none":
                mine = [c for c in classes if c.startswith(f"{letter}-")]
                assert colour in lights and len(mine) == 1 and f".minilm .{mine[0]}{{{look}:#" in rules


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_can_be_read_on_every_fill(mode):
    colour = {name: getattr(both, mode) for name, both in COLOURS.items()}
    fills = [kind[0] for kind in kit.KINDS.values()]
    assert min(contrast(colour["ink"], colour[fill]) for fill in fills) >= 7
    assert min(contrast(colour["soft"], colour[fill]) for fill in ("paper", "frame")) >= 4.5
    lines = {kind[1] for kind in kit.KINDS.values()} - {"frame line"}
    assert min(contrast(colour[line], colour["paper"]) for line in lines) >= 4.5
    strongest = mixed(colour["tensor line"], colour["paper"], kit.STRONGEST)
    assert contrast(colour["ink"], strongest) >= 4.5


def mixed(colour: str, paper: str, share: float) -> str:
    channels = [(int(colour[i : i + 2], 16), int(paper[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * c + (1 - share) * p):02x}" for c, p in channels)


def test_the_kinds_differ_without_colour():
    outlines = {}
    for kind, (fill, _, width, dashed) in kit.KINDS.items():
        if kind == "frame":
            continue
        shape = "round" if kind == "operation" else "double" if kind == "learned" else "square"
        outlines[kind] = (shape, width, dashed, round(luminance(COLOURS[fill].light), 1))
    assert len(set(outlines.values())) == len(outlines)


# ------------------------------------------------------------------------------- what is stored


@by_name
def test_the_stored_svg_is_what_the_code_draws(name):
    stored = elements((SVG_FOLDER / f"{name}.svg").read_text(encoding="utf-8"))
    fresh = elements(svg_of(name))
    hint = f"data/schematics/{name}.svg is older than the code: minilm schematics --no-png --out data/schematics"
    assert len(stored) == len(fresh), hint
    for (*one, ours), (*other, theirs) in zip(fresh, stored):
        assert one == other and ours == pytest.approx(theirs, abs=0.25), hint


@by_name
def test_the_picture_looks_as_it_did(name):
    path, fresh = SMALL_FOLDER / f"{name}.png", small(drawn_once(name))
    if os.environ.get("MINILM_ACCEPT") == "1":
        fresh.save(path, optimize=True)
    changed = difference(fresh, Image.open(path))
    assert changed <= FAINT, f"{name} looks different ({changed:.0f} > {FAINT}). If it should, accept it: {ACCEPT}"


def test_every_schematic_is_stored_and_nothing_else():
    assert {path.name for path in SVG_FOLDER.iterdir()} == {f"{name}.svg" for name in SCHEMATICS}
    assert {path.name for path in SMALL_FOLDER.iterdir()} == {f"{name}.png" for name in SCHEMATICS}
    assert sum(path.stat().st_size for path in SVG_FOLDER.iterdir()) < 600_000
    assert set(SCHEMATICS) <= set(schematics.__all__)
    assert all(getattr(schematics, name) is function for name, function in SCHEMATICS.items())


def small(picture: Schematic) -> Image.Image:
    """A quarter of an inch wide for each inch, and grey."""
    image = Image.open(io.BytesIO(picture._repr_png_(dpi=96))).convert("L")
    return image.resize((image.width // 4, image.height // 4), Image.Resampling.BOX)


def difference(one: Image.Image, other: Image.Image) -> float:
    """The largest difference of grey levels after blurring, which forgives letters that are drawn a little differently."""
    if one.size != other.size:
        return 255
    blurred = [
        np.asarray(image.convert("L").filter(ImageFilter.GaussianBlur(2)), dtype=float) for image in (one, other)
    ]
    return float(np.abs(blurred[0] - blurred[1]).max())


def test_a_change_is_seen():
    def changed(change) -> float:
        picture = SCHEMATICS["lstm_cell"]()
        change(picture)
        return difference(small(picture), small(SCHEMATICS["lstm_cell"]()))

    assert changed(lambda p: None) == 0
    assert changed(lambda p: p.labels[0].artist.set_text("")) > FAINT
    assert changed(lambda p: p.arrow((300, 200), (330, 200))) > FAINT
    assert changed(lambda p: p.artists[0].set_transform(p.page.frozen().translate(0, 12))) > FAINT


# ------------------------------------------------------------------------------- what they say


def test_the_numbers_of_the_lattice_against_all_paths():
    """α, log Z, the best path and its probability by adding up every path, which is what the formulas avoid."""
    (E,), A, start, end = crf.E, crf.A, crf.START, crf.END
    T, K = E.shape

    def score(path: tuple[int, ...]) -> float:
        return (
            start[path[0]]
            + sum(E[t, tag] for t, tag in enumerate(path))
            + sum(A[i, j] for i, j in itertools.pairwise(path))
        )

    shown = texts(schematics.crf_lattice())
    for t in range(T):
        for j in range(K):
            ways = [score((*path, j)) for path in itertools.product(range(K), repeat=t)]
            alpha = np.log(np.exp(ways).sum()) if max(ways) > -np.inf else -np.inf
            expected = f"α = {alpha:.2f}" if np.isfinite(alpha) else "α = −∞"
            assert shown.count(expected) >= 1
            at = [i for i, text in enumerate(shown) if text == crf.TAGS[j]][t]
            assert shown[at : at + 3] == [crf.TAGS[j], f"E = {E[t, j]:.1f}", expected]
    every = {path: score(path) + end[path[-1]] for path in itertools.product(range(K), repeat=T)}
    log_z, best = np.log(np.exp(list(every.values())).sum()), max(every, key=every.get)
    names = " → ".join(crf.TAGS[tag] for tag in best)
    assert any(f"= {log_z:.2f}" in text for text in shown)
    assert any(f"{names}, score {every[best]:.2f}" in text for text in shown)
    assert any(f"= {np.exp(every[best] - log_z):.2f}" in text for text in shown if text.startswith("P("))
    assert A[0, 2] == start[2] == -np.inf  # I-PER follows neither O nor the start


def test_the_numbers_of_one_query():
    q, k, v = (torch.tensor(x) for x in (drawn.Q, drawn.K, drawn.V))
    out, weights = layer.attention(q, k, v)
    shown = texts(schematics.attention_one_query())
    raw = (k @ q[0]).tolist()
    for s in range(4):
        assert f"{raw[s]:.0f}" in shown and f"{raw[s] / 2:.1f}" in shown and f"{weights[0, s]:.2f}" in shown
    assert sum(float(f"{w:.2f}") for w in weights[0]) == pytest.approx(1)  # nobody stumbles over a sum of 0.99
    assert out.shape == (1, 4)


def test_the_grids_of_the_masks_are_those_of_the_layers():
    real = torch.tensor([[True] * 4 + [False]])
    padding, causal = layer.padding_mask(real)[0, 0], layer.causal_mask(5)
    grids = [padding.expand(5, 5), causal, padding & causal]
    shown = "".join(text for text in texts(schematics.masks()) if text in "●×")
    assert shown == "".join("●" if may else "×" for grid in grids for row in grid for may in row)


def test_the_peaks_of_the_bias_are_those_that_our_models_start_with():
    assert (places.OFFSETS, places.PEAK) == (bert_start.OFFSETS, bert_start.PEAK)
    module = RelativeBias(4)
    with torch.no_grad():
        for head, offset in enumerate(bert_start.OFFSETS):
            module.table[bucket(torch.tensor(offset)), head] = bert_start.PEAK
    marks = int((module(6, 6) > 0).sum())
    assert texts(schematics.relative_bias()).count("4") == marks


def test_the_gates_stand_in_the_order_of_the_code():
    assert "i, f, g, o" in LSTMCell.__doc__ and "r, z, n" in GRUCell.__doc__
    picture = schematics.lstm_cell()
    gates = {t[0]: label.box.x for label, t in zip(picture.labels, texts(picture)) if re.match(r"[ifgo] = ", t)}
    assert sorted(gates, key=gates.get) == list("ifgo")
    shown = texts(schematics.gru_cell())
    assert "n = tanh(a + r ⊙ u)" in shown and "(1 − z) ⊙ n + z ⊙ hₜ₋₁" in shown  # the reset comes after the product


def test_the_picture_as_a_text_is_what_the_model_reads_and_predicts():
    """The tokens in the schematic are those of `Pictures.rows`, and each prediction is the token that follows."""
    three = Pictures(
        np.array([[value for row in pictures.THREE for value in row]]), np.array([3]), levels=17, classes=10
    )
    ids = three.rows()[0].tolist()
    assert len(ids) == 65 and three.vocab_size == 27
    drawn_tokens = [f"class {ids[0] - 17}", *map(str, ids[1:5])]
    shown = texts(schematics.pixels_by_class())
    for token, target in zip(drawn_tokens, map(str, ids[1:6]), strict=True):
        assert any(shown[i : i + 2] == [token, target] for i in range(len(shown)))


def test_the_numbers_of_writing():
    """The rows of the five rules by hand, and what two beams find against all texts of two words."""
    shown = texts(schematics.decoding())
    sharp = writing.P**2 / (writing.P**2).sum()
    for row in (writing.P, sharp, writing.P[:3] / writing.P[:3].sum(), writing.P[:2] / writing.P[:2].sum()):
        assert all(f"{p:.2f}" in shown for p in row)
    assert shown.count("–") == 2 + 3 + 4
    for _, *rule in writing.RULES:
        wanted = sampling_probabilities(np.log(writing.P), *rule)
        np.testing.assert_allclose(writing.kept_of(*rule), wanted, atol=1e-12)
    chances = {(a, b): p * q for a, p in writing.TREE[()].items() for b, q in writing.TREE[(a,)].items()}
    best = max(chances, key=chances.get)
    assert any(f"“{' '.join(best)}” with {chances[best]:.2f}" in text for text in shown)
    first = max(writing.TREE[()], key=writing.TREE[()].get)
    second = max(writing.TREE[(first,)], key=writing.TREE[(first,)].get)
    assert f"and ends at {chances[first, second]:.2f}." in shown and chances[first, second] < chances[best]


def test_the_counts_by_hand():
    """the cat sat the dog sat: sat meets the at distances 2, 1 and 2 of its two places, which makes 1/2 + 1 + 1/2."""
    shown = texts(schematics.word_vectors())
    assert "2.0" in shown and "the" in shown
    assert words.minus("-0.5") == "−0.5" and words.minus("-0.0") == "0.0"
