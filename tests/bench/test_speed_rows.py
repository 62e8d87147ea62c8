"""`minilm bench speed` on a tiny model: every row is measured, and unequal work is noticed."""

import statistics
from collections import Counter
from pathlib import Path

import pytest
import torch

from minilm.bench import contenders, matrix_rate, parts, speed_rows, speed_steps
from minilm.bench.bars import Bar, table_of_bars
from minilm.bench.matrix_rate import Products, products_alone
from minilm.bench.options import BenchOptions
from minilm.bench.run import bench
from minilm.bench.speed import ROWS
from minilm.errors import InputError
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.initialisation import initialise
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.pretrained.protocol import save_model
from minilm.text.tokenizer import train_wordpiece

DATA = Path(__file__).resolve().parents[2] / "data"
TINY = dict(width=12, layers=2, heads=3, batch=5, length=24, vocab_size=200, steps=2, rounds=1, progress=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def run(row, tmp_path, cache, **more):
    said = []
    where = dict(out=tmp_path, cache=cache, corpus=str(DATA / "english.txt"), texts=str(DATA / "reviews.csv"))
    written = bench(BenchOptions("speed", **TINY | where | dict(rows=(row,)) | more), said.append)
    return written[row], written["bars"], "\n".join(said)


def check_bars(bars, works, goal):
    assert [bar["work"] for bar in bars] == works
    for bar in bars:
        assert bar["goal"] == goal and len(bar["each"]) == 1 and bar["found"] == bar["each"][0] > 0
        assert bar["reached"] == (bar["found"] <= goal if bar["at_most"] else bar["found"] >= goal)


def test_a_goal_is_reached_or_missed():
    least, most = Bar("a", "b", 2.0, [1.0, 9.0, 2.5]), Bar("c", "d", 0.03, [0.02, 0.05, 0.04], at_most=True, unit="%")
    assert (least.found, least.reached) == (2.5, True) and (most.found, most.reached) == (0.04, False)
    assert least.written()["reached"] and most.written()["found"] == 0.04
    lines = table_of_bars([least, most]).splitlines()
    assert lines[1].split() == "a b ≥ 2.00 × 2.50 × (1.00 ×–9.00 ×) reached".split()
    assert lines[2].split() == "c d ≤ 3.0% 4.0% (2.0%–5.0%) MISSED".split()


def test_rows_that_are_not_known_are_refused(tmp_path, cache):
    with pytest.raises(InputError, match="speed has no row 'speling': choose from pretraining, matrix-rate"):
        run("speling", tmp_path, cache)


def test_the_quickstarts_own_step(tmp_path, cache):
    found, bars, _ = run("quickstart", tmp_path, cache)
    check_bars(bars, ["the quickstart's step, products by oneDNN"], 1.5)
    assert found["first_loss_apart"] < 1e-5 and {row["name"] for row in found["rows"]} == set(found["first_loss"])


def test_making_batches_counts_the_drawing_of_their_round(tmp_path, cache):
    found, bars, said = run("examples", tmp_path, cache)
    check_bars(bars, ["making a batch"] * 2, 0.03)
    assert found["seconds_per_batch"][0] > found["drawing_seconds_per_batch"] > 0
    assert "ms for a batch" in said


def test_the_products_of_a_step_are_all_noted():
    x, W, b = torch.randn(7, 5), torch.randn(11, 5, requires_grad=True), torch.randn(11)
    q, k = torch.randn(2, 3, 4, 6, requires_grad=True), torch.randn(2, 3, 9, 6, requires_grad=True)
    with Products() as noted:
        torch.nn.functional.linear(x, W, b).sum().backward()
        torch.bmm(torch.randn(2, 3, 4), torch.randn(2, 4, 8))
    # [7, 5] × [5, 11] forward, and of its gradients only that of W, [11, 7] × [7, 5]
    assert noted.seen == Counter({(7, 5, 11, 1): 1, (11, 7, 5, 1): 1, (3, 4, 8, 2): 1}) or noted.seen == Counter(
        {(7, 5, 11, 1): 1, (5, 7, 11, 1): 1, (3, 4, 8, 2): 1}
    )
    with Products() as noted:
        torch.nn.functional.scaled_dot_product_attention(q, k, k).sum().backward()
    # six products of 6 texts and heads: Q Kᵀ, P V, and four for the gradients, half of each kind
    assert noted.seen == Counter({(4, 6, 9, 6): 3, (4, 9, 6, 6): 3})


def test_products_alone_are_as_many_and_as_large(monkeypatch):
    seen, asked = Counter({(7, 5, 11, 1): 2, (3, 4, 8, 6): 1}), []
    monkeypatch.setattr(matrix_rate, "by_onednn", lambda a, b: asked.append((a.shape, b.shape)))
    with Products() as noted:
        products_alone(seen, "torch", 0)(0)
    assert noted.seen == seen
    with Products() as noted:
        products_alone(seen, "onednn", 0)(0)
    assert asked == [((7, 5), (11, 5))] * 2 and noted.seen == Counter({(3, 4, 8, 6): 1})


def test_the_matrix_rate(tmp_path, cache):
    found, bars, said = run("matrix-rate", tmp_path, cache)
    check_bars(bars, ["pretraining step, ours", "pretraining step, ours, products by oneDNN"], 0.8)
    seconds = {row["name"]: row["cpu_seconds"][0] for row in found["rows"]}
    assert bars[0]["found"] == pytest.approx(seconds["ours: products alone"] / seconds["ours"])
    assert found["gflop_per_step"] > 0 and "GFLOP" in said


def test_fine_tuning_beside_padding(tmp_path, cache):
    found, bars, _ = run("fine-tuning", tmp_path, cache)
    check_bars(bars, ["fine-tuning, minilm", "fine-tuning, minilm, products by oneDNN"], 6.0)
    assert found["logits_apart"] < 1e-5 and found["mean_length"] < 24


def test_fine_tuning_refuses_to_compare_different_models(tmp_path, cache, monkeypatch):
    def saved(folder, model, tokenizer):
        with torch.no_grad():
            model.head.bias += 1
        save_model(folder, model, tokenizer)
        with torch.no_grad():
            model.head.bias -= 1

    monkeypatch.setattr(speed_rows, "save_model", saved)
    with pytest.raises(RuntimeError, match="the models are not the same: their logits are 1.0e"):
        run("fine-tuning", tmp_path, cache)


def test_F15_the_lstm(tmp_path, cache):
    found, bars, said = run("lstm", tmp_path, cache, layers=1)
    check_bars(bars, ["LSTM, ours", "LSTM, ours, products by oneDNN"], 1.1)
    times = found["torch"]["forward_and_backward"]["cpu_ratios"]["nn.LSTM"]["median"]
    assert bars[0]["found"] == pytest.approx(1 / times) and "nn.LSTM" in said


def test_a_corpus_becomes_a_store(tmp_path, cache, monkeypatch):
    found, bars, said = run("corpus", tmp_path, cache)
    check_bars(bars, ["minilm, from text to store"], 1.3)
    rows = {row["name"]: row["cpu_seconds"][0] for row in found["rows"]}
    assert bars[0]["found"] == pytest.approx(rows[speed_rows.STORE] / rows[speed_rows.ENCODING])
    assert found["tokens"] > 1000 and f"{found['tokens']:,} tokens" in said
    monkeypatch.setattr(speed_rows, "read_documents", lambda text: [["one line"]])
    with pytest.raises(RuntimeError, match="other tokens than the library"):
        run("corpus", tmp_path, cache)


def test_imports(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(speed_rows, "IMPORTS", ("json", "minilm", "minilm.errors"))
    monkeypatch.setattr(speed_rows, "FIRST", "json")
    found, bars, said = run("import", tmp_path, cache)
    assert list(found["seconds"]) == ["json", "minilm", "minilm.errors"]
    assert [bar["work"] for bar in bars] == ["import minilm", "import minilm.errors"]
    for bar in bars:
        more = found["seconds"][bar["work"].removeprefix("import ")][0] - found["seconds"]["json"][0]
        assert bar["at_most"] and bar["found"] == pytest.approx(more)
    assert "s more" in said


def test_sentence_vectors(tmp_path, cache):
    tokenizer = train_wordpiece([DATA / "english.txt"], 200)
    model = SentenceEncoder(Bert(TransformerConfig(tokenizer.size, 12, 2, 3, 8, 90)))
    initialise(model, generator=torch.Generator().manual_seed(0))
    save_model(tmp_path / "tiny", model, tokenizer)
    found, bars, _ = run("vectors", tmp_path, cache, model=str(tmp_path / "tiny"), sentences=9)
    assert found["vectors_apart"] < 1e-5 and found["sentences"] == 9
    seconds = {row["name"]: row["cpu_seconds"] for row in found["rows"]}
    for bar in bars:
        name = bar["work"].removeprefix("sentence vectors, ")
        assert bar["found"] == pytest.approx(statistics.median(seconds[bar["against"]]) / seconds[name][0])
        assert bar["goal"] == {"transformers": 2.0, "sentence-transformers": 1.4}[bar["against"]]


def test_every_row_is_described_in_the_help_and_in_the_readme():
    import minilm.bench.options as options

    source = Path(options.__file__).read_text(encoding="utf-8")
    readme = (Path(options.__file__).parent / "README.md").read_text(encoding="utf-8")
    for name in ROWS:
        assert name in source and f"`{name}`" in readme


def test_F22_the_parts_of_a_step_have_the_multiplications_that_are_counted_otherwise(tmp_path, cache):
    """The referee watches every product that PyTorch computes; and the time is all there."""
    found, bars, said = run("parts", tmp_path, cache, rounds=2)
    rows = {row["part"]: row for row in found["parts"]}
    assert list(rows) == list(parts.KINDS) and not bars and found["steps"] == 4
    assert all(row["milliseconds"] > 0 for row in rows.values()) and "multiplications" in said
    with_products = {name for name, row in rows.items() if row["multiplications"]}
    assert with_products == {parts.VOCABULARY, parts.LAYERS, parts.ATTENTION}
    options = BenchOptions(
        "speed", **TINY | dict(cache=cache, corpus=str(DATA / "english.txt"), rows=("parts",), rounds=2)
    )
    model, drawn, k = speed_steps.quickstart(options, lambda line: None)
    learner = contenders.ours(model)[contenders.OURS]
    learner.learn([drawn[i] for i in range(k)])
    with Products() as products:
        learner.learn([drawn[i] for i in range(k, 3 * k)])
    expected = sum(R * I * O * side * n for (R, I, O, side), n in products.seen.items()) / (2 * k)
    assert sum(row["multiplications"] for row in rows.values()) == pytest.approx(expected, rel=1e-9)


def test_F22_kinds_of_operations():
    V = 50
    kinds = {
        ("aten::mm", ((7, 12), (12, V))): parts.VOCABULARY,
        ("aten::addmm", ((V,), (7, 12), (12, V))): parts.VOCABULARY,
        ("aten::mm", ((7, 12), (12, 36))): parts.LAYERS,
        ("aten::bmm", ((6, 7, 4), (6, 4, 7))): parts.ATTENTION,
        ("aten::_softmax", ((2, 3, 7, 7),)): parts.ATTENTION,
        ("aten::_log_softmax", ((7, V),)): parts.LOSS,
        ("aten::native_layer_norm", ((7, 12),)): parts.NORMS,
        ("aten::addcdiv_", ((V, 12),)): parts.UPDATE,
        ("aten::copy_", ((7, 12),)): parts.REST,
    }
    for (name, shapes), kind in kinds.items():
        assert parts.kind_of(name, shapes, V) == kind, name
    assert parts.multiplications("aten::addmm", ((V,), (7, 12), (12, V))) == 7 * 12 * V
    assert parts.multiplications("aten::bmm", ((6, 7, 4), (6, 4, 9))) == 6 * 7 * 4 * 9
    assert parts.multiplications("aten::_softmax", ((2, 3, 7, 7),)) == 0
