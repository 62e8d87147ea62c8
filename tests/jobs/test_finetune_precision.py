"""`finetune --precision bf16`: what learns in bf16, what stays in float32, and what is refused."""

from itertools import product

import pytest
import tiny
import torch
from tiny import DATA, same, silent, weights
from torch import nn

from minilm.errors import InputError
from minilm.files.tensors import read_safetensors
from minilm.jobs.finetune import FinetuneOptions, finetune
from minilm.jobs.finetune_options import LittleData
from minilm.jobs.labelled_data import Columns
from minilm.jobs.pretrain import pretrain
from minilm.models.adaptation import Adaptation
from minilm.training import precision as module, supervised
from minilm.training.run import TrainingRun
from minilm.training.supervised import Recipe

REVIEWS = str(DATA / "reviews.csv")
NAMES = "abel bea carl dora emil fay gil hal ida jan".split()
TAGS = "\n".join(f"the O\nfilm O\nby O\n{name} B-PER\n" for name in NAMES)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    options = tiny.options(tmp_path_factory.mktemp("precision"), steps=1, evaluations=1)
    pretrain(options, silent)
    return options.out


@pytest.fixture(autouse=True)
def any_processor(monkeypatch):
    """PyTorch computes in bf16 on every processor, if need be slowly."""
    monkeypatch.setattr(module, "bf16_units", lambda: ["pretended"])


@pytest.fixture
def losses_of(book, tmp_path, monkeypatch):
    """A function that fine-tunes into a folder of this name, and returns the loss of every step."""

    def fit(name, **changes):
        losses, step_at = [], TrainingRun.step_at

        def noted(run, step):
            losses.append((found := step_at(run, step)).loss.detach())
            return found

        with monkeypatch.context() as patch:
            patch.setattr(TrainingRun, "step_at", noted)
            given = dict(data=REVIEWS, model=str(book), out=tmp_path / name, truncate=True, recipe=Recipe(epochs=2))
            finetune(FinetuneOptions(**given | dict(labels=16, held_out=12, progress=False) | changes), silent)
        assert all(loss.dtype == torch.float32 for loss in losses)
        return torch.stack(losses)

    return fit


@pytest.fixture
def several(tmp_path):
    """Files of pairs, of tags, and of numbers whose mean is large beside their differences, as with years."""
    (tmp_path / "tags.conll").write_text(TAGS, encoding="utf-8")
    years = "\n".join(
        f"a film of {first} {second},{1990 + i % 10}" for i, (first, second) in enumerate(product(NAMES, NAMES))
    )
    (tmp_path / "years.csv").write_text(f"text,label\n{years}\n", encoding="utf-8")
    return tmp_path


def check_close(float32, bf16):
    """The losses differ, from the first step on, and by a few per mille."""
    assert len(float32) == len(bf16) > 1 and float32[0] != bf16[0]
    torch.testing.assert_close(bf16, float32, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_it_learns_nearly_what_float32_learns(dropout, losses_of, tmp_path):
    check_close(losses_of("float32", dropout=dropout), losses_of("bf16", dropout=dropout, precision="bf16"))
    exact, rounded = weights(tmp_path / "float32"), weights(tmp_path / "bf16")
    assert all(tensor.dtype == torch.float32 for tensor in rounded.values())
    assert any(not torch.equal(rounded[name], exact[name]) for name in exact)


def test_it_is_off_unless_asked_for_and_the_same_seed_gives_the_same_bits(losses_of, tmp_path, monkeypatch):
    first, second = losses_of("a", precision="bf16"), losses_of("b", precision="bf16")
    assert torch.equal(first, second) and same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    monkeypatch.setattr(module, "InBf16", lambda *_: pytest.fail("bf16 was not asked for"))
    assert torch.equal(losses_of("c"), losses_of("d", precision="float32"))
    assert same(weights(tmp_path / "c"), weights(tmp_path / "d"))


@pytest.mark.parametrize("second", [None, "tags.conll"])
def test_every_product_of_learning_is_in_bf16_and_none_of_measuring(second, losses_of, several, monkeypatch):
    monkeypatch.chdir(several)
    seen, forward = set(), nn.Linear.forward

    def noted(layer, x):
        seen.add((torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")))
        return forward(layer, x)

    monkeypatch.setattr(nn.Linear, "forward", noted)
    losses_of("out", precision="bf16", development=4, little=LittleData(second=second))
    assert seen == {(True, True), (False, False)}


@pytest.mark.parametrize("tune", ["head", "top", "biases", "adapters", "low-rank", "adaptive", "prompts"])
def test_every_way_of_tuning_learns_in_bf16(tune, losses_of, tmp_path):
    more = {"low-rank": {"rank": 2, "where": "everywhere"}, "adaptive": {"rank": 2}}.get(tune, {})
    given = dict(adaptation=Adaptation(tune, **more))
    check_close(losses_of("float32", **given), losses_of("bf16", precision="bf16", **given))
    trained = [read_safetensors(tmp_path / name / "adapter.safetensors") for name in ("float32", "bf16")]
    assert not same(*trained) and all(tensor.dtype == torch.float32 for tensor in trained[1].values())


CASES = {
    "pairs": dict(data=str(DATA / "pairs.csv"), columns=Columns(pair_column="pair")),
    "tags": dict(data="tags.conll", labels=None, held_out=2),
    "CRF": dict(data="tags.conll", labels=None, held_out=2, crf=True, crf_constraints=True),
    "years": dict(data="years.csv", task="number"),
    "the pooler": dict(pooling="cls"),
    "class weights": dict(recipe=Recipe(epochs=2, class_weights=True, label_smoothing=0.1)),
    "penalties": dict(recipe=Recipe(epochs=2, l2=0.01, l2_start=0.01)),
    "the head alone": dict(recipe=Recipe(epochs=2, head_only=True)),
    "guesses": dict(little=LittleData("masked-lm")),
    "a second task": dict(little=LittleData(second="tags.conll")),
    "a new LSTM": dict(model="lstm"),
    "a new LSTM for tags": dict(model="lstm", data="tags.conll", labels=None, held_out=2),
    "a new Transformer": dict(model="scratch"),
}


@pytest.mark.parametrize("case", CASES)
def test_everything_that_fine_tuning_does_learns_in_bf16(case, losses_of, several, book, monkeypatch):
    monkeypatch.chdir(several)
    given = dict(CASES[case])
    if given.get("model") in ("lstm", "scratch"):
        given["tokenizer"] = book
    check_close(losses_of("float32", **given), losses_of("bf16", precision="bf16", **given))


def test_self_training_learns_in_bf16_twice(losses_of, monkeypatch):
    precisions = []
    in_precision = supervised.TrainingRun
    monkeypatch.setattr(
        supervised, "TrainingRun", lambda *a, **k: precisions.append(k["precision"]) or in_precision(*a, **k)
    )
    losses_of("out", precision="bf16", little=LittleData(unlabelled=REVIEWS, confidence=0.6))
    assert precisions == ["bf16", "bf16"]


def test_what_cannot_be_is_one_sentence_before_any_data_is_read(book, tmp_path, monkeypatch, capsys):
    given = "--data", tmp_path / "nowhere.csv", "--model", book, "--out", tmp_path / "out"
    assert tiny.command("finetune", *given, "--precision", "fp16") == 2
    assert capsys.readouterr().err == "minilm: precision 'fp16' is not known: choose float32 or bf16.\n"
    monkeypatch.setattr(module, "bf16_units", list)
    assert tiny.command("finetune", *given, "--precision", "bf16") == 2
    assert capsys.readouterr().err == "minilm: this processor has no unit for bf16: leave --precision out.\n"
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="there is no file .*nowhere.csv|nowhere.csv"):
        finetune(FinetuneOptions(str(tmp_path / "nowhere.csv"), str(book), tmp_path / "out"), silent)
