"""The bridge: our weights under the names that the rest of the world uses, and theirs under ours.

A run folder is written in the layout of `transformers`, so that it opens there as it is, and what others published in
that layout opens here:

    config.json          the shape of the model, with BERT's keys
    model.safetensors    the weights, with BERT's names
    tokenizer.json       the vocabulary (or vocab.txt, one token a line)

Read `NAMES` from top to bottom: it is BERT, part by part.
"""

import re
from collections.abc import Iterator

import torch
from torch import Tensor

from minilm.errors import InputError
from minilm.models.bert import BertConfig, HeadConfig

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
OLD = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}  # as TensorFlow called them
ENCODER = ("embeddings.", "encoder.", "pooler.")  # how names begin where the encoder was published alone
# What stands on the encoder. One model has it, the next does not.
HEADS = ("bert.pooler.", "cls.predictions.", "cls.seq_relationship.", "classifier.")

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
SIZES = ("vocab_size", "width", "layers", "heads", "feed_forward", "max_length", "types")
# What a file leaves out has their value, not ours. The sizes have none: a file that leaves them out describes nothing.
UNSAID = {"types": 2, "dropout": 0.1, "activation": "gelu", "epsilon": 1e-12, "pad_id": 0}
LARGEST = 10_000_000  # no model has a larger size, and a typing error has
SAME_ACTIVATION = {"gelu_pytorch_tanh": "gelu_new", "gelu_python": "gelu"}
# What changes the numbers and is not built here: only this value will do.
ONLY = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "is_encoder_decoder": False,
    "add_cross_attention": False,
    "pruned_heads": {},
    "quantization_config": None,
}
HEADED = {"BertForSequenceClassification": "text", "BertForTokenClassification": "token"}


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
    kind = theirs.get("model_type", "bert")  # the oldest files have none
    if kind not in ("bert", "minilm-bert-prenorm"):
        raise InputError(f"{where}: model_type {kind!r} is not one that MiniLM opens (bert, minilm-lstm).")
    for key, only in ONLY.items():
        if theirs.get(key, only) != only:
            raise InputError(f"{where}: {key} {theirs[key]!r} is not implemented.")
    if lacking := [key for field, key in CONFIG_KEYS.items() if field not in UNSAID and key not in theirs]:
        raise InputError(f"{where} does not describe a BERT: it lacks {', '.join(lacking)}.")
    fields = {field: theirs.get(key, UNSAID.get(field)) for field, key in CONFIG_KEYS.items()}
    for field in SIZES:
        if type(fields[field]) is not int or not 1 <= fields[field] <= LARGEST:
            raise InputError(f"{where} does not describe a BERT: {CONFIG_KEYS[field]} {fields[field]!r} is no size.")
    for field in ("dropout", "epsilon"):
        if not isinstance(fields[field], int | float) or not 0 <= fields[field] < 1:
            raise InputError(
                f"{where} does not describe a BERT: {CONFIG_KEYS[field]} {fields[field]!r} is not in [0, 1)."
            )
    if theirs.get("attention_probs_dropout_prob", fields["dropout"]) != fields["dropout"]:
        raise InputError(
            f"{where}: attention_probs_dropout_prob is another number than hidden_dropout_prob, and MiniLM has one "
            "dropout for both; they matter in training only, so make them the same."
        )
    activation = str(fields["activation"])
    fields |= {
        "activation": SAME_ACTIVATION.get(activation, activation),
        "pad_id": fields["pad_id"] if type(fields["pad_id"]) is int else 0,
    }
    order = {"norm": "post" if kind == "bert" else "pre", "positions": str(theirs.get("minilm_positions", "learned"))}
    try:
        return BertConfig(**fields | order)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def their_head(head: HeadConfig) -> tuple[str, dict]:
    """The class of `transformers` that has this head, and what `config.json` says of its labels."""
    names = {str(i): label for i, label in enumerate(head.labels)}
    extra = {"id2label": names, "label2id": {label: int(i) for i, label in names.items()}}
    # a head on the mean of the words has no class of its own there: the encoder opens, the head is ours
    architecture = next(name for name, task in HEADED.items() if task == head.task)
    if head.task == "text" and head.pooling == "mean":
        architecture = "BertModel"
    return architecture, extra | {"classifier_dropout": head.dropout, "minilm_head": vars(head)}


def our_head(theirs: dict, where: str = "config.json") -> HeadConfig | None:
    """The head that a `config.json` describes, ours or theirs; None if there is none.

    Raises InputError for a head that answers with numbers, or with several labels at once: none of MiniLM's does.
    """
    try:
        if "minilm_head" in theirs:
            head = theirs["minilm_head"]
            return HeadConfig(**head | {"labels": tuple(head["labels"])})
        task = HEADED.get((theirs.get("architectures") or [""])[0])
        if task is None:
            return None
        if (problem := theirs.get("problem_type")) not in (None, "single_label_classification"):
            raise InputError(f"{where}: problem_type {problem!r} is not implemented.")
        names = theirs.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})  # two labels without a name are left out
        labels = tuple(str(names[key]) for key in sorted(names, key=int))
        dropout = theirs.get("classifier_dropout")
        dropout = theirs.get(CONFIG_KEYS["dropout"], UNSAID["dropout"]) if dropout is None else dropout
        return HeadConfig(labels, task, "cls", dropout)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where} does not describe a classifier: {error!r}.") from None


def sentence_settings(width: int, max_length: int) -> dict[str, dict | list]:
    """The files that tell `sentence-transformers` how words become one vector: their mean, made as long as 1."""
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
    """One of their names as it is today: with `bert.` before it, and a norm's vectors called weight and bias."""
    name = f"bert.{name}" if name.startswith(ENCODER) else name
    for old, new in OLD.items():
        name = f"{name.removesuffix(old)}{new}" if name.endswith(old) else name
    return name


def to_theirs(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict under their names."""
    out, table = {}, {ours: theirs for theirs, ours in NAMES.items()}
    for name, tensor in split_qkv(weights).items():
        out[translate(name, table) or f"minilm.{name}"] = tensor.contiguous()
    return out


def to_ours(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors under our names; what has no counterpart raises InputError, all of it in one message.

    So does an output matrix that is not the embedding table: without it, the model would score every word wrongly.
    """
    out, unknown = {}, []
    weights = renamed(weights)
    for name, tensor in weights.items():
        if name in REPEATED:
            if not torch.equal(tensor, weights.get(REPEATED[name], tensor)):
                raise InputError(f"{name} is a tensor of its own; a model of MiniLM shares it with {REPEATED[name]}.")
            continue
        translated = name.removeprefix("minilm.") if name.startswith("minilm.") else translate(name, NAMES)
        if translated is None:
            unknown.append(name)
        else:
            out[translated] = tensor
    if unknown:
        raise InputError(f"the weights hold tensors that MiniLM does not know: {', '.join(sorted(unknown))}.")
    return join_qkv(out)


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with the names of today, without what was only counted."""
    out = {modern(name): tensor for name, tensor in weights.items()}
    if len(out) < len(weights):
        twice = sorted(name for name in weights if name != modern(name) and modern(name) in weights)
        raise InputError(f"the weights hold one tensor under two names: {', '.join(twice)}.")
    out.pop(COUNTED, None)
    return out


def misfits(expected: dict[str, Tensor], found: dict[str, Tensor], may_lack: tuple[str, ...] = ()) -> Iterator[str]:
    """All that keeps the tensors of a file from filling a model, by their names: missing, misshapen, unknown.

    A head that the model lacks is no fault. One that the file lacks is none if it is in `may_lack` and not there at all.
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
