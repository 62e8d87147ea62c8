"""What the learner has passed, in `.progress.json` beside the learner's files.

A verdict is stored with the checksum of the file that was checked, so it holds for exactly this content and no other.
If `.progress.json` is lost or damaged, you only have to check your files again.
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
TRIES = 3  # failed checks after which the solution is shown


@dataclass
class Record:
    """What is remembered of one exercise. `failed`: checksum → layer for each version that failed; stubs do not count.
    `mistakes`: checksum → the mistake that was found in this version. `titles`: checksum → what else stopped it."""

    stub: str = ""  # checksum of the stub that was written
    passed: str = ""  # checksum of the file that passed last
    failed: dict[str, int] = field(default_factory=dict)
    hints: int = 0  # how many of the general hints were shown
    mistakes: dict[str, str] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    hinted: str = ""  # the mistake about which a hint was shown last


class Progress:
    """The learner's folder, and what is known about its files."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.records: dict[str, Record] = {}
        try:
            found = json.loads((folder / FILE).read_text(encoding="utf-8"))
            for name, known in found.items():
                failed = {str(sha): int(layer) for sha, layer in known["failed"].items()}
                record = Record(str(known["stub"]), str(known["passed"]), failed, int(known["hints"]))
                for each in ("mistakes", "titles"):  # they came later than the others
                    setattr(record, each, {str(sha): str(text) for sha, text in known.get(each, {}).items()})
                record.hinted = str(known.get("hinted", ""))
                self.records[name] = record
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            self.records = {}

    def file(self, entry: Entry) -> Path:
        return self.folder / f"{entry.stem}.py"

    def of(self, name: str) -> Record:
        return self.records.setdefault(name, Record())

    def state(self, entry: Entry) -> tuple[str, int]:
        """The state of the file as it is now: "missing", "untouched", "passed", "failed" or "changed"; and the failed layer."""
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
        """Whether the file is still the stub. If no checksum is remembered, the stub is generated again and compared."""
        path, known = self.file(entry), self.of(entry.name).stub
        if known:
            return checksum(path) == known
        text = path.read_bytes().decode("utf-8", errors="replace").replace("\r\n", "\n")
        if "raise NotImplementedError" not in text:
            return False
        return text in (stub(load(entry.name)), stub(load(entry.name), guided=False))

    def note(self, entry: Entry, report: Report) -> None:
        """Store a verdict. An untouched stub fails, but does not count as a try."""
        path, record = self.file(entry), self.of(entry.name)
        if not path.is_file():
            return
        if report.passed:
            record.passed = checksum(path)
        elif not self.untouched(entry):
            sha = checksum(path)
            record.failed[sha] = report.layer
            for kept, text in ((record.mistakes, report.asked), (record.titles, report.title)):
                kept.pop(sha, None)
                if text:
                    kept[sha] = text
        self.save()

    def mistake(self, entry: Entry) -> str:
        """The key of the mistake that was found in the file as it is now; "" if none was."""
        path = self.file(entry)
        return self.of(entry.name).mistakes.get(checksum(path), "") if path.is_file() else ""

    def title(self, entry: Entry) -> str:
        """What stopped the file as it is now, if that is not one of the layers; else ""."""
        path = self.file(entry)
        return self.of(entry.name).titles.get(checksum(path), "") if path.is_file() else ""

    def solution_is_open(self, name: str) -> bool:
        record = self.of(name)
        return bool(record.passed) or len(record.failed) >= TRIES

    def save(self) -> None:
        """Write the file in one step. Raises InputError if it cannot be written."""
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
