"""What may a model be trusted with?  D0 §3.3, D3 §8, D4 §3.3.2: it is hard to explain, it may be biased, it may not be robust.

One command measures all three on models that were fine-tuned to a few hundred labels: which explanations survive the deletion
test, what changes when words for people are exchanged, and how much is lost by small changes of the text.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from minilm.errors import check_least, check_most
from minilm.experiments.subjects import ALL, HEAD, REVIEWS, Subject, Weights, subjects
from minilm.experiments.trust_masked import guessed_words
from minilm.experiments.trust_measures import changed, deletions, exchanged, moved
from minilm.experiments.trust_tables import report_of
from minilm.files.atomic import write_json, write_text
from minilm.files.tensors import read_json
from minilm.viz import trust as pictures


@dataclass(frozen=True)
class TrustOptions:
    """Measure what a fine-tuned model may be trusted with: its explanations, its bias, and its robustness.

    Everything is measured on our own weights (of `minilm quickstart`) and on published ones, with several seeds. What is
    finished is kept in the folder, and the next call goes on from there.
    """

    weights: tuple[Weights, ...] = ("own", "published")
    """own: those of the quickstart; published: `--published`."""
    seeds: int = 3
    """How many times to fine-tune, each time on other labelled sentences."""
    labels: int = 500
    texts: int = 300
    """How many test sentences to explain."""
    reviews: bool = True
    """Also fine-tune on whole film reviews, to measure the way from sentences to reviews and back."""
    pretrained: Path = Path("runs/quickstart/pretrained")
    published: str = "all-minilm-l6-v2"
    out: Path = Path("runs/trust")
    cache: Path = Path("runs/cache")
    progress: bool = True

    def __post_init__(self) -> None:
        check_least(self, 1, "seeds", "labels", "texts")
        check_most(self, {"seeds": 100, "labels": 8_000, "texts": 2_000})


def trust(options: TrustOptions, say: Callable[[str], None] = print) -> list[dict]:
    """Measure what is not measured yet, print the tables, and write results.json, report.md and the pictures."""
    options.out.mkdir(parents=True, exist_ok=True)
    models = options.out / "models"
    found = subjects(options.weights, options.pretrained, options.published, options.cache, models, say)
    kinds = ("sentences", "reviews") if options.reviews else ("sentences",)
    jobs = [(subject, kind, seed) for kind in kinds for subject in found.values() for seed in range(options.seeds)]
    rows = []
    for subject, kind, seed in tqdm(jobs, "trust", disable=None if options.progress else True, leave=False):
        path = options.out / f"{subject.name}-{kind}-{options.labels}-{seed}-{options.texts}.json"
        if not path.exists():
            measures = on_sentences if kind == "sentences" else on_reviews
            write_json(path, measures(subject, options.labels, seed, options.texts))
        rows.append({"weights": subject.name, "kind": kind, "seed": seed} | read_json(path))
    report, figures = report_of(rows)
    write_json(options.out / "results.json", figures)
    write_text(options.out / "report.md", report + "\n")
    pictures.deletion(rows, options.out / "deletion.png")
    pictures.swaps(figures["bias"], options.out / "bias.png")
    say(report)
    say(f"\nThe results are in {options.out}: report.md, results.json, deletion.png, bias.png.")
    return rows


def on_sentences(subject: Subject, labels: int, seed: int, texts: int) -> dict:
    """All measures of the models that were fitted to sentences: with all weights, and the exchange of words before that."""
    whole, head = (subject.fitted(kind, labels, seed) for kind in (ALL, HEAD))
    material = subject.sentences
    base = subject.pretrained  # published weights came without the head for masked words
    guessed = {} if base is None else guessed_words(base, whole, material, labels)
    return {
        "guessed": guessed,
        "deletions": deletions(whole, material, texts, seed),
        "exchanged": {"before": exchanged(head, material, labels), "after": exchanged(whole, material, labels)},
        "right": changed(whole, material, seed),
    }


def on_reviews(subject: Subject, labels: int, seed: int, texts: int) -> dict:
    """The model that was fitted to reviews, beside that of the sentences, both on both kinds of text."""
    return {"moved": moved(subject, subject.fitted(ALL, labels, seed), subject.fitted(REVIEWS, labels, seed))}
