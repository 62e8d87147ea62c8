"""What learners and programs hand in: archives, notebooks, scripts, small files of ours, and requests to the server."""

import io
import json
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePosixPath
from random import Random
from typing import Any

import numpy as np
import torch

from minilm.bench.fuzzing.damage import CODE
from minilm.bench.fuzzing.folders import MAKERS, learned
from minilm.bench.fuzzing.target import Case, Target
from minilm.errors import InputError
from minilm.exercises.catalogue import entries
from minilm.exercises.grading import isolated
from minilm.exercises.grading.cells import NoNotebook, cells_of
from minilm.exercises.grading.own_work import REFUSED
from minilm.exercises.grading.sources import Found, source_for
from minilm.exercises.grading.submissions import LISTED, Submission, read_all
from minilm.exercises.learner import Unready, read as read_script
from minilm.exercises.progress import FILE as PROGRESS, Progress
from minilm.explorer import records
from minilm.explorer.answers import ENDPOINTS, Served, served
from minilm.explorer.requests import Refused, parsed
from minilm.explorer.subject import open_subject
from minilm.files.notes import Note
from minilm.jobs.notebooks import COPIED, remembered
from minilm.pretrained.protocol import save_model
from minilm.text.memory import FILE as MEMORY, open_memory

SOFTMAX = """import numpy as np
def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
"""
# Where a member of an archive would like to lie. The code in each would write a file, if anything ran it.
OUTSIDE = (
    "../up.py",
    "../../../tmp/up.py",
    "/abs.py",
    "C:\\abs.py",
    "..\\up.py",
    "a/../../up.py",
    "./b.py",
    "a//b.py",
    "~/c.py",
)
NAMES = (
    "e01_softmax.py",
    "deep/er/softmax.py",
    "work.ipynb",
    "notes.md",
    "softmax.py.txt",
    ".hidden.py",
    "é 没有.py",
    "x" * 200 + ".py",
)


def notebook(rng: Random) -> bytes:
    cells: list[dict[str, Any]] = [{"cell_type": "markdown", "metadata": {}, "source": ["# A try"]}]
    for source in (SOFTMAX, "!ls", "%%time\nsoftmax(1)", CODE.decode()):
        cell = {"cell_type": "code", "metadata": {}, "source": source.splitlines(keepends=True)}
        cells.insert(rng.randint(0, len(cells)), cell | {"outputs": [], "execution_count": None})
    facts = {"language_info": {"name": "python"}, "kernelspec": {"name": "python3", "language": "python"}}
    return json.dumps({"cells": cells, "metadata": facts, "nbformat": 4, "nbformat_minor": 5}).encode()


# ---- archives

packed_tar: Any = tarfile.open  # of any compression


def make_archive(folder: Path, number: int) -> None:
    rng = Random(number)
    kind = (".zip", ".tar", ".tar.gz", ".zip")[number % 4]
    names = rng.sample(NAMES, 3) + rng.sample(OUTSIDE, 3) + ["twice.py"] * rng.randint(0, 2)
    members = [(name, notebook(rng) if name.endswith("nb") else SOFTMAX.encode() + CODE) for name in names]
    if rng.random() < 0.5:
        members.append(("inner.zip", as_zip([("../deep.py", CODE), ("f.py", SOFTMAX.encode())], rng)))
    (folder / f"anna{kind}").write_bytes(as_zip(members, rng) if kind == ".zip" else as_tar(members, kind, rng))


def as_zip(members: list[tuple[str, bytes]], rng: Random) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same name twice
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
        link = zipfile.ZipInfo("link.py")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("bomb.py", b"#" * rng.choice((10, 10**6)), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def as_tar(members: list[tuple[str, bytes]], kind: str, rng: Random) -> bytes:
    out = io.BytesIO()
    with packed_tar(fileobj=out, mode="w:gz" if kind == ".tar.gz" else "w") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for what, kind_of_entry in (
            ("link.py", tarfile.SYMTYPE),
            ("hard.py", tarfile.LNKTYPE),
            ("pipe.py", tarfile.FIFOTYPE),
        ):
            entry = tarfile.TarInfo(what)
            entry.type, entry.linkname = kind_of_entry, rng.choice(("/etc/passwd", "../../x.py", "link.py"))
            archive.addfile(entry)
    return out.getvalue()


Work = tuple[list[Submission], dict[str, str], list[Found]]


def read_submissions(case: Case, note: Note) -> Work:
    """What `minilm exercise grade` reads before it runs anything."""
    found, nobodys = read_all(case.folder)
    return found, nobodys, [source_for(each, entry) for each in found for entry in entries()[:2]]


def lost_of_archive(case: Case, found: Work, notes: list[str]) -> str:
    """Every file of an archive is read, or named with the reason. None of those that count leaves the folder that it is put in."""
    for each in (name for source in found[2] for name in source.beside):
        if set(each) & set("/\\:\0") or each in ("..", "."):
            return f"a file of the archive would be written to {each!r}"
    (path,) = case.folder.iterdir()
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                names = [part.filename for part in archive.infolist() if not part.is_dir()]
        else:
            with packed_tar(path) as archive:
                names = [part.name for part in archive if part.isfile()]
    except Exception:  # the referee cannot read it either: then a reason is enough
        return (
            ""
            if any(each.trouble for each in found[0]) or found[1]
            else "an archive that nobody can read has no reason"
        )
    (handed,) = found[0] or [Submission("")]
    listed = (*handed.files, *handed.left)
    lost = [
        name
        for name in names
        if not name.endswith(".zip") and not any(key.endswith(PurePosixPath(name).name) for key in listed)
    ]
    return "" if not lost or handed.trouble or len(handed.left) >= LISTED else f"{lost[0]!r} is neither read nor named"


# ---- notebooks and scripts


def make_notebook(folder: Path, number: int) -> None:
    (folder / "work.ipynb").write_bytes(notebook(Random(number)))


def read_notebook(case: Case, note: Note) -> tuple[list[str], Work]:
    work = read_submissions(case, note)
    try:
        return cells_of((case.folder / "work.ipynb").read_bytes()), work
    except NoNotebook:
        return [], work


def lost_of_notebook(case: Case, found: tuple[list[str], Work], notes: list[str]) -> str:
    cells, (submissions, _, sources) = found
    if not cells:
        content = (case.folder / "work.ipynb").read_bytes()
        said = [source for source in sources if source.trouble or source.absent] or any(
            each.left for each in submissions
        )
        return "" if said else f"a notebook of {len(content)} bytes has no cells and no reason"
    whole = json.loads((case.folder / "work.ipynb").read_bytes().removeprefix(b"\xef\xbb\xbf"))
    sheets = whole["worksheets"] if "worksheets" in whole else [whole]
    wanted = sum(cell["cell_type"] == "code" for sheet in sheets for cell in sheet["cells"])
    return "" if wanted == len(cells) else f"the notebook has {wanted} code cells, and minilm reads {len(cells)}"


def make_script(folder: Path, number: int) -> None:
    head = ("", "# coding: utf-8\n", "# %%\n", "#!/usr/bin/python\n# -*- coding: latin-1 -*-\n")[number % 4]
    (folder / "e01_softmax.py").write_text(head + SOFTMAX + CODE.decode(), encoding="utf-8")


def read_a_script(case: Case, note: Note) -> tuple[str, Work]:
    work = read_submissions(case, note)
    try:
        return read_script(case.folder / "e01_softmax.py"), work
    except Unready:
        return "", work


# ---- small files of ours


def outcome() -> bytes:
    """What the child that runs a learner's code writes for each case; the code may write it, too."""
    rest = {"outputs": [["z", "array"]], "changed": [], "error": "", "line": "", "unsteady": False, "drew": ""}
    out = io.BytesIO()
    np.savez(out, output0=np.arange(3.0), rest=np.frombuffer(json.dumps(rest).encode(), np.uint8))
    return out.getvalue()


def lines_of(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


TRIED = {"softmax": {"stub": "ab", "passed": "", "failed": {"cd": 2}, "hints": 1, "mistakes": {"cd": "x"}}}
MEASURED = [{"step": step, "loss": 3.5 / step, "seconds": step / 7} for step in (1, 2, 3)]
GUESSED = [{"step": step, "text": "a [MASK]", "mask": 0, "guesses": [["b", 0.5]]} for step in (1, 2)]
SCORED = [{"model": "LSTM", "labels": 5, "accuracy": score, "seed": 0} for score in (0.5, 0.75)]
REMEMBERED = {"neighbours": 1, "fold": True, "pairs": [["a", "b"], ["c d", "e"]]}
RECORDS: tuple[tuple[str, str | bytes, Callable[[Path], Any]], ...] = (
    (PROGRESS, json.dumps(TRIED), Progress),
    (COPIED, json.dumps({"01_a.ipynb": "ab", "INDEX.md": "cd"}), lambda folder: remembered(folder / COPIED)),
    ("metrics.jsonl", lines_of(*MEASURED), records.training),
    ("watched.jsonl", lines_of(*GUESSED), records.watched),
    ("ladder.json", json.dumps(SCORED), records.ladder),
    (MEMORY, json.dumps(REMEMBERED), open_memory),
    (
        "failed.json",
        json.dumps([[3, "ValueError: x"], [5, "y"]]),
        lambda folder: isolated.failed_cells(folder / "failed.json"),
    ),
    ("cell.json", json.dumps([3, 9, 2, 1.5]), lambda folder: isolated.stopped_in(folder / "cell.json")),
    (
        "said.json",
        json.dumps([REFUSED, "a line"]),
        lambda folder: isolated.said_before_running(folder / "said.json"),
    ),
    ("0.npz", outcome(), lambda folder: isolated.unpacked(folder / "0.npz")),
)


def make_record(folder: Path, number: int) -> None:
    name, content, _ = RECORDS[number % len(RECORDS)]
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def read_record(case: Case, note: Note) -> Any:
    return RECORDS[case.number % len(RECORDS)][2](case.folder)


# ---- requests

ASKED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("texts", "predict", {"texts": ["It is fine.", "北京"], "truncate": True}),
    ("texts", "similar", {"query": "cold", "lines": ["It is cold.", "12"], "top": 1}),
    ("bert", "fill-mask", {"text": "The [MASK] house", "top": 3}),
    ("gpt", "generate", {"prompt": "The", "tokens": 3, "temperature": 0.8, "top_p": 0.9, "seed": 3}),
    ("tags", "predict", {"texts": ["Anna in Bonn"]}),
    ("bert", "explore", {"text": "It is cold."}),
)


@cache
def models(home: Path) -> dict[str, Served]:
    """A model of each kind that is asked, opened once."""
    out = {}
    for kind in sorted({kind for kind, _, _ in ASKED}):
        torch.manual_seed(1)
        (home / kind).mkdir(parents=True, exist_ok=True)
        tokenizer = learned("characters", home / kind)
        save_model(home / kind, MAKERS[kind](tokenizer), tokenizer)
        out[kind] = served(open_subject(home / kind))
    return out


def make_request(folder: Path, number: int) -> None:
    models(folder.parent / "served")
    (folder / "request.json").write_text(json.dumps(ASKED[number % len(ASKED)][2]), encoding="utf-8")


def read_request(case: Case, note: Note) -> bytes:
    """What the server does with the body of a request. The answer must be JSON that every program reads."""
    kind, question, _ = ASKED[case.number % len(ASKED)]
    asked = parsed((case.folder / "request.json").read_bytes())
    reply = ENDPOINTS[question].reply(models(case.folder.parent / "served")[kind], asked)
    return json.dumps(reply, allow_nan=False, ensure_ascii=False).encode()


TARGETS = (
    Target("archives", make_archive, read_submissions, lost_of_archive),
    Target("notebooks", make_notebook, read_notebook, lost_of_notebook),
    Target("scripts", make_script, read_a_script, right=4),
    Target("records", make_record, read_record, right=len(RECORDS), names_file=False),
    Target("requests", make_request, read_request, right=6, names_file=False, refusals=(InputError, Refused)),
)
