"""Who has passed what, in `.progress.json` beside the learner's files.

Nothing in it is a second truth: a verdict is filed under the checksum of the file that it was given to, so it holds for
that very file and for no other. A file that is lost or broken costs nothing but a new check.
"""

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from minilm.errors import InputError
from minilm.exercises.catalogue import Entry, load
from minilm.exercises.report import Report
from minilm.exercises.stub import stub

FILE = ".progress.json"
TRIES = 3  # failed checks after which the solution opens


@dataclass
class Record:
    """What is remembered of one exercise. `failed`: checksum → layer, for every version that failed, stubs aside."""

    stub: str = ""  # the checksum of the stub that was written
    passed: str = ""  # … of the file that passed last
    failed: dict[str, int] = field(default_factory=dict)
    hints: int = 0  # how many were shown


class Progress:
    """The learner's folder and what is known about its files."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.records: dict[str, Record] = {}
        try:
            found = json.loads((folder / FILE).read_text(encoding="utf-8"))
            for name, known in found.items():
                failed = {str(sha): int(layer) for sha, layer in known["failed"].items()}
                self.records[name] = Record(str(known["stub"]), str(known["passed"]), failed, int(known["hints"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.records = {}

    def file(self, entry: Entry) -> Path:
        return self.folder / f"{entry.stem}.py"

    def of(self, name: str) -> Record:
        return self.records.setdefault(name, Record())

    def state(self, entry: Entry) -> tuple[str, int]:
        """("missing" | "untouched" | "passed" | "failed" | "changed", the layer that failed) of the file as it is now."""
        path, record = self.file(entry), self.of(entry.name)
        if not path.is_file():
            return "missing", 0
        sha = checksum(path)
        if sha == record.passed:
            return "passed", 0
        if sha in record.failed:
            return "failed", record.failed[sha]
        return ("untouched" if self.untouched(entry) else "changed"), 0

    def untouched(self, entry: Entry) -> bool:
        """Whether the file is still the stub; one that is not remembered is made again and compared."""
        path, known = self.file(entry), self.of(entry.name).stub
        if known:
            return checksum(path) == known
        text = path.read_bytes().decode("utf-8", errors="replace").replace("\r\n", "\n")
        if "raise NotImplementedError" not in text:
            return False
        return text in (stub(load(entry.name)), stub(load(entry.name), guided=False))

    def note(self, entry: Entry, report: Report) -> None:
        """File a verdict. An untouched stub fails, but is no try."""
        path, record = self.file(entry), self.of(entry.name)
        if not path.is_file():
            return
        if report.passed:
            record.passed = checksum(path)
        elif not self.untouched(entry):
            record.failed[checksum(path)] = report.layer
        self.save()

    def solution_is_open(self, name: str) -> bool:
        record = self.of(name)
        return bool(record.passed) or len(record.failed) >= TRIES

    def save(self) -> None:
        """All of it or nothing. Raises InputError where nothing can be written."""
        known = {name: vars(record) for name, record in sorted(self.records.items()) if record != Record()}
        growing = self.folder / f"{FILE}.{os.getpid()}"
        try:
            growing.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
            os.replace(growing, self.folder / FILE)
        except OSError as error:
            with contextlib.suppress(OSError):
                growing.unlink()
            raise InputError(
                f"nothing can be written in {self.folder} ({error.strerror}): make room there, or give another --folder."
            ) from None


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
