"""The bridge: our weights under the names that the rest of the world uses, and theirs under ours.

A run folder is written in the layout of `transformers`, so that it opens there as it is:

    config.json          the shape of the model, with BERT's keys
    model.safetensors    the weights, with BERT's names
    tokenizer.json       the vocabulary

Read `NAMES` from top to bottom: it is BERT, part by part.
"""

import json
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from minilm.errors import InputError
from minilm.models.bert import BertConfig

# theirs → ours; {n} is the number of a layer, {p} is weight or bias
NAMES = {
    "bert.embeddings.word_embeddings.weight": "bert.embeddings.words.weight",
    "bert.embeddings.position_embeddings.weight": "bert.embeddings.positions.weight",
    "bert.embeddings.token_type_embeddings.weight": "bert.embeddings.types.weight",
    "bert.embeddings.LayerNorm.weight": "bert.embeddings.norm.gain",
    "bert.embeddings.LayerNorm.bias": "bert.embeddings.norm.bias",
    # query, key and value are one product here and three there: see `split_qkv` and `join_qkv`
    "bert.encoder.layer.{n}.attention.self.query.{p}": "bert.encoder.layers.{n}.attention.to_qkv.{p}[0]",
    "bert.encoder.layer.{n}.attention.self.key.{p}": "bert.encoder.layers.{n}.attention.to_qkv.{p}[1]",
    "bert.encoder.layer.{n}.attention.self.value.{p}": "bert.encoder.layers.{n}.attention.to_qkv.{p}[2]",
    "bert.encoder.layer.{n}.attention.output.dense.{p}": "bert.encoder.layers.{n}.attention.output.{p}",
    "bert.encoder.layer.{n}.attention.output.LayerNorm.weight": "bert.encoder.layers.{n}.attention_norm.gain",
    "bert.encoder.layer.{n}.attention.output.LayerNorm.bias": "bert.encoder.layers.{n}.attention_norm.bias",
    "bert.encoder.layer.{n}.intermediate.dense.{p}": "bert.encoder.layers.{n}.feed_forward.inner.{p}",
    "bert.encoder.layer.{n}.output.dense.{p}": "bert.encoder.layers.{n}.feed_forward.outer.{p}",
    "bert.encoder.layer.{n}.output.LayerNorm.weight": "bert.encoder.layers.{n}.feed_forward_norm.gain",
    "bert.encoder.layer.{n}.output.LayerNorm.bias": "bert.encoder.layers.{n}.feed_forward_norm.bias",
    "bert.pooler.dense.{p}": "pooler.dense.{p}",
    "cls.predictions.transform.dense.{p}": "masked_words.dense.{p}",
    "cls.predictions.transform.LayerNorm.weight": "masked_words.norm.gain",
    "cls.predictions.transform.LayerNorm.bias": "masked_words.norm.bias",
    "cls.predictions.bias": "masked_words.bias",
    "cls.seq_relationship.{p}": "next_sentence.{p}",
    "classifier.{p}": "head.{p}",
}
# In their files the output matrix and its bias may stand a second time; both are the tensors named here.
REPEATED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
COUNTED = "bert.embeddings.position_ids"  # 0, 1, 2 … in older files: nothing that was learnt

# our field → their key
CONFIG_KEYS = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
    "max_length": "max_position_embeddings",
    "types": "type_vocab_size",
    "dropout": "hidden_dropout_prob",
    "activation": "hidden_act",
    "epsilon": "layer_norm_eps",
    "pad_id": "pad_token_id",
}


def their_config(config: BertConfig, architecture: str, **extra) -> dict:
    """`config.json` as `transformers` reads it. A pre-norm model is none that it knows, and says so by its type."""
    theirs = {
        "architectures": [architecture],
        "model_type": "bert" if config.norm == "post" else "minilm-bert-prenorm",
        **{key: getattr(config, field) for field, key in CONFIG_KEYS.items()},
        "attention_probs_dropout_prob": config.dropout,
        "position_embedding_type": "absolute",
        "minilm_positions": config.positions,
    }
    return theirs | extra


def our_config(theirs: dict, where: str = "config.json") -> BertConfig:
    """The shape of the model from a `config.json`. What MiniLM does not implement is refused by name."""
    kind = theirs.get("model_type")
    if kind not in ("bert", "minilm-bert-prenorm"):
        raise InputError(f"{where}: model_type '{kind}' is not one that MiniLM opens (bert, minilm-lstm).")
    for key, only in {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}.items():
        if theirs.get(key, only) != only:
            raise InputError(f"{where}: {key} '{theirs[key]}' is not implemented.")
    fields = {field: theirs[key] for field, key in CONFIG_KEYS.items() if key in theirs}
    norm = "post" if kind == "bert" else "pre"
    try:
        return BertConfig(**fields, norm=norm, positions=theirs.get("minilm_positions", "learned"))
    except TypeError as error:
        raise InputError(f"{where} does not describe a BERT: {error}.") from None


def to_theirs(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict under their names."""
    out = {}
    for name, tensor in split_qkv(weights).items():
        translated = translate(name, {ours: theirs for theirs, ours in NAMES.items()})
        out[translated or f"minilm.{name}"] = tensor.contiguous()
    return out


def to_ours(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors under our names; what has no counterpart raises InputError, all of it in one message.

    So does an output matrix that is not the embedding table: without it, the model would score every word wrongly.
    """
    out, unknown = {}, []
    for name, tensor in weights.items():
        if name in REPEATED:
            if not torch.equal(tensor, weights.get(REPEATED[name], tensor)):
                raise InputError(f"{name} is a tensor of its own; a model of MiniLM shares it with {REPEATED[name]}.")
            continue
        if name == COUNTED:
            continue
        translated = name.removeprefix("minilm.") if name.startswith("minilm.") else translate(name, NAMES)
        if translated is None:
            unknown.append(name)
        else:
            out[translated] = tensor
    if unknown:
        raise InputError(f"the weights hold tensors that MiniLM does not know: {', '.join(sorted(unknown))}.")
    return join_qkv(out)


def translate(name: str, table: dict[str, str]) -> str | None:
    """`name` by the one row of the table that fits it, or None."""
    for left, right in table.items():
        pattern = re.escape(left).replace(r"\{n\}", r"(?P<n>\d+)").replace(r"\{p\}", "(?P<p>weight|bias)")
        if found := re.fullmatch(pattern, name):
            return right.format(**found.groupdict())
    return None


def split_qkv(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`to_qkv.weight` [3C, C] → `to_qkv.weight[0]`, `[1]`, `[2]`, each [C, C]; the bias likewise."""
    out = {}
    for name, tensor in weights.items():
        parts = tensor.chunk(3) if ".to_qkv." in name else None
        out |= {name: tensor} if parts is None else {f"{name}[{i}]": part for i, part in enumerate(parts)}
    return out


def join_qkv(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The way back from `split_qkv`."""
    out = {name: tensor for name, tensor in weights.items() if "[" not in name}
    for name in {name[:-3] for name in weights if "[" in name}:
        parts = [weights.get(f"{name}[{i}]") for i in range(3)]
        if any(part is None for part in parts):
            raise InputError(f"query, key and value must come together; one of them is missing for {name}.")
        out[name] = torch.cat(parts)
    return out


def read_weights(folder: Path) -> dict[str, Tensor]:
    """`model.safetensors` of a run folder, under our names."""
    return to_ours(read_safetensors(folder / "model.safetensors"))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path.parent} is not a run folder: it has no {path.name}.") from None
    except SafetensorError as error:
        raise InputError(f"{path} cannot be read as safetensors: {error}.") from None


def read_config(folder: Path) -> dict:
    """`config.json` of a run folder."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder} is not a run folder: it has no config.json.") from None
    except ValueError as error:
        raise InputError(f"{folder / 'config.json'} is not JSON: {error}.") from None
    if not isinstance(config, dict):
        raise InputError(f"{folder / 'config.json'} holds no settings: it must be one JSON object.")
    return config
