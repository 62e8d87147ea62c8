"""The English quickstart: film reviews, and whether a sentence praises a film or criticises it."""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline

from minilm.experiments.ladder import Baseline, Climber, Material, Outcome
from minilm.experiments.rungs import Start, neural_rungs
from minilm.experiments.table import mean_of
from minilm.experiments.tracks import Track
from minilm.jobs.pretrain import PretrainOptions
from minilm.pretrained.run_folder import LoadedModel
from minilm.text import corpus
from minilm.text.duplicates import duplicates
from minilm.text.files import Example
from minilm.text.prepare import Prepared, read_documents
from minilm.training.supervised import Recipe
from minilm.training.tasks import TextTask

TEST, DEVELOPMENT = 2_000, 1_000
TASK = TextTask(("negative", "positive"))


def pretraining_text(prepared: Prepared) -> Iterator[str]:
    """Every document that was pretrained on or held out."""
    for part in ("train.txt", "held_out.txt"):
        for document in read_documents(prepared.folder / part):
            yield " ".join(document)


def unseen(examples: list[Example], text: Iterable[str], test: int) -> tuple[list[Example], list[Example], int]:
    """The examples to learn from, the test set, and how many were left out because they occur in `text` or twice in the set."""
    found = duplicates([example.text for example in examples], text)
    order = [i for i in np.random.default_rng(0).permutation(len(examples)) if i not in found]
    return [examples[i] for i in order[test:]], [examples[i] for i in order[:test]], len(found)


class English(Track):
    text = "25,000 IMDB film reviews, 4,000 of them held out"
    task = "sentences of Rotten Tomatoes reviews: is each one positive or negative?"
    title = "Sentiment of 2,000 unseen sentences"
    metric = "accuracy"
    labels = (500,)
    short: tuple[str, ...] = ()
    steps = 4_000
    pretraining = PretrainOptions(corpus="imdb", layers=3, mask_rate=0.3, evaluations=8, steps=steps)
    probes = ("terrible", "masterpiece", "funny", "actress", "murder")
    masked = (
        "this is one of the [MASK] films i have ever seen .",
        "the acting was [MASK] and the plot made no sense .",
        "i [MASK] this movie , it is a masterpiece .",
        "the [MASK] is directed by a young woman from france .",
        "do not [MASK] your time with this movie .",
    )
    look_at = "the acting was terrible , but i loved the music ."
    example = "a warm and funny film"
    sentences = (
        "a warm , funny and beautifully acted film",
        "dull , predictable and far too long",
        "the plot is thin but the cast is a delight",
        "i checked my watch more often than the screen",
        "one of the year's best surprises",
    )
    recipes = {
        "lstm": Recipe(epochs=8, learning_rate=2e-3, embedding_learning_rate_scale=0.1),
        "scratch": Recipe(epochs=8, learning_rate=1e-3, embedding_learning_rate_scale=1.0),
        "vectors": Recipe(epochs=8, learning_rate=1e-3, embedding_learning_rate_scale=0.1),
        "start": Recipe(epochs=8, learning_rate=1e-3, embedding_learning_rate_scale=0.1),
        "head": Recipe(epochs=8, learning_rate=1e-2, head_only=True),
        "pretrained": Recipe(epochs=8, learning_rate=5e-4, embedding_learning_rate_scale=0.1),
    }

    def material(self, prepared: Prepared, settings: PretrainOptions, device: torch.device, say) -> Material:
        """Set the test sentences aside, and make sure that they occur in nothing that was trained on."""
        examples = corpus.labelled("rotten-tomatoes")
        pool, test, left_out = unseen(examples, pretraining_text(prepared), TEST)
        say(
            f"{left_out} of {len(examples):,} sentences occur, whole or almost whole, in the film reviews or twice in the set, "
            f"and are left out. {len(test):,} are the test set, and {len(pool):,} are there to learn from."
        )
        return Material.encoded(TASK, (pool, test), prepared.tokenizer, settings.length, device)

    def development(self, material: Material, settings: PretrainOptions) -> Material:
        """A quarter of the examples to learn from, at most; they occur in no text that was pretrained on."""
        order = np.random.default_rng(1).permutation(len(material.examples)).tolist()
        size = min(DEVELOPMENT, len(order) // 4)
        parts = [[material.examples[i] for i in some] for some in (sorted(order[size:]), order[:size])]
        return material.with_examples(*parts)

    def rungs(self, start: Start, keep: Path | None = None) -> list[Climber]:
        return [
            Baseline("majority", majority, "the more common class"),
            Baseline("TF-IDF + logistic regression", tfidf, "counts of words and pairs of words"),
            *neural_rungs(start, self.recipes, keep),
        ]

    def predictions(self, loaded: LoadedModel) -> list[str]:
        examples = [Example(text) for text in self.sentences]
        found = TASK.predict(loaded.model, examples, loaded.tokenizer, loaded.max_length)
        return [f"{each.label} ({each.probability:.0%}): {each.text}" for each in found]

    def remarks(self, rows: list[dict], labels: tuple[int, ...], measured: dict) -> str:
        """What the table says, in sentences that follow the figures."""
        few = labels[0]
        mean = {model: mean_of(rows, self.metric, model, few) for model in dict.fromkeys(r["model"] for r in rows)}
        best, scratch = mean["Transformer pretrained, fine-tuned"], mean["Transformer"]
        vectors, head = mean["Transformer + word vectors"], mean["Transformer pretrained, head only"]
        lines = [
            f"With {few:,} labels, pretraining is worth {100 * (best - scratch):+.1f} points over the same Transformer "
            f"from scratch; {100 * (vectors - scratch):+.1f} of them come from the word vectors alone.",
            f"Training the head alone (F08 as printed) gives {head:.3f}; moving all of θ (F02) gives {best:.3f}.",
        ]
        if (published := mean.get("all-MiniLM-L6-v2, fine-tuned")) is not None:
            lines.append(
                f"all-MiniLM-L6-v2 reaches {published:.3f} with the same {few:,} labels, {100 * (published - best):+.1f} points "
                "compared with the model that was pretrained here: this is what a billion sentence pairs and a cluster bring."
            )
        if scratch < mean["TF-IDF + logistic regression"]:
            lines.append(
                f"From scratch, the Transformer and the LSTM do worse than counting words: {few:,} labels are too few to learn "
                "what words mean and how they combine."
            )
        if best < vectors:
            lines.append(
                "Here the pretrained model does not beat its own word vectors: sentiment depends on single words, and a few "
                "minutes of pretraining can blur what the vectors knew."
            )
        return "\n".join(f"* {line}" for line in lines)


def majority(material: Material, labels: int, seed: int) -> Outcome:
    """Always say the class that is more common among the labelled examples."""
    y = [material.examples[i].label for i in material.drawn(labels, seed)]
    common = max(material.task.labels, key=y.count)
    return Outcome(float(np.mean([example.label == common for example in material.test_examples])), 0.0, 0)


def tfidf(material: Material, labels: int, seed: int) -> Outcome:
    """Weighted counts of words, tuned on the labelled examples alone by five-fold cross-validation."""
    started = time.perf_counter()
    chosen = [material.examples[i] for i in material.drawn(labels, seed)]
    x, y = [example.text for example in chosen], [example.label for example in chosen]
    folds = min(5, *map(y.count, material.task.labels))
    if folds == 0:  # a handful of examples may all be of one class: there is nothing to tell apart
        return majority(material, labels, seed)
    best = tfidf_classifier(x, y, folds)
    seconds = time.perf_counter() - started
    test = material.test_examples
    score = best.score([example.text for example in test], [example.label for example in test])
    return Outcome(float(score), seconds, len(best[0].vocabulary_) + 1)


def tfidf_classifier(x: Sequence[str], y: Sequence[str], folds: int) -> Pipeline:
    """Logistic regression on weighted counts of words, tuned by cross-validation in so many folds; with one fold, as it is."""
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(max_iter=1000))
    grid = {"tfidfvectorizer__ngram_range": [(1, 1), (1, 2)], "logisticregression__C": [0.3, 1, 3, 10, 30]}
    return GridSearchCV(model, grid, cv=folds).fit(x, y).best_estimator_ if folds > 1 else model.fit(x, y)
