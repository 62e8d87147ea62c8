"""What the ladders of taggers share: the dictionary that they should beat, and the remarks under their tables.  F30, F31."""

import time

from minilm.experiments.ladder import Baseline, Material, Outcome
from minilm.experiments.table import details_table, mean_of
from minilm.training.entity_report import KNOWN, NEW, Name, name_of
from minilm.training.metrics import entities

BEST = "Transformer pretrained, fine-tuned, CRF"
START = "Transformer + word vectors + neighbour heads, CRF"
LSTM = "LSTM + word vectors, CRF"
SCRATCH, HEAD, TUNED = "Transformer, CRF", "Transformer pretrained, head only", "Transformer pretrained, fine-tuned"
SHORT = ("dictionary", LSTM, SCRATCH, START, HEAD, TUNED, BEST)  # the rows that the remarks speak of


def dictionary(material: Material, labels: int, seed: int) -> Outcome:
    """Tag every name that occurs in the labelled lines wherever it turns up, the longest that fits first.

    If a name has several kinds there, the last one counts.
    """
    started = time.perf_counter()
    learnt = [material.examples[i] for i in material.drawn(labels, seed)]
    names = {name_of(line.tokens[a:b]): kind for line in learnt for kind, a, b in entities(line.tags)}
    longest = max(map(len, names), default=0)
    guessed = [look_up(line.tokens, names, longest) for line in material.test_examples]
    seconds = time.perf_counter() - started
    score, details = material.found(guessed, labels, seed)
    return Outcome(score, seconds, len(names), details)


DICTIONARY = Baseline("dictionary", dictionary, "the names seen in training, the longest first")


def look_up(tokens: list[str], names: dict[Name, str], longest: int) -> list[str]:
    """BIO tags for every name of the dictionary in a line, from left to right, the longest first."""
    tags, start = ["O"] * len(tokens), 0
    while start < len(tokens):
        for length in range(min(longest, len(tokens) - start), 0, -1):
            kind = names.get(name_of(tokens[start : start + length]))
            if kind:
                tags[start : start + length] = [f"B-{kind}"] + [f"I-{kind}"] * (length - 1)
                break
        else:
            length = 1
        start += length
    return tags


def remarks_on_names(rows: list[dict], few: int, lines: str) -> str:
    """What the table says with so `few` labelled lines, in sentences that follow the figures; and the table of details."""
    mean = {model: mean_of(rows, "f1", model, few) for model in dict.fromkeys(r["model"] for r in rows)}
    best, start, lstm = mean[BEST], mean[START], mean[LSTM]
    scratch, head = mean[SCRATCH], mean[HEAD]
    tuned, names = mean[TUNED], mean["dictionary"]
    said = [
        f"With {few:,} labelled {lines}, the pretrained Transformer with a CRF reaches an entity F1 of {best:.3f}. The LSTM with "
        f"word vectors and a CRF reaches {lstm:.3f}, and the dictionary of the names in these {lines} {names:.3f}.",
        f"Not all of that is pretraining. The same Transformer with the same CRF reaches {scratch:.3f} from scratch and "
        f"{start:.3f} with word vectors and heads that start by looking next door; pretraining adds {100 * (best - start):.1f} "
        "points to that.",
        f"The CRF is worth {100 * (best - tuned):.1f} points. Training the head alone (F08 as printed) gives {head:.3f}; training "
        f"all of θ (F02) gives {tuned:.3f}.",
    ]
    mine = [row for row in rows if row["labels"] == few]
    new = {
        model: sum(r[NEW] for r in mine if r["model"] == model) / sum(r["model"] == model for r in mine)
        for model in mean
    }
    said.append(
        f"A dictionary never finds a name that its {lines} do not contain. Of the new names, the LSTM with word vectors and a "
        f"CRF reaches an F1 of {new[LSTM]:.3f}, our start {new[START]:.3f}, and the pretrained model {new[BEST]:.3f}."
    )
    kinds = [name for name in rows[0] if name not in FACTS | {KNOWN, NEW}]
    table = details_table(rows, few, [*kinds, KNOWN, NEW])
    return (
        "\n".join(f"* {line}" for line in said)
        + f"\n\nF1 of each kind of entity, and of known and new names:\n\n{table}"
    )


FACTS = {"model", "labels", "seed", "f1", "seconds", "parameters"}
