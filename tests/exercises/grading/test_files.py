"""Every file that is handed in appears in the tables with what became of it."""

import bz2
import csv
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from minilm.cli import main
from minilm.exercises.catalogue import find
from minilm.exercises.grading import submissions as reading
from minilm.exercises.grading.sources import source_for
from minilm.exercises.grading.submissions import DEEPEST, LISTED, Submission, read_all, read_class

RIGHT = b"import numpy as np\ndef softmax(z):\n    e = np.exp(z - z.max(-1, keepdims=True))\n    return e / e.sum(-1, keepdims=True)\n"
NAME = "e01_softmax.py"


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as parts:
        for name, content in files.items():
            parts.writestr(name, content)
    return out.getvalue()


def tarred(files: dict[str, bytes], kind: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.TarFile(fileobj=out, mode="w") as parts:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            parts.addfile(info, io.BytesIO(content))
    packed = {"": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[kind]
    return packed(out.getvalue())


ALL = {NAME: RIGHT}
# what learners hand in → (path, content), the verdict, a part of the message or of what the table of the files says
HANDED_IN = {
    "zip": ({"zip.zip": zipped(ALL)}, "passed", ""),
    "tar": ({"tar.tar": tarred(ALL)}, "passed", ""),
    "tar_gz": ({"tar_gz.tar.gz": tarred(ALL, "gz")}, "passed", ""),
    "tgz": ({"tgz.tgz": tarred(ALL, "gz")}, "passed", ""),
    "tar_bz2": ({"tar_bz2.tar.bz2": tarred(ALL, "bz2")}, "passed", ""),
    "tar_xz": ({"tar_xz.tar.xz": tarred(ALL, "xz")}, "passed", ""),
    "zip_in_zip": ({"zip_in_zip.zip": zipped({"work/a.zip": zipped(ALL)})}, "passed", ""),
    "tar_in_folder": ({"tar_in_folder/b.tgz": tarred({"x/y.zip": zipped(ALL)}, "gz")}, "passed", ""),
    "rar": ({"rar.rar": b"Rar!"}, "not run", ".rar archives are not opened"),
    "seven": ({"seven.7z": b"7z"}, "not run", ".7z archives are not opened"),
    "gz": ({"gz.py.gz": gzip.compress(RIGHT)}, "not run", ".gz archives are not opened"),
    "rar_in_folder": ({"rar_in_folder/work.rar": b"Rar!"}, "not run", "work.rar: .rar archives are not opened"),
    "rar_in_zip": ({"rar_in_zip.zip": zipped({"a.rar": b"Rar!", "notes.txt": b"x"})}, "not run", "a.rar"),
    "py_txt": ({f"py_txt/{NAME}.txt": RIGHT}, "not run", "rename it to end in .py"),
    "ipynb_txt": ({"ipynb_txt.ipynb.txt": b"{}"}, "not run", "rename it to end in .ipynb"),
    "beside": ({f"beside/{NAME}": RIGHT, "beside/old.rar": b"x", "beside/n.docx": b"x"}, "passed", "old.rar"),
    "text": ({"text/answer.txt": RIGHT, "text/answer.pdf": b"%PDF"}, "missing", "not read: answer.pdf, answer.txt"),
    "hidden": ({f"hidden/.{NAME}": RIGHT, f"hidden/__MACOSX/._{NAME}": b"x"}, "missing", "not handed in"),
    "empty": ({f"empty/{NAME}": b""}, "missing", "it is empty"),
    "empty_file": ({"empty_file.py": b""}, "missing", "it is empty"),
    "other_work": ({"other_work.py": b"def dropout(): pass\n"}, "missing", "no `softmax` in other_work.py"),
    "damaged": ({"damaged.tar.gz": b"\x1f\x8b no"}, "failed", "cannot be unpacked"),
    "damaged_inside": (
        {"damaged_inside.zip": zipped({"a.zip": b"PK", NAME: RIGHT})},
        "passed",
        "it cannot be unpacked",
    ),
    "twice": ({f"twice/{NAME}": b"softmax = 3\n", f"twice/deep/{NAME}": RIGHT}, "failed", "deep/e01_softmax.py"),
    "same_path": (
        {f"same_path/{NAME}": RIGHT, "same_path/a.zip": zipped({NAME: b"def softmax(z): 1"})},
        "passed",
        "again",
    ),
    "two_scripts": ({"two_scripts/a.py": b"x = 1\n", "two_scripts/b.py": RIGHT}, "passed", "was taken from b.py"),
    "spaces": ({"spaces/My Work (final)/e01_softmax (1).py": RIGHT}, "passed", ""),
}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for files, _, _ in HANDED_IN.values():
        for name, content in files.items():
            (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "in" / name).write_bytes(content)
    for name in ("list of names.xlsx", "README.txt", ".DS_Store"):
        (folder / "in" / name).write_bytes(b"x")
    out = folder / "grades.csv"
    assert main(["exercise", "grade", str(folder / "in"), "softmax", "--seed", "3", "--out", str(out)]) == 0
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("learner", HANDED_IN)
def test_the_verdict_and_the_tables_say_what_became_of_it(graded, learner):
    files, verdict, said = HANDED_IN[learner]
    (row,) = (row for row in table(graded / "grades_long.csv") if row["learner"] == learner)
    assert row["verdict"] == verdict, row
    listed = [row for row in table(graded / "grades_files.csv") if row["learner"] == learner]
    assert said in str(listed) + row["message"]
    assert (verdict == "passed") == any(
        row["what became of it"] == "graded: softmax" for row in listed
    ) or learner == "twice"


def test_no_file_is_in_no_table(graded):
    listed = {(row["learner"], row["file"]) for row in table(graded / "grades_files.csv")}
    for learner, (files, _, _) in HANDED_IN.items():
        for name in files:
            inner = name.removeprefix(f"{learner}/")
            assert any(
                who == learner and (inner in file or inner.endswith((".zip", "gz", ".tar", "bz2", "xz")))
                for who, file in listed
            )
    assert {("", "list of names.xlsx"), ("", "README.txt"), ("", ".DS_Store")} <= listed


def test_the_wide_table_and_the_page_name_what_was_not_read(graded):
    wide = {row["learner"]: row["not read"] for row in table(graded / "grades.csv")}
    assert wide["beside"] == "n.docx; old.rar" and wide["tgz"] == "" and wide["py_txt"] == f"{NAME}.txt"
    page = (graded / "grades.md").read_text(encoding="utf-8")
    below = page.split("## Files that were not graded")[1]
    for name in ("old.rar", "README.txt", "a.py", "answer.pdf", f"{NAME}.txt".replace("_", "\\_")):
        assert name in below, name
    assert "rar, softmax: **not run**" in page  # something to look at


def test_archives_inside_archives_end_somewhere(tmp_path):
    content = zipped(ALL)
    for _ in range(DEEPEST):
        content = zipped({"in.zip": content})
    (tmp_path / "anna.zip").write_bytes(content)
    (submission,) = read_class(tmp_path)
    assert not submission.files and "inside one another" in str(submission.left)


def test_what_is_too_much_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MOST", 3)
    (tmp_path / "anna.zip").write_bytes(zipped({f"a{i}.py": b"x = 1\n" for i in range(LISTED + 20)}))
    (submission,) = read_class(tmp_path)
    assert len(submission.files) == 3 and len(submission.left) == LISTED + 1 and submission.left["…"]
    monkeypatch.setattr(reading, "UNPACKED", 10)
    (tmp_path / "anna.zip").write_bytes(b"")
    (tmp_path / "anna.zip").unlink()
    (tmp_path / "ben.tgz").write_bytes(tarred({"a.py": b"x" * 20}, "gz"))
    (submission,) = read_class(tmp_path)
    assert "it holds more than" in submission.trouble


def test_what_belongs_to_nobody_is_told_apart(tmp_path):
    (tmp_path / "anna.py").write_bytes(RIGHT)
    (tmp_path / "notes.pdf").write_bytes(b"x")
    (tmp_path / "__MACOSX").mkdir()
    found, nobodys = read_all(tmp_path)
    assert [s.learner for s in found] == ["anna"] and set(nobodys) == {"notes.pdf", "__MACOSX"}


def test_a_file_in_another_encoding_is_found(tmp_path):
    text = RIGHT.decode().replace("softmax", "softmax", 1) + "# größe\n"
    for encoding, head in (("utf-16", ""), ("latin-1", "# coding: latin-1\n"), ("utf-8-sig", "")):
        submission = Submission("anna", {"work.py": (head + text).encode(encoding)})
        assert source_for(submission, find("softmax")).place == "work.py", encoding
