"""Folders of `BertForQuestionAnswering` open here with the same answers, and ours open there."""

import itertools
import json
import random

import pytest
import torch
import transformers
from published_folders import bert, edit_weights, write

from minilm.files.notes import Notes
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, SpanHeadConfig
from minilm.models.initialisation import initialise
from minilm.pretrained.protocol import open_classifier, open_encoder, open_model, save_model
from minilm.text.files import Example
from minilm.training.span_task import LONGEST, SpanTask
from minilm.training.tasks import task_of

pytestmark = pytest.mark.usefixtures("quiet")
WORDS = "the old house stood by river nobody lived in june white fox ran from bonn to".split()


@pytest.fixture(scope="module")
def published(tokenizers, tmp_path_factory):
    """The folder, and the model of `transformers` that was written into it."""
    folder = tmp_path_factory.mktemp("questions")
    sizes = dict(num_hidden_layers=2, max_position_embeddings=40)
    return folder, bert(folder, tokenizers[1], random.Random(4), "BertForQuestionAnswering", **sizes)


def batch(loaded, B=5, T=30, seed=1):
    rng = torch.Generator().manual_seed(seed)
    mask = torch.arange(T) < torch.randint(5, T + 1, (B, 1), generator=rng)
    ids = torch.randint(5, loaded.tokenizer.size, (B, T), generator=rng) * mask
    return ids, (torch.arange(T) > 4) * mask.long(), mask


def their_logits(model, ids, segments, mask):
    out = model(input_ids=ids, token_type_ids=segments, attention_mask=mask.long())
    return torch.stack([out.start_logits, out.end_logits], dim=-1)


@torch.no_grad()
def test_F28_the_logits_are_theirs(published):
    folder, model = published
    loaded = open_classifier(folder)
    assert loaded.model.head_config == SpanHeadConfig(dropout=0.0) and loaded.unused == ()
    ids, segments, mask = batch(loaded)
    for kind, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        ours, theirs = loaded.model.to(kind)(ids, segments, mask), their_logits(model.to(kind), ids, segments, mask)
        assert theirs.std() > 0.3
        torch.testing.assert_close(ours[mask], theirs[mask], atol=tolerance, rtol=0)
    model.float()


@torch.no_grad()
def test_F28_the_answers_are_those_of_their_logits(published):
    """The best span by trying all of them, with the offsets of their own tokenizer."""
    folder, model = published
    loaded, rng = open_model(folder), random.Random(7)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    asked = [(" ".join(rng.choices(WORDS, k=3)), " ".join(rng.choices(WORDS, k=9))) for _ in range(40)]
    task = task_of(loaded.model.head_config)
    assert isinstance(task, SpanTask)
    found = task.predict(
        loaded.model, [Example(text, None, question) for question, text in asked], loaded.tokenizer, 40
    )
    lengths = set()
    for (question, text), answer in zip(asked, found, strict=True):
        encoding = fast(question, text, return_offsets_mapping=True, return_token_type_ids=True, return_tensors="pt")
        assert encoding["input_ids"].size(1) <= 40  # one window
        (row,) = their_logits(model, *(encoding[name] for name in ("input_ids", "token_type_ids", "attention_mask")))
        places = [i for i, part in enumerate(encoding.sequence_ids()) if part == 1]
        pairs = [(i, j) for i, j in itertools.product(places, places) if i <= j < i + LONGEST]
        i, j = max(pairs, key=lambda pair: float(row[pair[0], 0] + row[pair[1], 1]))
        start, end = int(encoding["offset_mapping"][0, i, 0]), int(encoding["offset_mapping"][0, j, 1])
        assert [(each.text, each.start, each.end) for each in answer.entities] == [(text[start:end], start, end)]
        lengths.add(j - i)
    assert len(lengths) > 3  # they are not all of one kind


@torch.no_grad()
def test_a_folder_that_does_not_say_so_is_known_by_its_weights(published, tokenizers, tmp_path):
    model = bert(tmp_path, tokenizers[1], random.Random(5), "BertForQuestionAnswering")
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    for names in (["BertModel"], None):
        write(tmp_path / "config.json", config | {"architectures": names})
        said = Notes(lambda _: None)
        loaded = open_model(tmp_path, said)
        ids, segments, mask = batch(loaded, T=12)
        ours = loaded.model(ids, segments, mask)
        torch.testing.assert_close(ours[mask], their_logits(model, ids, segments, mask)[mask], atol=1e-5, rtol=0)
        assert said.lines[0].endswith("by its weights and labels it is where an answer begins and ends.")
    said = Notes(lambda _: None)  # as an encoder it is complete, and its head is a known one
    assert open_encoder(tmp_path, said).lacking == () and said.lines == []


@torch.no_grad()
@pytest.mark.parametrize("positions", ["learned", "relative"])
def test_our_folders_open_there_and_here(positions, tokenizers, tmp_path):
    tokenizer = tokenizers[0]
    config = TransformerConfig(tokenizer.size, 12, 2, 3, 7, 40, positions=positions)
    ours = Classifier(Bert(config), SpanHeadConfig())
    initialise(ours, generator=torch.Generator().manual_seed(0))
    save_model(tmp_path, ours.eval(), tokenizer)
    kind = "Bert" if positions == "learned" else "MPNet"
    theirs, info = getattr(transformers, f"{kind}ForQuestionAnswering").from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not info["missing_keys"] and json.loads((tmp_path / "config.json").read_text("utf-8"))["architectures"] == [
        f"{kind}ForQuestionAnswering"
    ]
    again = open_classifier(tmp_path)
    ids, _, mask = batch(again)
    out = theirs.eval()(input_ids=ids, attention_mask=mask.long())
    stacked = torch.stack([out.start_logits, out.end_logits], dim=-1)
    torch.testing.assert_close(ours(ids, None, mask)[mask], stacked[mask], atol=1e-5, rtol=0)
    assert torch.equal(again.model(ids, None, mask), ours(ids, None, mask))
    assert again.model.head_config == ours.head_config
    older = {"architectures": ["BertModel" if kind == "Bert" else "MPNetModel"]}  # as minilm wrote them before
    write(tmp_path / "config.json", json.loads((tmp_path / "config.json").read_text("utf-8")) | older)
    edit_weights(tmp_path, lambda w: {name.replace("qa_outputs.", "classifier."): tensor for name, tensor in w.items()})
    assert torch.equal(open_classifier(tmp_path).model(ids, None, mask), ours(ids, None, mask))
