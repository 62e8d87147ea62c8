import copy
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from minilm.bench import contenders as rivals_of, initialisation, padding, speed_steps
from minilm.bench.contenders import ONEDNN, OURS, READABLE, SDPA, TORCH, contenders
from minilm.bench.options import SIZES, BenchOptions
from minilm.bench.report import Clocks, alternate, compared, ratios, table, threads
from minilm.bench.run import bench
from minilm.cli import COMMANDS, main
from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.layers import crf
from minilm.layers.transformer import use_fused
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.initialisation import initialise
from minilm.text.prepare import prepare

DATA = Path(__file__).resolve().parents[2] / "data"
TINY = dict(width=12, layers=2, heads=3, batch=5, length=24, vocab_size=200, steps=2, rounds=3, progress=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def run(what, tmp_path, cache, **more):
    """Run a tiny measurement. Return what it wrote, which must equal what it returned, and what it said."""
    said = []
    where = dict(out=tmp_path, cache=cache, corpus=str(DATA / "english.txt"), texts=str(DATA / "reviews.csv"))
    written = bench(BenchOptions(what, **TINY | where | more), said.append)
    assert json.loads((tmp_path / f"{what}.json").read_text(encoding="utf-8")) == written
    for key in ("date", "python", "torch", "numpy", "transformers", "processor", "cores", "threads", "load"):
        assert key in written["machine"]
    assert written["what"] == what and written["options"]["rounds"] == 3 and written["size"]["width"] == 12
    return written, "\n".join(said)


def check_race(race, names, ours, unit):
    assert [row["name"] for row in race["rows"]] == names
    for row in race["rows"]:
        for figure in ("seconds", "cpu_seconds", f"{unit}_per_second"):
            assert len(row[figure]) == 3 and min(row[figure]) > 0
            assert row["median"][figure] == sorted(row[figure])[1]
    theirs = {row["name"]: row["seconds"] for row in race["rows"]}
    for name in names:
        expected = [b / a for a, b in zip(theirs[ours], theirs[name])]
        assert race["ratios"][name]["each"] == pytest.approx(expected)
        assert race["ratios"][name]["median"] == pytest.approx(sorted(expected)[1])
        assert len(race["cpu_ratios"][name]["each"]) == 3


def batch_with_padding(generator):
    """Five pairs of different lengths, with masked tokens in each."""
    B, T, V = 5, 9, 31
    lengths = torch.tensor([9, 4, 7, 5, 6])
    attention_mask = torch.arange(T) < lengths[:, None]
    ids = torch.randint(5, V, (B, T), generator=generator) * attention_mask
    labels = torch.full((B, T), -100)
    labels[:, 1:3] = torch.randint(5, V, (B, 2), generator=generator)
    token_type_ids = (torch.arange(T) >= 3).long().expand(B, T) * attention_mask
    return Batch(ids, token_type_ids, attention_mask, labels, torch.tensor([0, 1, 1, 0, 1]))


def model_in_float64():
    generator = torch.Generator().manual_seed(1)
    model = BertForPretraining(
        TransformerConfig(vocab_size=31, width=12, layers=2, heads=3, feed_forward=20, max_length=9)
    )
    initialise(model, generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():  # also biases and norms, so that a swap is noticed
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.double(), batch_with_padding(generator)


def test_F27_every_contender_has_the_same_loss_and_takes_the_same_steps():
    model, batch = model_in_float64()
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    rivals = contenders(model)
    assert len(rivals) == 6
    for rival in rivals.values():
        for _ in range(3):
            rival.step(batch)
    first, second, third = np.array([rival.losses for rival in rivals.values()]).T
    np.testing.assert_allclose(first, first[0], rtol=0, atol=1e-10)
    # after one step they agree less closely: where a gradient is almost 0, Adam's step depends on rounding
    np.testing.assert_allclose(second, first[0] + (second[0] - first[0]), rtol=0, atol=1e-7)
    np.testing.assert_allclose(third, third[0], rtol=0, atol=1e-7)
    assert np.abs(second - first).min() > 1e-3  # and training changed them
    assert all(torch.equal(weights, before[name]) for name, weights in model.state_dict().items())


def test_the_contenders_are_what_their_names_say():
    rivals = contenders(model_in_float64()[0])
    fused = {
        name: {m.fused for m in rivals[name].model.modules() if hasattr(m, "fused")}
        for name in (OURS, ONEDNN, READABLE)
    }
    assert fused == {OURS: {True}, ONEDNN: {True}, READABLE: {False}}
    assert any(isinstance(m, torch.nn.TransformerEncoder) for m in rivals[TORCH].model.modules())
    attention = {name: rivals[name].model.config._attn_implementation for name in rivals if "transformers" in name}
    assert attention == {SDPA: "sdpa", "transformers, eager": "eager"}


def test_speed(tmp_path, cache):
    written, said = run("speed", tmp_path, cache, rows=("pretraining",))
    found = written["pretraining"]
    names = [OURS, ONEDNN, READABLE, TORCH, SDPA, "transformers, eager"]
    check_race(found, names, OURS, "tokens")
    losses = [found["first_loss"][name] for name in names]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)
    assert "fused=True" in said and all(name in said for name in names)
    assert written["machine"]["threads"] == 1


def test_speed_measures_pairs_alone_even_if_most_text_fits_into_none(tmp_path):
    text = tmp_path / "single.txt"
    single = [f"hen {i} sat alone on a wall .\n" for i in range(60)]
    text.write_text("\n".join([*single, *["The hen sat .\nThe dog ran .\nA fox came .\n"] * 9]), encoding="utf-8")
    options = BenchOptions("speed", cache=tmp_path, corpus=str(text), **TINY)
    batches = speed_steps.batches_for(options, prepare(str(text), tmp_path, 200, held_out=20, say=lambda _: None), 8)
    assert len(batches) == 8 and not any((batch.nsp_labels == -100).any() for batch in batches)


def test_speed_refuses_to_compare_different_models(tmp_path, cache, monkeypatch):
    def another(model):
        out = copy.deepcopy(model)
        out.encoder.stack = rivals_of.TorchEncoder(model.config)  # but its weights are not copied
        return out

    monkeypatch.setattr(rivals_of, "with_torch_encoder", another)
    with pytest.raises(RuntimeError, match="not the same model"):
        run("speed", tmp_path, cache, rows=("pretraining",))


def test_transformers_missing_is_said_in_one_sentence(tmp_path, cache, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "transformers", None)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items() if name != "progress"]
    where = [f"--out={tmp_path}", f"--cache={cache}", f"--corpus={DATA / 'english.txt'}", "--no-progress"]
    assert main(["bench", "speed", "--rows", "pretraining", *flags, *where]) == 2
    assert "pip install transformers" in capsys.readouterr().err
    assert not (tmp_path / "speed.json").exists()


def test_lstm(tmp_path, cache):
    written, said = run("lstm", tmp_path, cache, layers=1)
    for part in ("forward", "forward_and_backward"):
        names = ["ours, gradient by hand", "ours, autograd", "nn.LSTM"]
        check_race(written[part], names, names[0], "tokens")
        expected = 1 / written[part]["ratios"]["nn.LSTM"]["median"]
        assert written[part]["ours_over_nn_lstm"] == pytest.approx(expected)
    assert written["outputs_and_gradients_apart"] < 1e-5
    assert "nn.LSTM" in said


def test_F31_crf(tmp_path, cache):
    written, said = run("crf", tmp_path, cache)
    names = ["ours, gradient by hand", "ours, autograd", "pytorch-crf"]
    race = written["forward_and_backward"]
    check_race(race, names, names[0], "words")
    assert race["ours_over_pytorch_crf"] == pytest.approx(1 / race["ratios"]["pytorch-crf"]["median"])
    assert written["losses_and_gradients_apart"] < 1e-5
    assert "× the time of pytorch-crf" in said


def test_F31_crf_refuses_to_compare_different_ones(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(crf, "path_score", lambda E, A, y, attention_mask: E.sum((1, 2)))
    with pytest.raises(RuntimeError, match="the CRFs are not the same"):
        run("crf", tmp_path, cache)


def test_F31_the_crfs_referee_missing_is_said_in_one_sentence(tmp_path, cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcrf", None)
    with pytest.raises(InputError, match="pip install pytorch-crf"):
        run("crf", tmp_path, cache)


def test_padding(tmp_path, cache):
    written, _ = run("padding", tmp_path, cache, steps=4)
    check_race(written, [padding.OURS, padding.LONGEST, padding.MAXIMUM], padding.OURS, "tokens")
    share = written["share_without_padding"]
    assert 1 >= share[padding.OURS] >= share[padding.LONGEST] >= share[padding.MAXIMUM] > 0
    assert share[padding.MAXIMUM] < 1
    assert written["logits_apart"] < 1e-5


def test_padding_wants_two_labels(tmp_path, cache):
    (tmp_path / "one.csv").write_text("text,label\na good film,good\nanother good film,good\n", encoding="utf-8")
    with pytest.raises(InputError, match="has only one class, 'good'"):
        run("padding", tmp_path, cache, texts=str(tmp_path / "one.csv"))


def test_initialisation_and_once_more_from_what_is_there(tmp_path, cache):
    written, said = run("initialisation", tmp_path, cache, all=True)
    names = [name for name, *_ in (initialisation.PUBLISHED, initialisation.BETWEEN, initialisation.OURS)]
    assert [row["name"] for row in written["rows"]] == list(written["curves"]) == names
    for row in written["rows"]:
        assert row["step"] == 2 and row["mlm_loss"] > 0 and 0 <= row["nsp_accuracy"] <= 1
    assert written["curves"][names[0]][0]["mlm_loss"] != written["curves"][names[2]][0]["mlm_loss"]
    assert (tmp_path / "initialisation.png").read_bytes()[:4] == b"\x89PNG"
    assert "guessing by word frequency alone" in said
    again, _ = run("initialisation", tmp_path, cache)  # both are done, so nothing is trained again
    assert again["curves"] == {name: written["curves"][name] for name in (names[0], names[2])}


def test_unigram_loss_is_that_of_guessing_by_frequency(cache):
    prepared = prepare(str(DATA / "english.txt"), cache, vocab_size=200, say=lambda text: None)
    labels = torch.tensor([[-100, 7, -100], [9, -100, 7]])
    batch = Batch(labels, labels, None, labels, torch.tensor([0, 1]))
    ids, V = prepared.train.ids.tolist(), prepared.tokenizer.size
    p = {w: (ids.count(w) + 1) / (len(ids) + V) for w in range(V)}
    assert sum(p.values()) == pytest.approx(1)
    expected = -(np.log(p[7]) + np.log(p[9]) + np.log(p[7])) / 3
    assert initialisation.unigram_loss(prepared, [batch]) == pytest.approx(expected)


def test_runs_take_turns_and_the_first_round_does_not_count():
    turns = []
    runs = {name: lambda number, name=name: turns.append((name, number)) for name in "AB"}
    clocks = alternate(runs, rounds=2, bar=False)
    assert turns == [("A", 0), ("B", 0), ("A", 1), ("B", 1), ("A", 2), ("B", 2)]
    assert [len(seconds) for clock in clocks for seconds in clock.values()] == [2, 2, 2, 2]


def test_figures_of_a_race():
    wall = {"us": [1.0, 2.0, 4.0], "them": [3.0, 5.0, 2.0]}
    cpu = {"us": [2.0, 2.0, 2.0], "them": [1.0, 3.0, 5.0]}
    race = compared(Clocks(wall, cpu), [6, 10, 40], "tokens", "us")
    assert race["ratios"]["them"] == {"median": 2.5, "lowest": 0.5, "highest": 3.0, "each": [3.0, 2.5, 0.5]}
    assert race["cpu_ratios"]["them"]["median"] == 1.5
    us, them = race["rows"]
    assert us["tokens_per_second"] == [6, 5, 10] and us["median"]["tokens_per_second"] == 6
    assert them["median"] == {"seconds": 3.0, "cpu_seconds": 3.0, "tokens_per_second": 2.0}
    assert ratios(wall, "them")["us"]["each"] == [1 / 3, 0.4, 2.0]


def test_table_lines_its_figures_up():
    assert table(("", "b"), [("one", "1"), ("three", "23")]) == "        b\none     1\nthree  23"


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    with threads(None):
        assert torch.get_num_threads() == before


@pytest.mark.parametrize("wrong", [dict(rounds=0), dict(steps=0), dict(threads=0), dict(width=10, heads=3)])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(InputError):
        BenchOptions("speed", **wrong)


def test_what_is_not_asked_for_is_the_measurements_own():
    assert BenchOptions("lstm").size == SIZES["lstm"]
    assert BenchOptions("speed", batch=3).size.batch == 3
    assert BenchOptions("speed", batch=3).size.width == SIZES["speed"].width
    command = COMMANDS["bench"]
    assert (command.module, command.function, command.options) == ("minilm.bench.run", "bench", "BenchOptions")


def test_readable_contender_leaves_the_model_as_it_was():
    model, _ = model_in_float64()
    use_fused(model, True)
    contenders(model)
    assert all(m.fused for m in model.modules() if hasattr(m, "fused"))
