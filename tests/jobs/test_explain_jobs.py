"""`minilm explain` and `minilm eight-bit` on a tiny classifier."""

import re

import pytest
import torch
from tiny import command

from minilm.errors import InputError
from minilm.jobs.eight_bit import EightBitOptions, eight_bit
from minilm.jobs.explain import ExplainOptions, explain_text
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, TextHeadConfig
from minilm.models.initialisation import initialise
from minilm.models.lstm import LSTMConfig, LSTMEncoder
from minilm.pretrained.protocol import open_model, save_model
from minilm.text.tokenizer import train_characters
from minilm.viz.explanation import explanations, laid_out

TEXT = "the old house by the river"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    top = tmp_path_factory.mktemp("models")
    tokenizer = train_characters(["the old house stood by the river", "nobody lived in it"])
    config = TransformerConfig(
        tokenizer.size, 12, layers=2, heads=3, feed_forward=16, max_length=40, positions="relative"
    )
    for name, encoder in {"bert": Bert(config), "lstm": LSTMEncoder(LSTMConfig(tokenizer.size, 6, hidden=5))}.items():
        model = Classifier(encoder, TextHeadConfig(("bad", "good")))
        initialise(model, generator=torch.Generator().manual_seed(0))
        save_model(top / name, model.eval(), tokenizer)
    return top


def test_words_are_shown_with_their_scores_and_the_picture_is_written(folders, tmp_path):
    said = []
    found = explain_text(ExplainOptions(folders / "bert", TEXT, out=tmp_path / "a" / "e.png"), said.append)
    assert [e.method for e in found] == ["occlusion", "gradient × input", "attention", "attention rollout"]
    assert re.fullmatch(r"(good|bad) \(\d+%\)", said[0]) and len(said) == 2 + 2 * 4
    for explanation, line in zip(found, said[1::2]):
        assert line.startswith(explanation.method) and re.search(r"\[[+-]9\]", line)  # the largest score
    assert (tmp_path / "a" / "e.png").stat().st_size > 1000


def test_colours_are_those_of_the_sign_and_a_label_can_be_chosen(folders, tmp_path):
    said = []
    options = ExplainOptions(
        folders / "bert", TEXT, label="good", method=("occlusion",), colour=True, out=tmp_path / "e.png"
    )
    (found,) = explain_text(options, said.append)
    assert said[0].startswith("good")
    for word, score in zip(TEXT.split(), found.scores):
        assert word[0] in said[1] and (score <= 0 or "\x1b[48;2;" in said[1])
    strongest = abs(found.scores).argmax()
    assert f"48;2;{'0;114;178' if found.scores[strongest] > 0 else '213;94;0'}m" in said[1]


def test_an_lstm_is_explained_without_attention(folders, tmp_path):
    found = explain_text(ExplainOptions(folders / "lstm", TEXT, out=tmp_path / "e.png"), lambda _: None)
    assert [e.method for e in found] == ["occlusion", "gradient × input"]


def test_bad_options_get_one_sentence(folders, tmp_path, capsys):
    for arguments, message in (
        (["--method", "magic"], "there is no method 'magic'"),
        (["--label", "so-so"], "there is no label 'so-so': the labels are bad, good"),
        (["--out", tmp_path], "is a folder: give --out"),
    ):
        assert command("explain", TEXT, "--model", folders / "bert", *arguments) == 2
        assert message in capsys.readouterr().err


def test_a_model_is_written_in_8_bits(folders, tmp_path):
    said = []
    out = eight_bit(EightBitOptions(folders / "bert", tmp_path / "small", embeddings=True), said.append)
    small, whole = (open_model(folder).model for folder in (out, folders / "bert"))
    ids = torch.tensor([[2, 7, 9, 3]])
    with torch.no_grad():
        apart = (small(ids) - whole(ids)).abs().max()
    assert 0 < apart < 0.05 and "MB of weights instead of" in said[0]
    with pytest.raises(InputError, match="holds a model already"):
        eight_bit(EightBitOptions(folders / "bert", out), said.append)
    with pytest.raises(InputError, match="no gradient"):
        explain_text(ExplainOptions(out, TEXT, out=tmp_path / "e.png"), said.append)


def test_the_picture_breaks_lines_and_refuses_what_does_not_fit(tmp_path):
    places, lines = laid_out([2.0] * 7)
    assert lines == 3 and [line for _, line, _ in places] == [0, 0, 0, 1, 1, 1, 2]
    assert all(x + width <= 9.5 for x, _, width in places)
    with pytest.raises(InputError, match="has 1 scores for 2 words"):
        explanations(["a", "b"], {"x": [1.0]})
    with pytest.raises(InputError, match="nothing to draw"):
        explanations([], {})
