"""Folders from strangers: tokenizers, models, states of a run, and prepared token ids.

They come without checksums, or with ones that fit the damage: whoever means harm can write those as well.
"""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn

from minilm.bench.fuzzing.target import Case, Target
from minilm.bench.fuzzing.texts import SENTENCES
from minilm.errors import InputError
from minilm.files.checksums import FILE, seal, seal_of
from minilm.files.notes import Note
from minilm.layers.eight_bit import in_eight_bits
from minilm.models.adaptation import Adaptation, adapt
from minilm.models.heads import Classifier, SpanHeadConfig, TextHeadConfig, TokenHeadConfig
from minilm.models.initialisation import initialise
from minilm.models.lstm import LSTMConfig, LSTMLanguageModel
from minilm.models.sentence_encoder import SentenceEncoder, SentenceSettings
from minilm.pretrained.adapter import save_adapter
from minilm.pretrained.protocol import ARCHITECTURES, open_model, save_model
from minilm.text.causal_tokenizer import train_bytes
from minilm.text.store import Store, open_store, write_store
from minilm.text.tokenizer import Tokenizer, train_characters, train_wordpiece
from minilm.training.last_digits import check_products, check_threads
from minilm.training.loop import Progress
from minilm.training.optimizer import AdamW, Optimizer, parameter_groups
from minilm.training.state import add_metrics, check_corpus, load_state, restore, save_state, snapshot

SIZES = dict(width=12, layers=1, heads=3, feed_forward=20, max_length=24)


def learned(kind: str, home: Path) -> Tokenizer:
    """A tokenizer that is learned from a few sentences."""
    path = home / "sentences.txt"
    path.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    try:
        if kind == "characters":
            return train_characters(SENTENCES, 60, lowercase=False)
        return train_bytes([path], 300) if kind == "bytes" else train_wordpiece([path], 150)
    finally:
        path.unlink()


# ---- tokenizers


def make_tokenizer(folder: Path, number: int) -> None:
    kind = ("wordpiece", "characters", "bytes", "vocab.txt", "GPT-2")[number % 5]
    tokenizer = learned({"vocab.txt": "wordpiece", "GPT-2": "bytes"}.get(kind, kind), folder)
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 24, **tokenizer.names}
    whole = json.loads(tokenizer.to_json())
    if kind == "vocab.txt":
        vocabulary = sorted(whole["model"]["vocab"], key=whole["model"]["vocab"].get)
        (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
        settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": None}
        entries = {str(i): {"content": token, "special": True} for i, token in enumerate(vocabulary[:5])}
        settings |= {"added_tokens_decoder": entries} if number % 2 else {}
    elif kind == "GPT-2":
        end = "<|endoftext|>"
        tokens = {token: i for i, token in enumerate([*whole["model"]["vocab"], end])}
        (folder / "vocab.json").write_text(json.dumps(tokens, ensure_ascii=False), encoding="utf-8")
        merges = [" ".join(pair) for pair in whole["model"]["merges"]]
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
        settings = {"tokenizer_class": "GPT2Tokenizer", "bos_token": end, "eos_token": end, "unk_token": end}
    else:
        tokenizer.save(folder)
    if number % 3 or kind == "GPT-2":
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    if number % 4 == 1:
        (folder / "special_tokens_map.json").write_text('{"cls_token": "[CLS]"}', encoding="utf-8")


def read_tokenizer(case: Case, note: Note) -> Tokenizer:
    return Tokenizer.load(case.folder)


def lost_of_tokenizer(case: Case, found: Tokenizer, notes: list[str]) -> str:
    """Whatever opens must do what its users rely on."""
    for text in (*SENTENCES, "", "\0", "a" * 300):
        (row,) = found.ids([text])
        if not all(0 <= i < found.size for i in row):
            return f"an id of {text[:20]!r} is outside the vocabulary of {found.size}"
        found.text(row), found.tokens(row), found.words_of(text), found.pieces_of_words([text.split()])
    return ""


# ---- models


MAKERS: dict[str, Callable[[Tokenizer], nn.Module]] = {
    "bert": lambda t: of("bert", t, "learned"),
    "mpnet": lambda t: of("bert", t, "relative"),
    "gpt": lambda t: of("gpt", t, "relative"),
    "lstm": lambda t: LSTMLanguageModel(LSTMConfig(t.size, embedding=5, hidden=6, layers=1)),
    "texts": lambda t: Classifier(of("bert", t, "learned").encoder, TextHeadConfig(("bad", "good"), pooling="cls")),
    "tags": lambda t: Classifier(of("bert", t, "relative").encoder, TokenHeadConfig(("O", "B-X", "I-X"), crf=True)),
    "answers": lambda t: Classifier(of("bert", t, "learned").encoder, SpanHeadConfig()),
    "sentences": lambda t: SentenceEncoder(of("bert", t, "learned").encoder, False, SentenceSettings(max_length=20)),
    "8 bits": lambda t: in_eight_bits(Classifier(of("bert", t, "learned").encoder, TextHeadConfig(("bad", "good"))), True),
    "seq2seq": lambda t: of("seq2seq", t, "relative"),
}  # fmt: skip


def of(name: str, tokenizer: Tokenizer, positions: str) -> Any:
    architecture = next(each for each in ARCHITECTURES if each.name == name)
    sizes = {"vocab_size": tokenizer.size, "positions": positions, **SIZES}
    return architecture.build_pretraining(architecture.config_class(**sizes))


def make_model(folder: Path, number: int) -> None:
    torch.manual_seed(number)
    names = [*MAKERS, "adapter"]
    name = names[number % len(names)]
    tokenizer = learned("characters", folder)
    if name == "adapter":
        base: Any = MAKERS["bert"](tokenizer)
        save_model(folder / "base", base, tokenizer)
        model, way = Classifier(base.encoder, TextHeadConfig(("bad", "good"))), Adaptation("low-rank", rank=2)
        adapt(model, way, torch.Generator().manual_seed(1))
        save_adapter(folder, model, way, folder / "base")
        (folder / "base" / FILE).unlink()
    else:
        save_model(folder, MAKERS[name](tokenizer), tokenizer)
    (folder / FILE).unlink()


@torch.no_grad()
def read_model(case: Case, note: Note) -> torch.Tensor:
    """Open it, and compute something with it: what opens must work."""
    loaded = open_model(case.folder, note)
    (ids,) = loaded.tokenizer.ids([SENTENCES[0]])
    row = torch.tensor([loaded.tokenizer.pair(ids)[0][: min(8, loaded.max_length or 8)]])
    return loaded.model.encoder(row, torch.zeros_like(row), torch.ones_like(row, dtype=torch.bool)).hidden


# ---- the state of a run


def tiny_run() -> tuple[LSTMLanguageModel, Optimizer, torch.Generator]:
    generator = torch.Generator().manual_seed(1)
    model = LSTMLanguageModel(LSTMConfig(30, embedding=3, hidden=4, layers=1))
    initialise(model, generator=generator)
    return model, AdamW(parameter_groups(model)), generator


def make_run(folder: Path, number: int) -> None:
    model, optimizer, generator = tiny_run()
    facts = {"options": {"steps": 4, "out": "x"}, "corpus": "numbers-0123456789ab", "threads": 1}
    for step in (2, 4)[: 1 + number % 2]:
        add_metrics(folder, step=step, loss=3.5, seconds=0.1)
        save_state(folder, step, snapshot(model, optimizer, generator, Progress(step, 10 * step, 0.5)), facts)


def seal_again(case: Case) -> None:
    """Checksums that fit the damaged state; in a quarter of the cases they stay as they were."""
    if case.number % 4 == 0:
        return
    states = case.folder / "training_state"
    for path in states.glob("step-*"):
        if {"state.safetensors", "facts.json"} <= {file.name for file in path.iterdir()}:
            seal(path, ["state.safetensors", "facts.json"])
    try:
        newest = max(states.glob("step-*"))
        files = json.loads((newest / FILE).read_text(encoding="utf-8"))["files"]
        named = {"folder": newest.name, "seal": seal_of(files)}
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        return
    if case.before["training_state/latest.json"] == case.after["training_state/latest.json"]:
        (states / "latest.json").write_text(json.dumps(named), encoding="utf-8")


def read_run(case: Case, note: Note) -> Progress:
    """What `--resume` does before it trains."""
    state = load_state(case.folder)
    if state is None:
        raise InputError(f"{case.folder} holds no run to resume.")
    check_corpus(case.folder, Path("numbers-0123456789ab"), state)
    check_products(case.folder, state)
    check_threads(case.folder, state, note)
    model, optimizer, generator = tiny_run()
    progress = Progress(0, 0, 0.0)
    restore(case.folder, model, optimizer, generator, progress, state[0])
    return progress


# ---- prepared token ids


def make_store(folder: Path, number: int) -> None:
    rng = Random(number)
    documents = [rng.choices(SENTENCES, k=rng.randint(1, 4)) for _ in range(rng.randint(1, 5))]
    write_store(documents, learned("characters", folder), folder / "train")


def read_store(case: Case, note: Note) -> Store:
    return open_store(case.folder / "train")


def lost_of_store(case: Case, found: Store, notes: list[str]) -> str:
    borders = [*found.sentences.tolist()], [*found.documents.tolist()]
    for row, end in zip(borders, (found.tokens, len(found.sentences) - 1), strict=True):
        if row[0] != 0 or row[-1] != end or row != sorted(row):
            return "it was opened with borders that are out of order"
    return ""


TARGETS = (
    Target("tokenizer", make_tokenizer, read_tokenizer, lost_of_tokenizer, right=20),
    Target("model", make_model, read_model, right=22),
    Target("run-state", make_run, read_run, right=8, settle=seal_again),
    Target("store", make_store, read_store, lost_of_store, right=12),
)
