"""A BERT may be written down in many ways. Whatever `transformers` opens gives the same numbers here, or is refused."""

import json
import random

import pytest
import torch
import transformers
from published_folders import TABLE, TASKS, bert, edit_weights, shard, texts, variant, write

from minilm.errors import InputError
from minilm.files.notes import Notes
from minilm.jobs.predict import AttentionOptions, FillMaskOptions, PredictOptions, attention, fill_mask, predict
from minilm.jobs.similar import SimilarOptions, similar
from minilm.pretrained.protocol import (
    encoder_config,
    load_encoder,
    open_classifier,
    open_encoder,
    open_model,
    open_pretraining,
    save_model,
)
from minilm.text.files import Example
from minilm.text.tokenizer import Tokenizer
from minilm.training.inference import fill, probabilities
from minilm.training.tasks import task_of

SEED, FOLDERS = 3, 240
IDS = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]])
MASK = IDS > 0
OPENERS = {"ForPreTraining": open_pretraining, "ForMaskedLM": open_pretraining}
OPENERS |= {"ForSequenceClassification": open_classifier, "ForTokenClassification": open_classifier}


pytestmark = pytest.mark.usefixtures("quiet")


@torch.no_grad()
def ours(folder, task, note=print):
    """The logits (or the hidden states of an encoder), and the labels of a classifier."""
    model = OPENERS.get(task, open_encoder)(folder, note).model
    if task not in OPENERS:
        return model.encoder(IDS, attention_mask=MASK).hidden[MASK], None
    out = model(IDS, attention_mask=MASK)
    if OPENERS[task] is open_pretraining:
        return out.mlm_logits[MASK], None
    return (out if out.dim() == 2 else out[MASK]), list(model.labels)


@torch.no_grad()
def theirs(folder, task):
    """The same by the class of `transformers` for the task, in float32 whatever the file holds."""
    kind = getattr(transformers, f"Bert{task if task in TASKS else 'Model'}")
    model, info = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not [name for name in info["missing_keys"] if "pooler" not in name and "seq_relationship" not in name]
    out, labels = model.eval()(IDS, attention_mask=MASK.long()), list(model.config.id2label.values())
    if task == "ForPreTraining":
        return out.prediction_logits[MASK], None
    if task not in OPENERS:
        return out.last_hidden_state[MASK], None
    logits = out.logits if task == "ForSequenceClassification" else out.logits[MASK]
    return logits, None if task == "ForMaskedLM" else labels


def reads(call, folder, task):
    """What a call returns, or its exception: `transformers` raises many kinds."""
    try:
        return call(folder, task)
    except Exception as error:
        return error


@pytest.mark.parametrize("part", range(4))
def test_random_folders_give_the_same_numbers_or_are_refused(part, tokenizers, tmp_path):
    opened = 0
    for i in range(part * FOLDERS // 4, (part + 1) * FOLDERS // 4):
        rng = random.Random(SEED * 1000 + i)
        folder = tmp_path / str(i)
        task = variant(folder, rng.choice(tokenizers), rng)
        expected, got = reads(theirs, folder, task), reads(ours, folder, task)
        if isinstance(expected, Exception):  # it refuses null for true and false, which means false here
            assert "Validation error for field" in str(expected)
            continue
        assert not isinstance(got, Exception), (i, got)
        torch.testing.assert_close(got[0], expected[0], atol=2e-5, rtol=0)
        assert got[1] == expected[1]
        opened += 1
    assert opened > FOLDERS // 4 * 0.8


# ---- unused weights are said


def test_weights_without_use_are_said_and_known_heads_are_not(tokenizers, tmp_path):
    bert(tmp_path, tokenizers[1], random.Random(0), "BertForPreTraining")
    edit_weights(tmp_path, lambda w: w | {"my_head.weight": torch.ones(2, 8), "my_head.bias": torch.ones(2)})
    for opener in (open_encoder, open_model, open_pretraining):
        said = Notes(lambda _: None)
        loaded = opener(tmp_path, said)
        assert said.lines == [f"{tmp_path} holds 2 weights that are not used here: my_head.bias, my_head.weight."]
        assert {"my_head.bias", "my_head.weight"} <= set(loaded.unused)
        assert ("cls.predictions.bias" in loaded.unused) == (opener is open_encoder)
    edit_weights(tmp_path, lambda w: {name: t for name, t in w.items() if "my_head" not in name})
    said = Notes(lambda _: None)
    assert open_model(tmp_path, said).unused == () and "cls.predictions.bias" in open_encoder(tmp_path, said).unused
    assert said.lines == []


def test_an_output_matrix_of_its_own_is_no_fault_of_an_encoder(tokenizers, tmp_path):
    model = bert(tmp_path, tokenizers[1], random.Random(0), "BertForPreTraining")
    edit_weights(tmp_path, lambda w: w | {"cls.predictions.decoder.weight": w[TABLE] + 1})
    with pytest.raises(InputError, match=r"cls\.predictions\.decoder\.weight is a tensor of its own"):
        open_pretraining(tmp_path)
    hidden = open_encoder(tmp_path).model.encoder(IDS, attention_mask=MASK).hidden[MASK]
    torch.testing.assert_close(hidden, model.bert(IDS, MASK.long()).last_hidden_state[MASK], atol=2e-5, rtol=0)
    architecture, config = encoder_config(tmp_path)
    from minilm.models.heads import Classifier, TextHeadConfig

    classifier = Classifier(architecture.build_encoder(config), TextHeadConfig(("a", "b")))
    assert load_encoder(classifier, tmp_path) == ("head.weight", "head.bias")


def test_a_classifier_that_nobody_called_one_is_said(tokenizers, tmp_path):
    model = bert(tmp_path, tokenizers[1], random.Random(0), "BertForSequenceClassification", num_labels=3)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    for names in (["BertModel"], [], None):
        write(tmp_path / "config.json", config | {"architectures": names})
        said = Notes(lambda _: None)
        logits = open_model(tmp_path, said).model(IDS, attention_mask=MASK)
        torch.testing.assert_close(logits, model(IDS, MASK.long()).logits, atol=2e-5, rtol=0)
        assert said.lines[0].endswith(
            "does not say what its classifier labels; by its weights and labels it is a text as a whole."
        )
    tags = {"0": "O", "1": "B-PER", "2": "I-PER"}
    write(tmp_path / "config.json", config | {"architectures": ["BertModel"], "id2label": tags})
    said = Notes(lambda _: None)
    assert task_of(open_model(tmp_path, said).model.head_config).per_token
    assert said.lines[0].endswith("it is every token.")
    write(tmp_path / "config.json", config | {"architectures": ["BertForMultipleChoice"]})
    with pytest.raises(InputError, match="holds no classifier"):
        open_classifier(tmp_path)


def test_two_dropouts_are_said_where_they_matter(tokenizers, tmp_path):
    from minilm.models.heads import Classifier, TextHeadConfig

    for second, said in ((0.0, True), (0.3, False)):
        folder = tmp_path / str(second)
        bert(folder, tokenizers[1], random.Random(0), hidden_dropout_prob=0.3, attention_probs_dropout_prob=second)
        architecture, config = encoder_config(folder)
        notes = Notes(lambda _: None)
        open_encoder(folder, notes)
        assert notes.lines == [] and config.dropout == 0.3
        load_encoder(Classifier(architecture.build_encoder(config), TextHeadConfig(("a", "b"))), folder, notes)
        assert any("trains with one dropout for both, which is --dropout" in line for line in notes.lines) == said


# ---- tokens without rows, rows without tokens, token types


def with_ids(tokenizer: Tokenizer, change) -> str:
    """The tokenizer's file with other ids."""
    content = json.loads(tokenizer.to_json())
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = change(vocabulary)
    return json.dumps(content)


def test_rows_without_a_token_are_never_guessed(tokenizers, tmp_path):
    model = bert(tmp_path, tokenizers[1], random.Random(0), "BertForMaskedLM", vocab_size=192)
    with torch.no_grad():
        model.cls.predictions.bias[tokenizers[1].size :] += 99
    model.save_pretrained(tmp_path)
    (choices,) = fill_mask(FillMaskOptions(tmp_path, ("the [MASK] river",), top=1000), lambda _: None)[0]
    known = set(tokenizers[1].backend.get_vocab()) - {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    assert {word for word, _ in choices} == known and len(choices) == len(known)
    assert sum(p for _, p in choices) == pytest.approx(1, abs=1e-5)
    # a gap in the ids
    last = max(tokenizers[1].backend.get_vocab().values())
    (tmp_path / "tokenizer.json").write_text(
        with_ids(tokenizers[1], lambda v: {t: i if i < 50 else i + 60 for t, i in v.items()}), encoding="utf-8"
    )
    (choices,) = fill_mask(FillMaskOptions(tmp_path, ("the [MASK] river",), top=1000), lambda _: None)[0]
    assert {word for word, _ in choices} == known and last + 60 < 192
    similar(SimilarOptions(("fox",), str(tmp_path / "config.json"), tmp_path, truncate=True), lambda _: None)


def test_an_id_beyond_the_table_is_refused_when_the_folder_is_opened(tokenizers, tmp_path):
    bert(tmp_path, tokenizers[1], random.Random(0), "BertForSequenceClassification")
    far = with_ids(tokenizers[1], lambda v: {t: i if t != "fox" else 5000 for t, i in v.items()})
    (tmp_path / "tokenizer.json").write_text(far, encoding="utf-8")
    for opener in (open_model, open_classifier, open_encoder):
        with pytest.raises(
            InputError, match=r"ids up to 5,000 \('fox'\), and the model only \d+ rows .* do not belong together"
        ):
            opener(tmp_path)


def test_a_pair_for_a_model_of_single_texts_is_refused_in_every_command(tokenizers, tmp_path):
    sizes = dict(type_vocab_size=1, max_position_embeddings=40)
    bert(tmp_path, tokenizers[1], random.Random(0), "BertForSequenceClassification", **sizes)
    message = r"was made for single texts \(it has one token type\), and it was given a pair"
    with pytest.raises(InputError, match=message):
        predict(PredictOptions(tmp_path, ("a fox",), pair="a dog"), lambda _: None)
    with pytest.raises(InputError, match=message):
        attention(AttentionOptions(tmp_path, "a fox", "a dog", tmp_path / "a.png"), lambda _: None)
    predict(PredictOptions(tmp_path, ("a fox",)), lambda _: None)


# ---- numbers that are none


def broken(name, value):
    return lambda w: {
        n: t.clone().index_fill_(0, torch.tensor([1]), value) if n.endswith(name) else t for n, t in w.items()
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("sharded", [False, True])
def test_a_weight_that_is_not_finite_is_refused_with_its_name(value, sharded, tokenizers, tmp_path):
    bert(tmp_path, tokenizers[1], random.Random(0), "BertForSequenceClassification")
    edit_weights(tmp_path, broken("layer.0.attention.self.key.bias", value))
    if sharded:
        shard(tmp_path)
    name = r"hold NaN or infinity in bert\.encoder\.layer\.0\.attention\.self\.key\.bias; they cannot be used"
    for opener in (open_model, open_classifier, open_encoder):
        with pytest.raises(InputError, match=name):
            opener(tmp_path)
    from minilm.models.heads import Classifier, TextHeadConfig

    architecture, config = encoder_config(tmp_path)
    with pytest.raises(InputError, match=name):
        load_encoder(Classifier(architecture.build_encoder(config), TextHeadConfig(("a", "b"))), tmp_path)


def test_a_weight_that_is_not_used_may_be_anything_and_whole_numbers_are_no_weights(tokenizers, tmp_path):
    bert(tmp_path, tokenizers[1], random.Random(0), "BertForSequenceClassification")
    edit_weights(tmp_path, broken("classifier.bias", float("nan")))
    open_encoder(tmp_path)
    with pytest.raises(InputError, match="NaN or infinity in classifier.bias"):
        open_classifier(tmp_path)
    edit_weights(tmp_path, lambda w: w | {TABLE: w[TABLE].to(torch.int8)})
    with pytest.raises(
        InputError, match=r"not floating-point numbers in bert\.embeddings\.word_embeddings\.weight \(torch.int8\)"
    ):
        open_encoder(tmp_path)


def test_a_score_that_is_not_a_number_is_never_ranked(tokenizers, tmp_path):
    """Finite weights whose product is not."""
    bert(tmp_path, tokenizers[1], random.Random(0), "BertForSequenceClassification", max_position_embeddings=40)
    edit_weights(tmp_path, lambda w: w | {"classifier.weight": 3e38 * torch.ones_like(w["classifier.weight"])})
    loaded = open_classifier(tmp_path)
    task = task_of(loaded.model.head_config)
    data = task.encode([Example("a fox", "LABEL_0"), Example("no fox", "LABEL_1")], loaded.tokenizer, 40)
    for call in (
        lambda: probabilities(loaded.model, data),
        lambda: task.measure(loaded.model, data, torch.device("cpu")),
        lambda: predict(PredictOptions(tmp_path, ("a fox", "no fox")), lambda _: None),
    ):
        with pytest.raises(InputError, match=r"the score of example \d is not a number \(NaN or infinity\)"):
            call()
    bert(tmp_path, tokenizers[1], random.Random(0), "BertForMaskedLM")
    edit_weights(tmp_path, lambda w: w | {TABLE: 3e38 * torch.ones_like(w[TABLE])})
    loaded = open_pretraining(tmp_path)
    with pytest.raises(InputError, match=r"the score of \[MASK\] 1 is not a number"):
        fill(loaded.model, loaded.tokenizer, "the [MASK] fox")


# ---- what we write


def test_our_folders_say_at_which_length_a_text_is_cut(tokenizers, tmp_path):
    bert(tmp_path / "theirs", tokenizers[1], random.Random(0), "BertForSequenceClassification")
    loaded = open_classifier(tmp_path / "theirs")
    save_model(tmp_path / "ours", loaded.model, loaded.tokenizer)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert tokenizer.model_max_length == loaded.max_length
    long = texts(random.Random(0), 99)
    assert max(map(len, tokenizer(long, truncation=True)["input_ids"])) <= loaded.max_length
