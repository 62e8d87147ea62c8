"""Models so small that a whole run takes a second, on the material in data/. Not a test file."""

import signal
from pathlib import Path

import torch
from safetensors.torch import load_file

from minilm.cli import main
from minilm.jobs.pretrain import PretrainOptions
from minilm.models.bert import BertForPretraining
from minilm.models.initialisation import initialise

DATA = Path(__file__).parents[1] / "data"
SIZES = dict(
    width=12, heads=3, layers=2, vocab_size=300, length=24, batch=4, held_out=2, evaluations=3, learning_rate=0.003
)


def options(tmp_path: Path, **changes) -> PretrainOptions:
    """Options for a pretraining of 12 steps; the corpus is prepared once for all runs that share `tmp_path`."""
    given = dict(corpus=str(DATA / "english.txt"), out=tmp_path / "run", cache=tmp_path / "cache")
    if not {"tokens", "minutes"} & changes.keys():
        given["steps"] = 12
    return PretrainOptions(**SIZES | given | dict(progress=False) | changes)


def arguments(tmp_path: Path, **changes) -> list[str]:
    """The same options for the command line."""
    out = ["--no-progress"]
    given = dict(corpus=DATA / "english.txt", out=tmp_path / "run", cache=tmp_path / "cache", steps=12)
    for name, value in (SIZES | given | changes).items():
        if value is not None:
            out += [f"--{name.replace('_', '-')}", str(value)]
    return out


def command(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def silent(*_, **__) -> None:
    """A `say` that prints nothing."""


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether both have the same names, and bit-identical tensors under each name."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def ctrl_c_at(monkeypatch, batches: type, *steps: int) -> None:
    """Simulate Ctrl-C during these steps; `batches` is the class that makes their batches."""
    original, left = batches.__getitem__, list(steps)

    def get(self, step):
        if left and step == left[0] and self.size == SIZES["batch"]:  # not while held-out text is measured
            left.pop(0)
            signal.raise_signal(signal.SIGINT)
        return original(self, step)

    monkeypatch.setattr(batches, "__getitem__", get)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def started(config, scheme: str, seed: int = 0) -> BertForPretraining:
    """A BERT before its first training step."""
    model = BertForPretraining(config)
    initialise(model, scheme, seeded(seed))
    return model
