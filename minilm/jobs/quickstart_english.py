"""The English quickstart: film reviews, and whether a sentence praises or pans."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from minilm.examples.labelled import encode_texts
from minilm.jobs.duplicates import duplicates
from minilm.jobs.folders import Opened
from minilm.jobs.ladder import Outcome, Rung, Study, drawn, mean_of, neural_rungs
from minilm.jobs.prepare import Prepared, read_documents
from minilm.jobs.pretrain import PretrainOptions
from minilm.text import corpus
from minilm.text.files import Example
from minilm.training.supervised import Recipe, probabilities

TEST = 2_000
LABELS = ("negative", "positive")


def pretraining_text(prepared: Prepared) -> Iterator[str]:
    """Every document that was pretrained on or held out."""
    for part in ("train.txt", "held_out.txt"):
        for document in read_documents(prepared.folder / part):
            yield " ".join(document)


def unseen(examples: list[Example], text: Iterable[str], test: int) -> tuple[list[Example], list[Example], int]:
    """(to learn from, the test set, how many were left out because they stand in `text` or twice in the set)."""
    found = duplicates([example.text for example in examples], text)
    order = [i for i in np.random.default_rng(0).permutation(len(examples)) if i not in found]
    return [examples[i] for i in order[test:]], [examples[i] for i in order[:test]], len(found)


class English:
    text = "25,000 IMDB film reviews, 4,000 of them held out"
    task = "sentences of Rotten Tomatoes reviews: do they praise or pan?"
    title = "Sentiment of 2,000 unseen sentences"
    metric = "accuracy"
    labels = (500,)
    steps = 4_000
    pretraining = PretrainOptions(corpus="imdb", mask_rate=0.3, steps=steps)
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
        "lstm": Recipe(epochs=8, rate=2e-3, embedding_rate=0.1),
        "scratch": Recipe(epochs=8, rate=1e-3, embedding_rate=1.0),
        "vectors": Recipe(epochs=8, rate=1e-3, embedding_rate=0.1),
        "start": Recipe(epochs=8, rate=1e-3, embedding_rate=0.1),
        "head": Recipe(epochs=8, rate=1e-2, head_only=True),
        "pretrained": Recipe(epochs=8, rate=5e-4, embedding_rate=0.1),
    }

    def study(
        self, prepared: Prepared, settings: PretrainOptions, vectors, device: torch.device, keep: Path, say
    ) -> Study:
        """Set the test sentences aside, and make sure that they are in nothing that was trained on."""
        examples = corpus.labelled("rotten-tomatoes")
        pool, test, left_out = unseen(examples, pretraining_text(prepared), TEST)
        say(
            f"{left_out} of {len(examples):,} sentences stand, whole or nearly so, in the film reviews or twice in the set: "
            f"left out. {len(test):,} are the test set, {len(pool):,} are there to learn from."
        )
        self.texts = pool, test
        encode = [encode_texts(part, LABELS, prepared.tokenizer, settings.length, truncate=True) for part in self.texts]
        config = settings.model_config(prepared.tokenizer.size)
        return Study(*encode, LABELS, "text", config, vectors, settings.out, self.recipes, device, keep)

    def rungs(self, study: Study) -> list[Rung]:
        return [
            Rung("majority", "the commoner class", self.majority),
            Rung("TF-IDF + logistic regression", "counts of words and pairs of words", self.tfidf),
            *neural_rungs(study),
        ]

    def sample(self, labels: int, seed: int) -> tuple[list[str], list[str]]:
        """The same texts that `Study.sample` draws."""
        pool = self.texts[0]
        chosen = drawn(len(pool), labels, seed)
        return [pool[i].text for i in chosen], [pool[i].label for i in chosen]

    def majority(self, labels: int, seed: int) -> Outcome:
        _, y = self.sample(labels, seed)
        commoner = max(LABELS, key=y.count)
        return Outcome(float(np.mean([example.label == commoner for example in self.texts[1]])), 0.0, 0)

    def tfidf(self, labels: int, seed: int) -> Outcome:
        """Tuned on the training part alone, by five-fold cross-validation."""
        started = time.perf_counter()
        x, y = self.sample(labels, seed)
        model = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(max_iter=1000))
        grid = {"tfidfvectorizer__ngram_range": [(1, 1), (1, 2)], "logisticregression__C": [0.3, 1, 3, 10, 30]}
        folds = min(5, *map(y.count, LABELS))
        if folds == 0:  # a handful of labels may all be of one class: nothing to tell apart
            return self.majority(labels, seed)
        search = (GridSearchCV(model, grid, cv=folds) if folds > 1 else model).fit(x, y)
        seconds = time.perf_counter() - started
        test = self.texts[1]
        score = search.score([example.text for example in test], [example.label for example in test])
        best = search.best_estimator_ if folds > 1 else search
        return Outcome(float(score), seconds, len(best[0].vocabulary_) + 1)

    def predictions(self, opened: Opened) -> list[str]:
        examples = [Example(text, None) for text in self.sentences]
        rows = probabilities(opened.model, encode_texts(examples, LABELS, opened.tokenizer, opened.max_length))
        return [
            f"{LABELS[int(row.argmax())]} ({row.max():.0%}): {text}"
            for text, row in zip(self.sentences, rows, strict=True)
        ]

    def remarks(self, rows: list[dict], labels: tuple[int, ...], measured: dict) -> str:
        """What the table says, in words that follow the figures."""
        few = labels[0]
        mean = {model: mean_of(rows, self.metric, model, few) for model in dict.fromkeys(r["model"] for r in rows)}
        best, scratch = mean["MiniLM pretrained, fine-tuned"], mean["MiniLM"]
        vectors, head = mean["MiniLM + word vectors"], mean["MiniLM pretrained, head only"]
        lines = [
            f"With {few:,} labels, pretraining is worth {100 * (best - scratch):+.1f} points over the same Transformer "
            f"from scratch; {100 * (vectors - scratch):+.1f} of them come from the word vectors alone.",
            f"Training the head only (F08 as printed) gives {head:.3f}, moving all of θ (F02) {best:.3f}.",
        ]
        if (published := mean.get("all-MiniLM-L6-v2, fine-tuned")) is not None:
            lines.append(
                f"all-MiniLM-L6-v2 comes to {published:.3f} from the same {few:,} labels, {100 * (published - best):+.1f} points "
                "over the model that was pretrained here: that is what a billion pairs of sentences and a cluster bring."
            )
        if scratch < mean["TF-IDF + logistic regression"]:
            lines.append(
                f"From scratch, the Transformer and the LSTM stay behind counting words: {few:,} labels are too few to learn "
                "what words mean and how they combine."
            )
        if best < vectors:
            lines.append(
                "Here the pretrained model does not beat its own word vectors: sentiment hangs on single words, and "
                "minutes of pretraining can blur what the vectors knew."
            )
        return "\n".join(f"* {line}" for line in lines)
