"""The adapter of an architecture: what minilm needs to know in order to save, open, pretrain and fine-tune its models.

To add an architecture, write its model (`models/NAME.py`), its adapter (`pretrained/NAME.py`, a subclass of
`Architecture`, and an instance of it called `ARCHITECTURE`), and add its name to `NAMES` (`pretrained/protocol.py`).
An encoder is any module that

    is called as encoder(input_ids, token_type_ids, attention_mask) and returns an `EncoderOutput`,
    has `config`, `output_size` (the width of its hidden states) and `token_table` (its embedding table),
    answers `depth_of(name)` for its parameters: 0 for embeddings, 1 for the first layer, and so on,
    takes `query_positions` too if "cls" pooling is to work with it, and has `last_hidden` if "last" pooling is to.

Every model keeps its encoder under the name `encoder`. The config is a frozen dataclass with a field `layers`.
"""

from collections.abc import Container, Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from minilm.errors import InputError
from minilm.files.notes import Note
from minilm.models.heads import HeadConfig, SpanHeadConfig, TextHeadConfig, TokenHeadConfig
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.models.verbaliser import VerbaliserConfig
from minilm.text.segmentation import TOKENIZER, rule_named
from minilm.text.tokenizer import Tokenizer

HEAD_TASKS: dict[str, type[HeadConfig]] = {
    "text": TextHeadConfig,
    "token": TokenHeadConfig,
    "span": SpanHeadConfig,
    "verbaliser": VerbaliserConfig,
}


class Architecture:
    """The adapter of one architecture. The defaults serve a model that has no counterpart elsewhere.

    Its weights keep our names, and `config.json` holds the fields of its config under their own names.
    """

    name: str  # what `--architecture` and messages call it
    model_type: str  # of config.json
    config_class: type[Any]
    encoder_class: type[nn.Module]
    pretraining_class: type[nn.Module] | None = None  # the model that `minilm pretrain` trains; None: it has none
    objective = "causal"  # what that model is trained for: "bert" or "causal"
    optional_heads: tuple[str, ...] = ()  # heads of that model, by their names in the file, that a file may lack
    has_name = True  # whether `--architecture` takes the name
    inputs: tuple[str, ...] = ("input_ids", "token_type_ids", "attention_mask")  # of the model in `transformers`

    def serves(self, model: nn.Module) -> bool:
        """Whether `model` is of this architecture. The first adapter that says so saves it."""
        return type(getattr(model, "encoder", model)) is self.encoder_class

    # -- config.json --------------------------------------------------------------------------------------------------

    def matches(self, entries: dict) -> bool:
        """Whether a `config.json` describes a model of this architecture."""
        return entries.get("model_type") == self.model_type

    def read_config(self, entries: dict, where: str = "config.json"):
        """The shape of the model that a `config.json` describes. Raises InputError if a field is missing or wrong."""
        names = [field.name for field in fields(self.config_class)]
        if missing := [name for name in names if name not in entries]:
            raise InputError(f"{where} lacks {', '.join(missing)}: save the model again, or add what is missing.")
        for field in fields(self.config_class):
            if not same_kind(entries[field.name], field.default):
                kind = type(field.default).__name__
                raise InputError(f"{where}: {field.name} {entries[field.name]!r} is not of the type {kind}.")
        try:
            return self.config_class(**{name: entries[name] for name in names})
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        except TypeError as error:
            raise InputError(f"{where} does not describe a model: {error}.") from None

    def as_stored(self, config, path: Path):
        """The config, after a look at the weights in `path`, for layouts where `config.json` does not say everything."""
        return config

    def write_config(self, model: nn.Module) -> dict:
        """The entries of `config.json` for `model`."""
        config: Any = model.config
        entries = {"architectures": [type(model).__name__], "model_type": self.model_type, **asdict(config)}
        return entries | self.write_head(model)

    def read_head(self, entries: dict, where: str = "config.json") -> HeadConfig | None:
        """The head of the classifier that a `config.json` describes; None if it describes no classifier."""
        if "minilm_head" not in entries:
            return None
        try:
            head = dict(entries["minilm_head"])
            kind = HEAD_TASKS[head.pop("task")]
            known = {field.name for field in fields(kind)}
            given = {name: tuple(v) if isinstance(v, list) else v for name, v in head.items() if name in known}
            found = kind(**given | {"labels": tuple(head["labels"])})
            if isinstance(found, TokenHeadConfig) and found.units != TOKENIZER:
                rule_named(found.units, where)
            return found
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise InputError(str(error) if where in str(error) else f"{where}: {error}") from None
            raise InputError(f"{where} does not describe a classifier: {error!r}.") from None

    def guess_head(self, entries: dict, header: dict[str, Tensor], where: str, note: Note) -> HeadConfig | None:
        """The head of a classifier whose `config.json` does not say that it is one, by the tensors in its file."""
        return None

    def other_files(self, model: nn.Module) -> dict[str, Any]:
        """The files, by their paths in the folder, that other libraries want beside `config.json`: what goes into JSON, or
        tensors by name for a path that ends in `.safetensors`. Raises InputError if there is no place for something."""
        if isinstance(model, SentenceEncoder) and model.settings.stated:
            raise InputError(
                f"{self.name} is saved without settings for sentences: only a BERT's folder has a place for them."
            )
        return {}

    def token_ids(self, tokenizer: Tokenizer) -> dict[str, int]:
        """What `config.json` says about the ids of special tokens, because other libraries look there."""
        return {}

    def tokenizer_to_save(self, tokenizer: Tokenizer) -> Tokenizer:
        """The tokenizer as it is written into the folder of a model: with the frame that this architecture gives a text."""
        return tokenizer

    def write_head(self, model: nn.Module) -> dict:
        """What `config.json` says about the head of a classifier; nothing for other models."""
        head: Any = getattr(model, "head_config", None)
        if head is None:
            return {}
        task = next(name for name, kind in HEAD_TASKS.items() if isinstance(head, kind))
        return {"minilm_head": {"task": task} | asdict(head)}

    # -- the weights' names -------------------------------------------------------------------------------------------

    def write_names(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Our weights under the names that stand in the file."""
        return weights

    def as_file(self, weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """What `write_names` returned for `model`, completed and named as other libraries expect it of such a model."""
        return weights

    def read_names(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a file under our names. Raises InputError for what has no counterpart here."""
        return weights

    def renamed(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a file under the names that files have today, if it is an older file with older names."""
        return weights

    def used(self, expected: Container[str], found: Iterable[str]) -> list[str]:
        """The names in a file that a model with these names reads."""
        return [name for name in found if name in expected]

    def remarks(self, entries: dict) -> list[str]:
        """What a `config.json` says about training and minilm does otherwise, in whole sentences."""
        return []

    def strange(self, unused: Iterable[str]) -> list[str]:
        """Of the names in a file that a model does not read, those that no model of this architecture has."""
        return []

    def misfits(
        self, expected: dict[str, Tensor], found: dict[str, Tensor], may_lack: tuple[str, ...] = ()
    ) -> Iterator[str]:
        """Everything that keeps the tensors `found` in a file from filling a model that needs those `expected`.

        Both have the names of the file. A head that the model lacks is not a fault, nor is one in `may_lack` that the file
        lacks.
        """
        if missing := [name for name in expected if name not in found and not name.startswith(may_lack)]:
            yield f"missing {', '.join(missing)}"
        for name in expected:
            if name in found and expected[name].shape != found[name].shape:
                yield f"{name} is {list(found[name].shape)} and should be {list(expected[name].shape)}"
        # a classifier without a CRF cannot take the logits of one that has it
        heads = ("pooler.", "head.") if "head.weight" in expected else ("pooler.", "head.", "crf.")
        if unknown := sorted(name for name in found if name not in expected and not name.startswith(heads)):
            yield f"unknown {', '.join(unknown)}"

    # -- building -----------------------------------------------------------------------------------------------------

    def build_encoder(self, config) -> nn.Module:
        """An encoder of this shape, with weights as PyTorch draws them."""
        return self.encoder_class(config)

    def build_pretraining(self, config) -> nn.Module:
        """The model that is pretrained, of this shape. Raises InputError if the architecture has none."""
        if self.pretraining_class is None:
            raise InputError(f"{self.name} is not pretrained here: choose another --architecture.")
        return self.pretraining_class(config)

    def config_from(self, **sizes):
        """The config that has these sizes and choices, as far as this architecture has fields for them."""
        known = {field.name for field in fields(self.config_class)}
        return self.config_class(**{name: value for name, value in sizes.items() if name in known})

    def guesses_tokens(self, entries: dict, found: dict[str, Tensor]) -> bool:
        """Whether a folder holds the whole pretrained model. `entries` are those of `config.json`, and `found` are the
        tensors of the file by their names there."""
        kind = self.pretraining_class
        return kind is not None and kind.__name__ in (entries.get("architectures") or [])

    def learning_rate_scales(self, config, scheme: str) -> dict[str, float]:
        """Factors of the learning rate while it is pretrained after this initialisation, by how names of parameters begin."""
        return {}

    def vector_size(self, config, scheme: str) -> int:
        """How many features of the embedding table may start from word vectors under this initialisation."""
        return config.width


def same_kind(value: object, default: object) -> bool:
    """Whether a value from JSON may stand where the default does: of its type, or a whole number for a float. Only defaults
    that are numbers, strings or truth values tell the type."""
    told = type(default) in (bool, int, float, str)
    return not told or type(value) is type(default) or (type(default) is float and type(value) is int)
