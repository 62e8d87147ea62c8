"""What a run folder tells about the training: curves, words that were watched, the ladder, and the film of an experiment."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from minilm.errors import InputError
from minilm.explorer.shown import short
from minilm.explorer.subject import Subject
from minilm.files.tensors import read_json
from minilm.training.state import read_metrics
from minilm.training.watching import read_watched

CURVES = {  # what metrics.jsonl may hold: (title, unit)
    "mlm_loss": ("Hidden words: loss on held-out text", "nats"),
    "nsp_accuracy": ("Next sentence: accuracy on held-out text", "share"),
    "loss": ("Next token: loss on held-out text", "nats"),
    "bits_per_character": ("Next token: bits per character", "bits"),
}
SCORES = ("accuracy", "f1", "micro_f1", "exact_match")  # of a ladder's rows, the first that they have
LONGEST_RECORD = 50_000_000  # bytes: an experiment with its film has 2.6 million
FARTHEST = 24  # offsets of the bias that are drawn, to both sides


@torch.no_grad()
def positions(subject: Subject) -> dict[str, Any]:
    """What each head adds to the score of a token, by how far before or after it stands.  F21."""
    stack = subject.stack
    if stack is None:
        raise InputError("An LSTM has no positions: it reads one word after the other.")
    if stack.relative_bias is None:
        kind = subject.model.config.positions
        raise InputError(f"This model has no bias by relative position; its positions are of the kind “{kind}”.")
    last = 0 if subject.writes else FARTHEST  # a model that writes does not look ahead
    bias = stack.relative_bias(1, FARTHEST + 1 + last, start=FARTHEST)[0, :, 0]  # [H, offsets]
    offsets = list(range(-FARTHEST, last + 1))
    return {"offsets": offsets, "heads": [[short(b) for b in row] for row in bias.tolist()]}


def training(folder: Path) -> dict[str, Any]:
    """The curves of the run."""
    rows = read_metrics(folder)
    curves = []
    for name, (title, unit) in CURVES.items():
        points = [[row["step"], short(row[name])] for row in rows if isinstance(row.get(name), int | float)]
        if len(points) > 1:
            curves.append({"title": title, "unit": unit, "points": points})
    if not curves:
        raise InputError("This folder has no record of its training with more than one measurement (metrics.jsonl).")
    seconds = rows[-1].get("seconds")
    if not isinstance(seconds, int | float) or abs(seconds) == float("inf"):
        seconds = None
    return {"curves": curves, "minutes": None if seconds is None else round(seconds / 60, 1)}


def watched(folder: Path) -> dict[str, Any]:
    """What was guessed for the watched sentences, at every measurement of the training."""
    rows = read_watched(folder)
    steps = sorted({row["step"] for row in rows})
    frames = [
        [{"text": r["text"], "mask": r["mask"], "guesses": r["guesses"]} for r in rows if r["step"] == step]
        for step in steps
    ]
    if len(frames) < 2:
        raise InputError("No words were watched while this model was trained: minilm pretrain --watch does that.")
    return {"steps": steps, "frames": frames}


def ladder(folder: Path) -> dict[str, Any]:
    """The rows of the ladder beside the model, each with all its seeds."""
    path = next((p for p in (folder / "ladder.json", folder.parent / "ladder.json") if p.exists()), None)
    if path is None:
        raise InputError("There is no ladder beside this model: minilm quickstart makes one (ladder.json).")
    rows = read_json(path, list)
    score = next((name for name in SCORES if rows and isinstance(rows[0], dict) and name in rows[0]), None)
    if score is None or not all(isinstance(r, dict) and {"model", "labels", score} <= r.keys() for r in rows):
        raise InputError(
            f"{path} is not a ladder that the explorer can read: its rows have no model, labels and score."
        )
    groups: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        if not all(isinstance(row[name], int | float) and abs(row[name]) < float("inf") for name in ("labels", score)):
            raise InputError(
                f"{path}: labels and {score} must be numbers, not {row['labels']!r:.40} and {row[score]!r:.40}."
            )
        groups.setdefault((str(row["model"]), int(row["labels"])), []).append(float(row[score]))
    found = [{"model": m, "labels": n, "scores": [short(s) for s in scores]} for (m, n), scores in groups.items()]
    return {"score": score.replace("_", " "), "rows": found}


def film(folder: Path) -> dict[str, Any]:
    """The curves of an experiment of the lab, and the attention of its heads at every measurement.  F36."""
    path = folder / "results.json"
    if not path.exists():
        raise InputError("This folder holds no experiment of the emergence lab (minilm emergence).")
    records = read_json(path, longest=LONGEST_RECORD).get("records")
    try:
        curves = [
            {
                "arm": str(record["arm"]),
                "seed": int(record["seed"]),
                "points": [[int(point["step"]), short(point["loss, repeated"])] for point in record["curve"]],
            }
            for record in records
        ]
        filmed = next((r for r in records if all("film" in point for point in r["curve"])), None)
        frames = [] if filmed is None else [frame_of(point) for point in filmed["curve"]]
    except (KeyError, TypeError, ValueError, IndexError):
        raise InputError(
            f"{path} is not a record of the induction experiment, the one that the explorer can show."
        ) from None
    return {"curves": curves, "arm": None if filmed is None else filmed["arm"], "frames": frames}


def frame_of(point: dict) -> dict[str, Any]:
    """One moment of the film: per cents for each head that is kept, and the scores of the best heads."""
    maps = [[[int(w) for w in row.split()] for row in head] for head in point["film"]]
    T = len(maps[0])
    if any(len(head) != T or any(len(row) != T for row in head) for head in maps):
        raise ValueError("the maps are not square")
    scores = {name: short(float(np.max(point[name]))) for name in ("previous-token score", "induction score")}
    return {"step": int(point["step"]), "loss": short(point["loss, repeated"]), "maps": maps, "scores": scores}


def shown_run(subject: Subject) -> dict[str, Any]:
    """The views that belong to the folder and not to a text."""
    folder = subject.folder
    makers = {
        "positions": ("Positions", lambda: positions(subject)),
        "training": ("Training", lambda: training(folder)),
        "watched": ("Watched words", lambda: watched(folder)),
        "ladder": ("Ladder", lambda: ladder(folder)),
        "film": ("Emergence", lambda: film(folder)),
    }
    if subject.loaded is None:
        makers = {"film": makers["film"]}
    out: dict[str, Any] = {"views": {}, "absent": []}
    for name, (title, make) in makers.items():
        try:
            out["views"][name] = make()
        except InputError as error:
            out["absent"].append([title, str(error)[:1].upper() + str(error)[1:]])
    return out
