"""`minilm bench language-models` on a tiny corpus: every row is there, and its figures are those of an independent count."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from minilm.bench import language_model_rows as rows, language_models as measured, mixed_row
from minilm.bench.language_model_rows import LastToken, Material, Task, asked, settings_of
from minilm.bench.options import BenchOptions
from minilm.bench.run import bench
from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.formulas.kneser_ney import KneserNey
from minilm.jobs.pretrain import prepare_for
from minilm.models.gpt import GPT, GPTConfig
from minilm.models.lstm import LSTMConfig, LSTMLanguageModel
from minilm.training.objectives import CausalLM

TINY = dict(width=12, layers=1, length=16, batch=4, minutes=0.004, documents=3, workers=1, progress=False)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Forty documents of sentences from a small grammar."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("corpus")
    words = ["the cat sat", "a dog ran home", "we saw the film", "it was good", "nobody slept", "the end came late"]
    texts = ["\n".join(rng.choice(words, size=rng.integers(2, 9))) for _ in range(40)]
    (folder / "text.txt").write_text("\n\n".join(texts), encoding="utf-8")
    return folder / "text.txt"


@pytest.fixture
def options(corpus, tmp_path, monkeypatch):
    task = {"reviews": Task(str(corpus), "wordpiece", 110)}
    for module in (rows, measured):
        monkeypatch.setattr(module, "TASKS", task)
    return BenchOptions("language-models", **TINY, out=tmp_path, cache=corpus.parent / "cache", vocab_size=110)


def test_F23_every_model_is_in_the_table_with_three_figures(options, tmp_path):
    said = []
    written = bench(options, said.append)
    assert json.loads((tmp_path / "language-models-reviews.json").read_text(encoding="utf-8")) == written
    names = [row.name for row in measured.rows_for(options)]
    assert [row["model"] for row in written["rows"]] == names and len(names) == 7
    for row in written["rows"]:
        assert row["perplexity"] == pytest.approx(math.exp(row["loss"])) and 1 < row["perplexity"] < 1000
        assert row["bits"] > 0 and row["read"] > 0 and row["parameters"] > 0
    table = said[-2].strip().splitlines()
    assert len(table) == 9 and all(name in line for name, line in zip(names, table[2:], strict=True))


def test_what_is_measured_is_kept(options, tmp_path, monkeypatch):
    """A second call with the same settings trains nothing; other minutes, another row or `--again` do."""
    some = replace(options, rows=("bigram, counted", "GPT"))
    first = bench(some, lambda _: None)["rows"]
    monkeypatch.setattr(rows, "train", lambda *_: pytest.fail("trained again"))
    assert bench(some, lambda _: None)["rows"] == first and [row["model"] for row in first] == list(some.rows)
    for change in (dict(minutes=0.005), dict(again=True), dict(seeds=2), dict(rows=("LSTM of our size",))):
        with pytest.raises(pytest.fail.Exception, match="trained again"):
            bench(replace(some, **change), lambda _: None)
    with pytest.raises(InputError, match="there is no row 'GTP': choose from bigram, counted; 5-gram"):
        bench(replace(some, rows=("GTP",)), lambda _: None)


def test_no_time_for_training_is_said(options):
    with pytest.raises(InputError, match="minutes are over before the training begins"):
        bench(replace(options, rows=("GPT",), minutes=1e-9), lambda _: None)


def test_F23_bits_per_character_are_those_of_the_whole_text(options):
    """Against a count with other means: the texts of the documents, and every n-gram looked up alone."""
    prepared = prepare_for(settings_of(options, 110), lambda _: None)
    material = Material.of(prepared, False, 3)
    texts = (prepared.folder / "held_out.txt").read_text(encoding="utf-8").strip("\n").split("\n\n")
    chosen = [texts[i].replace("\n", " ") for i in material.test]
    assert material.characters == sum(map(len, chosen))
    model = KneserNey(material.framed(3), prepared.tokenizer.size, 3, material.tokenizer.begin)
    ids = [np.array(prepared.tokenizer.ids([text])[0]) for text in chosen]
    begin, end = material.tokenizer.begin, material.tokenizer.end
    bits = -sum(np.log2(model.probabilities(np.array([begin, begin, *row, end]))).sum() for row in ids)
    found = rows.kneser_ney(material, options, 0, N=3)
    assert found.bits == pytest.approx(bits / sum(map(len, chosen)), rel=1e-12)
    assert asked(material) == sum(len(row) + 1 for row in ids)


def test_F23_documents_are_measured_whole_and_once(options):
    material = Material.of(prepare_for(settings_of(options, 110), lambda _: None), False, 3)
    batches = material.whole()
    assert sum(len(batch.input_ids) for batch in batches) == 3
    begin, end = material.tokenizer.begin, material.tokenizer.end
    for batch in batches:
        mask = (
            torch.ones_like(batch.input_ids, dtype=torch.bool) if batch.attention_mask is None else batch.attention_mask
        )
        for ids, real in zip(batch.input_ids, mask, strict=True):
            assert ids[0] == begin and ids[real][-1] == end and (ids[real][1:-1] != end).all()


def test_F23_the_mixture_asks_both_models_for_the_same_tokens(options):
    """Every token of every document, against the documents one by one; and the mixture is never worse than its best share."""
    material = Material.of(prepare_for(settings_of(options, 110), lambda _: None), False, 3)
    begin, end = material.tokenizer.begin, material.tokenizer.end
    model = GPT(GPTConfig(material.prepared.tokenizer.size, width=12, layers=1, heads=3, feed_forward=8)).double()
    counted = KneserNey(material.framed(3), material.prepared.tokenizer.size, 3, begin)
    batches = material.whole()
    ours = mixed_row.of_model(model, batches), mixed_row.of_counts(counted, batches, begin, end)
    place, part = 0, material.prepared.held_out
    for i in material.test[np.argsort(-np.diff(part.document_borders)[material.test], kind="stable")]:
        ids = [begin, *part.ids[part.document_borders[i] : part.document_borders[i + 1]].tolist(), end]
        with torch.no_grad():
            p = model(torch.tensor([ids]))[0].softmax(dim=-1)
        here = slice(place, place := place + len(ids) - 1)
        np.testing.assert_allclose(ours[0][here], [p[t, ids[t + 1]] for t in range(len(ids) - 1)], rtol=1e-10)
        np.testing.assert_allclose(ours[1][here], counted.probabilities(np.array([begin, *ids])), rtol=1e-12)
    assert place == len(ours[0]) == len(ours[1]) == asked(material)


def test_F23_the_parts_are_apart(options):
    prepared = prepare_for(settings_of(options, 110), lambda _: None)
    one, other = Material.of(prepared, False, 3), Material.of(prepared, True, 3)
    assert not set(one.test) & set(other.test) and set(other.test) == set(one.development)


def test_F17_d1s_program_has_one_label_per_window():
    """Its loss is the last column of the causal loss, and the other tokens of the window have no gradient of their own."""
    model = LSTMLanguageModel(
        LSTMConfig(vocab_size=30, embedding=4, hidden=5), torch.Generator().manual_seed(0)
    ).double()
    ids = torch.randint(30, (3, rows.WINDOW + 1), generator=torch.Generator().manual_seed(1))
    labels = torch.full_like(ids, -100)
    labels[:, -1] = ids[:, -1]
    one, other = LastToken().loss(model, Batch(ids)), CausalLM().loss(model, Batch(ids, labels=labels))
    assert one.count == other.count == 3
    torch.testing.assert_close(one.value, other.value, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(loss.value, list(model.parameters())) for loss in (one, other)]
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-15)


def test_F17_d1s_model_is_as_large_as_in_keras():
    """Embedding 64 V, LSTM 4·128·(64 + 128 + 1) and 4·128·(128 + 128 + 1), Dense 129 V, with one bias in each LSTM."""
    V, model = 1000, LSTMLanguageModel()
    keras = 64 * V + 4 * 128 * (64 + 128 + 1) + 4 * 128 * (128 + 128 + 1) + 129 * V
    assert sum(p.numel() for p in model.parameters()) == keras
