"""The main job: from plain text to one honest table, in about ten minutes on a laptop.  F02, F07, F08, F25–F28, F34.

English: pretrain on film reviews, then tell positive from negative sentences (sentiment). Chinese: pretrain on a newspaper,
then find persons, places and organisations (D4 §5's own example). Both end in a ladder: the same labels and the same test
set for every model, from simple baselines to the pretrained Transformer.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from minilm.errors import InputError
from minilm.experiments.ladder import Climber, Material, climb, workers_for
from minilm.experiments.rungs import Start, published_rung
from minilm.experiments.table import markdown_table
from minilm.experiments.tracks import Track, track_for
from minilm.files.atomic import write_json, write_text
from minilm.jobs.pretrain import PretrainOptions, prepare_for, pretrain, vectors_for
from minilm.pretrained.protocol import open_classifier, open_pretraining
from minilm.pretrained.registry import locate
from minilm.text.tokenizer import Tokenizer
from minilm.text.word_vectors import neighbours
from minilm.training.inference import attention_of, fill
from minilm.training.loop import choose_device
from minilm.training.state import read_metrics
from minilm.viz import plots

PRETRAINED = "all-minilm-l6-v2"


@dataclass(frozen=True)
class QuickstartOptions:
    """The whole story: prepare the text, count word vectors, pretrain, fine-tune, compare. With the default number of steps
    the same machine gives the same table every time; with --minutes the run follows the clock instead."""

    language: str = "en"
    """en: film reviews and their sentiment. zh: a newspaper and the names in it."""
    task: Literal["", "names"] = ""
    """names: after the English pretraining, find names in tweets instead of telling sentiment; the results are in the
    subfolder `tweets`. (In Chinese it is names anyway.)"""
    labels: tuple[int, ...] = ()
    """How many labelled examples the models learn from, for instance 100,500,2000; 500 (en), 200 (zh) or 1000 (tweets) if
    not given."""
    all_rows: bool = False
    """zh and tweets: every row of the table. Without it, only the five that matter most are fitted, in a third of the time."""
    seeds: int = 3
    """How many times each model is fitted, each time to other labelled examples."""
    steps: int | None = None
    minutes: float | None = None
    """Pretrain for so many minutes instead of the default number of steps."""
    resume: bool = False
    """Continue the pretraining that an earlier quickstart with the same options stopped in or finished. After a finished one
    only the table is made again, for instance with other --labels."""
    with_pretrained: bool = False
    """Add one row: all-MiniLM-L6-v2, which others trained on a billion sentence pairs, fine-tuned on the same labels (needs
    the extra `pretrained`; English only; takes some minutes more)."""
    out: Path | None = None
    """runs/quickstart or runs/quickstart-zh if not given."""
    cache: Path = Path("runs/cache")
    device: str = "auto"
    progress: bool = True

    def __post_init__(self):
        if self.language not in ("en", "zh"):
            raise InputError(f"language '{self.language}' is not known: choose en or zh.")
        if self.with_pretrained and self.track == "tweets":
            raise InputError("--with-pretrained is for the sentiment of sentences: leave it out with --task names.")
        if self.with_pretrained and self.track != "en":
            raise InputError("--with-pretrained is for English: there is no published Chinese model with a name here.")
        if self.seeds < 1 or any(count < 1 for count in self.labels):
            raise InputError("--seeds and --labels must be 1 or more.")
        if self.steps is not None and self.minutes is not None:
            raise InputError("give --steps or --minutes, not both.")

    @property
    def folder(self) -> Path:
        return self.out or Path("runs/quickstart" if self.language == "en" else "runs/quickstart-zh")

    @property
    def track(self) -> str:
        """The name of the track (`track_for`)."""
        return "tweets" if (self.language, self.task) == ("en", "names") else self.language

    @property
    def results(self) -> Path:
        """Where the table is written: beside the pretrained model, or in a subfolder for the second task."""
        return self.folder / "tweets" if self.track == "tweets" else self.folder


def quickstart(
    options: QuickstartOptions,
    say: Callable[[str], None] = print,
    more_rungs: Callable[[Start, Material], list[Climber]] | None = None,
) -> list[dict]:
    """Run everything; returns the rows of `ladder.json`. `more_rungs` adds rows of your own to the table."""
    started = time.perf_counter()
    track = track_for(options.track)
    folder, device = options.results, choose_device(options.device)
    if options.with_pretrained:
        locate(PRETRAINED)  # complains before the long part, not after it
    folder.mkdir(parents=True, exist_ok=True)
    settings = pretraining_settings(options, track)

    say(headline("1  text", track.text))
    prepared = prepare_for(settings, say)
    say(f"to learn from: {prepared.train}\nheld out:      {prepared.held_out}")
    tokenizer = prepared.tokenizer

    say(headline("2  word vectors", "by counting which words occur together (F34)"))
    vectors = vectors_for(prepared, settings)
    for line in neighbour_lines(tokenizer, vectors, track.probes):
        say(line)

    say(headline("3  pretraining", "masked words and next sentence, no labels (F25, F26)"))
    if not settings.resume:
        clear(settings.out)
    began = time.perf_counter()
    measured = pretrain(settings, say)
    here = time.perf_counter() - began
    loaded = open_pretraining(settings.out)
    filled = [(text, fill(loaded.model, tokenizer, text)) for text in track.masked]
    for text, choices in filled:
        say(f"{text}\n    " + "   ".join(f"{word} {p:.0%}" for word, p in choices[0]))

    say(headline("4  the ladder", track.task))
    material = track.material(prepared, settings, device, say)
    start = Start(settings.model_config(tokenizer.size), vectors, settings.out)
    labels = options.labels or track.labels
    rungs = track.rungs(start, keep=folder / "finetuned")
    if track.short and not options.all_rows:
        rungs = [rung for rung in rungs if rung.name in track.short]
    if options.with_pretrained:
        rungs.append(published_rung(PRETRAINED, material))
    if more_rungs:
        rungs += more_rungs(start, material)
    rows = climb(rungs, material, labels, options.seeds, workers_for(device), options.progress)
    predictions = track.predictions(open_classifier(folder / "finetuned"))
    tokens, weights = attention_of(loaded.model, tokenizer, track.look_at)
    plots.attention_maps(tokens, weights, folder / "attention.png")
    plots.ladder(rows, folder / "ladder.png", metric=track.metric, title=track.title)
    plots.pretraining_curves({"this run": read_metrics(settings.out)}, folder / "pretraining.png")
    pictures = ["ladder.png", "pretraining.png", "attention.png"]
    if (settings.out / "watched.png").exists():  # a font may be missing for it
        shutil.copyfile(settings.out / "watched.png", folder / "watched.png")
        pictures.append("watched.png")
    write_json(folder / "ladder.json", rows)
    report = "\n\n".join(
        [
            f"# {track.title}",
            markdown_table(rows, track.metric),
            track.remarks(rows, labels, measured),
            "## Masks filled\n"
            + "\n".join(f"* {text} → " + ", ".join(f"{w} {p:.0%}" for w, p in c[0]) for text, c in filled),
            "## Predictions\n" + "\n".join(f"* {line}" for line in predictions),
            duration(time.perf_counter() - started, measured["seconds"], here),
        ]
    )
    write_text(folder / "report.md", report + "\n")
    say("\n" + report)
    say(f"\nThe results are in {folder}: {', '.join(pictures)}, report.md, ladder.json.")
    example = json.dumps(track.example, ensure_ascii=False)
    say(f"Try next:  minilm predict --model {folder / 'finetuned'} {example}")
    say(f"           minilm explore {folder / 'finetuned'} --text {example}")
    return rows


def duration(seconds: float, pretraining: float, here: float) -> str:
    """The minutes of everything: this run's `seconds`, and what an earlier run had pretrained before it was resumed."""
    earlier = max(0.0, pretraining - here) / 60
    before = f" ({earlier:.1f} in an earlier run)" if earlier >= 0.05 else ""
    return f"{seconds / 60 + earlier:.1f} minutes in all, {pretraining / 60:.1f} of them pretraining{before}."


def headline(number: str, what: str) -> str:
    return f"\n── {number} ── {what}"


def pretraining_settings(options: QuickstartOptions, track: Track) -> PretrainOptions:
    """The track's recipe with this run's budget and folders."""
    budget: dict[str, Any] = {"steps": options.steps, "minutes": options.minutes}
    if options.steps is None and options.minutes is None:
        budget["steps"] = track.steps
    return replace(
        track.pretraining,
        **budget,
        resume=options.resume,
        out=options.folder / "pretrained",
        cache=options.cache,
        device=options.device,
        progress=options.progress,
        watch=track.masked,
    )


def clear(run: Path) -> None:
    """Without --resume the quickstart starts from nothing and replaces what an earlier one left in its own folder."""
    if (run / "training_state").exists():
        shutil.rmtree(run)


def neighbour_lines(tokenizer: Tokenizer, vectors: np.ndarray, words: tuple[str, ...]) -> list[str]:
    """The nearest words of a few words, as a first sign that counting has found meaning."""
    lines = []
    for word in words:
        index = tokenizer.backend.token_to_id(word)
        if index is not None:
            near = tokenizer.tokens(i for i, _ in neighbours(vectors, index, 6))
            lines.append(f"{word:>12}: {' '.join(near)}")
    return lines
