"""Tiny folders as other people publish them, drawn by a seeded generator. Not a test file."""

import json
import random
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

from minilm.text.tokenizer import Tokenizer, train_wordpiece

TEXT = """The old house stood by the river. Nobody lived in the old house, and nobody came.
In June the White Fox ran from Bonn to the river, and He saw NO house at all; a fox is no dog."""
WORDS = "the old house stood by The river NOBODY lived in June White Fox ran from Bonn zebra qu'un élan 北京 7 ! , unseen".split()
KINDS = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens", "mean_sqrt_len_tokens": "mean_sqrt_len_tokens"}
KINDS |= {"weightedmean": "weightedmean_tokens", "lasttoken": "lasttoken"}
ACTIVATIONS = {
    "Identity": "linear",
    "Tanh": "activation",
    "ReLU": "activation",
    "GELU": "activation",
    "Sigmoid": "activation",
}


def tokenizers_in(folder: Path) -> list[Tokenizer]:
    """Two vocabularies of the same text: one that keeps capital letters, and one in small letters."""
    file = folder / "text.txt"
    file.write_text(TEXT * 3, encoding="utf-8")
    return [train_wordpiece([file], 110, lowercase=lowercase) for lowercase in (False, True)]


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def bert(folder: Path, tokenizer: Tokenizer, rng: random.Random, kind: str = "BertModel", **changes) -> Any:
    """A BERT with all weights redrawn, written by `transformers` with the files of its tokenizer."""
    sizes = dict(vocab_size=tokenizer.size, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    sizes |= dict(intermediate_size=12, max_position_embeddings=rng.choice([16, 24, 40])) | changes
    torch.manual_seed(rng.randrange(10**6))
    model = getattr(transformers, kind)(transformers.BertConfig(**sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    tokens = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": inputs} | tokens
    if (length := rng.choice([None, 9, 14, 512, 10**30])) is not None:
        settings["model_max_length"] = length
    write(folder / "tokenizer_config.json", settings)
    return model


def texts(rng: random.Random, long: int = 30) -> list[str]:
    """A few texts of very different lengths: none, blank, and so long that they have to be cut."""
    out = [" ".join(rng.choices(WORDS, k=rng.choice([1, 2, 3, 5, 8, 12, long]))) for _ in range(5)]
    return [*out, rng.choice(["", " ", "  The fox ", "\u200b", "foxfoxfoxfox"]), "The House"]


def pooling(rng: random.Random, width: int) -> tuple[dict[str, Any], int]:
    """The settings of a pooling in one of their spellings, and how many poolings stand side by side."""
    chosen = rng.sample(list(KINDS), rng.choice([1, 1, 1, 2, 3]))
    spelling = rng.choice(["old", "old", "new"])
    entries: dict[str, Any] = {rng.choice(["word_embedding_dimension", "embedding_dimension"]): width}
    if spelling == "new":
        entries["pooling_mode"] = chosen[0] if len(chosen) == 1 and rng.random() < 0.7 else chosen
    else:
        entries |= {
            f"pooling_mode_{KINDS[kind]}": kind in chosen for kind in KINDS if kind in chosen or rng.random() < 0.5
        }
        if rng.random() < 0.1:  # none is chosen, which means the mean
            entries = {key: False if key.startswith("pooling_mode") else value for key, value in entries.items()}
            chosen = ["mean"]
    if rng.random() < 0.6:
        entries["include_prompt"] = rng.random() < 0.5
    return entries, len(chosen)


def sentence_folder(folder: Path, tokenizer: Tokenizer, rng: random.Random) -> None:
    """A random folder of `sentence-transformers`."""
    width = bert(folder, tokenizer, rng).config.hidden_size
    entries, count = pooling(rng, width)
    write(folder / "1_Pooling" / "config.json", entries)
    kinds, size = (
        ["Transformer", "Pooling", *rng.choices(["Dense", "Normalize", "Dropout"], k=rng.choice([0, 1, 1, 2, 3]))],
        width * count,
    )
    old = rng.random() < 0.7
    modules = []
    for i, kind in enumerate(kinds):
        place = f"{i}_{kind}" if i else ""
        home = "base" if kind in ("Transformer", "Dense", "Normalize") else "sentence_transformer"
        name = (
            f"sentence_transformers.models.{kind}"
            if old
            else f"sentence_transformers.{home}.modules.{kind.lower()}.{kind}"
        )
        modules.append({"idx": i, "name": str(i), "path": place, "type": name})
        if kind == "Dense":
            size = dense(folder / place, size, rng)
        if kind == "Dropout":
            write(folder / place / "config.json", {"dropout": 0.5})
    write(folder / "modules.json", modules)
    transformer: dict[str, Any] = {}
    if (length := rng.choice(["absent", None, 4, 8, 12, 16])) != "absent":
        transformer["max_seq_length"] = length
    if rng.random() < 0.6:
        transformer["do_lower_case"] = rng.random() < 0.5
    if transformer or rng.random() < 0.5:
        write(folder / rng.choice(["sentence_bert_config.json"] * 4 + ["sentence_roberta_config.json"]), transformer)
    if rng.random() < 0.6:
        settings: dict[str, Any] = {"__version__": {"sentence_transformers": "2.0.0"}}
        if rng.random() < 0.7:
            prompts = {"query": "The fox: ", "passage": rng.choice(["", "Bonn, ", "old"]), "long": "the river " * 5}
            settings["prompts"] = prompts
            settings["default_prompt_name"] = rng.choice([None, *prompts])
        if rng.random() < 0.3:
            settings["truncate_dim"] = rng.choice([2, 5, 99])
        if rng.random() < 0.5:
            settings["similarity_fn_name"] = rng.choice(["cosine", "dot", "euclidean", "manhattan", None])
        write(folder / "config_sentence_transformers.json", settings)


def dense(folder: Path, size: int, rng: random.Random) -> int:
    """A dense layer from `size` features to a random number of them, which is returned."""
    out, bias = rng.choice([3, 7, 12]), rng.random() < 0.5
    entries: dict[str, Any] = {"in_features": size, "out_features": out, "bias": bias}
    if rng.random() < 0.8:
        name = rng.choice(list(ACTIVATIONS))
        entries["activation_function"] = f"torch.nn.modules.{ACTIVATIONS[name]}.{name}"
    write(folder / "config.json", entries)
    weights = {"linear.weight": torch.randn(out, size)} | ({"linear.bias": torch.randn(out)} if bias else {})
    save_file(weights, folder / "model.safetensors")
    return out


def edit_weights(folder: Path, change) -> None:
    """Change the tensors of a folder by a function."""
    file = folder / "model.safetensors"
    changed = {name: tensor.clone() for name, tensor in change(load_file(file)).items()}
    save_file(changed, file, {"format": "pt"})


# ---- a BERT in one of the many ways in which it may be written down

TASKS = ("Model", "ForPreTraining", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification")
OTHER_TASKS = ("ForNextSentencePrediction", "ForQuestionAnswering")
# What a file may say or leave out without another result, and values that mean the same.
OPTIONAL = {
    "hidden_act": ["gelu"],
    "hidden_dropout_prob": [0.0, 0.3],
    "attention_probs_dropout_prob": [0.0, 0.2],
    "layer_norm_eps": [1e-12],
    "pad_token_id": [0, None],
    "type_vocab_size": [2],
    "initializer_range": [0.5],
    "use_cache": [False],
    "is_decoder": [False, None],
    "add_cross_attention": [False, None],
    "position_embedding_type": ["absolute", None],
    "pruned_heads": [{}, None],
    "classifier_dropout": [None, 0.4],
    "problem_type": [None, "single_label_classification"],
    "dtype": ["float32", "float16"],
    "gradient_checkpointing": [True],
    "finetuning_task": ["sst-2"],
    "transformers_version": ["2.1.1"],
    "model_type": [],
    "tie_word_embeddings": [True],
}
DECODER, TABLE = "cls.predictions.decoder", "bert.embeddings.word_embeddings.weight"


def variant(folder: Path, tokenizer: Tokenizer, rng: random.Random) -> str:
    """A random folder of `transformers`; returns the name of the task whose class opens it."""
    task = rng.choice([*TASKS, *TASKS, *OTHER_TASKS])
    labels = rng.choice([2, 2, 3, 5])
    sizes = dict(vocab_size=rng.choice([tokenizer.size, tokenizer.size, 128]), type_vocab_size=rng.choice([2, 2, 1, 3]))
    named = [f"{'B-' if task == 'ForTokenClassification' else ''}name {i}" for i in range(labels)]
    bert(folder, tokenizer, rng, f"Bert{task}", id2label=dict(enumerate(named)), num_labels=labels, **sizes)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for key in rng.sample(list(OPTIONAL), rng.choice([0, 1, 3, 6])):
        if key == "type_vocab_size" and sizes["type_vocab_size"] != 2:
            continue
        if OPTIONAL[key] and rng.random() < 0.6:
            config[key] = rng.choice(OPTIONAL[key])
        else:
            config.pop(key, None)
    write(folder / "config.json", relabelled(config, labels, rng))
    edit_weights(folder, lambda weights: rewritten(weights, task, rng))
    if rng.random() < 0.2:
        shard(folder)
    return task


def relabelled(config: dict[str, Any], labels: int, rng: random.Random) -> dict[str, Any]:
    """The labels in one of the spellings that mean the same number of them."""
    how = rng.choice(["as they are", "as they are", "count", "null", "default", "no architecture", "encoder alone"])
    if how == "count":
        config.pop("id2label", None), config.pop("label2id", None)
        config["num_labels"] = labels
    if how == "null":
        config |= {"id2label": None, "label2id": None, "num_labels": labels}
    if how == "default" and labels == 2:
        config.pop("id2label", None), config.pop("label2id", None)
    if how == "no architecture":
        config.pop("architectures", None)
    if how == "encoder alone":
        config["architectures"] = ["BertModel"]
    return config


def rewritten(weights: dict[str, torch.Tensor], task: str, rng: random.Random) -> dict[str, torch.Tensor]:
    """The same tensors, as older and newer programs store them, with more that no BERT needs."""
    out = dict(weights)
    if "cls.predictions.bias" in out:
        for name, own in {"weight": TABLE, "bias": "cls.predictions.bias"}.items():
            if (how := rng.choice(["once", "twice", "there"])) != "once":
                out[f"{DECODER}.{name}"] = out[own].clone()
                if how == "there":
                    del out[own]
    if rng.random() < 0.3:
        out = {name.removeprefix("bert."): tensor for name, tensor in out.items()}
    if rng.random() < 0.3:
        out = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
            for name, tensor in out.items()
        }
    prefix = "bert." if any(name.startswith("bert.") for name in out) else ""
    if rng.random() < 0.3:
        out[f"{prefix}embeddings.position_ids"] = torch.arange(16)[None]
    if rng.random() < 0.1:
        out[f"{prefix}embeddings.token_type_ids"] = torch.zeros(1, 16, dtype=torch.int64)
    if rng.random() < 0.3:
        out |= rng.choice(
            [
                {"qa_outputs.weight": torch.ones(2, 8)},
                {"my_head.0.weight": torch.ones(3), "my_head.1.bias": torch.ones(1)},
            ]
        )
    if rng.random() < 0.2 and not task.startswith(("ForSequence", "ForToken")):
        out |= {"classifier.dense.weight": torch.ones(8, 8)}
    if (kind := rng.choice([None, None, torch.float16, torch.bfloat16, torch.float64])) is not None:
        out = {name: tensor.to(kind) if tensor.is_floating_point() else tensor for name, tensor in out.items()}
    return out


def shard(folder: Path) -> None:
    """The weights in two files with an index."""
    weights, places = load_file(folder / "model.safetensors"), {}
    for i in range(2):
        part = {name: weights[name] for name in sorted(weights)[i::2]}
        file = f"model-0000{i + 1}-of-00002.safetensors"
        save_file(part, folder / file, {"format": "pt"})
        places |= dict.fromkeys(part, file)
    write(folder / "model.safetensors.index.json", {"metadata": {"total_size": 1}, "weight_map": places})
    (folder / "model.safetensors").unlink()
