"""A folder with a model in 8 bits opens again, bit for bit, and whoever cannot read it says so."""

from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from minilm.errors import InputError
from minilm.files.checksums import seal
from minilm.files.tensors import EIGHT_BIT
from minilm.layers.eight_bit import Int8Embedding, Int8Linear, in_eight_bits
from minilm.layers.pruning import without_heads
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, TextHeadConfig, TokenHeadConfig
from minilm.models.initialisation import initialise
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.pretrained import run_folder
from minilm.pretrained.protocol import encoder_config, load_encoder, open_encoder, open_model, save_model
from minilm.pretrained.weights import weights_of
from minilm.text.tokenizer import train_characters

IDS, MASK = torch.tensor([[2, 7, 9, 3, 0], [2, 5, 8, 11, 3]]), torch.tensor([[True] * 4 + [False], [True] * 5])


@pytest.fixture(scope="module")
def tokenizer():
    return train_characters(["the old house stood by the river", "nobody lived in it"])


def encoder(tokenizer, positions="relative"):
    config = TransformerConfig(
        tokenizer.size, 12, layers=2, heads=3, feed_forward=20, max_length=12, positions=positions
    )
    return Bert(config)


MODELS = {
    "texts": lambda t: Classifier(encoder(t), TextHeadConfig(("bad", "good"), pooling="mean")),
    "texts at [CLS], a BERT": lambda t: Classifier(
        encoder(t, "learned"), TextHeadConfig(("bad", "good"), pooling="cls")
    ),
    "words with a CRF": lambda t: Classifier(encoder(t), TokenHeadConfig(("O", "B-X"), crf=True)),
    "sentences": lambda t: SentenceEncoder(encoder(t, "learned")),
}


def made(kind, tokenizer):
    model = MODELS[kind](tokenizer)
    initialise(model, generator=torch.Generator().manual_seed(1))
    return model.eval()


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("embeddings", [True, False])
def test_a_model_in_8_bits_opens_again_bit_for_bit(kind, embeddings, tokenizer, tmp_path):
    whole = made(kind, tokenizer)
    ours = in_eight_bits(whole, embeddings)
    save_model(tmp_path / "small", ours, tokenizer)
    save_model(tmp_path / "whole", whole, tokenizer)
    found = open_model(tmp_path / "small").model
    a, b = weights_of(ours), weights_of(found)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    kinds = [type(module) for module in found.modules()]
    assert kinds.count(Int8Linear) == 8 and kinds.count(Int8Embedding) == embeddings
    with torch.no_grad():
        assert torch.equal(ours(IDS, None, MASK), found(IDS, None, MASK))
    sizes = [(tmp_path / path).stat().st_size for path in (f"small/{EIGHT_BIT}", "whole/model.safetensors")]
    assert sizes[0] < sizes[1] and not (tmp_path / "small" / "model.safetensors").exists()
    save_model(tmp_path / "again", found, tokenizer)
    assert (tmp_path / "again" / EIGHT_BIT).read_bytes() == (tmp_path / "small" / EIGHT_BIT).read_bytes()


@pytest.fixture
def sealed(monkeypatch):
    """Folders with checksums, which the other tests of this room do without."""
    monkeypatch.setattr(run_folder, "seal", seal)


@pytest.mark.parametrize("now", ["sentences", "texts", "8 bits"])
@pytest.mark.parametrize("before", ["sentences", "texts", "8 bits"])
def test_a_model_replaces_the_whole_of_the_one_that_was_saved_in_its_folder_before(
    before, now, sealed, tokenizer, tmp_path
):
    for name in (before, now):
        model = in_eight_bits(made("texts", tokenizer), True) if name == "8 bits" else made(name, tokenizer)
        save_model(tmp_path / "both", model, tokenizer)
        (tmp_path / "both" / "mine.txt").write_text("kept", encoding="utf-8")
    save_model(tmp_path / "alone", model, tokenizer)
    names = [{p.relative_to(tmp_path / at) for p in (tmp_path / at).rglob("*.*")} for at in ("both", "alone")]
    assert names[0] - names[1] == {Path("mine.txt")} and names[1] <= names[0]
    found = open_model(tmp_path / "both").model
    a, b = weights_of(model), weights_of(found)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("named", ["", "model.safetensors"])
def test_damage_is_noticed_also_if_the_file_of_weights_is_named(named, sealed, tokenizer, tmp_path):
    save_model(tmp_path, made("texts", tokenizer), tokenizer)
    path = tmp_path / "tokenizer.json"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError, match=r"tokenizer\.json is damaged"):
        open_model(tmp_path / named)


@pytest.fixture
def folder(tokenizer, tmp_path):
    save_model(tmp_path / "m", in_eight_bits(made("texts at [CLS], a BERT", tokenizer), True), tokenizer)
    return tmp_path / "m"


def test_the_file_has_whole_numbers_and_a_scale_for_each_row_under_the_names_of_transformers(folder):
    tensors = load_file(folder / EIGHT_BIT)
    name = "bert.encoder.layer.1.attention.self.key.weight"
    assert tensors[name].dtype == torch.int8 and tensors[name].shape == (12, 12)
    assert tensors[f"{name}_scale"].shape == (12,) and tensors["classifier.weight"].dtype == torch.float32


def test_code_that_cannot_read_it_says_so(folder, tokenizer):
    with pytest.raises(OSError, match="no file named model.safetensors"):
        transformers.BertForSequenceClassification.from_pretrained(folder)
    with pytest.raises(InputError, match="for using a model and not for training it"):
        load_encoder(made("texts", tokenizer), folder)
    assert encoder_config(folder)  # its shape may be read
    (folder / EIGHT_BIT).rename(folder / "model.safetensors")  # as an older minilm would look at it
    with pytest.raises(InputError, match="weights are not floating-point numbers"):
        open_model(folder)


BROKEN = {
    "scales": ("the weights of .* do not fit|one is missing", lambda t, n: t.pop(f"{n}_scale")),
    "numbers": ("do not fit", lambda t, n: t.pop(n)),
    "another length": ("12 rows and 11 scales", lambda t, n: t.update({f"{n}_scale": t[f"{n}_scale"][:11].clone()})),
    "NaN": ("holds −128 or a scale", lambda t, n: t[f"{n}_scale"].fill_(torch.nan)),
    "infinity": ("NaN or infinity", lambda t, n: t[f"{n}_scale"].fill_(torch.inf)),
    "−128": ("holds −128", lambda t, n: t[n].fill_(-128)),
    "a broken bias": ("NaN or infinity", lambda t, n: t["classifier.bias"].fill_(torch.nan)),
    "another type": ("not floating-point", lambda t, n: t.update({"classifier.weight": t["classifier.weight"].int()})),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_refused(what, folder):
    message, damage = BROKEN[what]
    tensors = load_file(folder / EIGHT_BIT)
    damage(tensors, "bert.encoder.layer.0.intermediate.dense.weight" if what != "another length" else NAME)
    save_file(tensors, folder / EIGHT_BIT, metadata={"format": "pt"})
    with pytest.raises(InputError, match=message):
        open_model(folder)


NAME = "bert.encoder.layer.0.attention.self.query.weight"


def test_a_model_that_lost_heads_is_not_saved(tokenizer, tmp_path):
    with pytest.raises(InputError, match="without some of its heads is not saved"):
        save_model(tmp_path / "m", without_heads(made("texts", tokenizer), [(0, 1)]), tokenizer)
    assert not (tmp_path / "m").exists()


def test_it_is_not_written_over_another_model(folder):
    with pytest.raises(InputError, match="holds a model already"):
        run_folder.refuse_to_overwrite(folder)
    assert open_encoder(folder).model.pooler is not None
