"""Run folders: a model with its tokenizer, written in the layout of `transformers` and opened again.

config.json  model.safetensors  tokenizer.json  tokenizer_config.json
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from minilm.errors import InputError
from minilm.huggingface import (
    misfits,
    our_config,
    our_head,
    renamed,
    sentence_settings,
    their_config,
    their_head,
    to_ours,
    to_theirs,
)
from minilm.models.bert import BertClassifier, BertConfig, BertForPretraining
from minilm.models.lstm import MODEL_TYPE as LSTM_TYPE, LSTMClassifier, LSTMConfig, LSTMTagger
from minilm.models.text_encoder import TextEncoder
from minilm.published import locate
from minilm.tensorfile import header_of, read_config, read_safetensors, weights_file
from minilm.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from minilm.training.checkpoint import HEADS, load_weights, weights_of, write_json, write_tensors, write_text


@dataclass(frozen=True)
class Opened:
    """A model from a folder, ready to be used: in evaluation mode, with the tokenizer that it was trained with."""

    model: nn.Module
    tokenizer: Tokenizer
    folder: Path
    lacking: tuple[str, ...] = ()  # names of weights that the folder does not hold; they are as drawn

    @property
    def max_length(self) -> int | None:
        """The longest input, with special tokens; None: any length."""
        return getattr(self.model.config, "max_length", None)


def save_bert(folder: Path, model: BertForPretraining | BertClassifier | TextEncoder, tokenizer: Tokenizer) -> None:
    """Write a BERT with its head so that MiniLM and `transformers` open it; an encoder, `sentence-transformers` too."""
    architecture, extra, weights = "BertForPreTraining", {}, to_theirs(weights_of(model))
    if isinstance(model, BertClassifier):
        architecture, extra = their_head(model.head_config)
    if isinstance(model, TextEncoder):
        architecture = "BertModel"  # and there is no `bert.` before its names, since nothing stands on it
        weights = {name.removeprefix("bert."): tensor for name, tensor in weights.items()}
    write_folder(folder, their_config(model.config, architecture, **extra), weights, tokenizer)
    if isinstance(model, TextEncoder):
        for path, content in sentence_settings(model.config.width, model.config.max_length).items():
            (folder / path).parent.mkdir(exist_ok=True)
            write_json(folder / path, content)


def save_lstm(folder: Path, model: LSTMClassifier | LSTMTagger, labels: tuple[str, ...], tokenizer: Tokenizer) -> None:
    """The same for an LSTM, whose weights have no names but ours."""
    config = model.config.to_json() | {"architectures": [type(model).__name__], "labels": list(labels)}
    write_folder(folder, config, weights_of(model), tokenizer)


def write_folder(folder: Path, config: dict, weights: dict, tokenizer: Tokenizer) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "tokenizer.json", tokenizer.to_json())
    tokens = {token.strip("[]").lower() + "_token": token for token in SPECIAL_TOKENS}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]  # without it a pair would get no segments there
    facts = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": inputs}
    write_json(folder / "tokenizer_config.json", facts | tokens)
    write_tensors(folder / "model.safetensors", weights)
    write_json(folder / "config.json", config)


class ShapesAlone(TorchFunctionMode):
    """Nothing is drawn while a model is built. (On "meta" there are no numbers to draw, but asking for them loads a
    compiler that takes longer than all the rest.)"""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_):
            return kwargs["tensor"]
        return args[0] if function in (Tensor.normal_, Tensor.uniform_) else function(*args, **(kwargs or {}))


def tensors_for(
    path: Path, config: BertConfig | LSTMConfig, build: Callable[[], nn.Module], may_lack: tuple[str, ...] = ()
) -> Path:
    """The file with a model's weights, once its header has been found to fit what `build` makes, and nothing before.

    The model is built on the device "meta" for that, where tensors have a shape and no memory: a config that is wrong by
    a factor of a million costs nothing. All that does not fit stands in one message.
    """
    file = weights_file(path)
    found = header_of(file)
    if config.layers > len(found):
        raise InputError(f"{path}: config.json says {config.layers:,} layers, and there are {len(found)} tensors.")
    try:
        with torch.device("meta"), ShapesAlone():
            expected = weights_of(build())
    except RuntimeError as error:  # more numbers than can be counted
        raise InputError(f"{path}: config.json describes no model that could be: {error}.") from None
    if isinstance(config, BertConfig):
        expected, found = to_theirs(expected), renamed(found)
    if problems := list(misfits(expected, found, may_lack)):
        raise InputError(f"the weights of {path} do not fit its config.json: {'; '.join(problems)}.")
    return file


def opened(path: Path, config: BertConfig, build: Callable[[], nn.Module], may_lack: tuple[str, ...] = ()) -> Opened:
    """Build a BERT and fill it. Heads in `may_lack` (by their names there) stay as drawn if the file has none."""
    tokenizer = tokenizer_for(config, path)
    weights = to_ours(read_safetensors(tensors_for(path, config, build, may_lack)))
    model = build()
    lacking = load_weights(model, weights, str(path), HEADS if may_lack else ())
    return Opened(model.eval(), tokenizer, path, tuple(lacking))


def open_encoder(name: Path | str) -> Opened:
    """A BERT without its heads, whichever it has; with its pooler, if it has one."""
    path = locate(name)
    config = bert_config(path)
    with_pooler = any(name.startswith("bert.pooler.") for name in renamed(header_of(weights_file(path))))
    return opened(path, config, lambda: TextEncoder(config, with_pooler))


def open_pretraining(name: Path | str) -> Opened:
    """A BERT that guesses masked words. Where next sentence was never learnt, its head is as drawn, and `lacking`."""
    path = locate(name)
    config = bert_config(path)
    if "cls.predictions.transform.dense.weight" not in renamed(header_of(weights_file(path))):
        raise InputError(f"{name} guesses no masked words: name a folder that `minilm pretrain` wrote.")
    return opened(path, config, lambda: BertForPretraining(config), ("bert.pooler.", "cls.seq_relationship."))


def tokenizer_for(config: BertConfig | LSTMConfig, path: Path | str) -> Tokenizer:
    """The folder's tokenizer. One of another model would give ids that the embedding table does not have."""
    path = locate(path)
    folder = path.parent if path.suffix == ".safetensors" else path
    tokenizer = Tokenizer.load(folder)
    if tokenizer.size > config.vocab_size:
        raise InputError(
            f"{folder}: the tokenizer has {tokenizer.size:,} tokens and the model {config.vocab_size:,}; they do not "
            "belong together."
        )
    return tokenizer


def open_classifier(name: Path | str) -> Opened:
    """A model that was fine-tuned, here or in `transformers`: BERT or LSTM, for texts or for words."""
    path = locate(name)
    theirs = read_config(path)
    if theirs.get("model_type") == LSTM_TYPE:
        return open_lstm(path, theirs)
    config, head = bert_config(path), our_head(theirs, str(path / "config.json"))
    if head is None:
        raise InputError(f"{name} holds no classifier: fine-tune it first (minilm finetune --model {name} …).")
    found = opened(path, config, lambda: BertClassifier(config, head))
    found.model.labels = head.labels
    return found


def open_lstm(path: Path, ours: dict) -> Opened:
    try:
        model_class = {"LSTMClassifier": LSTMClassifier, "LSTMTagger": LSTMTagger}[ours["architectures"][0]]
        config, labels = LSTMConfig.from_json(ours), tuple(ours["labels"])
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path / 'config.json'} does not describe a classifier: {error!r}.") from None
    if len(labels) != config.classes:
        raise InputError(f"config.json names {len(labels)} labels for a model of {config.classes} classes.")
    file = tensors_for(path, config, lambda: model_class(config))
    model = model_class(config)
    model.labels = labels
    load_weights(model, read_safetensors(file), str(path))
    return Opened(model.eval(), tokenizer_for(config, path), path)


def encoder_into(model: BertClassifier, path: Path | str) -> tuple[str, ...]:
    """Copy a pretrained encoder (and its pooler, if the model has one) into a classifier; its head stays as drawn.

    So does the head of a model that was fine-tuned before: its rows stand for other labels.
    """
    path = locate(path)
    weights = to_ours(read_safetensors(weights_file(path)))
    weights = {name: tensor for name, tensor in weights.items() if not name.startswith("head.")}
    missing = load_weights(model, weights, str(path), may_lack=("head.", "pooler."))
    return tuple(missing)


def bert_config(path: Path | str) -> BertConfig:
    """The shape of a BERT, which has been found to be that of its weights too."""
    path = locate(path)
    theirs = read_config(path)
    if theirs.get("model_type") == LSTM_TYPE:
        raise InputError(f"{path} holds an LSTM, and this needs a BERT: name a folder that `minilm pretrain` wrote.")
    config = our_config(theirs, str(path / "config.json"))
    tensors_for(path, config, lambda: TextEncoder(config, with_pooler=False))
    return config


def refuse_to_overwrite(out: Path) -> None:
    """A model is never written over another one, nor over a part of one that is not ours.

    A run that ended before its model was whole leaves a tokenizer beside its metrics: that is begun again.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: give --out the name of a folder.")
    theirs = ["model.safetensors", "pytorch_model.bin", "config.json"]
    if not (out / "metrics.jsonl").exists():
        theirs += ["tokenizer.json", "tokenizer_config.json"]
    if found := [name for name in theirs if (out / name).exists()]:
        raise InputError(f"{out} holds a model already ({found[0]}): choose another --out, or move that one away.")


def tensorboard_writer(folder: Path, wanted: bool):
    """A function that writes one measurement for TensorBoard, or does nothing."""
    if not wanted:
        return lambda measured: None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("--tensorboard needs the package tensorboard: pip install 'minilm[tensorboard]'") from None
    writer = SummaryWriter(str(folder / "tensorboard"))

    def write(measured: dict[str, float]) -> None:
        for name in measured.keys() - {"step"}:
            writer.add_scalar(name, measured[name], measured["step"])
        writer.flush()

    return write
