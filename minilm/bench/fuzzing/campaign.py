"""The campaign against one target: inputs by hypothesis, one after the other, until the time is over.

    python -m minilm.bench.fuzzing.campaign SEED HOME TARGET:SECONDS:ROUND …

runs campaigns in a process of their own, so that a reader that hangs or crashes ends this process and not the command. After
every round, `HOME`/TARGET/report.json says how far it has come; the input that is being read lies in `HOME`/TARGET/input.
"""

import base64
import contextlib
import faulthandler
import hashlib
import os
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from hypothesis import HealthCheck, Phase, given, seed as seeded, settings, strategies as st
from hypothesis.errors import Flaky

from minilm.bench.fuzzing.damage import CANARY, KINDS, Damage
from minilm.bench.fuzzing.guard import Guard
from minilm.bench.fuzzing.target import Case, Target, laid
from minilm.errors import on_one_line
from minilm.files.atomic import write_json

EXAMPLES = 150  # inputs of a round, which has a seed of its own
LONGEST = 120.0  # seconds that one input may take before it counts as hanging
MEMORY = 6 << 30  # bytes
HANG, REPORT = "hang.txt", "report.json"
LIBRARY = str(Path(__file__).parents[2])
DAMAGE = st.builds(
    Damage,
    st.integers(0, 11),
    st.sampled_from([*KINDS, "a piece", "a value", "a piece", "a value"]),  # these two say most
    st.integers(0, 65_535),
    st.integers(0, 2_000),
)


@dataclass
class Finding:
    """What is wrong, said in one sentence; the smallest input that shows it; and how often it was met."""

    key: str
    sentence: str
    case: Case
    times: int = 1

    def plain(self) -> dict:
        files = {name: base64.b64encode(content).decode() for name, content in self.case.after.items()}
        damage = [list(each) for each in self.case.damages]
        return {"key": self.key, "sentence": self.sentence, "times": self.times, "number": self.case.number} | {
            "damage": damage, "files": files if sum(map(len, files.values())) < 200_000 else {},
        }  # fmt: skip


@dataclass
class Report:
    """Counts of what became of the inputs, and the findings by their keys."""

    counts: Counter = field(default_factory=Counter)
    found: dict[str, Finding] = field(default_factory=dict)
    rounds: int = 0
    seconds: float = 0.0
    done: bool = False

    def add(self, finding: Finding) -> None:
        known = self.found.setdefault(finding.key, finding)
        known.times += known is not finding
        if size_of(finding.case) < size_of(known.case):
            known.case, known.sentence = finding.case, finding.sentence

    def plain(self) -> dict:
        findings = [finding.plain() for finding in self.found.values()]
        facts = {"rounds": self.rounds, "seconds": self.seconds, "done": self.done, "counts": dict(self.counts)}
        return facts | {"findings": findings}


def size_of(case: Case) -> int:
    return sum(map(len, case.after.values())) + len(case.damages)


def judge(target: Target, case: Case, guard: Guard) -> tuple[str, str, str]:
    """Read an input: ("read" or "refused", "", ""), or ("finding", what kind it is, a sentence)."""
    notes: list[str] = []
    outcome = "read", "", ""
    with guard.watching(str(case.folder.parent / target.writes) if target.writes else "") as seen:
        try:
            found = target.read(case, notes.append)
        except target.refusals as refusal:
            outcome = refused(target, case, refusal)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic in a library written in Rust is no Exception
            outcome = unexpected("reading", error)
    if seen:
        return "finding", f"guard: {seen[0].split()[0]}", f"while reading, something was run or written: {seen[0]}"
    if Path(CANARY).exists():
        os.remove(CANARY)
        return "finding", "guard: canary", "the code in a file was run"
    if outcome[0] == "read":
        try:
            if lost := target.lost(case, found, notes):
                outcome = "finding", f"lost: {''.join(c for c in lost if c.isalpha())[:40]}", lost
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            outcome = unexpected("using what was read", error)
    return outcome


def refused(target: Target, case: Case, refusal: Exception) -> tuple[str, str, str]:
    """A refusal is one line that can be shown, and it names a file or the folder."""
    sentence, where = str(refusal), place_of(refusal)
    if on_one_line(sentence) != sentence:
        return "finding", f"form: {where}", f"a refusal is not one line that can be shown: {sentence!r:.200}"
    names = (str(case.folder), *(Path(name).name for name in case.after))
    if target.names_file and not any(name in sentence for name in names):
        return "finding", f"form: {where}", f"a refusal names no file: {sentence!r:.200}"
    return "refused", "", ""


def unexpected(what: str, error: BaseException) -> tuple[str, str, str]:
    sentence = f"{what} ended in {type(error).__name__} ({place_of(error)}): {' '.join(str(error).split())[:200]}"
    return "finding", f"{type(error).__name__} {place_of(error)}", sentence


def place_of(error: BaseException) -> str:
    """The last line of ours in a traceback that is no line of the campaign itself."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(LIBRARY)]
    last = next((frame for frame in reversed(frames) if "fuzzing" not in frame.filename), frames[-1])
    return f"{Path(last.filename).relative_to(LIBRARY).as_posix()}, {last.name}"


class Found(Exception):
    """Tells hypothesis to look for a smaller input that shows the same."""


def campaign(
    target: Target, seconds: float, seed: int, home: Path, first: int = 0, guard: Guard | None = None
) -> Iterator[Report]:
    """Yields the report after every round, until `seconds` of the processor are over. The rounds are numbered from `first`;
    the same seed and number make the same inputs."""
    home.mkdir(parents=True, exist_ok=True)
    reader = Reader(target, guard or Guard(), home)
    report, began = Report(rounds=first), time.process_time()
    with open(home / HANG, "w", encoding="utf-8") as reader.log:
        while not report.done:
            one_round(reader, report, seed, began + seconds if report.rounds > first else None)
            report.rounds += 1
            report.seconds = round(time.process_time() - began, 1)
            report.done = report.seconds >= seconds
            yield report


class Reader:
    """Reads input after input in one folder, and ends this process if one of them takes too long."""

    def __init__(self, target: Target, guard: Guard, home: Path):
        self.target, self.guard, self.home = target, guard, home
        self.lying: dict[str, bytes] = {}
        self.log: TextIO = sys.stderr
        shutil.rmtree(home / "input", ignore_errors=True)
        judge(target, laid(target, 0, [], home, self.lying), guard)  # imports what is imported when it is first needed

    def __call__(self, number: int, damages: list[Damage]) -> tuple[Case, tuple[str, str, str]]:
        case = laid(self.target, number, damages, self.home, self.lying)
        faulthandler.dump_traceback_later(LONGEST, exit=True, file=self.log)
        try:
            return case, judge(self.target, case, self.guard)
        finally:
            faulthandler.cancel_dump_traceback_later()


def one_round(reader: Reader, report: Report, seed: int, end: float | None) -> None:
    """Inputs of one seed. After a finding of a new kind, the round goes on with smaller inputs that show the same."""
    known = set(report.found)

    def one(number: int, damages: list[Damage]) -> None:
        if end is not None and time.process_time() > end:
            return
        case, (outcome, key, sentence) = reader(number, damages)
        report.counts[outcome] += 1
        if outcome == "finding":
            report.add(Finding(key, sentence, case))
            if key not in known:
                raise Found(key)

    number = hashlib.sha256(f"{seed} {reader.target.name} {report.rounds}".encode()).digest()
    how = settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    inputs = given(st.integers(0, reader.target.right - 1), st.lists(DAMAGE, max_size=4))
    with contextlib.suppress(Found, Flaky):  # flaky, where the time was over before it was small
        seeded(int.from_bytes(number[:8], "big"))(how(inputs(one)))()


def limit_memory() -> None:
    """A reader that wants more than `MEMORY` gets a MemoryError, which is a finding."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def main(seed: str, home: str, *campaigns: str) -> None:
    """Run the campaigns here, and keep their reports up to date."""
    from minilm.bench.fuzzing.targets import TARGETS

    sys.dont_write_bytecode = True
    limit_memory()
    place, guard = Path(home).resolve(), Guard()
    (place / "empty").mkdir(parents=True, exist_ok=True)
    os.chdir(place / "empty")
    for each in campaigns:
        name, seconds, first = each.split(":")
        for report in campaign(TARGETS[name], float(seconds), int(seed), place / name, int(first), guard):
            write_json(place / name / REPORT, report.plain())


if __name__ == "__main__":
    main(*sys.argv[1:])
