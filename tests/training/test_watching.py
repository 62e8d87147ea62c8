"""What a model guesses while it is trained: the file, and that a resumed run writes the same one."""

import json

import pytest
import torch

from minilm.errors import InputError
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.initialisation import initialise
from minilm.text.tokenizer import train_characters
from minilm.training.inference import fill
from minilm.training.watching import FILE, GUESSES, Watcher, read_watched

TOKENIZER = train_characters(["abcdefgh"])
SENTENCES = ("ab[MASK]d", "[MASK]bc[MASK]")


@pytest.fixture
def model():
    shape = dict(width=6, layers=2, heads=3, feed_forward=7, max_length=12, dropout=0.5)
    made = BertForPretraining(TransformerConfig(TOKENIZER.size, **shape))
    initialise(made, generator=torch.Generator().manual_seed(0))
    return made


def test_every_mask_has_its_best_guesses_at_every_measurement(model, tmp_path):
    (tmp_path / "run").mkdir()
    watcher = Watcher(tmp_path / "run", SENTENCES, model, TOKENIZER)
    model.train()
    for step in (0, 7):
        watcher({"step": step, "mlm_loss": 3.0})
        assert model.training  # dropout goes on where training goes on
    rows = read_watched(tmp_path / "run")
    assert [(row["step"], row["text"], row["mask"]) for row in rows] == [
        (step, *which) for step in (0, 7) for which in ((SENTENCES[0], 1), (SENTENCES[1], 1), (SENTENCES[1], 2))
    ]
    wanted = fill(model.eval(), TOKENIZER, SENTENCES[1], GUESSES)[1]
    assert rows[2]["guesses"] == [[token, pytest.approx(p, abs=5e-5)] for token, p in wanted] and len(wanted) == GUESSES
    assert rows[2]["guesses"] == rows[5]["guesses"]  # dropout does not reach them


def test_a_run_that_is_resumed_writes_the_same_lines(model, tmp_path):
    watcher = Watcher(tmp_path / "run", SENTENCES, model, TOKENIZER)
    (tmp_path / "run").mkdir()
    for step in (0, 4, 8):
        watcher({"step": step})
    whole = (tmp_path / "run" / FILE).read_text(encoding="utf-8")
    with open(tmp_path / "run" / FILE, "a", encoding="utf-8") as file:
        file.write('{"step": 12, "te')  # cut in half
    again = Watcher(tmp_path / "run", SENTENCES, model, TOKENIZER)
    again({"step": 4})
    assert [row["step"] for row in read_watched(tmp_path / "run")] == [0] * 3 + [4] * 3
    again({"step": 8})
    assert (tmp_path / "run" / FILE).read_text(encoding="utf-8") == whole
    again({"step": 0})
    assert {row["step"] for row in read_watched(tmp_path / "run")} == {0}


def test_without_sentences_nothing_is_written(model, tmp_path):
    Watcher(tmp_path / "run", (), model, TOKENIZER)({"step": 0})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("sentence", "message"), [("abc", "has no .MASK."), ("a" * 20 + "[MASK]", "shorten it")])
def test_a_sentence_that_cannot_be_watched_is_refused_before_training(sentence, message, model, tmp_path):
    with pytest.raises(InputError, match=message):
        Watcher(tmp_path, (sentence,), model, TOKENIZER)
    assert not list(tmp_path.iterdir())


def test_the_file_keeps_letters_readable(model, tmp_path):
    tokenizer = train_characters(["北京上海天津"])
    made = BertForPretraining(
        TransformerConfig(tokenizer.size, width=6, layers=1, heads=3, feed_forward=7, max_length=9)
    )
    initialise(made, generator=torch.Generator().manual_seed(0))
    Watcher(tmp_path, ("北[MASK]",), made, tokenizer)({"step": 0})
    (text,) = (tmp_path / FILE).read_text(encoding="utf-8").splitlines()
    assert "北[MASK]" in text and json.loads(text)["guesses"][0][0] in text


@pytest.mark.parametrize(
    "line", [b"{\n", b"[]\n", b"5\n", b"\xff\n", b'{"step": 1, "text": "a"}\n', b"[" * 200_000 + b"\n"]
)
def test_a_damaged_line_is_named(line, model, tmp_path):
    Watcher(tmp_path, ("a[MASK]",), model, TOKENIZER)({"step": 0})
    path = tmp_path / FILE
    whole = path.read_bytes()
    path.write_bytes(whole + line)
    with pytest.raises(InputError, match=r"watched\.jsonl, line 2 is damaged"):
        read_watched(tmp_path)
    path.write_bytes(whole + line[:-1])  # a full disk has cut the last line
    assert len(read_watched(tmp_path)) == 1
