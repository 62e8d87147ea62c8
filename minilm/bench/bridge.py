"""The bridge to published weights: a published model here and in `transformers`, compared.

Four parts, each a function: the same numbers (`parity`), the same weights after saving there and opening here (`round_trip`),
accuracy and time of fine-tuning (`finetuning`, in bridge_training.py), and the speed of sentence vectors (`inference`).
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from minilm.bench.bridge_training import finetuning
from minilm.bench.options import BenchOptions
from minilm.bench.report import alternate, compared, table, table_of
from minilm.errors import InputError
from minilm.experiments.english import pretraining_text, unseen
from minilm.files.packages import installed_version
from minilm.layers.attention import padding_mask
from minilm.layers.products import has_onednn, products
from minilm.pretrained.bert_names import renamed
from minilm.pretrained.protocol import open_encoder, save_model
from minilm.pretrained.run_folder import LoadedModel
from minilm.pretrained.weights import weights_of
from minilm.text import corpus
from minilm.text.prepare import prepare
from minilm.training.inference import sentence_vectors

OURS, THEIRS, SENTENCES = "minilm", "transformers", "sentence-transformers"
ONEDNN = "minilm, products by oneDNN"
BATCH = 32  # texts per batch for the referees' inference: the default of sentence-transformers
MIXED = 200  # sentences of mixed lengths in one padded batch
NOTE = (
    "transformers: batches of 32 in the order of the text, each padded to its longest (padding=True). sentence-transformers: "
    "its own encode(), which sorts by length, in batches of 32. minilm: sorted by length, 512 tokens per batch."
)


def referee_library():
    """The package transformers, kept quiet. Raises InputError if it is not installed."""
    try:
        import transformers
    except ImportError:
        raise InputError("the referee transformers is not installed: pip install transformers") from None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def mixed_lengths(texts: list[str], number: int) -> list[str]:
    """`number` of the texts, evenly spaced from the shortest to the longest."""
    ranked = sorted(texts, key=len)
    return [ranked[i] for i in np.linspace(0, len(ranked) - 1, min(number, len(ranked))).astype(int)]


@torch.inference_mode()
def hidden_states(model: nn.Module, ids: torch.Tensor, attention_mask: torch.Tensor) -> list[torch.Tensor]:
    """The hidden states after the embeddings and after every block, without those of padding."""
    encoder = cast(Any, model.encoder)
    x, mask = encoder.embeddings(ids), padding_mask(attention_mask)
    out = [x[attention_mask]]
    for block in encoder.stack.layers:
        x, _ = block(x, mask)
        out.append(x[attention_mask])
    return out


def parity(opened: LoadedModel, texts: list[str]) -> dict:
    """The largest differences of the hidden states in one padded batch, in float32 and float64, and the lowest cosine
    between a sentence vector of ours and theirs."""
    transformers = referee_library()
    tokenizer = transformers.AutoTokenizer.from_pretrained(opened.folder)
    batch = tokenizer(texts, padding=True, truncation=True, max_length=opened.max_length, return_tensors="pt")
    attention_mask = batch["attention_mask"].bool()
    out: dict = {
        "sentences": len(texts),
        "shortest": int(attention_mask.sum(1).min()),
        "longest": attention_mask.size(1),
    }
    for kind in (torch.float32, torch.float64):
        theirs = transformers.BertModel.from_pretrained(opened.folder).to(kind).eval()
        with torch.inference_mode():
            expected = theirs(**batch, output_hidden_states=True).hidden_states
        opened.model.to(kind)
        states = zip(hidden_states(opened.model, batch["input_ids"], attention_mask), expected, strict=True)
        each = [float((a - b[attention_mask]).abs().max()) for a, b in states]
        out[str(kind).removeprefix("torch.")] = {"largest": max(each), "after_each_layer": each}
    opened.model.float()
    pooled = mean_of(expected[-1], batch["attention_mask"]).float().numpy()
    vectors = sentence_vectors(opened.model, opened.tokenizer, texts, truncate=True)
    return out | {"lowest_cosine": float((vectors * pooled).sum(1).min())}


def mean_of(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean pooling as the model's card describes it."""
    weights = mask[:, :, None].to(hidden.dtype)
    mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
    return nn.functional.normalize(mean, dim=1)


def round_trip(opened: LoadedModel) -> dict:
    """Whether ours → theirs → ours gives the same bits, and theirs → ours → theirs the same tensors under the same names."""
    transformers = referee_library()
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / name for name in "abc"]
        save_model(folders[0], opened.model, opened.tokenizer)
        options = {} if opened.model.pooler else {"add_pooling_layer": False}
        transformers.BertModel.from_pretrained(folders[0], **options).save_pretrained(folders[1])
        (folders[1] / "tokenizer.json").write_text(opened.tokenizer.to_json(), encoding="utf-8")
        again = open_encoder(folders[1])
        save_model(folders[2], again.model, again.tokenizer)
        before, after = weights_of(opened.model), weights_of(again.model)
        published, theirs, ours = (
            load_file(folder / "model.safetensors") for folder in (opened.folder, folders[1], folders[2])
        )
        return {
            "ours_theirs_ours_bit_equal": same(before, after),
            "theirs_ours_theirs_file_equal": same(theirs, ours),
            "published_file_equal": same(renamed(published), renamed(ours)),  # except for its `position_ids`, 0, 1, 2 …
            "tensors": len(ours),
        }


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether both have the same names, and the same bits under each."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def inference(opened: LoadedModel, texts: list[str], options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Sentences per second, from text to vector, in turns. Raises RuntimeError if the vectors are not the same."""
    transformers = referee_library()
    tokenizer = transformers.AutoTokenizer.from_pretrained(opened.folder)
    model = transformers.BertModel.from_pretrained(opened.folder).eval()

    @torch.inference_mode()
    def by_transformers(texts: list[str]) -> np.ndarray:
        rows = []
        for i in range(0, len(texts), BATCH):
            batch = tokenizer(
                texts[i : i + BATCH],
                padding=True,
                truncation=True,
                max_length=opened.max_length,
                return_tensors="pt",
            )
            rows.append(mean_of(model(**batch).last_hidden_state, batch["attention_mask"]))
        return torch.cat(rows).numpy()

    runs: dict[str, Callable[[list[str]], np.ndarray]] = {
        OURS: lambda texts: sentence_vectors(opened.model, opened.tokenizer, texts, truncate=True),
        THEIRS: by_transformers,
    }
    if (encode := sentence_transformer(opened.folder, say)) is not None:
        runs[SENTENCES] = encode
    if has_onednn():
        runs[ONEDNN] = products("onednn")(runs[OURS])
    first = {name: run(texts[:BATCH]) for name, run in runs.items()}
    apart = max(float(np.abs(first[name] - first[OURS]).max()) for name in runs)
    if not apart <= 1e-4:
        raise RuntimeError(f"the sentence vectors are not the same: they are {apart:.1e} apart")
    turns = {name: lambda number, run=run: run(texts) for name, run in runs.items()}
    clocks = alternate(turns, options.rounds, options.progress)
    race = compared(clocks, [len(texts)] * options.rounds, "sentences", OURS)
    say(f"\n{len(texts):,} sentences, from text to vector")
    say(table_of(race, "sentences"))
    return race | {
        "sentences": len(texts),
        "vectors_apart": apart,
        "note": NOTE,
        SENTENCES: installed_version(SENTENCES),
    }


def sentence_transformer(folder: Path, say: Callable[[str], None]) -> Callable[[list[str]], np.ndarray] | None:
    """Its `encode`, or None, with a message, if the package is not installed."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        say("\nsentence-transformers is not installed and is left out (pip install sentence-transformers).")
        return None
    model = SentenceTransformer(str(folder), device="cpu")
    return lambda texts: model.encode(texts, batch_size=BATCH, show_progress_bar=False, normalize_embeddings=True)


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """All four parts, and which of the goals they reach."""
    referee_library()
    opened = open_encoder(options.model)
    texts = corpus.labelled(options.texts)
    prepared = prepare(options.corpus, options.cache, options.size.vocab_size, say=say)
    pool, test, _ = unseen(texts, pretraining_text(prepared), min(options.held_out, len(texts) // 4))
    sentences = [example.text for example in test + pool]
    out: dict = {
        "parity": parity(opened, mixed_lengths(sentences, min(MIXED, options.sentences))),
        "round_trip": round_trip(opened),
    }
    say(
        f"The hidden states of {out['parity']['sentences']} sentences in one batch, compared with those of transformers:"
    )
    rows = [(kind, f"{out['parity'][kind]['largest']:.1e}") for kind in ("float32", "float64")]
    say(table(("", "largest difference"), [*rows, ("lowest cosine", f"{out['parity']['lowest_cosine']:.7f}")]))
    answers = (f"{what.replace('_', ' ')}: {answer}" for what, answer in out["round_trip"].items())
    say("There and back: " + ", ".join(answers))
    out["inference"] = inference(opened, sentences[: options.sentences], options, say)
    out["finetuning"] = finetuning(opened, pool, test, options, say)
    out["aims"] = aims(out)
    say("\n" + "\n".join(f"{'reached' if reached else 'MISSED '}  {aim}" for aim, reached in out["aims"].items()))
    return out


def aims(out: dict) -> dict[str, bool]:
    """What the figures should show, and whether they do so."""
    parity, speed, tuned = out["parity"], out["inference"]["ratios"], out["finetuning"]
    aims = {
        "hidden states within 2e-5 in float32": parity["float32"]["largest"] <= 2e-5,
        "hidden states within 1e-9 in float64": parity["float64"]["largest"] <= 1e-9,
        "cosine of sentence vectors 0.999999": parity["lowest_cosine"] >= 0.999999,
        "there and back without a change": all(out["round_trip"].values()),
        "accuracy 0.77 after fine-tuning": tuned["ours"]["accuracy"] >= 0.77,
        "fine-tuned in 0.8 of their seconds": tuned["seconds_ours_over_theirs"] <= 0.8,
        "no slower step on the same batch": tuned["step"]["ratios"][THEIRS]["median"] >= 1,
        "1.5 times as many sentences as transformers": speed[THEIRS]["median"] >= 1.5,
    }
    if SENTENCES in speed:
        aims["as many sentences as sentence-transformers"] = speed[SENTENCES]["median"] >= 1
    return {aim: bool(reached) for aim, reached in aims.items()}
