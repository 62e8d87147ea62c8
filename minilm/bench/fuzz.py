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
import time
from collections import Counter
from collections.abc import Callable
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
    from minilm.bench.fuzzing.targets import TARGETS

    names = options.targets or tuple(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        raise InputError(f"there is no target {unknown[0]!r}: choose among {', '.join(TARGETS)}.")
    here = options.out / "fuzz"
    shutil.rmtree(here, ignore_errors=True)
    rows = {}
    for name in tqdm(names, desc="targets", disable=None if options.progress else True, leave=False):
        rows[name] = against(name, 60 * options.minutes / len(names), options.seed, here / name)
        keep(rows[name]["findings"], here / name)
    say(table_of(rows))
    for name, row in rows.items():
        for finding in row["findings"]:
            say(f"  {name}, {finding['times']} times: {finding['sentence']}")
    total = sum(len(row["findings"]) for row in rows.values())
    say(f"{total} findings, with their inputs in {here}" if total else "nothing found")
    return {"targets": rows}


def against(name: str, seconds: float, seed: int, home: Path) -> dict:
    """The campaign against one target, in a process of its own; after a hang or a crash it goes on in another one."""
    from minilm.bench.fuzzing.campaign import HANG, REPORT

    counts, findings, began = Counter[str](), {}, time.process_time()
    used, crashes, rounds = 0.0, 0, 0
    while True:
        (home / REPORT).unlink(missing_ok=True)
        module = "minilm.bench.fuzzing.campaign"
        before = children_seconds()
        command = [sys.executable, "-P", "-m", module, name, str(seconds - used), str(seed), str(rounds), str(home)]
        surroundings = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        process = subprocess.run(command, env=surroundings, capture_output=True, check=False)
        used += max(children_seconds() - before, 1.0)
        report = json.loads((home / REPORT).read_text(encoding="utf-8")) if (home / REPORT).exists() else {}
        counts.update(report.get("counts", {}))
        for finding in report.get("findings", []):
            known = findings.setdefault(finding["key"], finding)
            known["times"] += finding["times"] if known is not finding else 0
        rounds = report.get("rounds", rounds)
        if process.returncode:
            crashes += 1
            rounds += 1  # past the round that did not end
            counts["finding"] += 1
            said = (home / HANG).read_text(encoding="utf-8").strip() if (home / HANG).exists() else ""
            found = of_crash(process, said, home / "input", seed, rounds - 1)
            known = findings.setdefault(found["key"], found)
            known["times"] += known is not found
        if used >= seconds or crashes == MOST_CRASHES or not process.returncode:
            break
    row = {name: counts[name] for name in ("read", "refused", "finding")}
    inputs = {"inputs": sum(row.values()), "rounds": rounds, "seconds": round(used, 1)}
    return inputs | row | {"findings": sorted(findings.values(), key=lambda finding: finding["key"])}


def children_seconds() -> float:
    """The processor's time of all processes that were started here and have ended. (On Windows, the clock's.)"""
    times = os.times()
    return times.children_user + times.children_system or time.monotonic()


def of_crash(process: subprocess.CompletedProcess, said: str, folder: Path, seed: int, number: int) -> dict:
    """The finding of a process that did not come to its end, with the input that it was reading."""
    last = process.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    where = next((line.strip() for line in said.splitlines() if "minilm" in line and "fuzzing" not in line), "")
    what = f"one input takes longer than the limit, at {where}" if said else f"the process ended with {process.returncode}: {last[0]}"
    coded = {name: base64.b64encode(content).decode() for name, content in files.items()}
    return {"key": f"crash: {where or last[0][:80]}", "sentence": what, "times": 1, "files": coded, "round": [seed, number]}


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
    lines = [(name, *(f"{row[figure]:,}" for figure in figures), str(len(row["findings"]))) for name, row in rows.items()]
    sums = [sum(row[figure] for row in rows.values()) for figure in figures]
    total = ("together", *(f"{round(each):,}" for each in sums), str(sum(len(row["findings"]) for row in rows.values())))
    return table(("", *figures, "findings"), [*lines, total])
