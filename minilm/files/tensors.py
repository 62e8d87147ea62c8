"""Read tensors from a file that may come from anybody.

The `safetensors` library compares everything that the header of a file claims with the size of the file before any number
is read, so a broken or hostile file leads to an error message and not to full memory. Such a file contains no code, and none
is ever run. This module adds what the library does not say: which other format a file has, and weights in several files.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from minilm.errors import InputError
from minilm.files.atomic import replace_bytes

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
EIGHT_BIT = "model.int8.safetensors"  # see pretrained/eight_bit.py
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8},
    **{"BOOL": torch.bool},
}
LONGEST_JSON = 1_000_000  # bytes: enough for the header of nine thousand tensors, too little to fill the memory
MOST_DIMENSIONS = 8
# The first bytes of other formats for weights: torch.save (a zip, or before 2020 a bare pickle) and HDF5 (Keras).
OTHERS = {b"PK\x03\x04": "a zip with a pickle", b"\x80": "a pickle", b"\x89HDF": "HDF5"}
INCOMPLETE = "it is cut off, or bytes at its end belong to no tensor"  # for "file not fully covered"


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors by name, of one file or of all those that an index lists. Raises InputError, with one sentence, if anything
    is wrong with a file."""
    header_of(path)
    out: dict[str, Tensor] = {}
    for file in files_of(path):
        try:
            out |= load_file(file)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{file} cannot be read as safetensors: {error}.") from None
    return out


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Replace the file at `path` by these tensors, in one step.

    The bytes are written by `replace_bytes` because safetensors reports a full disk as an unrelated error.
    """
    copies = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    replace_bytes(path, save(copies, metadata={"format": "pt"}))


def header_of(path: Path) -> dict[str, Tensor]:
    """Name, shape and dtype of every tensor, as tensors on the device "meta", which take no memory.

    `path` is a file of tensors, or an index of several such files. Raises InputError unless the header of each describes
    exactly the bytes that follow it, and if two of them hold a tensor of the same name.
    """
    out: dict[str, Tensor] = {}
    for file in files_of(path):
        found = header_of_one(file)
        if twice := sorted(out.keys() & found.keys()):
            raise InputError(f"{path.parent} holds the tensor {twice[0]!r} in two of its files.")
        out |= found
    return out


def header_of_one(path: Path) -> dict[str, Tensor]:
    broken = f"{path} cannot be read as safetensors"
    try:
        with open(path, "rb") as file:
            start = file.read(8)
        length, size = int.from_bytes(start, "little"), path.stat().st_size - 8
        for signature, what in OTHERS.items():
            if start.startswith(signature) and not 2 <= length <= min(size, LONGEST_JSON):
                raise InputError(f"{broken}: it is {what}, which minilm does not open.")
        if LONGEST_JSON < length <= size:
            raise InputError(
                f"{broken}: a header of {length:,} bytes is more than any model needs (at most {LONGEST_JSON:,})."
            )
        out = {}
        with safe_open(path, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no dictionary
                part = tensors.get_slice(name)
                shape, dtype = part.get_shape(), part.get_dtype()
                if dtype not in DTYPES or len(shape) > MOST_DIMENSIONS:
                    raise InputError(
                        f"{broken}: the tensor {name!r} ({len(shape)} dimensions of {dtype}) is none of ours."
                    )
                out[name] = torch.empty(shape, dtype=DTYPES[dtype], device="meta")
        return out
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise InputError(f"{path.parent} is not a run folder: it has no {path.name}.") from None
    except SafetensorError as error:
        why = (
            INCOMPLETE
            if "not fully covered" in str(error)
            else str(error).removeprefix("Error while deserializing header: ")
        )
        raise InputError(f"{broken}: {why}.") from None


def files_of(path: Path) -> list[Path]:
    """The file itself, or those that an index names, which must lie beside it. Raises InputError."""
    if not path.name.endswith(".index.json"):
        return [path]
    places = read_json(path).get("weight_map")
    names = sorted(set(map(str, places.values()))) if isinstance(places, dict) else []
    if not names or any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
        raise InputError(f"{path} does not say in which safetensors files beside it the weights lie.")
    return [path.parent / name for name in names]


def weights_file(path: Path) -> Path:
    """The file with the weights, or the index of several files: `path` itself, or the one in the folder `path`.

    Raises InputError if there are only weights that minilm does not open, which are pickles.
    """
    if path.suffix in PICKLED and not path.is_dir():
        raise InputError(f"{path} is a pickle, which can run any code when it is opened: save it as {WEIGHTS} instead.")
    if path.suffix == ".safetensors":
        return path
    if not (path / WEIGHTS).exists() and path.is_dir():
        for other in (INDEX, EIGHT_BIT):
            if (path / other).exists():
                return path / other
        if pickles := sorted(file.name for file in path.iterdir() if file.suffix in PICKLED):
            raise InputError(
                f"{path} has its weights as {pickles[0]} only, a pickle, which can run any code when it is opened: "
                f"save them as {WEIGHTS} (in transformers: save_pretrained)."
            )
    return path / WEIGHTS


def read_config(path: Path) -> dict:
    """The `config.json` in a model's folder, or beside its file of weights. Raises InputError."""
    folder = path.parent if path.suffix in (".safetensors", *PICKLED) and not path.is_dir() else path
    try:
        return read_json(folder / "config.json")
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder} is not a run folder: it has no config.json.") from None


def read_json(path: Path, kind: type = dict, longest: int = LONGEST_JSON) -> Any:
    """A JSON object (or a list, if that is the `kind`) from a file of at most `longest` bytes. Raises InputError."""
    with open(path, "rb") as file:
        text = file.read(longest + 1)
    if len(text) > longest:
        raise InputError(f"{path} is too long for a settings file: more than {longest:,} bytes.")
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=once)
    except InputError as error:
        raise InputError(f"{path} {error}.") from None
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:100]
        raise InputError(f"{path} is not JSON: {why}.") from None
    if not isinstance(value, kind):
        raise InputError(f"{path} holds no settings: it must be one JSON {'object' if kind is dict else 'list'}.")
    return value


def once(pairs: list[tuple[str, object]]) -> dict:
    """A JSON object whose keys are all different: if a key came twice, programs would disagree about its value."""
    out = {}
    for name, value in pairs:
        if name in out:
            raise InputError(f"has {name[:60]!r} twice")
        out[name] = value
    return out
