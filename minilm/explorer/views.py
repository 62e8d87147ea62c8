"""What the page shows of one text: each view is a function that returns plain numbers and words, or says why there is none."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from minilm.errors import InputError
from minilm.explorer.lens import Reading, candidates_of, hidden_words, next_tokens
from minilm.explorer.shown import guess_of, packed, short, token_words
from minilm.explorer.subject import MASK, Framed, Subject
from minilm.models.heads import ONE_CLASS, TextHeadConfig
from minilm.text.files import Example
from minilm.text.tokenizer import Tokenizer
from minilm.training.explain import METHODS, Text, deletion_curves, explain, rows_of
from minilm.training.inference import one_row, probabilities, refuse_nan
from minilm.training.tasks import task_of
from minilm.training.writing import write

WEIGHTS = 3_000_000  # attention weights in one page; each takes 1⅓ bytes
CLASSES, DELETED = 3, 5  # the most likely classes that are explained, and the words that the deletion test deletes
WRITTEN, ALTERNATIVES, TEMPERATURE = 24, 8, 0.8
GUESSES = 5


def guesses(subject: Subject, text: Framed) -> dict[str, Any]:
    """For every place what is guessed there after every layer: the hidden word, or the word that comes next.  F23, F25."""
    tokenizer = subject.tokenizer
    if subject.guesses:
        found = hidden_words(subject.model, tokenizer, text.ids, text.token_type_ids, GUESSES)
    elif subject.writes:
        found = dict(enumerate(next_tokens(subject.model, tokenizer, text.ids, GUESSES)))
    else:
        raise InputError("This model has no head that guesses words: explore the pretrained model that it began from.")
    places = {str(place): written(reading, tokenizer) for place, reading in found.items()}
    return {"next": subject.writes, "places": places}


def written(reading: Reading, tokenizer: Tokenizer) -> dict[str, Any]:
    best = [[[guess_of(tokenizer, i), short(p)] for i, p in layer] for layer in reading.best]
    truth = None if reading.truth is None else [short(p) for p in reading.truth]
    return {"best": best, "truth": truth, "rank": reading.rank}


@torch.no_grad()
def attention(subject: Subject, text: Framed) -> dict[str, Any]:
    """The attention weights of every layer and head.  F18."""
    if subject.stack is None:
        raise InputError("An LSTM has no attention: it reads one word after the other.")
    layers = subject.model.encoder(*one_row(subject.model, text.ids, text.token_type_ids), need_weights=True).attentions
    for i, weights in enumerate(layers, 1):
        refuse_nan(weights, f"the attention of layer {i}")
    heads, T = layers[0].size(1), len(text.ids)
    if (count := len(layers) * heads * T * T) > WEIGHTS:
        raise InputError(f"{count:,} weights are more than a page holds ({WEIGHTS:,}): explore a shorter text.")
    found = [packed(weights[0].numpy()[:, -T:, -T:]) for weights in layers]  # [H, T, T]; learned prompts left out
    return {"heads": heads, "layers": found}


@torch.no_grad()
def next_sentence(subject: Subject, text: Framed) -> dict[str, Any]:
    """P(the second text follows the first), in this order and in the other.  F26."""
    model, tokenizer = subject.model, subject.tokenizer
    if not hasattr(model, "nsp_head"):
        raise InputError("Only a BERT that was pretrained on next sentences judges whether two texts belong together.")
    assert subject.loaded is not None
    if any(name.startswith(("nsp_head", "cls.seq_relationship")) for name in subject.loaded.lacking):
        raise InputError("This BERT never learned to judge next sentences: the folder has no head for it.")
    if text.pair is None:
        raise InputError("This view needs two texts: give the second one with --pair.")
    parts = [tokenizer.ids([part], special=MASK in part)[0] for part in (text.text, text.pair)]
    rows = [tokenizer.pair(*order) for order in (parts, parts[::-1])]
    logits = torch.cat([model(*one_row(model, *row)).nsp_logits for row in rows])  # [2, 2]
    refuse_nan(logits, "the score of order {}")
    forward, backward = logits.softmax(dim=-1)[:, 0].tolist()  # label 0: it is the next
    return {"forward": short(forward), "backward": short(backward)}


def answer(subject: Subject, text: Framed) -> dict[str, Any]:
    """What the model was fine-tuned for: the classes of the text with their probabilities, or what it found in the text."""
    head = subject.head
    if head is None:
        raise InputError("This model was not fine-tuned: it has no classes. Train some with minilm finetune.")
    task, tokenizer = task_of(head), subject.tokenizer
    assert subject.loaded is not None
    examples = [Example(text.text, None, text.pair)]
    (found,) = task.predict(subject.model, examples, tokenizer, subject.loaded.max_length, where="the page")
    marks = [{"kind": e.kind, "text": e.text, "start": e.start, "end": e.end} for e in found.entities]
    out: dict[str, Any] = {"label": found.label, "marks": marks, "per_token": task.per_token, "shown": found.shown}
    if found.probability is not None and isinstance(head, TextHeadConfig) and head.problem_type == ONE_CLASS:
        P = probabilities(subject.model, task.encode(examples, tokenizer, subject.loaded.max_length))[0]
        out["classes"] = sorted(([name, short(float(p))] for name, p in zip(head.labels, P)), key=lambda row: -row[1])
    elif found.probability is not None:
        out["classes"] = [[found.label, short(found.probability)]]
    elif found.labels:
        out["classes"] = [[name, short(p)] for name, p in found.labels]
    return out


def reasons(subject: Subject, text: Framed) -> dict[str, Any]:
    """Which words decided, by four methods, and what becomes of the answer when they are deleted."""
    head, model, tokenizer = subject.head, subject.model, subject.tokenizer
    if not isinstance(head, TextHeadConfig) or head.problem_type != ONE_CLASS or head.markers:
        raise InputError("Only a classifier that gives a text one class is asked which words decided.")
    words = Text.of(tokenizer, text.text, text.pair)
    (P,) = probabilities(model, rows_of(tokenizer, [words.row(tokenizer)]))
    names = [name for name in METHODS if subject.stack is not None or not name.startswith("attention")]
    most = min(DELETED, (len(words.words) + 1) // 2)
    classes = []
    for k in np.argsort(-P, kind="stable")[:CLASSES].tolist():
        found = explain(model, tokenizer, words, k, names)
        orders = [each.order for each in found]
        curves = deletion_curves(model, tokenizer, [words] * len(found), orders, [k] * len(found), most)
        methods = [
            {"name": each.method, "scores": [short(s) for s in each.scores], "curve": [short(p) for p in curve]}
            for each, curve in zip(found, curves, strict=True)
        ]
        classes.append({"label": head.labels[k], "p": short(float(P[k])), "methods": methods})
    return {"words": list(words.words), "first": words.first, "classes": classes}


@torch.no_grad()
def writing(subject: Subject, text: Framed, tokens: int = WRITTEN, seed: int = 0) -> dict[str, Any]:
    """A continuation, token by token, with the probability of each and what else could have been written.  F23."""
    if not subject.writes:
        raise InputError("This model does not write: explore a GPT (minilm pretrain --architecture gpt).")
    model, tokenizer = subject.model, subject.tokenizer
    (found,) = write(model, tokenizer, [text.text], tokens, TEMPERATURE, seed=seed)
    ids = [*found.prompt_ids, *found.written.ids]
    candidates = candidates_of(model, tokenizer)
    logits = model(torch.tensor([ids]))[0, len(found.prompt_ids) - 1 : -1]  # one row for each token that was written
    P = logits[:, candidates].softmax(dim=-1)
    values, places = P.topk(min(ALTERNATIVES, len(candidates)))
    steps = []
    for n, word in enumerate(token_words(tokenizer, found.written.ids)):
        others = [[guess_of(tokenizer, int(candidates[i])), short(float(p))] for p, i in zip(values[n], places[n])]
        chosen = float(P[n, int((candidates == found.written.ids[n]).nonzero())])
        steps.append(word | {"p": short(chosen), "others": others, "guess": guess_of(tokenizer, found.written.ids[n])})
    ended = {"end": "the model wrote the token that ends a text", "length": f"{tokens} tokens were asked for"}
    why = ended.get(found.written.reason, "the text fills the model's context")
    return {"steps": steps, "temperature": TEMPERATURE, "seed": seed, "why": why}


class View(NamedTuple):
    """A view by its name in the page's data, its title, and the function that makes it."""

    name: str
    title: str
    make: Callable[[Subject, Framed], dict[str, Any]]


VIEWS = (
    View("guesses", "Guesses", guesses),
    View("answer", "Answer", answer),
    View("reasons", "Words that decided", reasons),
    View("writing", "Writing", writing),
    View("attention", "Attention", attention),
    View("pair", "Next sentence", next_sentence),
)


def shown_text(subject: Subject, text: Framed) -> dict[str, Any]:
    """All views of a text that there are, and for the others why there are none."""
    tokens = token_words(subject.tokenizer, text.ids)
    for token, segment in zip(tokens, text.token_type_ids, strict=True):
        token["second"] = bool(segment)
    out: dict[str, Any] = {"text": text.text, "pair": text.pair, "tokens": tokens, "views": {}, "absent": []}
    for view in VIEWS:
        try:
            out["views"][view.name] = view.make(subject, text)
        except InputError as error:
            out["absent"].append([view.title, str(error)[:1].upper() + str(error)[1:]])
    return out
