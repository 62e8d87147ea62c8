"""How a text becomes a vector, in the layout of `sentence-transformers`: `modules.json` and the files that belong to it.

    modules.json                      Transformer → Pooling → (Dense | Normalize | Dropout) …, each with its folder
    sentence_bert_config.json         max_seq_length, do_lower_case
    1_Pooling/config.json             how the tokens' vectors become one
    2_Dense/config.json  …safetensors a dense layer and its weights
    config_sentence_transformers.json prompts, default_prompt_name, similarity_fn_name, truncate_dim

What is built here is honoured; everything else that would change the vectors is refused in one sentence.
"""

from pathlib import Path
from typing import Any

from tokenizers import normalizers

from minilm.errors import InputError
from minilm.files.tensors import WEIGHTS, read_json, read_safetensors, weights_file
from minilm.models.sentence_encoder import (
    ACTIVATIONS,
    NORMALIZE,
    POOLINGS,
    Dense,
    DenseConfig,
    SentenceEncoder,
    SentenceSettings,
)
from minilm.pretrained.weights import load_weights, refuse_broken_numbers, weights_of
from minilm.text.tokenizer import Tokenizer

MODULES, PROMPTS = "modules.json", "config_sentence_transformers.json"
KINDS = ("Transformer", "Pooling", "Dense", "Normalize", "Dropout")  # the last one does something in training only
# The older spelling of a pooling, in the order in which several of them stand side by side.
POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# The names that the file of the first module may have, although the model is a BERT.
TRANSFORMER_FILES = tuple(
    f"sentence_{name}_config.json" for name in "bert roberta distilbert camembert albert xlm-roberta xlnet".split()
)
# Keys of a file that change the vectors and are not built here: only these values (or none at all) are accepted.
ONLY: dict[str, dict[str, Any]] = {
    "Transformer": {
        **dict.fromkeys(("model_args", "model_kwargs", "tokenizer_args", "processor_kwargs"), {}),
        **dict.fromkeys(("config_args", "config_kwargs", "processing_kwargs"), {}),
        "tokenizer_name_or_path": None,
        "query_expansion": None,
        "transformer_task": "feature-extraction",
        "module_output_name": "token_embeddings",
    },
    "Dense": {
        "use_residual": False,
        **dict.fromkeys(("module_input_name", "module_output_name"), "sentence_embedding"),
    },
    "Normalize": dict.fromkeys(("module_input_name", "module_output_name"), "sentence_embedding"),
    PROMPTS: {"model_type": "SentenceTransformer"},
}
ONE_FORWARD = {"method": "forward", "method_output_name": "last_hidden_state"}


# ---- reading


def read_settings(folder: Path, positions: int | None) -> SentenceSettings:
    """The settings of the model in a folder. Without a `modules.json` they are the defaults, as they are there.

    `positions` is the longest text that the model itself can read. Raises InputError for what is wrong or not built here.
    """
    modules = read_modules(folder)
    if not modules:
        return SentenceSettings(max_length=shortest(length_of_tokenizer(folder), positions))
    transformer = transformer_entries(folder)
    length = entry(transformer, "max_seq_length", int, None, "sentence_bert_config.json", folder)
    length = shortest(length_of_tokenizer(folder) if length is None else length, positions)
    if length is not None and length < 3:
        raise InputError(f"{folder}: texts of {length} tokens leave no room between [CLS] and [SEP].")
    layers: list[DenseConfig | str] = []
    for kind, path in modules[2:]:
        entries = optional(folder / path / "config.json")
        if kind in ONLY:
            refuse_others(entries, kind, folder / path / "config.json")
        if kind != "Dropout":
            layers.append(NORMALIZE if kind == "Normalize" else dense_config(entries, str(folder / path)))
    pooling, include_prompt = read_pooling(folder / modules[1][1] / "config.json")
    try:
        return SentenceSettings(
            pooling,
            tuple(layers),
            length,
            entry(transformer, "do_lower_case", bool, False, "sentence_bert_config.json", folder),
            include_prompt=include_prompt,
            stated=True,
            **read_prompts(folder),
        )
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None


def read_modules(folder: Path) -> list[tuple[str, str]]:
    """The kind and the folder of each module, or nothing if there is no `modules.json`."""
    path = folder / MODULES
    if not path.is_file():
        return []
    out = []
    for module in read_json(path, list):
        kind, place = (module.get(key) if isinstance(module, dict) else None for key in ("type", "path"))
        name = str(kind).rpartition(".")[2]
        if not isinstance(place, str) or Path(place).is_absolute() or ".." in Path(place).parts:
            raise InputError(f"{path}: {str(module)[:80]} does not say in which folder the module lies.")
        if not str(kind).startswith("sentence_transformers.") or name not in KINDS:
            raise InputError(f"{path}: the module {kind!r} is not built here ({', '.join(KINDS)} are).")
        out.append((name, place))
    kinds = [kind for kind, _ in out]
    if kinds[:2] != ["Transformer", "Pooling"] or {"Transformer", "Pooling"} & set(kinds[2:]):
        raise InputError(f"{path} must begin with Transformer and Pooling, each of them once, not {' → '.join(kinds)}.")
    if out[0][1]:
        raise InputError(
            f"{path}: the Transformer lies in the folder {out[0][1]!r}, as in models of 2020: "
            "save the model again with sentence-transformers 2 or later."
        )
    return out


def transformer_entries(folder: Path) -> dict:
    """What the file of the first module says. Raises InputError for another input or output than ours."""
    path = next((folder / name for name in TRANSFORMER_FILES if (folder / name).is_file()), folder / "none")
    entries = optional(path)
    refuse_others(entries, "Transformer", path)
    if (texts := entries.get("modality_config")) is not None:
        text = texts.get("text") if isinstance(texts, dict) else None
        if not isinstance(text, dict) or any(text.get(key) != value for key, value in ONE_FORWARD.items()):
            raise InputError(f"{path}: modality_config {str(texts)[:80]} is not built here.")
    return entries


def read_pooling(path: Path) -> tuple[tuple[str, ...], bool]:
    """The poolings, and whether the prompt takes part in them."""
    if not path.is_file():
        raise InputError(f"there is no {path}, and modules.json names it.")
    entries = read_json(path)
    if unknown := [key for key in entries if key.startswith("pooling_mode_") and key not in POOLING_KEYS]:
        raise InputError(f"{path}: {unknown[0]} is not known: choose one of {', '.join(POOLING_KEYS)}.")
    modes = entries.get("pooling_mode", [mode for key, mode in POOLING_KEYS.items() if entries.get(key)] or "mean")
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or not modes or not all(mode in POOLINGS for mode in modes):
        raise InputError(f"{path}: pooling_mode {modes!r} is not known: choose among {', '.join(POOLINGS)}.")
    return tuple(modes), entry(entries, "include_prompt", bool, True, path.name, path.parent)


def dense_config(entries: dict, where: str) -> DenseConfig:
    """The dense layer that a `config.json` describes."""
    sizes = [entry(entries, key, int, 0, "config.json", where) for key in ("in_features", "out_features")]
    if min(sizes) < 1:
        raise InputError(f"{where}/config.json does not describe a dense layer: in_features and out_features {sizes}.")
    name = entries.get("activation_function", "torch.nn.modules.activation.Tanh")
    module, _, activation = str(name).rpartition(".")
    if not module.startswith("torch.nn") or activation not in ACTIVATIONS:
        raise InputError(
            f"{where}/config.json: the activation {name!r} is not built here ({', '.join(ACTIVATIONS)} are)."
        )
    return DenseConfig(sizes[0], sizes[1], entry(entries, "bias", bool, True, "config.json", where), activation)


def read_prompts(folder: Path) -> dict[str, Any]:
    """Prompts, similarity and the number of features that are kept, as arguments of `SentenceSettings`."""
    entries, path = optional(folder / PROMPTS), folder / PROMPTS
    refuse_others(entries, PROMPTS, path)
    prompts = entry(entries, "prompts", dict, {}, PROMPTS, folder)
    name = entry(entries, "default_prompt_name", str, None, PROMPTS, folder)
    if not all(prompt is None or isinstance(prompt, str) for prompt in prompts.values()):
        raise InputError(f"{path}: prompts {str(prompts)[:80]} are not texts by name.")
    if name is not None and name not in {"query", "document", *prompts}:  # these two are there without being written
        raise InputError(f"{path}: there is no prompt {name!r}, which default_prompt_name asks for.")
    dimensions = entry(entries, "truncate_dim", int, None, PROMPTS, folder)
    if dimensions is not None and dimensions < 1:
        raise InputError(f"{path}: truncate_dim {dimensions} is not a number of features.")
    return {
        "prompts": tuple((key, prompt or "") for key, prompt in prompts.items()),
        "default_prompt": name,
        "similarity": entry(entries, "similarity_fn_name", str, None, PROMPTS, folder) or "cosine",
        "truncate_dim": dimensions,
    }


def length_of_tokenizer(folder: Path) -> int | None:
    """The length at which the tokenizer cuts texts, or None if it does not say one."""
    entries = optional(folder / "tokenizer_config.json")
    length = entries.get("model_max_length", entries.get("max_len"))
    return int(length) if isinstance(length, int | float) and 3 <= length < 1e9 else None


def shortest(*lengths: int | None) -> int | None:
    """The smallest of the lengths that are known, or None if none is."""
    return min((length for length in lengths if length is not None), default=None)


def optional(path: Path) -> dict:
    """The entries of a file that need not be there."""
    return read_json(path) if path.is_file() else {}


def entry(entries: dict, key: str, kind: type, default: Any, file: str, folder: Path | str) -> Any:
    """The value of a key; the default where it is missing or null. Raises InputError for another type."""
    value = entries.get(key)
    if value is None:
        return default
    if type(value) is not kind:
        raise InputError(f"{folder}/{file}: {key} {str(value)[:60]!r} is not of the type {kind.__name__}.")
    return value


def refuse_others(entries: dict, kind: str, path: Path) -> None:
    """Raise InputError for a key that changes the vectors, with a value that is not built here."""
    for key, only in ONLY[kind].items():
        if (value := entries.get(key)) not in (None, only):
            raise InputError(f"{path}: {key} {str(value)[:60]!r} is not built here.")


def load_layers(model: SentenceEncoder, folder: Path) -> None:
    """Fill the dense layers of a model from their folders. Raises InputError for weights that do not fit."""
    places = [path for kind, path in read_modules(folder)[2:] if kind != "Dropout"]
    for layer, place in zip(model.after, places):
        if isinstance(layer, Dense):
            weights = read_safetensors(weights_file(folder / place))
            refuse_broken_numbers(weights, str(folder / place))
            load_weights(layer, weights, str(folder / place))


def lowercased(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with small letters made first, unless its own normaliser has such a step already."""
    first: Any = tokenizer.backend.normalizer
    several = type(first) is normalizers.Sequence
    steps = list(first) if several else [first] if first else []
    if not any(isinstance(step, normalizers.Lowercase) for step in steps):
        tokenizer.backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])
    return tokenizer


# ---- writing


def sentence_files(model: SentenceEncoder) -> dict[str, Any]:
    """The files by their paths in the folder: JSON, or tensors by name for a name that ends in `.safetensors`."""
    settings, config = model.settings, model.config
    kinds = ["Transformer", "Pooling", *("Normalize" if layer == NORMALIZE else "Dense" for layer in settings.layers)]
    paths = ["", *(f"{i}_{kind}" for i, kind in enumerate(kinds) if i)]
    pooling: dict[str, Any] = {key: mode in settings.pooling for key, mode in POOLING_KEYS.items()}
    pooling |= {"word_embedding_dimension": model.encoder.output_size, "include_prompt": settings.include_prompt}
    if list(settings.pooling) != [mode for mode in POOLING_KEYS.values() if mode in settings.pooling]:
        pooling["pooling_mode"] = list(settings.pooling)  # the older spelling cannot say this order
    out: dict[str, Any] = {
        MODULES: [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(zip(kinds, paths))
        ],
        TRANSFORMER_FILES[0]: {
            "max_seq_length": shortest(settings.max_length, getattr(config, "max_length", None)),
            "do_lower_case": settings.lowercase,
        },
        PROMPTS: {
            "prompts": dict(settings.prompts),
            "default_prompt_name": settings.default_prompt,
            "similarity_fn_name": settings.similarity,
        },
        "1_Pooling/config.json": pooling,
    }
    if settings.truncate_dim is not None:
        out[PROMPTS]["truncate_dim"] = settings.truncate_dim
    for path, layer, module in zip(paths[2:], settings.layers, model.after):
        if isinstance(layer, DenseConfig):
            activation = ACTIVATIONS[layer.activation]
            out[f"{path}/config.json"] = {
                "in_features": layer.inputs,
                "out_features": layer.outputs,
                "bias": layer.bias,
                "activation_function": f"{activation.__module__}.{activation.__name__}",
            }
            out[f"{path}/{WEIGHTS}"] = weights_of(module)
    return out
