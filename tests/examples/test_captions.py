"""Captions of digits: what they say is what loops measure, and no two captions of a batch mean the same.  F35."""

import numpy as np
import pytest

from minilm.errors import InputError
from minilm.examples.captions import (
    LEARNED,
    UNSEEN,
    CaptionBatches,
    Meaning,
    borders,
    caption,
    caption_tokenizer,
    ink_and_lean,
    meanings,
)
from minilm.examples.pixels import Pictures, digits

FEW = digits().subset(np.arange(0, 1797, 6))


def test_F35_ink_and_lean_are_what_loops_give():
    ink, lean = ink_and_lean(FEW.x[:7])
    for n, x in enumerate(FEW.x[:7].reshape(-1, 8, 8)):
        places = [(r, c, int(x[r, c])) for r in range(8) for c in range(8)]
        total = sum(w for *_, w in places)
        row, column = (sum(w * place[k] for *place, w in places) / total for k in (0, 1))
        both = sum(w * (r - row) * (c - column) for r, c, w in places)
        down = sum(w * (r - row) ** 2 for r, c, w in places)
        assert ink[n] == total and lean[n] == pytest.approx(-both / down, abs=1e-12)


def test_F35_a_stroke_to_the_upper_right_leans_to_the_right():
    picture = np.zeros((1, 8, 8), dtype=np.int64)
    for r in range(8):
        picture[0, r, 7 - r] = 16
    assert ink_and_lean(picture.reshape(1, 64))[1][0] == pytest.approx(1.0)
    assert ink_and_lean(picture[:, :, ::-1].reshape(1, 64))[1][0] == pytest.approx(-1.0)


def test_F35_a_quarter_of_each_class_stands_out_either_way():
    said = meanings(FEW, borders(FEW))
    for k in range(10):
        mine = [m for m in said if m.digit == k]
        for name in ("stroke", "lean"):
            shares = [np.mean([getattr(m, name) == place for m in mine]) for place in (0, 2)]
            assert all(0.15 <= share <= 0.3 for share in shares), (k, name, shares)


def test_F35_captions_say_all_of_it_and_nothing_else():
    assert caption(Meaning(7, 2, 2), LEARNED[0]) == "a bold seven that leans to the right"
    assert caption(Meaning(7), LEARNED[0]) == "a seven" and caption(Meaning(8, 0), LEARNED[0]) == "a thin eight"
    assert caption(Meaning(8), LEARNED[0]) == "an eight" and caption(Meaning(8), LEARNED[2]) == "this is an eight"
    assert caption(Meaning(2, 2, 0), LEARNED[2]) == "this is a two, it is bold and leans to the left"
    assert caption(Meaning(2, 1, 0), LEARNED[1]) == "the number two, it leans to the left"
    texts = {
        (m, t): caption(m, t)
        for m in (Meaning(d, a, b) for d in (0, 9) for a in range(3) for b in range(3))
        for t in LEARNED + UNSEEN
    }
    by_text: dict[str, set] = {}
    for (meaning, _), text in texts.items():
        by_text.setdefault(text, set()).add(meaning)
        assert "  " not in text and text == text.strip()
    assert all(len(kinds) == 1 for kinds in by_text.values())
    tokenizer = caption_tokenizer()
    unknown = tokenizer.ids(["xyzzy"])[0][0]
    assert all(unknown not in row for row in tokenizer.ids(list(by_text)))


def test_F35_no_two_captions_of_a_batch_mean_the_same_unless_asked():
    said, tokenizer = meanings(FEW, borders(FEW)), caption_tokenizer()
    batches = CaptionBatches(FEW, said, tokenizer, 20, seed=3)
    where = {x.tobytes(): m for x, m in zip(FEW.x, said, strict=True)}
    seen = set()
    for step in range(30):
        batch = batches[step]
        kinds = [where[x.tobytes()] for x in batch.source_ids.numpy()]
        assert len(set(kinds)) == 20
        words = [
            tokenizer.text(row[mask].tolist()) for row, mask in zip(batch.input_ids, batch.attention_mask, strict=True)
        ]
        assert all(caption(kind, "{number}") in text for kind, text in zip(kinds, words, strict=True))
        seen |= set(kinds)
    assert len(seen) == len(set(said))
    assert batches[4].input_ids.equal(CaptionBatches(FEW, said, tokenizer, 20, seed=3)[4].input_ids)
    mixed = CaptionBatches(FEW, said, tokenizer, 40, seed=3, apart=False)
    assert any(len({where[x.tobytes()] for x in mixed[step].source_ids.numpy()}) < 40 for step in range(5))


def test_F35_shuffled_captions_are_those_of_others():
    said = meanings(FEW, borders(FEW))
    batches = CaptionBatches(FEW, said, caption_tokenizer(), 20, shuffled=True)
    assert (
        sorted(batches.said) == sorted(said)
        and np.mean([a == b for a, b in zip(batches.said, said, strict=True)]) < 0.1
    )


@pytest.mark.parametrize("size", [1, 500])
def test_F35_an_impossible_batch_is_refused(size):
    with pytest.raises(InputError, match=f"a batch of {size} needs as many captions"):
        CaptionBatches(FEW, meanings(FEW, borders(FEW)), caption_tokenizer(), size)


def test_F35_an_empty_picture_leans_nowhere():
    blank = Pictures(np.zeros((1, 64), dtype=np.int64), np.zeros(1, dtype=np.int64), 17, 10)
    assert np.isfinite(ink_and_lean(blank.x)[1]).all()
