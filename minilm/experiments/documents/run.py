"""`minilm documents`: the documents' five programs, put right and run on real data, with their tables beside the printed ones.

D0, D3 and D4 need a pretrained model. If none is given, one is pretrained here, for a share of the quickstart's time. Every result
is a file of its own as soon as it is there, so that an interrupted run goes on where it was.
"""

import shutil
import time
from collections.abc import Callable
from typing import Any

import torch
from tqdm import tqdm

from minilm.experiments.documents.data import write_data
from minilm.experiments.documents.measuring import measure
from minilm.experiments.documents.options import LANGUAGE, ONCE, DocumentsOptions
from minilm.experiments.documents.page import write_page
from minilm.experiments.documents.story import TITLE, story
from minilm.experiments.ladder import pool_of, workers_for
from minilm.files.atomic import write_json
from minilm.files.tensors import read_json
from minilm.jobs.pretrain import pretrain
from minilm.pretrained.adapter import fingerprint
from minilm.training.memory import cost, cost_in_words
from minilm.training.state import plain


def documents(options: DocumentsOptions, say: Callable[[str], None] = print) -> list[dict]:
    """Run the programs, write `report.md`, `report.html`, `results.json` and the concept map to `out`; return the records.

    Raises KeyboardInterrupt after Ctrl-C; what is finished by then is kept.
    """
    started, o = time.perf_counter(), options
    o.out.mkdir(parents=True, exist_ok=True)
    write_data(o.out / "data", o.chosen, say)
    records = finished(o, say)
    needed = cost(started)
    seconds = sum(record["seconds"] for record in records)
    spent = f"All that this page shows took {seconds / 60:.1f} minutes of one core, and the last call {cost_in_words(needed)}."
    write_json(o.out / "results.json", {"options": plain(o), "cost": needed, "records": records})
    write_page(o.out, TITLE, story(o.chosen, records, spent))
    say(f"\n{spent} Open {o.out / 'report.html'} in a browser, or read {o.out / 'report.md'}.")
    return records


def finished(options: DocumentsOptions, say: Callable[[str], None]) -> list[dict]:
    """The record of every document and seed, and of every pretraining, from its file if it is there."""
    o, workers = options, options.workers or workers_for(torch.device("cpu"))
    seeds = {name: range(1 if name in ONCE else o.seeds) for name in o.chosen}
    starts = dict.fromkeys(LANGUAGE[name] for name in o.chosen if name in LANGUAGE)
    languages = [language for language in starts if not o.given(language)]
    total = len(languages) + sum(map(len, seeds.values()))
    shown = None if o.progress else True
    waiting: dict[tuple[str, int], Callable[[], dict]] = {}
    records: dict[tuple[str, int], dict] = {}
    with (
        pool_of(workers) as submit,
        tqdm(total=total, desc="documents", unit="program", disable=shown, leave=False) as bar,
    ):

        def done(key: tuple[str, int]) -> None:
            record = records[key] = waiting[key]()
            bar.update()
            say(f"{key[0]}, seed {key[1]}: {record['line']} ({record['seconds']:.0f} s)")

        aside = say if workers == 1 else told if say is print else None
        for language in languages:
            waiting[language, 0] = submit(kept, o, language, 0, aside)
        for name in [name for name in seeds if name in ONCE]:
            waiting[name, 0] = submit(kept, o, name, 0, None)
        for language in languages:  # what starts from these models has to wait for them
            done((language, 0))
        for name in [name for name in seeds if name not in ONCE]:
            for seed in seeds[name]:
                waiting[name, seed] = submit(kept, o, name, seed, None)
        order = [(name, seed) for name in o.chosen for seed in seeds[name]]
        for key in order:
            done(key)
    return [records[key] for key in [*((language, 0) for language in languages), *order]]


def told(line: str) -> None:
    """What a worker says while it pretrains."""
    print(line, flush=True)


def kept(options: DocumentsOptions, name: str, seed: int, say: Callable[[str], None] | None) -> dict:
    """The record of one program, from its file if that was made with the same settings. `seconds` are those of the processor."""
    path = options.out / "records" / f"{name}-{seed}.json"
    language = LANGUAGE.get(name, name)
    start = "" if name in ONCE else str(options.start(language))
    settings = {"share": options.share, "start": start}
    if name not in ONCE and options.given(language):  # it may have been trained again at the same place
        settings["weights"] = fingerprint(start)
    if not options.again and path.exists():
        record = read_json(path, dict)
        there = name not in ("en", "zh") or (options.start(name) / "config.json").exists()
        if there and all(record.get(key) == value for key, value in settings.items()):
            return record
    began = time.process_time()
    found = pretrained(options, name, say) if name in ("en", "zh") else run(options, name, seed)
    record = {"document": name, "seed": seed, **settings, "seconds": round(time.process_time() - began, 1), **found}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)
    return record


def pretrained(options: DocumentsOptions, language: str, say: Callable[[str], None] | None) -> dict[str, Any]:
    """Pretrain the model of a language, or go on with it."""
    settings = options.pretraining(language)
    if options.again and settings.out.exists():
        shutil.rmtree(settings.out)
        settings = options.pretraining(language)
    tell = (lambda line: say(f"{language}: {line}")) if say else (lambda line: None)
    measured = pretrain(settings, tell)
    line = f"masked words {measured['mlm_loss']:.2f} nats, next sentence {measured['nsp_accuracy']:.1%}"
    return {"steps": settings.steps, "measured": measured, "line": line}


def run(options: DocumentsOptions, name: str, seed: int) -> dict[str, Any]:
    """Run one document's program and measure it."""
    folder = options.out / "models" / f"{name}-{seed}"
    if folder.exists():
        shutil.rmtree(folder)  # of a run that was stopped, or of other settings
    return measure(options, name, seed, folder)
