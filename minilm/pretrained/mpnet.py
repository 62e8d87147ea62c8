"""MPNet's adapter, for the models whose attention has a bias by relative position.

Such a model is MPNet's: post-norm, and one bias in 32 buckets for all layers. So its folder opens in `transformers` with equal
scores, as `MPNetForMaskedLM`, `MPNetForTokenClassification`, `MPNetForSequenceClassification`, `MPNetForQuestionAnswering` or
`MPNetModel`, and published MPNets open here. Two things of ours are not known there, and are left out: the vector of the second
segment, so that pairs of texts have other scores there, and the head for next sentence. `config.json` says so under `minilm_note`.

The names of the weights, and how the first segment is kept, are in `mpnet_names.py`.

Source:  Song et al. (2020), MPNet: Masked and Permuted Pre-training for Language Understanding.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from minilm.errors import InputError
from minilm.files.notes import Note
from minilm.files.tensors import header_of, weights_file
from minilm.layers.positions import BUCKETS
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, HeadConfig, TextHeadConfig
from minilm.pretrained.bert import CONFIG_KEYS, DEFAULTS, BertArchitecture, shape_from_hf
from minilm.pretrained.bert_heads import hf_head
from minilm.pretrained.bert_names import renamed
from minilm.pretrained.mpnet_names import MPNET, SEGMENTS, as_text_head, folded, from_text_head, unfolded

UNUSED_ROWS = 2  # of the table of positions: 0 is never read, 1 is that of padding
NOTE = (
    "transformers opens this folder with the scores that minilm computes for single texts; it has no segments, "
    "so the second text of a pair has other scores there"
)
NO_NEXT_SENTENCE = ", and it has no head for next sentence (cls.seq_relationship)"


class MPNetArchitecture(BertArchitecture):
    """BERT with a relative bias, in the layout of MPNet. `--positions relative` chooses it."""

    name, model_type, layout, has_name = "mpnet", "mpnet", MPNET, False
    optional_heads = ("mpnet.pooler.", "cls.seq_relationship.")
    inputs = ("input_ids", "attention_mask")

    def serves(self, model: nn.Module) -> bool:
        """Whether MPNet has this model. The activation of its head for masked words is always GELU."""
        if not super().serves(model):
            return False
        config: Any = model.config
        head_fits = config.activation == "gelu" or not isinstance(model, BertForPretraining)
        return config.positions in ("relative", "mpnet") and config.norm == "post" and head_fits

    def matches(self, entries: dict) -> bool:
        return entries.get("model_type") == self.model_type

    # -- config.json --------------------------------------------------------------------------------------------------

    def read_config(self, entries: dict, where: str = "config.json") -> TransformerConfig:
        """The shape of the model. Raises InputError, as BERT's does, and for buckets that `transformers` does not use either."""
        if (buckets := entries.get("relative_attention_num_buckets", BUCKETS)) != BUCKETS:
            raise InputError(f"{where}: relative_attention_num_buckets {buckets!r} is not implemented, only {BUCKETS}.")
        if (positions := entries.get("minilm_positions", "mpnet")) not in ("relative", "mpnet"):
            raise InputError(
                f"{where}: an MPNet has no {positions!r} positions: minilm_positions is relative or mpnet."
            )
        defaults = DEFAULTS | {"token_types": 1, "pad_id": 1}
        return shape_from_hf(entries, where, "an MPNet", defaults, UNUSED_ROWS, norm="post", positions=positions)

    def as_stored(self, config: TransformerConfig, path: Path) -> TransformerConfig:
        """A file of `transformers` has no segments and a table of positions, even if it began as one of ours."""
        of_transformers = SEGMENTS not in self.renamed_only(header_of(weights_file(path)))
        return replace(config, positions="mpnet", token_types=1) if of_transformers else config

    def write_config(self, model: nn.Module) -> dict:
        config: Any = model.config
        architecture, note = "MPNetModel", NOTE
        extra: dict[str, Any] = {}
        if isinstance(model, Classifier):
            architecture, extra = hf_head(model.head_config)
            architecture = architecture.replace("Bert", "MPNet")
        elif isinstance(model, BertForPretraining):
            architecture, note = "MPNetForMaskedLM", NOTE + NO_NEXT_SENTENCE
        theirs: dict[str, Any] = {
            "architectures": [architecture],
            "model_type": self.model_type,
            **{key: getattr(config, field) for field, key in CONFIG_KEYS.items()},
            "max_position_embeddings": config.max_length + UNUSED_ROWS,
            "attention_probs_dropout_prob": config.dropout,
            "relative_attention_num_buckets": BUCKETS,
            **dict.fromkeys(("bos_token_id", "eos_token_id")),  # MPNet's are not ours
            "minilm_positions": config.positions,
        }
        if config.token_types > 1:
            theirs["minilm_note"] = f"{note}."
        return theirs | extra | self.write_head(model)

    def read_head(self, entries: dict, where: str = "config.json") -> HeadConfig | None:
        return super().read_head(as_bert(entries), where)

    def guess_head(self, entries: dict, header: dict[str, Tensor], where: str, note: Note) -> HeadConfig | None:
        return super().guess_head(as_bert(entries), header, where, note)

    # -- the weights' names -------------------------------------------------------------------------------------------

    def as_file(self, weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        config: Any = model.config
        weights = folded(weights, config.max_length)
        if isinstance(model, Classifier) and isinstance(model.head_config, TextHeadConfig) and model.pooler is not None:
            weights = as_text_head(weights)
        return super().as_file(weights, model)

    def renamed_only(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Today's names, as `renamed`, of the tensors that stand in the file."""
        return from_text_head(renamed(weights, MPNET))

    def renamed(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return unfolded(self.renamed_only(weights))

    def misfits(
        self, expected: dict[str, Tensor], found: dict[str, Tensor], may_lack: tuple[str, ...] = ()
    ) -> Iterator[str]:
        if {"mpnet.pooler.dense.weight", "classifier.weight"} <= expected.keys():  # as the names stand in such a file
            expected, found = as_text_head(expected), as_text_head(found)
        return super().misfits(expected, found, may_lack)

    def guesses_tokens(self, entries: dict, found: dict[str, Tensor]) -> bool:
        return "lm_head.dense.weight" in found

    # -- building -----------------------------------------------------------------------------------------------------

    def build_pretraining(self, config: TransformerConfig) -> nn.Module:
        if config.activation != "gelu":
            raise InputError(
                f"MPNet's head for masked words has the activation gelu, and the layers have {config.activation}; "
                "minilm has one for both: use the encoder alone."
            )
        return super().build_pretraining(config)


def as_bert(entries: dict) -> dict:
    """The entries of a `config.json` with the class of BERT that has the same head."""
    names = entries.get("architectures")
    if not isinstance(names, list):
        return entries
    return entries | {"architectures": [str(name).replace("MPNet", "Bert", 1) for name in names]}


ARCHITECTURE = MPNetArchitecture()
