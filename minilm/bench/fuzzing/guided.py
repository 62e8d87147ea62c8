"""The campaign against one target, guided by coverage: atheris changes the choices of hypothesis and keeps what reaches a new branch.

    python -m minilm.bench.fuzzing.guided SEED HOME TARGET:SECONDS:ROUND

does the same as `campaign`, with the same reports. hypothesis turns bytes into a right input and its damage; atheris makes the bytes
and follows the branches that the library takes with them. Inputs that show a finding are not made smaller, but the smallest is kept.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import atheris
from hypothesis import HealthCheck, given, settings, strategies as st

with atheris.instrument_imports(include=["minilm"], exclude=["minilm.bench"]):  # before anything else imports it
    from minilm.bench.fuzzing.campaign import DAMAGE, HANG, REPORT, Finding, Reader, Report, limit_memory
    from minilm.bench.fuzzing.guard import Guard
    from minilm.bench.fuzzing.target import Target
    from minilm.bench.fuzzing.targets import TARGETS
    from minilm.files.atomic import write_json

EVERY = 2.0  # seconds between two reports
LONGEST_INPUT = 4096  # bytes of choices


def guided(target: Target, seconds: float, seed: int, home: Path, first: int) -> None:
    """Read inputs until the seconds of the processor are over, and end this process (atheris never returns)."""
    home.mkdir(parents=True, exist_ok=True)
    report, began = Report(rounds=first), time.process_time()
    with atheris.instrument_imports(include=["minilm"], exclude=["minilm.bench"]):
        reader = Reader(target, Guard(), home)
    reader.log = open(home / HANG, "w", encoding="utf-8")  # until the process ends
    written = began

    @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, target.right - 1), st.lists(DAMAGE, max_size=4))
    def one(number, damages):
        case, (outcome, key, sentence) = reader(number, damages)
        report.counts[outcome] += 1
        if outcome == "finding":
            report.add(Finding(key, sentence, case))

    read: Any = one  # a function to which hypothesis has given an attribute

    def from_bytes(choices: bytes) -> None:
        nonlocal written
        read.hypothesis.fuzz_one_input(choices)
        now = time.process_time()
        if now - written >= EVERY or now - began >= seconds:
            written, report.seconds = now, round(now - began, 1)
            report.done = now - began >= seconds
            write_json(home / REPORT, report.plain())
        if report.done:
            sys.stderr.flush()
            os._exit(0)

    atheris.Setup(
        [sys.argv[0], f"-seed={seed + first + 1}", f"-max_len={LONGEST_INPUT}", "-len_control=0", "-rss_limit_mb=0"],
        from_bytes,
    )
    atheris.Fuzz()


def main(seed: str, home: str, campaign: str) -> None:
    """Run one campaign here, and keep its report up to date."""
    sys.dont_write_bytecode = True
    limit_memory()
    place = Path(home).resolve()
    (place / "empty").mkdir(parents=True, exist_ok=True)
    os.chdir(place / "empty")
    name, seconds, first = campaign.split(":")
    guided(TARGETS[name], float(seconds), int(seed), place / name, int(first))


if __name__ == "__main__":
    main(*sys.argv[1:])
