"""What is measured on one fitted model: explanations by the deletion test, exchanged words, small changes of the text.

Every function returns figures text by text, so that intervals can be drawn over the texts afterwards.
"""

import numpy as np

from minilm.experiments.ladder import Material
from minilm.experiments.subjects import Subject
from minilm.experiments.trust_masked import unseen
from minilm.experiments.trust_words import negations
from minilm.pretrained.run_folder import LoadedModel
from minilm.text.files import Example
from minilm.text.perturb import shuffled, with_typos, without_punctuation
from minilm.training.explain import METHODS, Text, deletion_curves, explain, log_odds, rows_of
from minilm.training.inference import logits_of, predicted_labels

FEWEST, MOST = 8, 5  # words of a text that is explained, and words that are deleted
RANDOM = "random words"
CLEAN = "as they are"
PLAIN, NEGATED = "templates", "templates with “not”"
WHOLE, SENTENCES = "whole reviews", "sentences"


def deletions(loaded: LoadedModel, material: Material, texts: int, seed: int) -> dict[str, list[list[float]]]:
    """P of the model's answer after 0 … MOST deletions, for each method and each of the first `texts` test sentences."""
    chosen = [Text.of(material.tokenizer, example.text) for example in material.test_examples]
    chosen = [text for text in chosen if len(text.words) >= FEWEST][:texts]
    rng = np.random.default_rng(seed)
    classes = answers(loaded, chosen)
    orders: dict[str, list[list[int]]] = {name: [] for name in (*METHODS, RANDOM)}
    for text, k in zip(chosen, classes, strict=True):
        for explanation in explain(loaded.model, loaded.tokenizer, text, k):
            orders[explanation.method].append(explanation.order)
        orders[RANDOM].append(rng.permutation(len(text.words)).tolist())
    return {
        name: np.round(deletion_curves(loaded.model, loaded.tokenizer, chosen, order, classes, MOST), 4).tolist()
        for name, order in orders.items()
    }


def answers(loaded: LoadedModel, texts: list[Text]) -> list[int]:
    """The most probable class of each text."""
    rows = rows_of(loaded.tokenizer, [text.row(loaded.tokenizer) for text in texts])
    return predicted_labels(loaded.model, rows).tolist()


def exchanged(loaded: LoadedModel, material: Material, labels: int) -> dict[str, list[list[float]]]:
    """The log-odds of "positive" of both versions of every sentence that has words to exchange, by group.

    The sentences are all that no model of the first seeds was fitted to.
    """
    found = unseen(material, labels)
    f = scores(loaded, material, [text for swap in found for text in (swap.first, swap.second)]).reshape(-1, 2)
    out: dict[str, list[list[float]]] = {}
    for swap, both in zip(found, np.round(f, 4).tolist(), strict=True):
        out.setdefault(swap.group, []).append(both)
    return out


def scores(loaded: LoadedModel, material: Material, texts: list[str]) -> np.ndarray:
    """The log-odds of the last class for each text."""
    task = material.task
    rows = task.encode([Example(text) for text in texts], loaded.tokenizer, material.max_length, truncate=True)
    return log_odds(np.stack(logits_of(loaded.model, rows)).astype(float), len(task.labels) - 1)


def right(loaded: LoadedModel, material: Material, examples: list[Example]) -> str:
    """Which examples the model labels correctly: a "1" or a "0" for each."""
    rows = material.task.encode(examples, loaded.tokenizer, material.max_length, truncate=True)
    return "".join("01"[int(a == b)] for a, b in zip(predicted_labels(loaded.model, rows), rows.labels, strict=True))


def changed(loaded: LoadedModel, material: Material, seed: int) -> dict[str, str]:
    """Which test sentences are labelled correctly as they are and after each change, and which templates are."""
    rng = np.random.default_rng(seed)
    changes = {
        CLEAN: lambda text: text,
        "typos in a tenth of the words": lambda text: with_typos(text, 0.1, rng),
        "typos in a third of the words": lambda text: with_typos(text, 1 / 3, rng),
        "UPPER CASE": str.upper,
        "no punctuation": without_punctuation,
        "words in random order": lambda text: shuffled(text, rng),
    }
    tests = {
        name: [example._replace(text=change(example.text)) for example in material.test_examples]
        for name, change in changes.items()
    }
    tests |= dict(zip((PLAIN, NEGATED), negations(), strict=True))
    return {name: right(loaded, material, examples) for name, examples in tests.items()}


def moved(subject: Subject, sentences: LoadedModel, reviews: LoadedModel) -> dict[str, str]:
    """Both models on both kinds of texts: "trained on → measured on"."""
    out = {}
    for learnt, loaded in ((SENTENCES, sentences), (WHOLE, reviews)):
        for measured, material in ((SENTENCES, subject.sentences), (WHOLE, subject.reviews)):
            out[f"{learnt} → {measured}"] = right(loaded, material, material.test_examples)
    return out
