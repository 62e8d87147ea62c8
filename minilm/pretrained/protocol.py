"""The architectures that there are, and opening a folder that holds a model of any of them."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import torch
from torch import nn

from minilm.errors import InputError
from minilm.files.checksums import check
from minilm.files.notes import Note, unheard
from minilm.files.tensors import EIGHT_BIT, header_of, read_config, weights_file
from minilm.models.adaptation import adapt, trained_weights
from minilm.models.heads import Classifier, HeadConfig
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.models.verbaliser import Verbaliser, VerbaliserConfig
from minilm.pretrained.adapter import AdapterFile, is_adapter, read_adapter, word_ids
from minilm.pretrained.architecture import Architecture
from minilm.pretrained.eight_bit import fill_eight_bit
from minilm.pretrained.registry import locate
from minilm.pretrained.run_folder import (
    Fit,
    LoadedModel,
    fit_of,
    folder_of,
    read_weights,
    save_folder,
    tensors_for,
    tokenizer_for,
)
from minilm.pretrained.sentence_settings import load_layers, lowercased, read_settings
from minilm.pretrained.weights import HEADS, listed, load_weights, weights_of
from minilm.text.tokenizer import Tokenizer

# Each is a module of this room, with its adapter under the name ARCHITECTURE. To add one, add its name here. A model is saved
# by the first that serves it: MPNet is a choice of BERT's positions.
NAMES = ("mpnet", "bert", "lstm", "gpt2", "seq2seq")
ARCHITECTURES: tuple[Architecture, ...] = tuple(
    import_module(f"minilm.pretrained.{name}").ARCHITECTURE for name in NAMES
)


def architecture_named(name: str) -> Architecture:
    """The adapter by the name that `--architecture` takes. Raises InputError for a name that is not known."""
    named = [architecture for architecture in ARCHITECTURES if architecture.has_name]
    for architecture in named:
        if architecture.name == name:
            return architecture
    names = ", ".join(architecture.name for architecture in named)
    raise InputError(f"architecture '{name}' is not known: choose one of {names}.")


def architecture_of(model: nn.Module) -> Architecture:
    """The adapter of a model, by its encoder. Raises InputError if there is none."""
    for architecture in ARCHITECTURES:
        if architecture.serves(model):
            return architecture
    encoder = getattr(model, "encoder", model)
    raise InputError(
        f"{type(encoder).__name__} has no adapter: write one and add its name to NAMES in minilm/pretrained/protocol.py."
    )


def architecture_in(path: Path, entries: dict) -> Architecture:
    """The adapter of the model in a folder, by its `config.json`. Raises InputError if there is none."""
    names = entries.get("architectures")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise InputError(f"{path / 'config.json'}: architectures {names!r:.60} must be a list of names.")
    for architecture in ARCHITECTURES:
        if architecture.matches(entries):
            return architecture
    known = ", ".join(architecture.model_type for architecture in ARCHITECTURES)
    kind = entries.get("model_type")
    raise InputError(f"{path / 'config.json'}: model_type {kind!r} is not one that minilm opens ({known}).")


def described(name: Path | str):
    """The path of a model, the entries of its `config.json`, its adapter, and its config. Raises InputError, also if a file of
    the folder is not as minilm wrote it."""
    path = locate(name)
    check(folder_of(path))
    entries = read_config(path)
    architecture = architecture_in(path, entries)
    config = architecture.read_config(entries, str(path / "config.json"))
    return path, entries, architecture, architecture.as_stored(config, path)


def open_model(name: Path | str, note: Note = unheard) -> LoadedModel:
    """Whatever the folder `name` holds (or the published model of that name), ready to be used, with its tokenizer.

    A classifier is opened as a `Classifier`, a model that guesses tokens as what was pretrained, and a lone encoder as a
    `SentenceEncoder`. Like all functions here that open a folder, it notes which weights in the file it has no use for.
    Raises InputError, in one sentence, for whatever is wrong with the folder.
    """
    if is_adapter(name):
        return open_classifier(name, note)
    path, entries, architecture, _ = described(name)
    if head_in(path, entries, architecture) is not None:
        return open_classifier(name, note)
    found = architecture.renamed(header_of(weights_file(path)))
    return (open_pretraining if architecture.guesses_tokens(entries, found) else open_encoder)(name, note)


def open_encoder(name: Path | str, note: Note = unheard) -> LoadedModel:
    """An encoder without the heads that stand on it, but with its pooler, if it has one.

    How it turns a text into a vector is what the files of `sentence-transformers` say, if there are any.
    """
    path, _, architecture, config = described(name)
    found = architecture.renamed(header_of(weights_file(path)))
    with_pooler = any(name.endswith("pooler.dense.weight") for name in found)
    folder = folder_of(path)
    settings = read_settings(folder, getattr(config, "max_length", None))
    # the weights of dense layers lie in files of their own, so the encoder is filled first, without them
    loaded = opened(
        path, architecture, config, lambda: SentenceEncoder(architecture.build_encoder(config), with_pooler), note=note
    )
    try:
        model = SentenceEncoder(loaded.model.encoder, False, settings)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None
    model.pooler = loaded.model.pooler
    load_layers(model, folder)
    return replace(
        loaded,
        model=model.eval(),
        tokenizer=lowercased(loaded.tokenizer) if settings.lowercase else loaded.tokenizer,
    )


def open_pretraining(name: Path | str, note: Note = unheard) -> LoadedModel:
    """The whole pretrained model, which guesses tokens.

    If the folder holds a BERT that never learned next sentence, that head stays as drawn, and `lacking` names it.
    Raises InputError, as `open_model` does, and also for a folder that holds another kind of model.
    """
    path, entries, architecture, config = described(name)
    if not architecture.guesses_tokens(entries, architecture.renamed(header_of(weights_file(path)))):
        raise InputError(f"{name} guesses no masked words: name a folder that `minilm pretrain` wrote.")
    return opened(
        path, architecture, config, lambda: architecture.build_pretraining(config), architecture.optional_heads, note
    )


def open_classifier(name: Path | str, note: Note = unheard, base: Path | str | None = None) -> LoadedModel:
    """A model that was fine-tuned, here or in `transformers`, for texts or for tokens; or an adapter, with its base.

    `base` is where the base of an adapter lies, if it was moved.
    Raises InputError, as `open_model` does, and also for a folder that holds no classifier, and an adapter for another base.
    """
    if is_adapter(name):
        return open_adapter(read_adapter(Path(name)), note, base)
    if base is not None:
        raise InputError(f"--base is for adapters, and {name} is a whole model: leave it out.")
    path, entries, architecture, config = described(name)
    head = head_in(path, entries, architecture, note)
    if head is None:
        raise InputError(f"{name} holds no classifier: fine-tune it first (minilm finetune --model {name} …).")
    return opened(path, architecture, config, lambda: Classifier(architecture.build_encoder(config), head), note=note)


def open_adapter(adapter: AdapterFile, note: Note = unheard, base: Path | str | None = None) -> LoadedModel:
    """An adapter on its base. Raises InputError if the base is missing or another one, or if the weights do not fit it."""
    found = adapter.find_base(base)
    if isinstance(adapter.head, VerbaliserConfig):
        loaded = open_pretraining(found, note)
        tokenizer = loaded.tokenizer
        model: nn.Module = Verbaliser(loaded.model, adapter.head, word_ids(adapter.head, tokenizer), tokenizer.mask)
    else:
        architecture, config = encoder_config(found)
        tokenizer = tokenizer_for(config, found)
        model = Classifier(architecture.build_encoder(config), adapter.head)
        load_encoder(model, found, note)
    adapt(model, adapter.adaptation, torch.Generator(), adapter.ranks)
    weights, expected = adapter.weights(), trained_weights(model)
    wrong = [name for name in expected if name not in weights or weights[name].shape != expected[name].shape]
    if wrong := [*wrong, *(weights.keys() - expected.keys())]:
        raise InputError(f"{adapter.folder}: the trained weights do not fit the base: {listed(sorted(wrong))}.")
    with torch.no_grad():
        for name, parameter in expected.items():
            parameter.copy_(weights[name])
    return LoadedModel(model.eval(), tokenizer, adapter.folder)


def head_in(path: Path, entries: dict, architecture: Architecture, note: Note = unheard) -> HeadConfig | None:
    """The head of the classifier in a folder, or None if there is no classifier."""
    where = str(path / "config.json")
    if (head := architecture.read_head(entries, where)) is not None:
        return head
    return architecture.guess_head(entries, header_of(weights_file(path)), where, note)


def opened(
    path: Path, architecture: Architecture, config, build, may_lack: tuple[str, ...] = (), note: Note = unheard
) -> LoadedModel:
    """Build a model and fill it. Heads in `may_lack` (by their names in the file) stay as drawn if the file has none."""
    tokenizer = tokenizer_for(config, path)
    fit = tensors_for(path, architecture, config, build, may_lack)
    if fit.file.name == EIGHT_BIT:
        model = build()
        lacking = fill_eight_bit(model, path, architecture, fit.file, fit.used, may_lack)
    else:
        weights = read_weights(path, architecture, fit)
        model = build()
        lacking = load_weights(model, weights, str(path), HEADS if may_lack else ())
    note_unused(path, architecture, fit, note)
    return LoadedModel(model.eval(), tokenizer, path, tuple(lacking), fit.unused)


def note_unused(path: Path, architecture: Architecture, fit: Fit, note: Note) -> None:
    """Say which weights in the file belong to nothing that minilm knows. (That an encoder is used without the head that it
    was trained with is what the caller asked for.)"""
    if strange := architecture.strange(fit.unused):
        these = "a weight that is" if len(strange) == 1 else f"{len(strange)} weights that are"
        note(f"{path} holds {these} not used here: {listed(strange)}.")


def encoder_config(name: Path | str):
    """The adapter and the config of a pretrained encoder. Raises InputError if its weights do not have this config's shapes."""
    path, _, architecture, config = described(name)
    tensors_for(path, architecture, config, lambda: SentenceEncoder(architecture.build_encoder(config), False))
    return architecture, config


def load_encoder(model: Classifier, name: Path | str, note: Note = unheard) -> tuple[str, ...]:
    """Copy a pretrained encoder (and its pooler, if the model has one) into a classifier; its head stays as drawn.

    The head of a model that was fine-tuned before is not copied either, because its rows stand for other labels. Returns the
    names that stay as drawn. Raises InputError if anything else does not fit.
    """
    path, entries, architecture, _ = described(name)
    file = weights_file(path)
    own = {name: tensor for name, tensor in weights_of(model).items() if not name.startswith(("head.", "crf."))}
    fit = fit_of(file, architecture, architecture.write_names(own), architecture.renamed(header_of(file)))
    weights = read_weights(path, architecture, fit)
    note_unused(path, architecture, fit, note)
    for remark in architecture.remarks(entries):
        note(f"{path}: {remark}")
    return tuple(load_weights(model, weights, str(path), may_lack=("head.", "crf.", "pooler.")))


def save_model(folder: Path, model: nn.Module, tokenizer: Tokenizer) -> None:
    """Write a model of any architecture with its tokenizer, so that `open_model` opens it again.

    Raises InputError for an encoder that is part of no model: wrap it in a `SentenceEncoder`.
    """
    architecture = architecture_of(model)
    if not hasattr(model, "encoder"):
        raise InputError(f"a lone {type(model).__name__} is not saved: wrap it in a SentenceEncoder.")
    save_folder(folder, architecture, model, tokenizer)
