"""Adapters on disk: what was trained beside a frozen model, as a small file of its own.

adapter.safetensors   the trained weights, under our names
adapter.json          how the base was adapted, the head, and which base it needs, by its place and the SHA-256 of its weights
"""

import hashlib
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from minilm.errors import InputError
from minilm.files.atomic import write_json
from minilm.files.checksums import check, seal, unseal
from minilm.files.packages import sha256
from minilm.files.tensors import files_of, read_json, read_safetensors, weights_file, write_tensors
from minilm.models.adaptation import Adaptation, adaptive_layers, short_name, trained_weights
from minilm.models.heads import HeadConfig
from minilm.models.verbaliser import VerbaliserConfig
from minilm.pretrained.architecture import Architecture
from minilm.pretrained.registry import locate, published_name
from minilm.pretrained.weights import refuse_broken_numbers
from minilm.text.tokenizer import Tokenizer

WEIGHTS, SETTINGS, FORMAT = "adapter.safetensors", "adapter.json", "minilm adapter 1"


@dataclass(frozen=True)
class AdapterFile:
    """What an adapter's folder says. `base` is the name of a published model, or a path from the adapter's folder."""

    folder: Path
    base: str
    base_sha256: str
    adaptation: Adaptation
    head: HeadConfig
    ranks: dict[str, int]

    def find_base(self, given: Path | str | None = None) -> Path | str:
        """Where the base lies: `given`, or where it was. Raises InputError if it is not there, or is another model."""
        where = given or published_name(self.base) or self.folder / self.base
        try:
            there = published_name(where) is not None or Path(where).exists()
        except (OSError, ValueError):  # no path can be so long, or hold such a character
            there = False
        if not there:
            raise InputError(
                f"the adapter {self.folder} needs its base, and {str(where):.300} does not exist: name it with --base."
            )
        if (found := fingerprint(where)) != self.base_sha256:
            raise InputError(
                f"the adapter {self.folder} is for another base: the weights of {where} have the SHA-256 {found[:12]}…, and "
                f"it was trained on {self.base_sha256[:12]}…."
            )
        return where

    def weights(self) -> dict[str, Tensor]:
        """The trained weights. Raises InputError if one of them is not finite."""
        found = read_safetensors(self.folder / WEIGHTS)
        refuse_broken_numbers(found, str(self.folder))
        return found


def is_adapter(name: Path | str) -> bool:
    """Whether a folder holds an adapter."""
    return (Path(name) / SETTINGS).is_file()


def fingerprint(base: Path | str) -> str:
    """The SHA-256 of a model's weights; if they lie in several files, that of their hashes in the order of their names."""
    hashes = [sha256(path) for path in sorted(files_of(weights_file(locate(base))))]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def save_adapter(folder: Path, model: nn.Module, adaptation: Adaptation, base: Path | str) -> None:
    """Write what was trained, and how `open_classifier` finds the base again."""
    where = published_name(base)
    if where is None:
        try:
            where = Path(os.path.relpath(base, folder)).as_posix()
        except ValueError:  # on another drive of Windows
            where = str(Path(base).resolve())
    folder.mkdir(parents=True, exist_ok=True)
    unseal(folder)
    write_tensors(folder / WEIGHTS, trained_weights(model))
    ranks = {short_name(name): len(layer.lam) for name, layer in adaptive_layers(model).items()}
    stated = {name: value for name, value in asdict(adaptation.stated).items() if value is not None}
    facts: dict[str, Any] = {"format": FORMAT, "base": where, "base_sha256": fingerprint(base), "adaptation": stated}
    write_json(folder / SETTINGS, facts | ({"ranks": ranks} if ranks else {}) | Architecture().write_head(model))
    seal(folder, [WEIGHTS, SETTINGS])


def read_adapter(folder: Path) -> AdapterFile:
    """The settings of an adapter. Raises InputError, in one sentence, for what is wrong with them."""
    check(folder)
    path = folder / SETTINGS
    entries = read_json(path)
    if entries.get("format") != FORMAT:
        raise InputError(f"{path}: the format {entries.get('format')!r} is not one that minilm opens ({FORMAT!r}).")
    given, ranks = entries.get("adaptation"), entries.get("ranks", {})
    known = {field.name for field in fields(Adaptation)}
    if not (isinstance(given, dict) and given.keys() <= known and isinstance(ranks, dict)):
        raise InputError(f"{path} does not describe an adaptation: {given!r:.80}.")
    if any(type(rank) is not int or rank < 0 for rank in ranks.values()):
        raise InputError(f"{path}: the ranks must be whole numbers from 0.")
    texts = [entries.get(name) for name in ("base", "base_sha256")]
    head = Architecture().read_head(entries, str(path))
    if head is None or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{path} does not say what its base or its head is: train the adapter again.")
    try:
        return AdapterFile(folder, str(texts[0]), str(texts[1]), Adaptation(**given), head, ranks)
    except (InputError, TypeError) as error:
        raise InputError(f"{path}: {error}") from None


def word_ids(head: VerbaliserConfig, tokenizer: Tokenizer) -> list[list[int]]:
    """The tokens of each label's words. Raises InputError for a word that is not one token of the vocabulary."""
    out = []
    for k in range(len(head.labels)):
        rows = tokenizer.ids(head.words_of(k))
        for word, ids in zip(head.words_of(k), rows, strict=True):
            if len(ids) != 1 or ids[0] in tokenizer.special_ids:
                pieces = " ".join(tokenizer.tokens(ids))
                raise InputError(
                    f"the word {word!r} is not one token of the vocabulary ({pieces}): choose one that is."
                )
        out.append([ids[0] for ids in rows])
    return out
