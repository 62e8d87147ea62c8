"""`minilm tagging`: words and parts of speech of a newspaper, from a hundred labelled lines to all of them.  F28, F30.

The newspaper of January 1998 is printed as words with their parts of speech, in the tag set of Peking University. Two tasks use
these tags (D1 §3.2.1): which characters form a word, and which part of speech a word has. Both start from the model that `minilm
quickstart --language zh` has pretrained, and both are compared with the most frequent tag of a character or a word.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import tyro

from minilm.errors import InputError
from minilm.examples.labelled import label_names
from minilm.experiments.chinese import Chinese, line_numbers
from minilm.experiments.ladder import Baseline, Climber, Material, Outcome, Rung, climb, rows_kept, workers_for
from minilm.experiments.rungs import published, unpretrained
from minilm.experiments.table import curve_table, markdown_table
from minilm.files.atomic import write_json, write_text
from minilm.pretrained.protocol import encoder_config
from minilm.pretrained.run_folder import tokenizer_for
from minilm.text import corpus
from minilm.text.segmentation_choice import longest_unspaced
from minilm.text.tagged import TaggedLine
from minilm.training.loop import choose_device
from minilm.training.metrics import text_scores, word_scores
from minilm.training.supervised import Recipe
from minilm.training.task import Task
from minilm.training.word_tasks import TagTask, WordTask
from minilm.viz import plots

CORPUS = {"segmentation": corpus.SEGMENTATION, "parts-of-speech": corpus.POS}
TITLE = {
    "segmentation": "Words found in 1,000 unseen lines of People's Daily: F1",
    "parts-of-speech": "Parts of speech in 1,000 unseen lines of People's Daily: accuracy",
}
RECIPE = Recipe(learning_rate=2e-3, embedding_learning_rate_scale=1.0)  # that of the names in the same newspaper
EPOCHS = {100: 40, 1_000: 12, 5_000: 6, 17_000: 4}  # the entry nearest to the number of lines counts
FREQUENT, SCRATCH, TUNED = "most frequent tag", "Transformer", "Transformer pretrained, fine-tuned"


@dataclass(frozen=True)
class TaggingOptions:
    """Fit models to words or to their parts of speech in a Chinese newspaper, with more and more labelled lines.

    Every fit is kept in a file of its own, so a run that was stopped goes on where it was when you give the command again.
    """

    task: tyro.conf.Positional[Literal["segmentation", "parts-of-speech"]] = "segmentation"
    labels: tuple[int, ...] = (100, 1_000, 5_000)
    """How many labelled lines the models learn from."""
    all_lines: bool = True
    """Learn from all lines, too."""
    seeds: int = 3
    seeds_of_all: int = 1
    """How many fits there are with all lines: each takes many minutes."""
    rows: tuple[str, ...] = (FREQUENT, SCRATCH, TUNED)
    model: Path = Path("runs/quickstart-zh/pretrained")
    """The pretrained model."""
    kept: bool = False
    """Fit nothing: make the table and the picture from those of these fits that earlier runs have left in --out."""
    out: Path = Path("runs/tagging")
    device: str = "auto"
    progress: bool = True

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.seeds_of_all < 1 or any(count < 1 for count in self.labels):
            raise InputError("--labels, --seeds and --seeds-of-all must be 1 or more.")
        if not (self.labels or self.all_lines):
            raise InputError("there is nothing to learn from: give --labels, or leave out --no-all-lines.")
        if unknown := [row for row in self.rows if row not in (FREQUENT, SCRATCH, TUNED)]:
            raise InputError(f"there is no row {unknown[0]!r}: the rows are {FREQUENT}, {SCRATCH} and {TUNED}.")
        if not (self.model / "config.json").exists():
            raise InputError(
                f"{self.model} holds no model: run `make quickstart-zh` first, or name another one with --model."
            )


def tagging(options: TaggingOptions, say: Callable[[str], None] = print) -> list[dict]:
    """Fit and measure everything, write the table, the picture and the figures, and return the rows."""
    device = choose_device(options.device)
    material = material_for(options, device, say)
    rungs = [rung for rung in rungs_for(options) if rung.name in options.rows]
    folder = options.out / options.task
    fits = folder / "fits"
    metric, rows = material.task.metric, list[dict]()
    everything = len(material.examples)
    counts = [(count, options.seeds) for count in options.labels if count < everything]
    for count, seeds in [*counts, *([(everything, options.seeds_of_all)] if options.all_lines else [])]:
        if options.kept:
            rows += rows_kept(fits, rungs, (count,), seeds, metric)
        else:
            rows += climb(*(rungs, material, (count,), seeds, workers_for(device), options.progress), kept=fits)
        write_json(folder / "ladder.json", rows)
    if not rows:
        raise InputError(f"{fits} holds none of these fits: leave out --kept, or name another --out.")
    table = f"{curve_table(rows, metric)}\n\n{markdown_table(rows, metric)}"
    write_text(folder / "report.md", f"# {TITLE[options.task]}\n\n{table}\n")
    plots.ladder(rows, folder / "ladder.png", metric=metric, title=TITLE[options.task])
    say(f"\n{table}\n\nThe results are in {folder}: report.md, ladder.json, ladder.png.")
    return rows


def material_for(options: TaggingOptions, device: torch.device, say: Callable[[str], None]) -> Material:
    """The lines to learn from and those to measure on: the same as for the names, from articles that no model has read."""
    lines = corpus.tagged(CORPUS[options.task])
    characters = [TaggedLine([*"".join(line.tokens)], []) for line in lines]
    inside, test = line_numbers(characters, Chinese.pretraining.held_out, say)
    parts = [lines[i] for i in inside], [lines[i] for i in test]
    config = encoder_config(options.model)[1]
    return Material.encoded(
        task_for_lines(options.task, lines), parts, tokenizer_for(config, options.model), config.max_length, device
    )


def task_for_lines(name: str, lines: list[TaggedLine]) -> Task:
    """The task with all tags of the newspaper. A word is given to a tagger with spaces around it."""
    names = label_names([tag for line in lines for tag in line.tags], CORPUS[name])
    if name == "segmentation":
        return WordTask(names, "characters")
    longest = max(longest_unspaced(word) for line in lines for word in line.tokens)
    return TagTask(names, "spaces", longest)


def rungs_for(options: TaggingOptions) -> list[Climber]:
    """The rows of the table, from the simplest on."""
    keep = options.out / options.task / "finetuned"
    build = partial(published, model=options.model)
    return [
        Baseline(FREQUENT, most_frequent, "each character or word gets the tag that it has most often"),
        Rung(SCRATCH, partial(unpretrained, model=options.model), "everything", RECIPE, "from scratch", epochs=EPOCHS),
        Rung(TUNED, build, "everything", RECIPE, "F02: all of θ moves", keep=keep, epochs=EPOCHS),
    ]


def most_frequent(material: Material, labels: int, seed: int) -> Outcome:
    """Give every unit the tag that it has most often in the labelled lines; an unknown one, the most frequent tag of units that
    occur there once."""
    started = time.perf_counter()
    learnt = [material.examples[i] for i in material.drawn(labels, seed)]
    counts: dict[str, Counter[str]] = {}
    for line in learnt:
        for token, tag in zip(line.tokens, line.tags, strict=True):
            counts.setdefault(token, Counter())[tag] += 1
    best = {token: most_common(tags) for token, tags in counts.items()}
    rare = Counter(best[token] for token, tags in counts.items() if tags.total() == 1)
    unknown = most_common(rare or Counter(best.values()))
    guessed = [[best.get(token, unknown) for token in line.tokens] for line in material.test_examples]
    true = [line.tags for line in material.test_examples]
    if isinstance(material.task, WordTask):
        score = word_scores(true, guessed)["f1"]
    else:
        score = text_scores(joined(true), joined(guessed))["accuracy"]
    assert score is not None  # the test set has words
    return Outcome(score, time.perf_counter() - started, len(best))


def most_common(tags: Counter[str]) -> str:
    """The most frequent tag; of several, the first in the alphabet."""
    return min(tags, key=lambda tag: (-tags[tag], tag))


def joined(lines: Iterable[list[str]]) -> list[str]:
    return [tag for line in lines for tag in line]
