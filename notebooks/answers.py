"""Follow every "What to try" of the notebooks at full size, and record what the changed section prints.

    python notebooks/answers.py                     records all of tests/notebooks/answers/NN_name.json
    python notebooks/answers.py 04                  only those of notebook 04
    python notebooks/answers.py 04 --only sigma     only the sentences that contain this text; the others stay
    python notebooks/answers.py --stale             only what is missing or was made from other code
    python notebooks/answers.py 04 --show           runs nothing; prints what is recorded, for whoever writes the answers
    python notebooks/answers.py --check             runs everything again and says which sentences print something else

The folded answers in the notebooks quote these lines, and a test compares them. A sentence may have several changes ("to 1,
then to 20"); each is recorded. `FULL` in tests/notebooks/suggestions/NN_name.py, if there is one, holds the changes of the
sentences for which the small sizes need others. As in the tests, one thread runs the notebook and is forked for each change
(on Linux; elsewhere each change starts from the beginning). Times and what belongs to this machine are left out.
"""

import argparse
import hashlib
import json
import re
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent / "tests"
sys.path.insert(0, str(TESTS))

import readers  # noqa: E402
from changes import build, changed, code, sections, suggested  # noqa: E402

ANSWERS = TESTS / "notebooks" / "answers"
TIME = re.compile(r"\d ?(ns|µs|us|ms|s|min|seconds?|minutes?)\b")  # in a line that another run prints differently
WARNING = re.compile(r"(?m)^.+:\d+: \w*Warning: .*\n(?:  \S.*\n)?")  # with the line of code that Python shows below it
PICTURE = re.compile(r"<(Picture|Schematic) size [\d.]+x[\d.]+ with .*>")

Edits = list[tuple[str, ...]]
Answer = dict  # {"sentence": …, "code": a hash of the changed sections, "printed": [the lines of each change, …]}


def sentences(source: Path) -> dict[str, list[Edits]]:
    """The sentences of `TRY` and the changes that each stands for at full size, in order."""
    module = suggested(source)
    found: dict[str, list[Edits]] = {}
    for text, edits in module.TRY:
        found.setdefault(text, []).append(edits)
    full = getattr(module, "FULL", {})
    if unknown := full.keys() - found.keys():
        raise build.Fault(f"{source.name}: FULL has a sentence that TRY does not have: {min(unknown)}")
    return found | full


def made_of(changes: list[dict]) -> str:
    """A short hash of the cells that the changes run: those of the changed section from the first change on."""
    cells = [change["cells"][: change["drawn"]] for change in changes]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:12]


def wanted(source: Path) -> dict[str, list[dict]]:
    """For each sentence the changes as `learner.py` runs them: to the end of the changed section, and nothing is drawn."""
    cells, parts = code(source), sections(source)
    found = {}
    for text, changes in sentences(source).items():
        found[text] = [changed(cells, edits, parts) for edits in changes]
    return found


def kept(printed: str) -> list[str]:
    """The lines that every run prints: no empty ones, no times, no paths, no pictures, no warnings.

    A warning names the file of its cell, and every session has another name for it. What it warns of is printed anyway: nan.
    """
    foreign = [re.compile(pattern) for pattern in build.FOREIGN.values()]
    lines = [line.rstrip() for line in WARNING.sub("", printed).splitlines() if line.strip()]
    left_out = (TIME, PICTURE, *foreign)
    return [line for line in lines if not any(pattern.search(line) for pattern in left_out)]


def followed(source: Path, some: dict[str, list[dict]]) -> list[Answer]:
    """Run the notebook at full size, and these changes. Raises `Fault` if the notebook or a change fails."""
    changes = [change for group in some.values() for change in group]
    work = [{**change, "cells": change["cells"][: change["drawn"]], "drawn": 0} for change in changes]
    cells = code(source)[: max(change["first"] for change in changes)]  # what comes after the last change is not needed
    with tempfile.TemporaryDirectory() as empty:
        try:
            report = readers.followed(cells, work, Path(empty), Path(empty), fast=False)
        except RuntimeError as died:
            raise build.Fault(f"{source.name}: {died}") from None
    if report["whole"]:
        raise build.Fault(f"{source.name}: {report['whole']}")
    results = iter(zip(report["changes"], report["prints"]))
    answers = []
    for text, group in some.items():
        printed = []
        for _ in group:
            raised, lines = next(results)
            if raised:
                raise build.Fault(f"{source.name}: {text}\n  {raised}")
            printed.append(kept(lines))
        answers.append({"sentence": text, "code": made_of(group), "printed": printed})
    return answers


def recorded(source: Path) -> dict[str, Answer]:
    """What is on disk for this notebook, by sentence; empty if there is nothing."""
    path = ANSWERS / f"{source.stem}.json"
    return {a["sentence"]: a for a in json.loads(path.read_text(encoding="utf-8"))} if path.exists() else {}


def record(source: Path, only: str, stale: bool) -> str:
    """Run what was asked for and write the file. Returns a line for the screen."""
    everything, old = wanted(source), recorded(source)
    some = {text: group for text, group in everything.items() if only in text}
    if stale:
        some = {text: group for text, group in some.items() if old.get(text, {}).get("code") != made_of(group)}
    new = old | {answer["sentence"]: answer for answer in (followed(source, some) if some else [])}
    missing = [text for text in everything if text not in new]
    lines = [new[text] for text in everything if text in new]
    ANSWERS.mkdir(exist_ok=True)
    path = ANSWERS / f"{source.stem}.json"
    path.write_text(json.dumps(lines, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return f"{source.stem:32} {len(some):3} of {len(everything)} sentences followed" + (
        f", {len(missing)} not recorded yet" if missing else ""
    )


def check(source: Path) -> None:
    """Follow everything again. Raises `Fault`, which names each sentence that prints something else than what is recorded."""
    everything, old = wanted(source), recorded(source)
    new = followed(source, everything) if everything else []
    differ = [a["sentence"] for a in new if a != old.get(a["sentence"])]
    if differ:
        raise build.Fault(f"{source.name}: recorded otherwise:\n" + "\n".join(f"  {text}" for text in differ))


def shown(source: Path, only: str) -> str:
    """What is recorded, for the eye: each sentence, each change, and the lines that it prints."""
    old, blocks = recorded(source), []
    for text, changes in sentences(source).items():
        if only not in text:
            continue
        blocks.append(f"\n● {text}")
        printed = old[text]["printed"] if text in old else [["(not recorded yet)"]] * len(changes)
        for edits, lines in zip(changes, printed):
            blocks += [f"  ▸ {edit[-1].strip()}" for edit in edits] + [f"      {line}" for line in lines]
    return f"{source.stem}\n" + "\n".join(blocks)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="notebooks/answers.py", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NN", help="which notebooks (default: all)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the sentences that contain this text")
    parser.add_argument("--stale", action="store_true", help="only what is missing or was made from other code")
    parser.add_argument("--show", action="store_true", help="run nothing; print what is recorded")
    parser.add_argument("--check", action="store_true", help="run everything again and compare")
    options = parser.parse_args(arguments)
    known = build.sources()
    chosen = [path for path in known if not options.names or {path.stem, path.stem[:2]} & set(options.names)]
    if unknown := set(options.names) - {name for path in chosen for name in (path.stem, path.stem[:2])}:
        print(f"there is no notebook '{min(unknown)}'.", file=sys.stderr)
        return 2
    faults = 0
    for source in chosen:
        try:
            if options.show:
                print(shown(source, options.only))
            elif options.check:
                check(source)
                print(f"{source.stem:32} prints what is recorded", flush=True)
            else:
                print(record(source, options.only, options.stale), flush=True)
        except build.Fault as fault:
            faults += 1
            print(fault, file=sys.stderr, flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
