"""Broken or malicious files are rejected in one sentence; they take no memory and run no code."""

import json
import pickle
import tracemalloc
import zipfile

import pytest
import torch
from safetensors.torch import save, save_file

from minilm.errors import InputError
from minilm.files.tensors import LONGEST_JSON, header_of, read_config, read_json, read_safetensors, weights_file

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([1, 2, 3]), "none": torch.zeros(0, 4)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def with_header(header, rest: bytes = b"", length: int | None = None) -> bytes:
    """A file with a given header: an object that is written as JSON, or raw bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + rest


def entry(dtype="F32", shape=(2, 3), begin=0, end=24):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_a_sound_file_is_read_and_its_header_says_the_same_without_its_numbers(path):
    path.write_bytes(save(TENSORS, metadata={"format": "pt"}))
    read, header = read_safetensors(path), header_of(path)
    assert read.keys() == header.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(read[name], tensor)
        assert header[name].is_meta and header[name].shape == tensor.shape and header[name].dtype == tensor.dtype
    path.write_bytes(with_header({}))
    assert read_safetensors(path) == {}


GOOD = with_header({"a": entry()}, bytes(24))
BROKEN = {
    "empty": (b"", "header too small"),
    "shorter than a number": (b"\x08\0\0", "header too small"),
    "header longer than the file": (with_header({}, length=10**9), "header too large"),
    "header of 2^63 bytes": (with_header({}, length=2**63), "header too large"),
    "header of a megabyte and more": (
        with_header(b" " * (LONGEST_JSON + 1)),
        "a header of 1,000,001 bytes is more than any model needs",
    ),
    "no JSON": (with_header(b"{no"), "invalid "),
    "not UTF-8": (with_header(b'{"\xff": 1}'), "invalid "),
    "a list": (with_header(b"[]"), "invalid type: sequence"),
    "nested without end": (with_header(b'{"a":' + b"[" * 500_000), "recursion limit exceeded"),
    "a number of ten thousand digits": (with_header(b'{"a":' + b"9" * 10_000 + b"}"), "number out of range"),
    "one name twice": (with_header(b'{"a": {}, "a": {}}'), "missing field `dtype`"),
    "truncated": (GOOD[:-5], "it is cut off, or bytes at its end belong to no tensor"),
    "longer than its tensors": (GOOD + bytes(3), "it is cut off, or bytes at its end belong to no tensor"),
    "a gap": (
        with_header({"a": entry(begin=4, end=28)}, bytes(28)),
        "invalid offset for tensor `a`",
    ),
    "a thousand tensors on the same bytes": (
        with_header({f"{i:04}": entry() for i in range(1_000)}, bytes(24)),
        "invalid offset for tensor `",
    ),
    "sizes that lie": (with_header({"a": entry(shape=(200, 300))}, bytes(24)), "invalid shape, data type, or offset"),
    "a shape beyond memory": (
        with_header({"a": entry(shape=(2**39, 2**39))}, bytes(24)),
        "overflow computing buffer size",
    ),
    "a shape beyond reason": (
        with_header({"a": entry(shape=(10**30,), end=4 * 10**30)}),
        "invalid ",
    ),
    "two hundred dimensions": (
        with_header({"a": entry(shape=(1,) * 200, end=4)}, bytes(4)),
        "the tensor 'a' (200 dimensions of F32) is none of ours",
    ),
    "a negative shape": (with_header({"a": entry(shape=(-2, -3))}, bytes(24)), "invalid "),
    "true for a size": (with_header({"a": entry(shape=(True, 6))}, bytes(24)), "invalid "),
    "half a word": (with_header({"a": entry(shape=(1.5, 4))}, bytes(24)), "invalid "),
    "an unknown kind of number": (
        with_header({"a": entry(dtype="F4")}, bytes(24)),
        "invalid shape, data type, or offset",
    ),
    "an entry without a place": (with_header({"a": {"dtype": "F32", "shape": []}}), "missing field `data_offsets`"),
    "an entry that is none": (with_header({"a": 7}), "expected struct TensorInfo"),
    "three places": (with_header({"a": entry() | {"data_offsets": [0, 1, 2]}}), "invalid length 3"),
    "a shape that is none": (with_header({"a": entry() | {"shape": 6}}, bytes(24)), "expected a sequence"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_costs_a_sentence_and_no_memory(name, path):
    content, expected = BROKEN[name]
    path.write_bytes(content)
    tracemalloc.start()
    try:
        for read in (read_safetensors, header_of):
            with pytest.raises(InputError) as caught:
                read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert expected in message and str(path) in message and "cannot be read as safetensors" in message
    assert "\n" not in message and message.endswith(".") and len(message) < 300 + len(str(path))
    assert peak < 30e6


class Harmful:
    """An object that runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("the pickle was opened",))


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_by_whatever_name_is_never_opened(protocol, path, tmp_path):
    path.write_bytes(pickle.dumps(Harmful(), protocol))
    with pytest.raises(InputError, match="cannot be read as safetensors: (it is a pickle|header too)"):
        read_safetensors(path)
    path.unlink()
    for name in ("pytorch_model.bin", "model.pt"):
        (tmp_path / name).write_bytes(pickle.dumps(Harmful(), protocol))
        with pytest.raises(
            InputError, match=f"{name} only, a pickle, which can run any code .*save them as model.safe"
        ):
            weights_file(tmp_path)
        with pytest.raises(InputError, match="is a pickle, which can run any code"):
            weights_file(tmp_path / name)
        (tmp_path / name).unlink()


def test_a_zip_and_an_hdf5_file_are_called_what_they_are(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("archive/data.pkl", bytes(50_000_000))
    with pytest.raises(InputError, match="it is a zip with a pickle, which minilm does not open"):
        read_safetensors(path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90))
    with pytest.raises(InputError, match="it is HDF5"):
        read_safetensors(path)


def test_weights_in_several_files_are_read_as_one(tmp_path):
    save_file({"a": TENSORS["a"]}, tmp_path / "1.safetensors")
    save_file({"b": TENSORS["b"], "none": TENSORS["none"]}, tmp_path / "2.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}), encoding="utf-8")
    assert weights_file(tmp_path) == index
    read, header = read_safetensors(index), header_of(index)
    assert read.keys() == header.keys() == TENSORS.keys() and all(torch.equal(read[k], TENSORS[k]) for k in TENSORS)
    save_file({"a": TENSORS["a"]}, tmp_path / "2.safetensors")
    with pytest.raises(InputError, match="holds the tensor 'a' in two of its files"):
        read_safetensors(index)
    (tmp_path / "2.safetensors").unlink()
    with pytest.raises(InputError, match=r"is not a run folder: it has no 2\.safetensors"):
        header_of(index)
    for places in ({}, ["1.safetensors"], {"a": "../1.safetensors"}, {"a": "/etc/1.safetensors"}, {"a": "1.bin"}):
        index.write_text(json.dumps({"weight_map": places}), encoding="utf-8")
        with pytest.raises(InputError, match="does not say in which safetensors files beside it the weights lie"):
            header_of(index)


def test_settings_are_read_from_beside_a_file_and_within_bounds(path, tmp_path):
    (tmp_path / "config.json").write_text('{"a": 1}', encoding="utf-8")
    assert read_config(tmp_path) == read_config(path) == {"a": 1}
    (tmp_path / "config.json").write_bytes(b'{"a": "' + b"x" * LONGEST_JSON + b'"}')
    with pytest.raises(InputError, match="too long for a settings file"):
        read_json(tmp_path / "config.json")
    (tmp_path / "config.json").write_bytes(b'{"a": 1, "a": 2}')
    with pytest.raises(InputError, match="has 'a' twice"):
        read_config(tmp_path)
    with pytest.raises(InputError, match="is not a run folder: it has no config.json"):
        read_config(tmp_path / "nowhere")
