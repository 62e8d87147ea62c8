"""BERT's adapter: our weights under the names that `transformers` uses, and theirs under ours.

A run folder is written in the layout of `transformers`, so that it opens there as it is, and what others published in
that layout opens here:

    config.json          the shape of the model, with BERT's keys
    model.safetensors    the weights, with BERT's names
    tokenizer.json       the vocabulary (or vocab.txt, one token per line)

The names of the weights are in `bert_names.py`.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from minilm.errors import InputError
from minilm.models.bert import Bert, BertForPretraining
from minilm.models.bert_start import reserved
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, HeadConfig, TextHeadConfig, TokenHeadConfig
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.pretrained.architecture import Architecture
from minilm.pretrained.bert_names import from_hf_names, misfits, renamed, to_hf_names

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
