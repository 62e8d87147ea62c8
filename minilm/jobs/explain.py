"""Show which words of a text decided, by several methods, and what becomes of the answer when they are deleted."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from minilm.errors import InputError
from minilm.files.notes import Notes, aside
from minilm.pretrained.protocol import open_classifier
from minilm.training.explain import METHODS, Explanation, Text, deletion_curves, deletion_score, explain, rows_of
from minilm.training.inference import probabilities
from minilm.viz.explanation import explanations

MOST = 5  # words that the deletion test deletes, or half of the text if that is less
FOR, AGAINST = (0, 114, 178), (213, 94, 0)  # blue and orange, which the colour-blind can tell apart
NAMES = {name.replace(" × ", "-x-").replace(" ", "-"): name for name in METHODS}  # as they are typed


@dataclass(frozen=True)
class ExplainOptions:
    """Show which words decided about the label of a text: blue words speak for it, orange words against it.

    Each method is tested: the words that it names are deleted, and the probability of the label should fall.
    """

    model: Path
    text: tyro.conf.Positional[str]
    pair: str | None = None
    """The second text, for a model of pairs."""
    label: str | None = None
    """The label to explain; the most probable one if it is not given."""
    method: tuple[str, ...] = ()
    """Only these methods: occlusion, gradient-x-input, attention, attention-rollout."""
    out: Path = Path("explanation.png")
    colour: bool | None = None
    """Coloured words, or words with numbers; as the terminal allows if it is not given."""


def explain_text(options: ExplainOptions, say: Callable[[str], None] = print) -> list[Explanation]:
    """Print the words with colours (or numbers), one line for each method with its deletion test, and draw them.

    Raises InputError for a model that is no classifier of texts, and for a label or a method that does not exist.
    """
    if unknown := [name for name in options.method if name not in NAMES]:
        raise InputError(f"there is no method '{unknown[0]}': choose from {', '.join(NAMES)}.")
    if options.out.is_dir():
        raise InputError(f"{options.out} is a folder: give --out the name of a picture, such as explanation.png.")
    loaded = open_classifier(options.model, Notes(aside if say is print else say))
    model, tokenizer = loaded.model, loaded.tokenizer
    text = Text.of(tokenizer, options.text, options.pair)
    if options.label is not None and options.label not in model.labels:
        raise InputError(f"there is no label '{options.label}': the labels are {', '.join(model.labels)}.")
    names = [NAMES[name] for name in options.method] or list(METHODS)
    if not hasattr(model.encoder, "stack") and not options.method:
        names = [name for name in names if not name.startswith("attention")]
    if options.label is None:
        explain(model, tokenizer, text, 0, [])  # which complains about a tagger and a long text
        (P,) = probabilities(model, rows_of(tokenizer, [text.row(tokenizer)]))
        k = int(P.argmax())
    else:
        k = model.labels.index(options.label)
    found = explain(model, tokenizer, text, k, names)
    most = min(MOST, (len(text.words) + 1) // 2)
    curves = deletion_curves(model, tokenizer, [text] * len(found), [e.order for e in found], [k] * len(found), most)
    say(f"{model.labels[k]} ({curves[0, 0]:.0%})")
    colour = can_colour() if options.colour is None else options.colour
    for explanation, curve in zip(found, curves, strict=True):
        say(f"{explanation.method:17} {' '.join(painted(text.words, explanation.scores, colour))}")
        say(
            f"{'':17} without its first {most} word{'s' * (most > 1)}: {curve[-1]:.0%}"
            f" (mean fall {deletion_score(curve[None])[0]:.3f})"
        )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    title = f"{model.labels[k]} ({curves[0, 0]:.0%})"
    explanations(text.words, {e.method: e.scores for e in found}, options.out, title)
    say(f"The picture is {options.out}.")
    return found


def can_colour() -> bool:
    """Whether colours are welcome: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def painted(words: tuple[str, ...], scores: np.ndarray, colour: bool) -> list[str]:
    """The words, on backgrounds that are the stronger the larger their score is; without colours each with its share of the
    largest score, from −9 to 9, where that does not round to 0."""
    largest = np.abs(scores).max() or 1.0
    out = []
    for word, score in zip(words, scores / largest, strict=True):
        if not colour:
            tenth = round(9 * score)
            out.append(f"{word}[{tenth:+d}]" if tenth else word)
        else:
            shade = [round(255 + abs(score) * (c - 255)) for c in (FOR if score > 0 else AGAINST)]
            ink = "255;255;255" if abs(score) > 0.6 else "0;0;0"
            out.append(f"\x1b[48;2;{shade[0]};{shade[1]};{shade[2]}m\x1b[38;2;{ink}m{word}\x1b[0m")
    return out
