"""The numbers of every view against the library's own, and what is said where a view does not apply."""

import base64
import json
import re

import numpy as np
import pytest
import torch
from explored import lab

from minilm.errors import InputError
from minilm.explorer.document import data_of
from minilm.explorer.records import FARTHEST, film, ladder, positions, shown_run, training, watched
from minilm.explorer.shown import token_words
from minilm.explorer.subject import framed, headline_of, open_subject
from minilm.explorer.views import answer, attention, guesses, next_sentence, reasons, shown_text, writing
from minilm.jobs.predict import PredictOptions, predict
from minilm.layers.positions import bucket
from minilm.models.generation import generate
from minilm.training.inference import attention_of
from minilm.training.writing import never_written

TEXT, PAIR = "the old hen was in the barn .", "a dog came ."


def unpacked(view, T):
    layers = [np.frombuffer(base64.b64decode(layer), np.uint8) for layer in view["layers"]]
    return [layer.reshape(view["heads"], T, T) / 255 for layer in layers]


@pytest.mark.parametrize(("name", "pair"), [("book", None), ("book", PAIR), ("texts", None)])
def test_F18_the_attention_is_the_models(subjects, name, pair):
    text = framed(subjects[name], TEXT, pair)
    tokens, weights = attention_of(subjects[name].model, subjects[name].tokenizer, TEXT, pair)
    found = unpacked(attention(subjects[name], text), len(tokens))
    assert len(found) == len(weights) == 3
    for ours, theirs in zip(found, weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.5 / 255 + 1e-6)
        np.testing.assert_allclose(theirs.sum(axis=-1), 1, atol=1e-5)


def test_F18_a_model_that_writes_does_not_look_ahead(subjects):
    text = framed(subjects["writer"], TEXT)
    for layer in unpacked(attention(subjects["writer"], text), len(text.ids)):
        assert (np.triu(layer, 1) == 0).all() and layer[:, 1:, :].max() > 0


def test_F26_next_sentence_is_the_models_in_both_orders(subjects):
    model, tokenizer = subjects["book"].model, subjects["book"].tokenizer
    found = next_sentence(subjects["book"], framed(subjects["book"], TEXT, PAIR))
    for name, order in (("forward", (TEXT, PAIR)), ("backward", (PAIR, TEXT))):
        ids, types = tokenizer.pair(*tokenizer.ids(list(order)))
        with torch.no_grad():
            z = model(torch.tensor([ids]), torch.tensor([types])).nsp_logits[0].double().numpy()
        assert found[name] == pytest.approx(1 / (1 + np.exp(z[1] - z[0])), rel=5e-3)  # three digits are kept
    assert found["forward"] != found["backward"]


@pytest.mark.parametrize(
    ("name", "text", "pair"), [("texts", TEXT, None), ("pairs", TEXT, PAIR), ("names", "李鹏在北京。", None)]
)
def test_the_answer_is_that_of_predict(runs, subjects, name, text, pair):
    found = answer(subjects[name], framed(subjects[name], text, pair))
    (expected,) = predict(PredictOptions(runs / name, (text,), pair=pair, device="cpu"), say=lambda _: None)
    assert found["label"] == expected.label
    if name == "names":
        assert [(m["kind"], m["start"], m["end"]) for m in found["marks"]] == [
            (e.kind, e.start, e.end) for e in expected.entities
        ]
    else:
        assert found["classes"][0][0] == expected.label
        assert found["classes"][0][1] == pytest.approx(expected.probability, rel=5e-3)
        assert sum(p for _, p in found["classes"]) == pytest.approx(1, abs=2e-3)


def test_words_that_decided_have_a_score_each_and_a_curve_that_begins_at_the_answer(subjects):
    found = reasons(subjects["texts"], framed(subjects["texts"], TEXT))
    assert found["words"] == TEXT.split()
    expected = answer(subjects["texts"], framed(subjects["texts"], TEXT))["classes"]
    assert [c["label"] for c in found["classes"]] == [name for name, _ in expected]
    for each in found["classes"]:
        assert [m["name"] for m in each["methods"]] == [
            "occlusion",
            "gradient × input",
            "attention",
            "attention rollout",
        ]
        for method in each["methods"]:
            assert len(method["scores"]) == 8 and len(method["curve"]) == 5  # at most half of the words are deleted
            assert method["curve"][0] == pytest.approx(each["p"], rel=5e-3)


def test_F23_writing_is_generate_and_each_probability_is_that_of_its_prefix(subjects):
    subject = subjects["writer"]
    model, tokenizer = subject.model, subject.tokenizer
    found = writing(subject, framed(subject, "the old"), tokens=6, seed=3)
    prompt, banned = tokenizer.prompt("the old"), never_written(model, tokenizer)
    (expected,) = generate(model, [prompt], 6, 0.8, seed=3, stop={tokenizer.end}, banned=banned)
    words = [step["guess"].removeprefix("…") for step in found["steps"]]
    assert words == [tokenizer.tokens([i])[0].removeprefix("##") for i in expected.ids]
    for n, step in enumerate(found["steps"]):
        with torch.no_grad():
            z = model.next_logits(torch.tensor([[*prompt, *expected.ids[:n]]]))[0].double()
        z[sorted(banned)] = -torch.inf
        p = z.softmax(dim=-1)
        assert step["p"] == pytest.approx(float(p[expected.ids[n]]), rel=6e-3)
        assert [q for _, q in step["others"]] == pytest.approx(p.topk(8).values.tolist(), rel=6e-3)


@pytest.mark.parametrize(("name", "last"), [("book", FARTHEST), ("writer", 0)])
def test_F21_the_bias_is_the_entry_of_its_bucket(subjects, name, last):
    found, bias = positions(subjects[name]), subjects[name].stack.relative_bias
    assert found["offsets"] == list(range(-FARTHEST, last + 1)) and len(found["heads"]) == 2
    for h, values in enumerate(found["heads"]):
        expected = bias.table[bucket(torch.tensor(found["offsets"])), h].tolist()
        assert values == pytest.approx(expected, rel=6e-3, abs=1e-9)


def test_training_and_watched_words_are_the_files(runs):
    rows = [json.loads(line) for line in (runs / "book" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    (loss, accuracy) = training(runs / "book")["curves"]
    assert [p[0] for p in loss["points"]] == [row["step"] for row in rows]
    assert [p[1] for p in loss["points"]] == pytest.approx([row["mlm_loss"] for row in rows], rel=6e-3)
    assert accuracy["unit"] == "share"
    seen = watched(runs / "book")
    assert seen["steps"] == [row["step"] for row in rows]
    assert {row["text"] for frame in seen["frames"] for row in frame} == {"a [MASK] hen ."}


def test_the_ladder_is_found_beside_the_model(tmp_path):
    rows = [
        {"model": m, "labels": 9, "seed": s, "accuracy": a}
        for m, s, a in (("x", 0, 0.5), ("y", 0, 0.625), ("x", 1, 0.75))
    ]
    (tmp_path / "ladder.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "pretrained").mkdir()
    expected = [{"model": "x", "labels": 9, "scores": [0.5, 0.75]}, {"model": "y", "labels": 9, "scores": [0.625]}]
    assert ladder(tmp_path / "pretrained") == ladder(tmp_path) == {"score": "accuracy", "rows": expected}
    (tmp_path / "ladder.json").write_text('[{"name": 1}]', encoding="utf-8")
    with pytest.raises(InputError, match="is not a ladder"):
        ladder(tmp_path)


def test_F36_the_film_of_an_experiment_without_a_model(tmp_path):
    lab(tmp_path, [["100 0", "40 60"], ["100 0", "0 100"]])
    subject = open_subject(tmp_path)
    found = data_of(subject, ())["run"]["views"]["film"]
    assert (
        found["frames"][1]["maps"] == [[[100, 0], [40, 60]], [[100, 0], [0, 100]]] and found["frames"][1]["step"] == 5
    )
    assert found["frames"][0]["scores"] == {"previous-token score": 0.2, "induction score": 0.3}
    with pytest.raises(InputError, match="leave out --text"):
        data_of(subject, ("a text",))
    long = json.loads((tmp_path / "results.json").read_text(encoding="utf-8")) | {"note": 1_100_000 * "x"}
    (tmp_path / "results.json").write_text(json.dumps(long), encoding="utf-8")
    assert film(tmp_path) == found  # an experiment of full size has more bytes than settings may have
    lab(tmp_path, None)
    assert film(tmp_path)["frames"] == []
    lab(tmp_path, [["100 0", "40"]])
    with pytest.raises(InputError, match="not a record of the induction experiment"):
        film(tmp_path)


VIEWS = {
    "book": ({"guesses", "attention"}, {"positions", "training", "watched"}),
    "zeitung": ({"guesses", "attention"}, {"positions", "training"}),
    "writer": ({"guesses", "writing", "attention"}, {"positions", "training"}),
    "bytes": ({"guesses", "writing", "attention"}, {"training"}),
    "lstm": ({"guesses", "writing"}, {"training"}),
    "texts": ({"answer", "reasons", "attention"}, {"positions"}),
    "names": ({"answer", "attention"}, {"positions"}),
}


@pytest.mark.parametrize("name", VIEWS)
def test_what_does_not_apply_is_absent_and_said_in_a_sentence(subjects, name):
    text = shown_text(subjects[name], framed(subjects[name], "a hen" if name != "names" else "北京"))
    run = shown_run(subjects[name])
    assert (set(text["views"]), set(run["views"])) == VIEWS[name]
    for views, absent, of in ((text["views"], text["absent"], 6), (run["views"], run["absent"], 5)):
        assert len(views) + len(absent) == of
        assert all(re.fullmatch(r"[A-ZÄ].+\.\)?|.+\)", why) for _, why in absent), absent


def test_a_model_of_pairs_says_that_it_needs_the_second_text(subjects):
    text = shown_text(subjects["pairs"], framed(subjects["pairs"], TEXT))
    assert "answer" not in text["views"] and any("pair" in why for title, why in text["absent"] if title == "Answer")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("book", "A BERT that guesses hidden words from both sides. It has 3 layers with 2 attention heads each, "),
        ("writer", "A GPT that reads from left to right and guesses what comes next. It has 2 layers"),
        ("lstm", "An LSTM that reads from left to right"),
        ("texts", "A Transformer that sorts texts: negative, positive. It has 3 layers"),
        (
            "names",
            "A Transformer that finds names in a text (places, organisations, persons). It has 2 layers with 3 attention heads each",
        ),
    ],
)
def test_the_headline_says_what_the_model_is(subjects, name, sentence):
    assert headline_of(subjects[name].model, subjects[name].tokenizer).startswith(sentence)


@pytest.mark.parametrize(
    ("name", "text", "pair", "complaint"),
    [
        ("book", "", None, "nothing that can be seen"),
        ("book", " \u200b\n", None, "nothing that can be seen"),
        ("book", "a", " ", "the second text has nothing"),
        ("book", "hen " * 10_000, None, r"the text has [\d,]+ tokens and the explorer shows at most 120"),
        ("writer", "hen " * 10_000, None, "the explorer shows at most 24"),
        ("book", "hen " * 125, None, "the model takes 120"),
        ("writer", TEXT, PAIR, "reads one text at a time"),
        ("names", TEXT, PAIR, "reads one text at a time"),
        ("book", "a \ud800 hen", None, "half a character"),
    ],
)
def test_a_text_that_cannot_be_shown_is_refused(subjects, name, text, pair, complaint):
    with pytest.raises(InputError, match=complaint):
        framed(subjects[name], text, pair)


@pytest.mark.parametrize("text", ["😀 🎬", "שלום עולם", "nul \0 character", "<b>&amp;", "a\u202egnp.exe", "\U0001d49c"])
def test_odd_texts_are_shown(subjects, text):
    found = shown_text(subjects["book"], framed(subjects["book"], text))
    assert found["text"] == text and json.dumps(found, allow_nan=False)


def test_guesses_of_a_pair_leave_out_the_special_tokens(subjects):
    text = framed(subjects["book"], TEXT, PAIR)
    special = [t for t, token in enumerate(subjects["book"].tokenizer.tokens(text.ids)) if token in ("[CLS]", "[SEP]")]
    places = guesses(subjects["book"], text)["places"]
    assert len(places) == len(text.ids) - 3 and not {str(t) for t in special} & places.keys()


@pytest.mark.parametrize(
    ("name", "text"),
    [("book", "unbelievable hens , again"), ("bytes", "unbelievable hens again"), ("writer", "unbelievable")],
)
def test_pieces_that_continue_a_word_are_joined_to_it(subjects, name, text):
    tokenizer = subjects[name].tokenizer
    tokens = [t for t in token_words(tokenizer, framed(subjects[name], text).ids) if not t["special"]]
    assert "".join(("" if t["joined"] else " ") + t["text"] for t in tokens).strip() == text
    assert any(t["joined"] for t in tokens)


def test_a_text_of_bytes_has_as_many_tokens_and_a_sign_for_blanks(subjects):
    tokens = token_words(subjects["bytes"].tokenizer, framed(subjects["bytes"], "a\n\tb").ids)
    assert {"⏎", "⇥"} <= {t["text"] for t in tokens}


def test_learned_prompts_are_no_words_of_the_text(subjects):
    """They stand in front of the text in every layer: neither the maps nor the explanations show them."""
    text = framed(subjects["prompts"], TEXT)
    found = shown_text(subjects["prompts"], text)
    T = len(text.ids)
    assert subjects["prompts"].model.encoder.prompts.shape[0] > 0
    assert all(layer.shape == (2, T, T) for layer in unpacked(found["views"]["attention"], T))
    assert {len(m["scores"]) for c in found["views"]["reasons"]["classes"] for m in c["methods"]} == {8}
