"""A campaign against every reader of files that people give us: damaged and hostile inputs, made by hypothesis.

Every input is either read, and then a referee (`csv`, pandas, `json`, or a count of lines) finds that nothing is lost; or it is
refused in one sentence that names the file. Anything else is a finding: another exception, a reader that hangs or crashes, code
of the file that runs, and a file that is written.
"""

import base64
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from minilm.bench.options import BenchOptions
from minilm.bench.report import table
from minilm.errors import InputError

NEEDED = ("hypothesis", "pandas", "starlette")
MOST_CRASHES = 20  # of one target, before the campaign against it ends


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """The campaign against each target in turn; the minutes of the processor are shared evenly among them."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise InputError(f"minilm bench fuzz needs {', '.join(missing)}: pip install 'minilm[test]'.")
    if options.guided and importlib.util.find_spec("atheris") is None:
        raise InputError("--guided needs atheris, which is not installed: pip install atheris (Linux and macOS).")
    from minilm.bench.fuzzing.targets import TARGETS

    names = options.targets or tuple(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        raise InputError(f"there is no target {unknown[0]!r}: choose among {', '.join(TARGETS)}.")
    here = options.out / "fuzz"
    shutil.rmtree(here, ignore_errors=True)
    rows = campaigns(names, 60 * options.minutes / len(names), options.seed, here, options.progress, options.guided)
    for name, row in rows.items():
        keep(row["findings"], here / name)
    say(table_of(rows))
    for name, row in rows.items():
        for finding in row["findings"]:
            say(f"  {name}, {finding['times']} times: {finding['sentence']}")
    total = sum(len(row["findings"]) for row in rows.values())
    say(f"{total} findings, with their inputs in {here}" if total else "nothing found")
    return {"targets": rows}


def campaigns(
    names: Sequence[str], seconds: float, seed: int, home: Path, bar: bool, guided: bool = False
) -> dict[str, dict]:
    """The campaigns in a process of their own; after a hang or a crash they go on in another one, with the next round.

    Those that are `guided` by coverage get a process each.
    """
    from minilm.bench.fuzzing.campaign import HANG, REPORT

    rows = {name: Row(seconds) for name in names}
    module = f"minilm.bench.fuzzing.{'guided' if guided else 'campaign'}"
    with tqdm(total=len(names), desc="targets", disable=None if bar else True, leave=False) as shown:
        while left := [name for name in names if not rows[name].over]:
            shown.update(len(names) - len(left) - shown.n)
            left = left[:1] if guided else left
            for name in left:
                (home / name / REPORT).unlink(missing_ok=True)
            parts = [f"{name}:{rows[name].left}:{rows[name].rounds}" for name in left]
            command = [sys.executable, "-P", "-m", module, str(seed), str(home), *parts]
            surroundings = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
            process = subprocess.run(command, env=surroundings, capture_output=True, check=False)
            for name in left:
                path = home / name / REPORT
                rows[name].add(json.loads(path.read_text(encoding="utf-8")) if path.exists() else {})
            if unfinished := [name for name in left if not rows[name].over]:
                where = home / unfinished[0]
                said = (where / HANG).read_text(encoding="utf-8").strip() if (where / HANG).exists() else ""
                rows[unfinished[0]].add_crash(of_crash(process, said, where / "input"), process.returncode)
    return {name: row.plain() for name, row in rows.items()}


@dataclass
class Row:
    """What the processes have reported about one target."""

    left: float
    """Seconds."""
    rounds: int = 0
    over: bool = False
    used: float = 0.0
    crashes: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    findings: dict[str, dict] = field(default_factory=dict)

    def add(self, report: dict) -> None:
        self.counts.update(report.get("counts", {}))
        self.rounds, self.over = report.get("rounds", self.rounds), report.get("done", False)
        self.used, self.left = self.used + report.get("seconds", 0.0), self.left - report.get("seconds", 0.0)
        for finding in report.get("findings", []):
            self.note(finding)

    def note(self, finding: dict) -> None:
        known = self.findings.setdefault(finding["key"], finding)
        known["times"] += finding["times"] if known is not finding else 0

    def add_crash(self, finding: dict, code: int) -> None:
        """The round that did not end is left out when the campaign goes on."""
        self.note(finding)
        self.counts["finding"] += 1
        self.crashes, self.rounds = self.crashes + 1, self.rounds + 1
        self.over = self.crashes == MOST_CRASHES or self.left <= 0 or code == 0

    def plain(self) -> dict:
        row = {name: self.counts[name] for name in ("read", "refused", "finding")}
        facts = {"inputs": sum(row.values()), "rounds": self.rounds, "seconds": round(self.used, 1)}
        return facts | row | {"findings": sorted(self.findings.values(), key=lambda finding: finding["key"])}


def of_crash(process: subprocess.CompletedProcess, said: str, folder: Path) -> dict:
    """The finding of a process that did not come to its end, with the input that it was reading."""
    last = process.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
    where = next((line.strip() for line in said.splitlines() if "minilm" in line and "fuzzing" not in line), "")
    what = (
        f"one input takes longer than the limit, at {where}"
        if said
        else f"the process ended with {process.returncode}: {last[0]}"
    )
    coded = {name: base64.b64encode(content).decode() for name, content in files.items()}
    return {"key": f"crash: {where or last[0][:80]}", "sentence": what, "times": 1, "files": coded}


def keep(findings: list[dict], home: Path) -> None:
    """Write the smallest input of each finding into a folder of its own, and take away what the campaign needed."""
    for path in home.iterdir() if home.exists() else ():
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
    for i, finding in enumerate(findings, start=1):
        for name, content in finding.pop("files").items():
            path = home / f"finding-{i}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(content))
        finding["input"] = str(home / f"finding-{i}")


def table_of(rows: dict[str, dict]) -> str:
    """The counts, target by target."""
    figures = ("inputs", "read", "refused", "seconds")
    lines = [
        (name, *(f"{row[figure]:,}" for figure in figures), str(len(row["findings"]))) for name, row in rows.items()
    ]
    sums = [sum(row[figure] for row in rows.values()) for figure in figures]
    total = (
        "together",
        *(f"{round(each):,}" for each in sums),
        str(sum(len(row["findings"]) for row in rows.values())),
    )
    return table(("", *figures, "findings"), [*lines, total])
