"""The page as one HTML file: the template, the style, the scripts and the data of a model, and nothing from anywhere else.

A text may hold anything, also HTML. It reaches the page as JSON in which no `<`, `>` or `&` stands, and the script writes it
with `textContent` alone. As a second wall, the page's own policy (CSP) lets the browser run this script, by its hash, and no other.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import jinja2

from minilm.errors import InputError
from minilm.explorer.records import shown_run
from minilm.explorer.subject import Subject, framed
from minilm.explorer.views import shown_text

SCRIPTS = ("base", "charts", "guesses", "attention", "words", "run", "start")  # in this order
ESCAPED = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
EMPTY = "nothing can be shown of this: "


def data_of(subject: Subject, texts: Sequence[str], pairs: Sequence[str] = (), live: bool = False) -> dict[str, Any]:
    """Everything that the page shows. Text i belongs to pair i, if there are pairs.

    Raises InputError if the numbers of texts and pairs differ, for a text that `framed` refuses, for texts without a model, and
    if there is nothing to show.
    """
    if pairs and len(pairs) != len(texts):
        raise InputError(
            f"there are {len(texts)} texts and {len(pairs)} second texts: give one --pair for each --text."
        )
    if subject.loaded is None and texts:
        raise InputError(f"{subject.folder} holds an experiment and no model that reads texts: leave out --text.")
    if subject.loaded is not None and not texts and not live:
        raise InputError('there is no text to explore: give one, as --text "the film was a pleasant surprise".')
    both = [(text, pairs[i] if pairs else None) for i, text in enumerate(texts)]
    shown = [shown_text(subject, framed(subject, text, pair)) for text, pair in both]
    run = shown_run(subject)
    if not run["views"] and not live and not any(text["views"] for text in shown):
        raise InputError(EMPTY + " ".join(why for _, why in (shown[0]["absent"] if shown else run["absent"])[:2]))
    facts = {"name": subject.name, "headline": subject.headline, "live": live, "pairs": subject.reads_pairs}
    return facts | {"texts": shown, "run": run}


def page_of(data: dict[str, Any]) -> str:
    """The whole page."""
    folder = resources.files("minilm.explorer") / "page"
    script = "\n".join((folder / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}}})();\n'
    style = (folder / "style.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string((folder / "explorer.html").read_text(encoding="utf-8"))
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(ESCAPED)
    return template.render(
        name=data["name"],
        headline=data["headline"],
        live=data["live"],
        style=style,
        script=script,
        data=text,
        hash_of_style=hash_of(style),
        hash_of_script=hash_of(script),
    )


def hash_of(text: str) -> str:
    """The SHA-256 of a script or a style sheet as the page's policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
