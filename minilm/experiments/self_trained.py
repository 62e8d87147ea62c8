"""A row of the ladder of taggers that also learns from lines without their tags: several teachers, and one student.  F01, F31.

`training/self_training.py` says how.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from minilm.examples.batching import Dataset
from minilm.experiments.ladder import Material, Outcome, Rung
from minilm.models.config import parameter_count
from minilm.models.heads import Classifier
from minilm.text.tagged import TaggedLine
from minilm.training.self_training import Learner, taught_by_several
from minilm.training.supervised import fit

AGREED, RIGHT = "lines agreed on", "of them right"  # details of the outcome


@dataclass(frozen=True)
class SelfTrained:
    """`rung`, fitted by its own recipe as `teachers`, and then once more, from the beginning, as a student.

    The student reads the labelled lines `copies` times as often as those that the teachers have tagged, for `epochs` rounds: twenty
    times in all, as often as a pretrained teacher does with 200 lines of the newspaper.
    """

    rung: Rung
    teachers: int = 3
    lines: int = 9_000
    copies: int = 10
    epochs: int = 2

    @property
    def name(self) -> str:
        """As "Transformer pretrained, fine-tuned, CRF, self-trained"."""
        return f"{self.rung.name}, self-trained"

    @property
    def what(self) -> str:
        """One line that explains it."""
        return f"learns from up to {self.lines:,} lines without tags, too, where {self.teachers} models agree"

    def run(self, material: Material, labels: int, seed: int) -> Outcome:
        """Fit teachers and student to `labels` lines, and measure the student on the test set.

        Two details tell how many lines the teachers agreed on, and what share of these is right. The second can be counted
        only because the lines do have tags; neither the teachers nor the student see these.
        """
        material = self.rung.material or material
        recipe, device = self.rung.recipe_for(labels), material.device

        def fitted(model: Classifier, examples: Dataset, seed: int, epochs: int | None) -> float:
            own = recipe if epochs is None else replace(recipe, epochs=epochs)
            return fit(model, examples, own, seed, device, bar=False)

        def new(seed: int) -> Classifier:
            return self.rung.build(material.task, seed).to(device)

        learner = Learner(new, fitted, partial(encoded, material), material.task.labels, device)
        lines = [material.examples[i] for i in unlabelled_lines(material, labels, seed, self.lines)]
        labelled, how = material.sample(labels, seed), (self.teachers, self.copies, self.epochs)
        found = taught_by_several(learner, labelled, lines, *how, seed)
        score, details = material.measured(found.student, labels, seed)
        right = [lines[i].tags == tags for i, tags in zip(found.chosen, found.tags, strict=True)]
        facts = {AGREED: float(len(right)), RIGHT: round(float(np.mean(right)), 4) if right else 0.0}
        return Outcome(score, found.seconds, parameter_count(found.student), {**details, **facts})


def unlabelled_lines(material: Material, labels: int, seed: int, count: int) -> list[int]:
    """The numbers of up to `count` lines that are not among the `labels` ones that the seed draws: the same for every rung."""
    labelled = set(material.drawn(labels, seed))
    order = np.random.default_rng([seed, 1]).permutation(len(material.examples)).tolist()
    return [i for i in order if i not in labelled][:count]


def encoded(material: Material, lines: Sequence[TaggedLine]) -> Dataset:
    """The lines as the material's own are encoded."""
    return material.task.encode(list(lines), material.tokenizer, material.max_length, truncate=True)
