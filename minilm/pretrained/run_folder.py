"""Run folders: a model with its tokenizer, written in the layout of `transformers`, and checked before it is opened.

config.json  model.safetensors  tokenizer.json  tokenizer_config.json
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from minilm.errors import InputError
from minilm.files.atomic import write_json, write_text
from minilm.files.checksums import seal, unseal
from minilm.files.lock import alone_in
from minilm.files.tensors import EIGHT_BIT, WEIGHTS, header_of, read_safetensors, weights_file, write_tensors
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.pretrained.architecture import Architecture
from minilm.pretrained.eight_bit import named_with_scales, separated, without_scales
from minilm.pretrained.registry import locate
from minilm.pretrained.weights import refuse_broken_numbers, weights_of
from minilm.text.tokenizer import Tokenizer

OTHER_MODELS = (WEIGHTS, EIGHT_BIT, "adapter.json")  # what a folder is opened as before anything else is looked at


@dataclass(frozen=True)
class LoadedModel:
    """A model from a folder, ready to be used: in evaluation mode, with the tokenizer that it was trained with."""

    model: Any  # an nn.Module: a Classifier, a SentenceEncoder, or what was pretrained
    tokenizer: Tokenizer
    folder: Path
    lacking: tuple[str, ...] = ()  # names of weights that the folder does not hold; they are as drawn
    unused: tuple[str, ...] = ()  # names of weights in the file that this model does not read

    @property
    def max_length(self) -> int | None:
        """The longest input, with special tokens; None means any length."""
        return getattr(self.model.config, "max_length", None)


def save_folder(folder: Path, architecture: Architecture, model: nn.Module, tokenizer: Tokenizer) -> None:
    """Write a model so that minilm and, where it knows the architecture, `transformers` open it.

    A BERT without a task is written so that `sentence-transformers` opens it as well. A model in 8 bits is written so that
    only minilm opens it. Raises InputError for a model that has lost heads: `config.json` has no place for that.
    """
    if any(getattr(module, "kept", None) is not None for module in model.modules()):
        raise InputError("a model without some of its heads is not saved: save the whole one, and remove them again.")
    others, tokenizer = architecture.other_files(model), architecture.tokenizer_to_save(tokenizer)
    elsewhere = "after." if isinstance(model, SentenceEncoder) else ()  # dense layers lie in folders of their own
    own, scales = separated({name: w for name, w in weights_of(model).items() if not name.startswith(elsewhere)})
    weights = named_with_scales(architecture, model, own, scales)
    folder.mkdir(parents=True, exist_ok=True)
    before = unseal(folder)
    write_text(folder / "tokenizer.json", tokenizer.to_json())
    facts: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    facts["model_input_names"] = list(architecture.inputs)  # without it a pair would get no segments there
    settings = model.settings if isinstance(model, SentenceEncoder) else None
    if length := (settings and settings.max_length) or getattr(model.config, "max_length", None):
        facts["model_max_length"] = length  # without it no text would be cut there
    write_json(folder / "tokenizer_config.json", facts | tokenizer.names)
    for path, content in others.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (write_tensors if path.endswith(".safetensors") else write_json)(folder / path, content)
    write_tensors(folder / (EIGHT_BIT if scales else WEIGHTS), weights)
    write_json(folder / "config.json", architecture.write_config(model) | architecture.token_ids(tokenizer))
    own_files = ["tokenizer.json", "tokenizer_config.json", EIGHT_BIT if scales else WEIGHTS, "config.json"]
    for name in {*before, *OTHER_MODELS} - {*own_files, *others}:
        (folder / name).unlink(missing_ok=True)  # of another kind of model, for which this one would be taken
    seal(folder, [*own_files, *others])


class ShapesAlone(TorchFunctionMode):
    """Draws nothing while a model is built. (On the device "meta" there are no numbers to draw, but asking for them loads a
    compiler, which takes longer than everything else.)"""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_):
            return kwargs["tensor"]
        if function in (torch.randn, torch.rand):
            return torch.empty(*args, **{name: value for name, value in (kwargs or {}).items() if name != "generator"})
        return args[0] if function in (Tensor.normal_, Tensor.uniform_) else function(*args, **(kwargs or {}))


class Fit(NamedTuple):
    """The file with a model's weights (or the index of several), and the names in it that the model reads and does not."""

    file: Path
    used: list[str]
    unused: tuple[str, ...]


def tensors_for(
    path: Path, architecture: Architecture, config, build: Callable[[], nn.Module], may_lack: tuple[str, ...] = ()
) -> Fit:
    """The file with a model's weights, returned only after its header has been found to fit what `build` makes.

    The model is built on the device "meta" for that, where tensors have a shape and no memory: a config that is wrong by
    a factor of a million costs nothing. One message lists everything that does not fit.
    """
    file = weights_file(path)
    found = header_of(file)
    if config.layers > len(found):
        raise InputError(f"{path}: config.json says {config.layers:,} layers, and there are {len(found)} tensors.")
    try:
        with torch.device("meta"), ShapesAlone():
            expected = weights_of(build())
    except RuntimeError as error:  # more numbers than can be counted
        raise InputError(f"{path}: config.json describes no model that could exist: {error}.") from None
    wanted, found = architecture.write_names(expected), architecture.renamed(without_scales(found))
    if problems := list(architecture.misfits(wanted, found, may_lack)):
        raise InputError(f"the weights of {path} do not fit its config.json: {'; '.join(problems)}.")
    return fit_of(file, architecture, wanted, found)


def fit_of(file: Path, architecture: Architecture, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> Fit:
    used = architecture.used(wanted, found)
    return Fit(file, used, tuple(sorted(found.keys() - set(used))))


def read_weights(path: Path, architecture: Architecture, fit: Fit) -> dict[str, Tensor]:
    """The tensors that a model reads, under our names. Raises InputError if one of them is not finite, and for 8-bit weights."""
    if fit.file.name == EIGHT_BIT:
        raise InputError(
            f"{path} holds 8-bit weights, which are for using a model and not for training it: take the model that it was "
            "made from."
        )
    found = architecture.renamed(read_safetensors(fit.file))
    wanted = {name: found[name] for name in fit.used}
    refuse_broken_numbers(wanted, str(path))
    return architecture.read_names(wanted)


def folder_of(path: Path) -> Path:
    """The folder of a model that was named by its folder or by its file of weights."""
    return path.parent if path.suffix in (".safetensors", ".json") and not path.is_dir() else path


def tokenizer_for(config, name: Path | str) -> Tokenizer:
    """The folder's tokenizer. Raises InputError if one of its ids lies beyond the embedding table."""
    folder = folder_of(locate(name))
    tokenizer = Tokenizer.load(folder)
    if tokenizer.size > config.vocab_size:
        (last,) = tokenizer.tokens([tokenizer.size - 1])
        raise InputError(
            f"{folder}: the tokenizer has ids up to {tokenizer.size - 1:,} ({last!r}), and the model only {config.vocab_size:,} "
            "rows for them, from 0; they do not belong together."
        )
    return tokenizer


@contextmanager
def alone_in_new(out: Path) -> Iterator[None]:
    """Hold the folder of a model that is to be written. Raises InputError if another process holds it, or has written one there."""
    with alone_in(out):
        refuse_to_overwrite(out)  # asked once more, because the other process may have ended a moment ago
        yield


def refuse_to_overwrite(out: Path) -> None:
    """Raises InputError if a model would be written over another one, or over a part of one that is not ours.

    A run that ended before its model was complete leaves a tokenizer beside its metrics; such a run is started again.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: give --out the name of a folder.")
    foreign = [WEIGHTS, EIGHT_BIT, "pytorch_model.bin", "config.json", "adapter.json"]
    if not (out / "metrics.jsonl").exists():
        foreign += ["tokenizer.json", "tokenizer_config.json"]
    if found := [name for name in foreign if (out / name).exists()]:
        raise InputError(f"{out} holds a model already ({found[0]}): choose another --out, or move that one away.")
