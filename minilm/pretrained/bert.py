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
from minilm.models.heads import NUMBER, ONE_CLASS, SEVERAL, Classifier, HeadConfig, TextHeadConfig, TokenHeadConfig
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.pretrained.architecture import Architecture
from minilm.pretrained.bert_names import (
    BERT,
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
# bert, and models that `transformers` has not: with the types it does not open them as something else.
MODEL_TYPES = ("bert", *(f"minilm-bert-{kind}" for kind in ("prenorm", "rotary", "relative", "mpnet")))
SHORTEST = 3  # positions: a token between [CLS] and [SEP]
HEADED: dict[str, type[HeadConfig]] = {
    "BertForSequenceClassification": TextHeadConfig,
    "BertForTokenClassification": TokenHeadConfig,
}


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


def hf_head(head: HeadConfig) -> tuple[str, dict]:
    """The class of `transformers` that has this head, and what `config.json` says about its labels."""
    names = {str(i): label for i, label in enumerate(head.labels)}
    extra: dict[str, Any] = {"id2label": names, "label2id": {label: int(i) for i, label in names.items()}}
    architecture = next((name for name, kind in HEADED.items() if isinstance(head, kind)), "BertModel")
    if isinstance(head, TextHeadConfig) and head.problem_type != ONE_CLASS:
        extra["problem_type"] = head.problem_type
    if isinstance(head, TextHeadConfig) and head.pooling != "cls":
        architecture = "BertModel"  # no class there has a head on the mean: the encoder opens, the head is ours
    return architecture, extra | {"classifier_dropout": head.dropout}


def head_from_hf(entries: dict, where: str = "config.json") -> HeadConfig | None:
    """The head that a `config.json` of `transformers` describes; None if there is none.
    Raises InputError for a head that predicts several numbers at once, because none of ours does.
    """
    names = entries.get("architectures")
    kind = HEADED.get(str(names[0])) if isinstance(names, list) and names else None
    return None if kind is None else head_of_kind(kind, entries, where)


def head_of_kind(kind: type[HeadConfig], entries: dict, where: str) -> HeadConfig:
    """The head of this kind, with the labels and the dropout that a `config.json` names."""
    labels, problem = labels_from_hf(entries, where), entries.get("problem_type")
    several = kind is TokenHeadConfig and problem not in (None, ONE_CLASS)
    if several or problem not in (None, ONE_CLASS, SEVERAL, NUMBER) or (problem == NUMBER and len(labels) > 1):
        raise InputError(f"{where}: problem_type {problem!r} with {len(labels)} labels is not implemented.")
    problem = problem or (NUMBER if len(labels) == 1 and kind is TextHeadConfig else ONE_CLASS)  # as in `transformers`
    given = [entries[key] for key in ("classifier_dropout", CONFIG_KEYS["dropout"]) if entries.get(key) is not None]
    dropout: Any = given[0] if given else DEFAULTS["dropout"]
    more = {"pooling": "cls", "problem_type": problem} if kind is TextHeadConfig else {}
    try:
        return kind(labels, dropout, **more)
    except TypeError as error:
        raise InputError(f"{where} does not describe a classifier: {error!r}.") from None


def labels_from_hf(entries: dict, where: str) -> tuple[str, ...]:
    """The labels in the order of the logits: from id2label, else from label2id, else LABEL_0, LABEL_1 …, num_labels of them.

    Raises InputError for labels with a gap, and for two labels of one name, which no figure could tell apart.
    """
    names, numbers, count = (entries.get(key) for key in ("id2label", "label2id", "num_labels"))
    try:
        if names is not None:
            named = {int(i): str(name) for i, name in names.items()}
        elif count is None and numbers:
            named = {int(i): str(name) for name, i in numbers.items()}
        else:
            named = {i: f"LABEL_{i}" for i in range(2 if count is None else count)}
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where} does not describe a classifier: {error!r}.") from None
    if gaps := sorted(set(range(len(named))) - named.keys()):
        raise InputError(
            f"{where} does not describe a classifier: of its {len(named)} labels, number {gaps[0]} is missing."
        )
    labels = tuple(named[i] for i in range(len(named)))
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise InputError(f"{where} does not describe a classifier: two labels have the name {twice[0]!r}.")
    return labels


def guessed_kind(entries: dict, found: dict[str, Tensor]) -> type[HeadConfig] | None:
    """What a classifier labels if `architectures` is missing or names the encoder alone: texts need a pooler, tokens have none.

    None if there is no classifier. (In 2019 tokens had a pooler, too; their labels B-… and I-… tell them from texts.)
    """
    names = entries.get("architectures") or ["BertModel"]
    if names[0] != "BertModel" or not {"classifier.weight", "classifier.bias"} <= found.keys():
        return None
    labels = [str(name) for name in dict(entries.get("id2label") or {}).values()]
    tags = any(label[:2] in ("B-", "I-") for label in labels)
    return TextHeadConfig if "bert.pooler.dense.weight" in found and not tags else TokenHeadConfig


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

    def guess_head(self, entries: dict, found: dict[str, Tensor], where: str, note: Note) -> HeadConfig | None:
        if (kind := guessed_kind(entries, found)) is None:
            return None
        what = "every token" if kind is TokenHeadConfig else "a text as a whole"
        note(f"{where} does not say what its classifier labels; by its weights and labels it is {what}.")
        return head_of_kind(kind, entries, where)

    def other_files(self, model: nn.Module) -> dict[str, Any]:
        return sentence_files(model) if isinstance(model, SentenceEncoder) else {}

    def write_names(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return to_hf_names(weights, self.layout)

    def as_file(self, weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        if not isinstance(model, SentenceEncoder):
            return weights
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
