"""The pictures of a model that is taken apart.  F36."""

import pytest

from minilm.errors import InputError
from minilm.viz.apart import parts_and_whole, what_is_carried

PLACES = [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]]


def records() -> list[dict]:
    out = []
    for arm in ("pairs, English", "names"):
        for seed in (0, 1):
            heads = [0.1 * k + seed for k in range(6)]
            patched = {"itself": [0.5, 0.75, 1.0], "others": [0.25 + seed / 2, 0.25, 0.0]}
            out.append({"arm": arm, "heads": heads, "places": PLACES, "patched": patched, "out": 2.0 + seed, "in": 0.5})
    out.append({**out[0], "arm": "control"} | {"out": 1.0})
    del out[-1]["out"], out[-1]["in"]
    return out


def test_F36_both_sums_and_every_head_are_drawn():
    figure = parts_and_whole(records(), {"out": "taken out", "in": "put in"})
    left, *maps = figure.axes
    assert [bar.get_width() for bar in left.patches] == pytest.approx([2.5, 2.5, 0, 0.5, 0.5, 0])
    assert len(maps) == 3 and sum("too small" in text.get_text() for text in left.texts) == 2
    assert [text.get_text() for text in maps[0].texts] == ["0.50", "0.60", "0.70", "0.80", "0.90", "1.00"]
    assert [text.get_position() for text in maps[0].texts] == [(head, layer) for layer, head in PLACES]


def test_F36_the_groups_and_their_sum_are_drawn():
    figure = what_is_carried(records()[:4])
    assert len(figure.axes) == 2
    own, others, total, _ = (list(line.get_ydata()) for line in figure.axes[0].get_lines())
    none = what_is_carried([{"arm": "names", "patched": {}}]).axes[0]
    assert not none.get_lines() and none.texts[0].get_text() == "no texts to exchange"
    assert (own, others, total) == ([0.5, 0.75, 1.0], [0.5, 0.25, 0.0], [1.0, 1.0, 1.0])


def test_F36_nothing_to_draw_gets_one_sentence():
    for picture in (lambda: parts_and_whole([], {}), lambda: what_is_carried([])):
        with pytest.raises(InputError, match="nothing to draw"):
            picture()
