"""GPT's adapter, in the layout of GPT-2.

A GPT with a table of positions is a GPT-2: its folder opens in `transformers` as `GPT2LMHeadModel`, with equal logits, and
GPT-2's open here, with their own tokenizer. A GPT with relative or rotary positions has no counterpart there; its
`config.json` gives it a type of its own, which `transformers` refuses. The names of the weights are in `gpt2_names.py`.

Source:  Radford et al. (2019), Language Models are Unsupervised Multitask Learners.
"""

from collections.abc import Container, Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from minilm.errors import InputError
from minilm.models.gpt import GPT, GPTConfig, GPTEncoder, learning_rate_scales
from minilm.pretrained.architecture import Architecture
from minilm.pretrained.bert import SAME_ACTIVATION
from minilm.pretrained.bert_names import translate
from minilm.pretrained.gpt2_names import NAMES, OUTPUT, TABLE, from_gpt2, renamed, to_gpt2
from minilm.text.causal_tokenizer import CausalTokenizer
from minilm.text.tokenizer import Tokenizer

# our field → the key in config.json
CONFIG_KEYS = {
    "vocab_size": "vocab_size",
    "width": "n_embd",
    "layers": "n_layer",
    "heads": "n_head",
    "feed_forward": "n_inner",
    "max_length": "n_positions",
    "dropout": "resid_pdrop",
    "activation": "activation_function",
    "epsilon": "layer_norm_epsilon",
}
SIZES = ("vocab_size", "width", "layers", "heads", "feed_forward", "max_length")
# A value that a file leaves out has the default of `transformers`, not ours. Sizes have no default: every file states them.
DEFAULTS: dict[str, Any] = {"dropout": 0.1, "activation": "gelu_new", "epsilon": 1e-5}
DROPOUTS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
# Keys that change the numbers and are not implemented here: only this value is accepted.
ONLY = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
    "pruned_heads": {},
    "quantization_config": None,
}
OWN = {f"minilm-gpt-{positions}": positions for positions in ("relative", "rotary")}  # types unknown to `transformers`
WRITES = "GPT2LMHeadModel"
NOTE = "transformers has no GPT with {} positions, so it cannot open this folder; --positions learned makes a GPT-2"


class GPT2Architecture(Architecture):
    """GPT in the layout of GPT-2. `--architecture gpt` chooses it."""

    name, model_type = "gpt", "gpt2"
    config_class, encoder_class, pretraining_class = GPTConfig, GPTEncoder, GPT
    inputs = ("input_ids", "attention_mask")

    def matches(self, entries: dict) -> bool:
        return entries.get("model_type") in (self.model_type, *OWN)

    # -- config.json --------------------------------------------------------------------------------------------------

    def read_config(self, entries: dict, where: str = "config.json") -> GPTConfig:
        """The shape of the model. Raises InputError for what is wrong, or is not implemented here."""
        for key, only in ONLY.items():
            if (value := entries.get(key, only)) != only and (value or only):  # null, {} and false mean the same
                raise InputError(f"{where}: {key} {value!r} is not implemented.")
        if lacking := [key for field, key in CONFIG_KEYS.items() if field in SIZES[:4] and key not in entries]:
            raise InputError(f"{where} does not describe a GPT-2: it lacks {', '.join(lacking)}.")
        values: dict[str, Any] = {field: entries.get(key, DEFAULTS.get(field)) for field, key in CONFIG_KEYS.items()}
        values["max_length"] = values["max_length"] or entries.get("n_ctx")  # as the oldest files call it
        if values["feed_forward"] is None and isinstance(values["width"], int):
            values["feed_forward"] = 4 * values["width"]
        for field in SIZES:
            if type(values[field]) is not int or values[field] < 1:
                raise InputError(
                    f"{where} does not describe a GPT-2: {CONFIG_KEYS[field]} {values[field]!r} is no size."
                )
        for field in ("dropout", "epsilon"):
            if not isinstance(values[field], int | float) or not 0 <= values[field] < 1:
                raise InputError(f"{where}: {CONFIG_KEYS[field]} {values[field]!r} is not in [0, 1).")
        activation = str(values["activation"])
        values["activation"] = SAME_ACTIVATION.get(activation, activation)
        values["positions"] = OWN.get(str(entries.get("model_type"))) or entries.get("minilm_positions", "learned")
        if entries.get("model_type") == self.model_type and values["positions"] not in ("learned", "sinusoidal"):
            raise InputError(f"{where}: a GPT-2 has no {values['positions']!r} positions.")
        try:
            return GPTConfig(**values)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    def write_config(self, model: nn.Module) -> dict:
        config: Any = model.config
        kind = self.model_type if config.has_table else f"minilm-gpt-{config.positions}"
        entries: dict[str, Any] = {"architectures": [WRITES if isinstance(model, GPT) else "GPT2Model"]}
        entries |= {"model_type": kind, **{key: getattr(config, field) for field, key in CONFIG_KEYS.items()}}
        entries |= dict.fromkeys(DROPOUTS, config.dropout) | {"minilm_positions": config.positions}
        if kind != self.model_type:
            entries["minilm_note"] = NOTE.format(config.positions) + "."
        return entries | self.write_head(model)

    def token_ids(self, tokenizer: Tokenizer) -> dict[str, int]:
        ids = {"bos_token_id": tokenizer.begin, "eos_token_id": tokenizer.end, "pad_token_id": tokenizer.pad}
        return {name: int(i) for name, i in ids.items()}

    def tokenizer_to_save(self, tokenizer: Tokenizer) -> Tokenizer:
        """A prompt begins with the token that begins a text, and nothing stands behind it, because it is to be continued."""
        return CausalTokenizer.of(tokenizer)

    def remarks(self, entries: dict) -> list[str]:
        given = [entries[key] for key in DROPOUTS if entries.get(key) is not None]
        if len(set(given)) < 2:
            return []
        told = ", ".join(f"{key} {entries[key]}" for key in DROPOUTS if key in entries)
        return [f"there are several dropouts there ({told}); minilm trains with one for all, which is --dropout."]

    # -- the weights' names -------------------------------------------------------------------------------------------

    def write_names(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return to_gpt2(weights)

    def read_names(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return from_gpt2(weights)

    def renamed(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return renamed(weights)

    def used(self, expected: Container[str], found: Iterable[str]) -> list[str]:
        return [name for name in found if name in expected or (name == OUTPUT and TABLE in expected)]

    def strange(self, unused: Iterable[str]) -> list[str]:
        return [n for n in unused if translate(n, NAMES) is None and not n.startswith("minilm.") and n != OUTPUT]

    def misfits(
        self, expected: dict[str, Tensor], found: dict[str, Tensor], may_lack: tuple[str, ...] = ()
    ) -> Iterator[str]:
        if missing := [name for name in expected if name not in found]:
            yield f"missing {', '.join(missing)}"
        for name in expected:
            if name in found and expected[name].shape != found[name].shape:
                yield f"{name} is {list(found[name].shape)} and should be {list(expected[name].shape)}"
        own = [n for n in found if n.startswith(("transformer.", "minilm.encoder.")) and n not in expected]
        # a classifier without a CRF cannot take the logits of one that has it
        own += [
            n for n in found if n.startswith("minilm.crf.") and n not in expected and "minilm.head.weight" in expected
        ]
        if own:
            yield f"unknown {', '.join(sorted(own))}"

    # -- building -----------------------------------------------------------------------------------------------------

    def guesses_tokens(self, entries: dict, found: dict[str, Tensor]) -> bool:
        """A folder without `architectures` is one of the oldest, which are language models."""
        return WRITES in (entries.get("architectures") or [WRITES])

    def learning_rate_scales(self, config: GPTConfig, scheme: str) -> dict[str, float]:
        return {} if scheme == "published" else learning_rate_scales(config)


ARCHITECTURE = GPT2Architecture()
