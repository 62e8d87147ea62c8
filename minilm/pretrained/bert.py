"""BERT's adapter: our weights under the names that `transformers` uses, and theirs under ours.

A run folder is written in the layout of `transformers`, so that it opens there as it is, and what others published in
that layout opens here:

    config.json          the shape of the model, with BERT's keys
    model.safetensors    the weights, with BERT's names
    tokenizer.json       the vocabulary (or vocab.txt, one token per line)

The names of the weights are in `bert_names.py`.
"""

from collections.abc import Container, Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from minilm.errors import InputError
from minilm.files.notes import Note
from minilm.models.bert import Bert, BertForPretraining
from minilm.models.bert_start import reserved
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, HeadConfig
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.pretrained.architecture import Architecture
from minilm.pretrained.bert_heads import (
    DROPOUT,
    DROPOUT_KEY,
    described,
    guessed_kind,
    head_from_hf,
    head_of_kind,
    hf_head,
    is_span,
)
from minilm.pretrained.bert_names import (
    BERT,
    as_span_head,
    from_hf_names,
    misfits,
    renamed,
    to_hf_names,
    translate,
    used,
)
from minilm.pretrained.sentence_settings import sentence_files

# our field → the key in config.json
CONFIG_KEYS = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
    "max_length": "max_position_embeddings",
    "token_types": "type_vocab_size",
    "dropout": DROPOUT_KEY,
    "activation": "hidden_act",
    "epsilon": "layer_norm_eps",
    "pad_id": "pad_token_id",
}
SIZES = ("vocab_size", "width", "layers", "heads", "feed_forward", "max_length", "token_types")
# A value that a file leaves out has the default of `transformers`, not ours. Sizes have no default: every file states them.
DEFAULTS = {"token_types": 2, "dropout": DROPOUT, "activation": "gelu", "epsilon": 1e-12, "pad_id": 0}
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
# bert, and models that `transformers` has not: with the types it does not open them as something else.
MODEL_TYPES = ("bert", *(f"minilm-bert-{kind}" for kind in ("prenorm", "rotary", "relative", "mpnet")))
SHORTEST = 3  # positions: a token between [CLS] and [SEP]


def hf_config(config: TransformerConfig, architecture: str, **extra) -> dict:
    """`config.json` as `transformers` reads it. A model that is no BERT there gets a type of its own, which it refuses."""
    theirs = {
        "architectures": [architecture],
        "model_type": model_type_of(config),
        **{key: getattr(config, field) for field, key in CONFIG_KEYS.items()},
        "attention_probs_dropout_prob": config.dropout,
        "position_embedding_type": "absolute",
        "minilm_positions": config.positions,
    }
    return theirs | extra


def model_type_of(config: TransformerConfig) -> str:
    """bert for post-norm with a table of positions; else a name that says why it is none."""
    if config.norm == "pre":
        return "minilm-bert-prenorm"
    return "bert" if config.positions in ("learned", "sinusoidal") else f"minilm-bert-{config.positions}"


def config_from_hf(theirs: dict, where: str = "config.json") -> TransformerConfig:
    """The shape of the model from a `config.json`. Raises InputError for what is wrong, or is not implemented here."""
    kind = theirs.get("model_type", "bert")  # the oldest files have none
    if kind not in MODEL_TYPES:
        raise InputError(f"{where}: model_type {kind!r} is not one that minilm opens (bert, mpnet, minilm-lstm).")
    norm, positions = "pre" if kind == "minilm-bert-prenorm" else "post", str(theirs.get("minilm_positions", "learned"))
    return shape_from_hf(theirs, where, norm=norm, positions=positions)


def shape_from_hf(
    theirs: dict, where: str, what: str = "a BERT", defaults: dict[str, Any] = DEFAULTS, rows: int = 0, **choices
) -> TransformerConfig:
    """The shape of a model whose `config.json` has BERT's keys. `rows` of its positions stand for no place in a text.

    Raises InputError for what is wrong, or is not implemented here.
    """
    for key, only in ONLY.items():
        if (value := theirs.get(key)) and value != only:  # null, {} and false all mean that it is not used
            raise InputError(f"{where}: {key} {value!r} is not implemented.")
    if lacking := [key for field, key in CONFIG_KEYS.items() if field not in defaults and key not in theirs]:
        raise InputError(f"{where} does not describe {what}: it lacks {', '.join(lacking)}.")
    fields: dict[str, Any] = {field: theirs.get(key, defaults.get(field)) for field, key in CONFIG_KEYS.items()}
    for field in SIZES:
        if type(fields[field]) is not int or not 1 <= fields[field] <= LARGEST:
            raise InputError(f"{where} does not describe {what}: {CONFIG_KEYS[field]} {fields[field]!r} is not a size.")
    if fields["max_length"] - rows < SHORTEST:
        raise InputError(f"{where}: max_position_embeddings {fields['max_length']} leaves no room for a token.")
    for field in ("dropout", "epsilon"):
        if not isinstance(fields[field], int | float) or not 0 <= fields[field] < 1:
            raise InputError(
                f"{where} does not describe {what}: {CONFIG_KEYS[field]} {fields[field]!r} is not in [0, 1)."
            )
    activation = str(fields["activation"])
    fields |= {
        "activation": SAME_ACTIVATION.get(activation, activation),
        "max_length": fields["max_length"] - rows,
        "pad_id": fields["pad_id"] if type(fields["pad_id"]) is int else defaults["pad_id"],
    }
    try:
        return TransformerConfig(**fields | choices)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


class BertArchitecture(Architecture):
    """BERT in the layout of `transformers`. An encoder without a task opens in `sentence-transformers` as well."""

    name, model_type = "bert", "bert"
    config_class, encoder_class, pretraining_class = TransformerConfig, Bert, BertForPretraining
    objective, layout = "bert", BERT
    optional_heads = ("bert.pooler.", "cls.seq_relationship.")

    def matches(self, entries: dict) -> bool:
        return entries.get("model_type", "bert") in MODEL_TYPES  # the oldest files have none

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

    def guess_head(self, entries: dict, header: dict[str, Tensor], where: str, note: Note) -> HeadConfig | None:
        if (kind := guessed_kind(entries, header, self.renamed(header), self.layout)) is None:
            return None
        note(f"{where} does not say what its classifier labels; by its weights and labels it is {described(kind)}.")
        return head_of_kind(kind, entries, where)

    def other_files(self, model: nn.Module) -> dict[str, Any]:
        return sentence_files(model) if isinstance(model, SentenceEncoder) else {}

    def write_names(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return to_hf_names(weights, self.layout)

    def as_file(self, weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        if not isinstance(model, SentenceEncoder):
            return as_span_head(weights) if is_span(model) else weights
        # nothing stands on it, so `transformers` expects its names without a prefix
        return {name.removeprefix(self.layout.prefix): tensor for name, tensor in weights.items()}

    def read_names(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return from_hf_names(weights, self.layout)

    def renamed(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return renamed(weights, self.layout)

    def used(self, expected: Container[str], found: Iterable[str]) -> list[str]:
        return used(expected, found, self.layout)

    def remarks(self, entries: dict) -> list[str]:
        hidden, attention = (entries.get(key) for key in ("hidden_dropout_prob", "attention_probs_dropout_prob"))
        if hidden is None or attention in (None, hidden):
            return []
        return [
            f"hidden_dropout_prob is {hidden} and attention_probs_dropout_prob {attention} there; "
            "minilm trains with one dropout for both, which is --dropout."
        ]

    def strange(self, unused: Iterable[str]) -> list[str]:
        known = self.layout
        return [name for name in unused if name not in known.repeated and translate(name, known.names) is None]

    def misfits(
        self, expected: dict[str, Tensor], found: dict[str, Tensor], may_lack: tuple[str, ...] = ()
    ) -> Iterator[str]:
        return misfits(expected, found, may_lack, self.layout)

    def guesses_tokens(self, entries: dict, found: dict[str, Tensor]) -> bool:
        return "cls.predictions.transform.dense.weight" in found

    def config_from(self, **sizes) -> TransformerConfig:
        config = super().config_from(**sizes)
        if config.positions == "mpnet":
            raise InputError("positions 'mpnet' are for published models: pretrain with relative ones.")
        return config

    def vector_size(self, config: TransformerConfig, scheme: str) -> int:
        """As wide as the embeddings, without the features that "neighbours" keeps for positions and segments."""
        return config.width - (reserved(config) if scheme == "neighbours" else 0)


ARCHITECTURE = BertArchitecture()
