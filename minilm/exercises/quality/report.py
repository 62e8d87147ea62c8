"""The quality of the exercises in one table: how well they reject, accept and name, and the bars below which CI fails.

`minilm exercise quality` measures the exercises that have changed since they were last measured, `… quality softmax
attention` measures these two again, and `… quality all` measures everything; measuring.py measures a single exercise. The
results go to `runs/`; the copy beside this file is the published one.
"""

import ast
import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from minilm.errors import InputError
from minilm.exercises.catalogue import SPECS, entries, find, load
from minilm.exercises.plan import plan_of
from minilm.exercises.quality import judge, measuring, mutants
from minilm.exercises.quality.measuring import STAGES, Row, Settings, measure
from minilm.exercises.quality.survivors import explained
from minilm.exercises.quality.timing import seconds_for
from minilm.exercises.stub import definition, parts
from minilm.files.atomic import write_json, write_text

OUT = Path("runs", "exercises_quality.json")
PUBLISHED = Path(__file__).with_name(OUT.name)
Say = Callable[[str], None]


class Bar(NamedTuple):
    """One line of the table. `fits` says whether a share (0 to 1) is good enough."""

    title: str
    column: str
    wanted: str
    fits: Callable[[float], bool]


BARS = (
    Bar("wrong variants rejected ({seeds} seeds each)", "wrong", "100 %", lambda share: share == 1),
    Bar("right styles accepted ({right_seeds} seeds each)", "right", "100 %", lambda share: share == 1),
    Bar("mutants of the references killed", "mutants", "≥ 95 %", lambda share: share >= 0.95),
    Bar("single mistakes named ({seeds} seeds each)", "named", "≥ 95 %", lambda share: share >= 0.95),
    Bar("wrong names, two mistakes at once", "misnamed_pairs", "≤ 1 %", lambda share: share <= 0.01),
    Bar("wrong names, mutants that are killed", "misnamed_mutants", "≤ 1 %", lambda share: share <= 0.01),
    Bar("flakes: references refused, each run on a seed of its own", "flakes", "0", lambda share: share == 0),
)
SECONDS = 20.0


def tally(rows: Iterable[Row], settings: Settings, seconds: tuple[float, float, str] | None = None) -> dict[str, Any]:
    """The lines of the table, the mutants that pass, and a sentence for each bar that is not met."""
    rows = sorted(rows, key=lambda row: row["number"])
    passing = [survivor(row, key) for row in rows for key in row["passing"]]
    lines, faults = [], []
    for bar in BARS:
        counts = [counted(row, bar.column, passing) for row in rows]
        count, total = (sum(pair[i] for pair in counts) for i in (0, 1))
        share = count / total if total else float(bar.wanted.startswith(("1", "≥")))
        title = bar.title.format(**asdict(settings))
        lines.append({"what": title, "count": count, "of": total, "share": round(share, 5), "bar": bar.wanted})
        if not bar.fits(share):
            faults.append(f"{title}: {count:,} of {total:,}, and the bar is {bar.wanted}")
    faults += [f"{each['exercise']}: nobody has explained why this mutant passes: {each['mutant']}"
               for each in passing if not each["why"]]  # fmt: skip
    if seconds:
        clock, processor, complaint = seconds
        title = f"seconds in which `minilm exercise check` checks all {len(rows)}"
        lines.append({"what": title, "seconds": clock, "processor": processor, "bar": f"< {SECONDS:.0f}"})
        faults += [f"{title}: {clock}, and the bar is {SECONDS:.0f}"] if clock >= SECONDS else []
        faults += [f"a reference in a learner's file does not pass:\n{complaint}"] if complaint else []
    return {"settings": asdict(settings), "table": lines, "faults": faults, "passing": passing, "exercises": rows}


def survivor(row: Row, key: str) -> dict[str, str]:
    sort, why = explained(row["exercise"], key)
    return {"exercise": row["exercise"], "mutant": key, "sort": sort, "why": why}


def counted(row: Row, column: str, passing: list[dict[str, str]]) -> list[int]:
    """[count, total] of a column. Of the passing mutants, only those count that differ from the reference and are asked for."""
    if column != "mutants":
        return row[column]
    mine = [each for each in passing if each["exercise"] == row["exercise"] and each["sort"] == "survived"]
    return [row["killed"], row["killed"] + len(mine)]


def quality(names: list[str], rows: dict[str, Row], settings: Settings, out: Path, say: Say) -> dict[str, Any]:
    """Measure the exercises of those names besides the `rows` that are there, and write `out` (JSON) and the tables beside
    it (Markdown) after each of them; returns the JSON."""
    rows = dict(rows)
    with tqdm(total=len(STAGES) * len(names) + 1, dynamic_ncols=True) as bar:
        for name in names:

            def tick(what: str, name: str = name) -> None:
                bar.set_description(f"{name}, {what}")
                bar.update()

            rows[name] = measure(load(name), settings, tick) | {"made of": checksum_of(name)}
            plan_of.cache_clear()
            found = tally(rows.values(), settings)
            with tqdm.external_write_mode():
                say(line(rows[name], found))
            write(out, found)
        bar.set_description("all of them, seconds")
        found = tally(rows.values(), settings, seconds_for(entry.name for entry in entries() if entry.name in rows))
        bar.update()
    write(out, found)
    return found


def line(row: Row, found: dict[str, Any]) -> str:
    """The result of one exercise on one line, and below it everything that went wrong."""
    of = {bar.column: "{} of {}".format(*counted(row, bar.column, found["passing"])) for bar in BARS}
    names = row["misnamed_pairs"][0] + row["misnamed_mutants"][0]
    text = f"{row['number']:2} {row['exercise']}: {of['wrong']} rejected, {of['named']} named, {of['right']} accepted, "
    text += f"{of['mutants']} mutants killed, {names} wrong names, {row['flakes'][0]} flakes"
    unexplained = [each for each in found["passing"] if each["exercise"] == row["exercise"] and not each["why"]]
    return "\n".join([text, *row["lapses"], *(f"   ? passes: {each['mutant']}" for each in unexplained)])


def write(out: Path, found: dict[str, Any]) -> None:
    write_json(out, found)
    write_text(out.with_suffix(".md"), markdown(found))


def earlier_rows(path: Path, settings: Settings) -> dict[str, Row]:
    """The rows of an earlier run with the same settings that are still valid."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["settings"] != asdict(settings):
            return {}
        here = {entry.name for entry in entries()}
        rows = {row["exercise"]: row for row in found["exercises"] if row["exercise"] in here}
        return {name: row for name, row in rows.items() if row["made of"] == checksum_of(name)}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def checksum_of(name: str) -> str:
    """A checksum of everything that determines an exercise's numbers: its spec with what it takes from other specs, its
    reference, and the measuring code."""
    text = [without_effort(find(name).stem)]
    borrowed = re.findall(r"^from minilm\.exercises\.specs\.(\w+) import", text[0], re.MULTILINE)
    text += [without_effort(stem) for stem in borrowed]
    text += [ast.get_source_segment(*definition(part)) or "" for part in parts(load(name))]
    text += [Path(inspect.getfile(module)).read_text(encoding="utf-8") for module in (judge, measuring, mutants)]
    return hashlib.sha256("\0".join(text).encode()).hexdigest()[:16]


def without_effort(stem: str) -> str:
    """The text of a spec without its minutes and its difficulty, which are estimates and determine no number."""
    text = (SPECS / f"{stem}.py").read_text(encoding="utf-8")
    return re.sub(r"  \d+ minutes, (easy|medium|hard)\.", "", text, count=1)


def markdown(found: dict[str, Any]) -> str:
    """The table of bars, one line per exercise, and the mutants that pass, each with its reason."""
    rows, settings = found["exercises"], found["settings"]
    lines = [f"Measured on {len(rows)} of {len(entries())} exercises.", "", "| | measured | bar |", "|---|---|---|"]
    lines += [f"| {each['what']} | {measured(each)} | {each['bar']} |" for each in found["table"]]
    head = ("exercise", "mistakes", "styles", "pairs", "mutants", "killed", "the same function", "not asked")
    lines += ["", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        sorts = [each["sort"] for each in found["passing"] if each["exercise"] == row["exercise"]]
        cells = [f"{row['number']} {row['exercise']}", row["wrong"][1] // settings["seeds"]]
        cells += [row["right"][1] // settings["right_seeds"], row["misnamed_pairs"][1], row["killed"] + len(sorts)]
        cells += [row["killed"], sorts.count("same"), sorts.count("not asked")]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", "Mutants that pass:", ""]
    for why, keys in reasons(found["passing"]).items():
        lines.append(f"* {why} {', '.join(f'`{key}`' for key in keys)}")
    return "\n".join(lines) + "\n"


def reasons(passing: list[dict[str, str]]) -> dict[str, list[str]]:
    """The passing mutants, grouped by the reason why they pass."""
    out: dict[str, list[str]] = {}
    for each in passing:
        out.setdefault("{exercise} ({sort}): {why}:".format_map(each), []).append(each["mutant"])
    return out


def measured(each: dict[str, Any]) -> str:
    if "of" in each:
        return f"{each['count']:,} of {each['of']:,} ({100 * each['share']:.4g} %)"
    return f"{each['seconds']} ({each['processor']} of processor time)"


def report(names: tuple[str, ...], seeds: int, say: Say, out: Path = OUT) -> int:
    """Run `minilm exercise quality`. Returns 0 if all bars are met and every passing mutant is explained, else 1."""
    if seeds < 1:
        raise InputError(f"--seeds {seeds} must be 1 or more.")
    full = Settings()
    share = seeds / full.seeds  # the other two settings scale with it
    settings = Settings(seeds, max(1, round(full.right_seeds * share)), max(1, round(full.runs * share)))
    everything = [entry.name for entry in entries()]
    wanted = everything if names == ("all",) else list(dict.fromkeys(find(name).name for name in names))
    rows = {} if names == ("all",) else earlier_rows(PUBLISHED, settings) | earlier_rows(out, settings)
    if not names:
        wanted = [name for name in everything if name not in rows]
        if rows:
            say(
                f"{len(rows)} exercises have not changed since they were measured; `minilm exercise quality all` measures all."
            )
    out.parent.mkdir(parents=True, exist_ok=True)
    found = quality(wanted, rows, settings, out, say)
    say(markdown(found))
    for fault in found["faults"]:
        say(f"✗ {fault}")
    say(f"{out} and {out.with_suffix('.md').name} are written.")
    return 1 if found["faults"] else 0
