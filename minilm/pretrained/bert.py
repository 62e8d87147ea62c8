"""BERT's adapter: our weights under the names that `transformers` uses, and theirs under ours.

A run folder is written in the layout of `transformers`, so that it opens there as it is, and what others published in
that layout opens here:

    config.json          the shape of the model, with BERT's keys
    model.safetensors    the weights, with BERT's names
    tokenizer.json       the vocabulary (or vocab.txt, one token per line)

Read `NAMES` from top to bottom: it is BERT, part by part.
"""

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.models.bert import Bert, BertForPretraining
from minilm.models.bert_start import reserved
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, HeadConfig, TextHeadConfig, TokenHeadConfig
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.pretrained.architecture import Architecture

# theirs → ours; {n} is the number of a layer, {p} is weight or bias
NAMES = {
    "bert.embeddings.word_embeddings.weight": "encoder.embeddings.tokens.weight",
    "bert.embeddings.position_embeddings.weight": "encoder.embeddings.positions.weight",
    "bert.embeddings.token_type_embeddings.weight": "encoder.embeddings.token_types.weight",
    "bert.embeddings.LayerNorm.weight": "encoder.embeddings.norm.gain",
    "bert.embeddings.LayerNorm.bias": "encoder.embeddings.norm.bias",
    # query, key and value are one product here and three there: see `split_qkv` and `join_qkv`
    "bert.encoder.layer.{n}.attention.self.query.{p}": "encoder.stack.layers.{n}.attention.to_qkv.{p}[0]",
    "bert.encoder.layer.{n}.attention.self.key.{p}": "encoder.stack.layers.{n}.attention.to_qkv.{p}[1]",
    "bert.encoder.layer.{n}.attention.self.value.{p}": "encoder.stack.layers.{n}.attention.to_qkv.{p}[2]",
    "bert.encoder.layer.{n}.attention.output.dense.{p}": "encoder.stack.layers.{n}.attention.output.{p}",
    "bert.encoder.layer.{n}.attention.output.LayerNorm.weight": "encoder.stack.layers.{n}.attention_norm.gain",
    "bert.encoder.layer.{n}.attention.output.LayerNorm.bias": "encoder.stack.layers.{n}.attention_norm.bias",
    "bert.encoder.layer.{n}.intermediate.dense.{p}": "encoder.stack.layers.{n}.feed_forward.inner.{p}",
    "bert.encoder.layer.{n}.output.dense.{p}": "encoder.stack.layers.{n}.feed_forward.outer.{p}",
    "bert.encoder.layer.{n}.output.LayerNorm.weight": "encoder.stack.layers.{n}.feed_forward_norm.gain",
    "bert.encoder.layer.{n}.output.LayerNorm.bias": "encoder.stack.layers.{n}.feed_forward_norm.bias",
    "bert.pooler.dense.{p}": "pooler.dense.{p}",
    "cls.predictions.transform.dense.{p}": "mlm_head.dense.{p}",
    "cls.predictions.transform.LayerNorm.weight": "mlm_head.norm.gain",
    "cls.predictions.transform.LayerNorm.bias": "mlm_head.norm.bias",
    "cls.predictions.bias": "mlm_head.bias",
    "cls.seq_relationship.{p}": "nsp_head.{p}",
    "classifier.{p}": "head.{p}",
}
# In files of `transformers` the output matrix and its bias may appear a second time; both are the tensors named here.
REPEATED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
POSITION_IDS = "bert.embeddings.position_ids"  # 0, 1, 2 … in older files: nothing that was learned
OLD = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}  # as TensorFlow called them
ENCODER = ("embeddings.", "encoder.", "pooler.")  # how names begin if the encoder was published alone
# What stands on the encoder. Some models have it and others do not.
HEADS = ("bert.pooler.", "cls.predictions.", "cls.seq_relationship.", "classifier.")

# our field → the key in config.json
CONFIG_KEYS = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
    "max_length": "max_position_embeddings",
    "token_types": "type_vocab_size",
    "dropout": "hidden_dropout_prob",
    "activation": "hidden_act",
    "epsilon": "layer_norm_eps",
    "pad_id": "pad_token_id",
}
SIZES = ("vocab_size", "width", "layers", "heads", "feed_forward", "max_length", "token_types")
# A value that a file leaves out has the default of `transformers`, not ours. Sizes have no default: every file states them.
DEFAULTS = {"token_types": 2, "dropout": 0.1, "activation": "gelu", "epsilon": 1e-12, "pad_id": 0}
LARGEST = 10_000_000  # no model is larger, so a larger size is a slip
SAME_ACTIVATION = {"gelu_pytorch_tanh": "gelu_new", "gelu_python": "gelu"}
# Keys that change the numbers and are not implemented here: only this value is accepted.
ONLY = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "is_encoder_decoder": False,
    "add_cross_attention": False,
    "pruned_heads": {},
    "quantization_config": None,
}
HEADED: dict[str, type[HeadConfig]] = {
    "BertForSequenceClassification": TextHeadConfig,
    "BertForTokenClassification": TokenHeadConfig,
}


def hf_config(config: TransformerConfig, architecture: str, **extra) -> dict:
    """`config.json` as `transformers` reads it. As it has no pre-norm BERT, a pre-norm model gets a type of its own."""
    theirs = {
        "architectures": [architecture],
        "model_type": "bert" if config.norm == "post" else "minilm-bert-prenorm",
        **{key: getattr(config, field) for field, key in CONFIG_KEYS.items()},
        "attention_probs_dropout_prob": config.dropout,
        "position_embedding_type": "absolute",
        "minilm_positions": config.positions,
    }
    return theirs | extra


def config_from_hf(theirs: dict, where: str = "config.json") -> TransformerConfig:
    """The shape of the model from a `config.json`. Raises InputError for what is wrong, or is not implemented here."""
    kind = theirs.get("model_type", "bert")  # the oldest files have none
    if kind not in ("bert", "minilm-bert-prenorm"):
        raise InputError(f"{where}: model_type {kind!r} is not one that minilm opens (bert, minilm-lstm).")
    for key, only in ONLY.items():
        if theirs.get(key, only) != only:
            raise InputError(f"{where}: {key} {theirs[key]!r} is not implemented.")
    if lacking := [key for field, key in CONFIG_KEYS.items() if field not in DEFAULTS and key not in theirs]:
        raise InputError(f"{where} does not describe a BERT: it lacks {', '.join(lacking)}.")
    fields = {field: theirs.get(key, DEFAULTS.get(field)) for field, key in CONFIG_KEYS.items()}
    for field in SIZES:
        if type(fields[field]) is not int or not 1 <= fields[field] <= LARGEST:
            raise InputError(f"{where} does not describe a BERT: {CONFIG_KEYS[field]} {fields[field]!r} is not a size.")
    for field in ("dropout", "epsilon"):
        if not isinstance(fields[field], int | float) or not 0 <= fields[field] < 1:
            raise InputError(
                f"{where} does not describe a BERT: {CONFIG_KEYS[field]} {fields[field]!r} is not in [0, 1)."
            )
    if theirs.get("attention_probs_dropout_prob", fields["dropout"]) != fields["dropout"]:
        raise InputError(
            f"{where}: attention_probs_dropout_prob differs from hidden_dropout_prob, and minilm has one dropout "
            "for both; they matter in training only, so make them the same."
        )
    activation = str(fields["activation"])
    fields |= {
        "activation": SAME_ACTIVATION.get(activation, activation),
        "pad_id": fields["pad_id"] if type(fields["pad_id"]) is int else 0,
    }
    order = {"norm": "post" if kind == "bert" else "pre", "positions": str(theirs.get("minilm_positions", "learned"))}
    try:
        return TransformerConfig(**fields | order)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def hf_head(head: HeadConfig) -> tuple[str, dict]:
    """The class of `transformers` that has this head, and what `config.json` says about its labels."""
    names = {str(i): label for i, label in enumerate(head.labels)}
    extra = {"id2label": names, "label2id": {label: int(i) for i, label in names.items()}}
    architecture = next(name for name, kind in HEADED.items() if isinstance(head, kind))
    if isinstance(head, TextHeadConfig) and head.pooling != "cls":
        architecture = "BertModel"  # no class there has a head on the mean: the encoder opens, the head is ours
    return architecture, extra | {"classifier_dropout": head.dropout}


def head_from_hf(entries: dict, where: str = "config.json") -> HeadConfig | None:
    """The head that a `config.json` of `transformers` describes; None if there is none.

    Raises InputError for a head that predicts numbers or several labels at once, because none of ours does.
    """
    try:
        kind = HEADED.get((entries.get("architectures") or [""])[0])
        if kind is None:
            return None
        if (problem := entries.get("problem_type")) not in (None, "single_label_classification"):
            raise InputError(f"{where}: problem_type {problem!r} is not implemented.")
        names = entries.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})  # two labels without a name are left out
        labels = tuple(str(names[key]) for key in sorted(names, key=int))
        dropout = entries.get("classifier_dropout")
        dropout = entries.get(CONFIG_KEYS["dropout"], DEFAULTS["dropout"]) if dropout is None else dropout
        return kind(labels, dropout) if kind is TokenHeadConfig else TextHeadConfig(labels, dropout, "cls")
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where} does not describe a classifier: {error!r}.") from None


def sentence_settings(width: int, max_length: int) -> dict[str, dict | list]:
    """The files that tell `sentence-transformers` how tokens become one vector: their mean, scaled to length 1."""
    names = ("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")
    return {
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(names)
        ],
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True},
    }


def modern(name: str) -> str:
    """A name of `transformers` as it is today: with `bert.` in front, and a norm's vectors called weight and bias."""
    name = f"bert.{name}" if name.startswith(ENCODER) else name
    for old, new in OLD.items():
        name = f"{name.removesuffix(old)}{new}" if name.endswith(old) else name
    return name


def to_hf_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under the names of `transformers`. A tensor without a name there gets "minilm." in front of ours."""
    out, table = {}, {ours: theirs for theirs, ours in NAMES.items()}
    for name, tensor in split_qkv(weights).items():
        out[translate(name, table) or f"minilm.{name}"] = tensor.contiguous()
    return out


def from_hf_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file of `transformers` under our names.

    Raises InputError for tensors that have no counterpart here (one message names them all), and for an output matrix that
    is not the embedding table: it would be left out, and the model would score every token wrongly.
    """
    out, unknown = {}, []
    weights = renamed(weights)
    for name, tensor in weights.items():
        if name in REPEATED:
            if not torch.equal(tensor, weights.get(REPEATED[name], tensor)):
                raise InputError(f"{name} is a tensor of its own; a model of minilm shares it with {REPEATED[name]}.")
            continue
        translated = name.removeprefix("minilm.") if name.startswith("minilm.") else translate(name, NAMES)
        if translated is None:
            unknown.append(name)
        else:
            out[translated] = tensor
    if unknown:
        raise InputError(f"the weights hold tensors that minilm does not know: {', '.join(sorted(unknown))}.")
    return join_qkv(out)


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under today's names, without the position numbers of older files.

    Raises InputError if a file holds one tensor under an old and a new name.
    """
    out = {modern(name): tensor for name, tensor in weights.items()}
    if len(out) < len(weights):
        twice = sorted(name for name in weights if name != modern(name) and modern(name) in weights)
        raise InputError(f"the weights hold one tensor under two names: {', '.join(twice)}.")
    out.pop(POSITION_IDS, None)
    return out


def misfits(expected: dict[str, Tensor], found: dict[str, Tensor], may_lack: tuple[str, ...] = ()) -> Iterator[str]:
    """Everything that keeps the tensors of a file from filling a model: missing, of another shape, unknown.

    A head that the model lacks is not a fault. One that the file lacks is not a fault if it is in `may_lack` and is
    missing as a whole.
    """
    absent = tuple(head for head in may_lack if not any(name.startswith(head) for name in found))
    missing = [name for name in expected if name not in found and not name.startswith(absent)]
    wrong = [name for name in expected if name in found and expected[name].shape != found[name].shape]
    heads = [name for name in found if name in REPEATED or (name.startswith(HEADS) and translate(name, NAMES))]
    unknown = sorted(found.keys() - expected.keys() - set(heads))
    if missing:
        yield f"missing {', '.join(missing)}"
    for name in wrong:
        yield f"{name} is {list(found[name].shape)} and should be {list(expected[name].shape)}"
    if unknown:
        yield f"unknown {', '.join(unknown)}"


def translate(name: str, table: dict[str, str]) -> str | None:
    """What `name` becomes by the one row of the table that fits it; None if no row does."""
    for left, right in table.items():
        pattern = re.escape(left).replace(r"\{n\}", r"(?P<n>\d+)").replace(r"\{p\}", "(?P<p>weight|bias)")
        if found := re.fullmatch(pattern, name):
            return right.format(**found.groupdict())
    return None


def split_qkv(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`to_qkv.weight` [3C, C] → `to_qkv.weight[0]`, `[1]`, `[2]`, each [C, C]; the bias likewise."""
    out: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        parts = tensor.chunk(3) if ".to_qkv." in name else None
        out |= {name: tensor} if parts is None else {f"{name}[{i}]": part for i, part in enumerate(parts)}
    return out


def join_qkv(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo `split_qkv`. Raises InputError if one of the three parts is missing."""
    out = {name: tensor for name, tensor in weights.items() if "[" not in name}
    for name in {name[:-3] for name in weights if "[" in name}:
        parts = [weights[part] for part in (f"{name}[{i}]" for i in range(3)) if part in weights]
        if len(parts) < 3:
            raise InputError(f"query, key and value must come together; one of them is missing for {name}.")
        out[name] = torch.cat(parts)
    return out


class BertArchitecture(Architecture):
    """BERT in the layout of `transformers`. An encoder without a task opens in `sentence-transformers` as well."""

    name, model_type = "bert", "bert"
    config_class, encoder_class, pretraining_class = TransformerConfig, Bert, BertForPretraining
    objective = "bert"
    optional_heads = ("bert.pooler.", "cls.seq_relationship.")

    def matches(self, entries: dict) -> bool:
        return entries.get("model_type", "bert") in ("bert", "minilm-bert-prenorm")  # the oldest files have none

    def read_config(self, entries: dict, where: str = "config.json") -> TransformerConfig:
        return config_from_hf(entries, where)

    def write_config(self, model: nn.Module) -> dict:
        config: Any = model.config
        architecture = "BertForPreTraining"
        extra: dict[str, Any] = {}
        if isinstance(model, Classifier):
            architecture, extra = hf_head(model.head_config)
        elif isinstance(model, SentenceEncoder):
            architecture = "BertModel"
        return hf_config(config, architecture, **extra) | self.write_head(model)

    def read_head(self, entries: dict, where: str = "config.json") -> HeadConfig | None:
        return super().read_head(entries, where) or head_from_hf(entries, where)

    def other_files(self, model: nn.Module) -> dict[str, dict | list]:
        if not isinstance(model, SentenceEncoder):
            return {}
        config: Any = model.config
        return sentence_settings(config.width, config.max_length)

    def write_names(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return to_hf_names(weights)

    def read_names(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return from_hf_names(weights)

    def renamed(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return renamed(weights)

    def misfits(
        self, expected: dict[str, Tensor], found: dict[str, Tensor], may_lack: tuple[str, ...] = ()
    ) -> Iterator[str]:
        return misfits(expected, found, may_lack)

    def guesses_tokens(self, entries: dict, found: dict[str, Tensor]) -> bool:
        return "cls.predictions.transform.dense.weight" in found

    def vector_size(self, config: TransformerConfig, scheme: str) -> int:
        """As wide as the embeddings, without the features that "neighbours" keeps for positions and segments."""
        return config.width - (sum(reserved(config.width, config.heads)) if scheme == "neighbours" else 0)


ARCHITECTURE = BertArchitecture()
