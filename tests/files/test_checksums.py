import json

import pytest

from minilm.errors import InputError
from minilm.files.checksums import FILE, check, seal, unseal

CONTENTS = {"a.bin": bytes(range(256)), "北.txt": "北京".encode(), "sub/c.json": b"{}"}


@pytest.fixture
def folder(tmp_path):
    for name, content in CONTENTS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    seal(tmp_path, CONTENTS)
    return tmp_path


def test_a_folder_as_it_was_sealed_passes_whatever_else_lies_in_it(folder):
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    assert check(folder) == seal(folder, CONTENTS)


def test_a_folder_without_checksums_is_not_checked(folder):
    unseal(folder)
    unseal(folder)
    (folder / "a.bin").write_bytes(b"")
    assert check(folder) is None


@pytest.mark.parametrize("name", CONTENTS)
def test_every_bit_counts_and_the_file_is_named(name, folder):
    for place in range(0, 8 * len(CONTENTS[name]), 7):
        content = bytearray(CONTENTS[name])
        content[place // 8] ^= 1 << place % 8
        (folder / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name} is damaged.*delete {FILE}"):
            check(folder)
    (folder / name).write_bytes(CONTENTS[name] + b"\n")
    with pytest.raises(InputError, match=f"{name} is damaged"):
        check(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        check(folder)


def test_every_bit_of_the_checksums_counts_too(folder):
    whole = (folder / FILE).read_bytes()
    for place in range(8 * len(whole)):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        (folder / FILE).write_bytes(content)
        try:
            check(folder)
        except InputError as refused:
            assert FILE in str(refused)
        else:  # white space that stands for other white space
            assert json.loads(content) == json.loads(whole)


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "sub/../../outside"])
def test_checksums_of_a_stranger_cannot_lead_out_of_the_folder(name, tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside").write_bytes(b"x")
    files = {name: "0" * 64}
    (tmp_path / "inside" / FILE).write_text(json.dumps({"files": files, "seal": ""}), encoding="utf-8")
    with pytest.raises(InputError, match="holds no checksums"):
        check(tmp_path / "inside")
