"""Read tensors from a file that may come from anybody: we check its header first and trust nothing that it says.

A safetensors file consists of:

    8 bytes    N, the length of the header (little-endian)
    N bytes    JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}
    the rest   the numbers, one tensor after another, without gaps or overlaps

Everything that the header claims is compared with the size of the file before any number is read. So a broken or
hostile file leads to an error message, and not to full memory. Such a file contains no code, and none is ever run.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from minilm.errors import InputError
from minilm.files.atomic import replace_bytes

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8},
    **{"BOOL": torch.bool},
}
LONGEST_JSON = 1_000_000  # bytes: enough for the header of nine thousand tensors, too little to fill the memory
MOST_DIMENSIONS, LARGEST_DIMENSION = 8, 2**40
# The first bytes of other formats for weights: torch.save (a zip, or before 2020 a bare pickle) and HDF5 (Keras).
OTHERS = {b"PK\x03\x04": "a zip with a pickle", b"\x80": "a pickle", b"\x89HDF": "HDF5"}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of the file by name. Raises InputError, with one sentence, if anything is wrong with the file."""
    header_of(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read as safetensors: {error}.") from None


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Replace the file at `path` by these tensors, in one step.

    The bytes are written by `replace_bytes` because safetensors reports a full disk as an unrelated error.
    """
    copies = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    replace_bytes(path, save(copies, metadata={"format": "pt"}))


def header_of(path: Path) -> dict[str, Tensor]:
    """Name, shape and dtype of every tensor in the file, as tensors on the device "meta", which take no memory.

    Raises InputError unless the header describes exactly the bytes that follow it.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            length, size = int.from_bytes(start, "little"), path.stat().st_size - 8
            for signature, what in OTHERS.items():
                if start.startswith(signature) and not 2 <= length <= min(size, LONGEST_JSON):
                    raise InputError(f"{path} cannot be read as safetensors: it is {what}, which minilm does not open.")
            if len(start) < 8 or not 2 <= length <= size:
                found = f"{length:,} bytes, and the file has {size:,} left" if len(start) == 8 else "missing"
                raise InputError(f"{path} cannot be read as safetensors: its header is {found}.")
            if length > LONGEST_JSON:
                raise InputError(
                    f"{path} cannot be read as safetensors: a header of {length:,} bytes is more than any "
                    f"model needs (at most {LONGEST_JSON:,})."
                )
            entries = parsed(file.read(length), f"{path} cannot be read as safetensors: its header")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise InputError(f"{path.parent} is not a run folder: it has no {path.name}.") from None
    entries.pop("__metadata__", None)
    out, places = {}, []
    for name, entry in entries.items():
        try:
            out[name], place = described(entry)
        except (KeyError, TypeError, ValueError) as error:
            why = f"there is no {error}" if isinstance(error, KeyError) else error
            raise InputError(f"{path} cannot be read as safetensors: the tensor {name!r}: {why}.") from None
        places.append((*place, name))
    for fault in gaps(places, size - length):
        raise InputError(f"{path} cannot be read as safetensors: {fault}.")
    return out


def described(entry: object) -> tuple[Tensor, tuple[int, int]]:
    """The tensor that one entry of the header describes, without its numbers, and where these begin and end."""
    if not isinstance(entry, dict):
        raise ValueError("it is not an object with dtype, shape and data_offsets")
    dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in DTYPES:
        raise ValueError(f"numbers of the type {str(dtype)[:20]!r} cannot be read")
    whole = [type(n) is int for n in (*shape, begin, end)]
    if not all(whole) or len(shape) > MOST_DIMENSIONS or not all(0 <= n <= LARGEST_DIMENSION for n in (*shape, begin)):
        raise ValueError(f"{str(shape)[:60]} at byte {str(begin)[:20]} is not a valid shape and position")
    count = math.prod(shape)
    if count * DTYPES[dtype].itemsize != end - begin:
        raise ValueError(f"{shape} of {dtype} is {count * DTYPES[dtype].itemsize:,} bytes, not {end - begin:,}")
    if count > LARGEST_DIMENSION:
        raise ValueError(f"{shape} is larger than any file can be")
    return torch.empty(shape, dtype=DTYPES[dtype], device="meta"), (begin, end)


def gaps(places: list[tuple[int, int, str]], size: int) -> Iterator[str]:
    """Yield what is wrong with the (begin, end) of the tensors, which must fill `size` bytes without gaps."""
    at = 0
    for begin, end, name in sorted(places):
        if begin != at:
            yield f"the tensor {name!r} begins at byte {begin:,}, but the one before it ends at {at:,}"
        at = end
    if at > size:
        yield f"it is cut off: the tensors need {at:,} bytes, but only {size:,} are there"
    if at < size:
        yield f"{size - at:,} bytes at its end belong to no tensor"


def weights_file(path: Path) -> Path:
    """The file with the weights: `path` itself, or the one in the folder `path`.

    Raises InputError if there are only weights that minilm does not open: pickles, or several files.
    """
    if path.suffix in PICKLED and not path.is_dir():
        raise InputError(f"{path} is a pickle, which can run any code when it is opened: save it as {WEIGHTS} instead.")
    if path.suffix == ".safetensors":
        return path
    if not (path / WEIGHTS).exists() and path.is_dir():
        if (path / INDEX).exists():
            raise InputError(f"{path} has its weights in several files: save them as one {WEIGHTS}.")
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


def read_json(path: Path) -> dict:
    """A JSON object from a file of at most LONGEST_JSON bytes. Raises InputError."""
    with open(path, "rb") as file:
        text = file.read(LONGEST_JSON + 1)
    if len(text) > LONGEST_JSON:
        raise InputError(f"{path} is too long for a settings file: more than {LONGEST_JSON:,} bytes.")
    return parsed(text, str(path))


def parsed(text: bytes, where: str) -> dict:
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=once)
    except InputError as error:
        raise InputError(f"{where} {error}.") from None
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:100]
        raise InputError(f"{where} is not JSON: {why}.") from None
    if not isinstance(value, dict):
        raise InputError(f"{where} holds no settings: it must be one JSON object.")
    return value


def once(pairs: list[tuple[str, object]]) -> dict:
    """A JSON object whose keys are all different: if a key came twice, programs would disagree about its value."""
    out = {}
    for name, value in pairs:
        if name in out:
            raise InputError(f"has {name[:60]!r} twice")
        out[name] = value
    return out
