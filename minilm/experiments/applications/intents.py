"""Which topic is a question about? Models that are fitted to labelled questions, for `minilm service`."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from minilm.experiments.applications.vectors import TFIDF, title_of
from minilm.experiments.english import English, majority, tfidf
from minilm.experiments.ladder import Baseline, Climber, Material
from minilm.experiments.rungs import PUBLISHED_RECIPE, published_rung
from minilm.pretrained.protocol import encoder_config
from minilm.pretrained.registry import PUBLISHED_MODELS
from minilm.pretrained.run_folder import tokenizer_for
from minilm.text.duplicates import duplicates
from minilm.text.files import Example
from minilm.text.written_answers import Question
from minilm.training.tasks import TextTask

FEWEST = 10  # questions that a topic must have
INTENTS_LEARNED = 400  # labelled questions; each seed draws others
TEST = 0.3  # the share of the questions that is measured


def lone_models(names: Sequence[str]) -> list[str]:
    """Those of the names that are a model which can be fine-tuned."""
    return [name for name in names if name != TFIDF and "+" not in name]


def intents_material(by_topic: dict[str, list[Question]], model: str, device: torch.device) -> tuple[Material, int]:
    """The questions of every topic that has enough of them, and how many were left out, as they say nearly the same as others.

    The test part is drawn once, and is the same for all rows and seeds.
    """
    examples = [Example(q.text, topic) for topic, qs in by_topic.items() if len(qs) >= FEWEST for q in qs]
    found = duplicates([example.text for example in examples], ())
    order = [i for i in np.random.default_rng(0).permutation(len(examples)).tolist() if i not in found]
    cut = round(TEST * len(order))
    learn, test = ([examples[i] for i in part] for part in (order[cut:], order[:cut]))
    task = TextTask(tuple(sorted({example.label for example in learn})))
    test = [example for example in test if example.label in task.labels]
    config = encoder_config(model)[1]
    tokenizer = tokenizer_for(config, model)
    return Material.encoded(task, (learn, test), tokenizer, config.max_length, device), len(found)


def intent_rungs(models: Sequence[str], material: Material) -> list[Climber]:
    """The rows: the most frequent topic, counts of words, and the models, fine-tuned."""
    rungs: list[Climber] = [
        Baseline("majority", majority, "the most frequent topic"),
        Baseline("TF-IDF + logistic regression", tfidf, "counts of words and pairs of words"),
    ]
    for model in models:
        recipe = PUBLISHED_RECIPE if model in PUBLISHED_MODELS else English.recipes["pretrained"]
        rungs.append(replace(published_rung(model, material, recipe), name=f"{title_of(model)}, fine-tuned"))
    return rungs
