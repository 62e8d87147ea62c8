r"""A row of the ladder of taggers that also learns from lines without their tags: several teachers, and one student.  F01, F31.

    teachers   tₖ = fit(labelled), each with other dropout and another head
    pseudo     = { (x, t₁(x)) : x unlabelled, t₁(x) = t₂(x) = … = t_K(x) }        every tag of the line is the same
    student    = fit(labelled, several times, and pseudo)

One model's confidence says little about a whole line: it would have to be sure of every tag. Models that differ by chance make
different mistakes, so where they all say the same, it is more often right.

Sources:  Blum and Mitchell (1998), Combining Labeled and Unlabeled Data with Co-Training; Zhou and Li (2005), Tri-Training;
          Lee (2013), Pseudo-Label.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from minilm.examples.batching import Dataset
from minilm.experiments.ladder import Material, Outcome, Rung
from minilm.models.config import parameter_count
from minilm.text.tagged import TaggedLine
from minilm.training.inference import predicted_tags
from minilm.training.self_training import agreed, together
from minilm.training.supervised import fit

AGREED, RIGHT = "lines agreed on", "of them right"  # details of the outcome
APART = 100  # between the seeds of two teachers


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
        labelled, recipe = material.sample(labels, seed), self.rung.recipe_for(labels)
        numbers = unlabelled_lines(material, labels, seed, self.lines)
        bare = [TaggedLine(line.tokens, ["O"] * len(line.tokens)) for line in (material.examples[i] for i in numbers)]
        unlabelled = encoded(material, bare)
        seconds, guesses = 0.0, []
        for k in range(self.teachers):
            own = seed + APART * k
            teacher = self.rung.build(material.task, own).to(material.device)
            seconds += fit(teacher, labelled, recipe, own, material.device, bar=False)
            guesses.append(predicted_tags(teacher, unlabelled, material.task.labels, material.device))
        chosen = agreed(guesses)
        # a line that was cut has tags for its beginning alone
        tagged = [TaggedLine(bare[i].tokens[: len(guesses[0][i])], guesses[0][i]) for i in chosen]
        learn = labelled
        for more in [labelled] * (self.copies - 1) + [encoded(material, tagged)] * bool(tagged):
            learn = together(learn, more)
        student = self.rung.build(material.task, seed).to(material.device)
        seconds += fit(student, learn, replace(recipe, epochs=self.epochs), seed, material.device, bar=False)
        score, details = material.measured(student, labels, seed)
        true = [material.examples[numbers[i]].tags for i in chosen]
        right = [line.tags == tags[: len(line.tags)] for line, tags in zip(tagged, true, strict=True)]
        facts = {AGREED: float(len(tagged)), RIGHT: round(float(np.mean(right)), 4) if right else 0.0}
        return Outcome(score, seconds, parameter_count(student), {**details, **facts})


def unlabelled_lines(material: Material, labels: int, seed: int, count: int) -> list[int]:
    """The numbers of up to `count` lines that are not among the `labels` ones that the seed draws: the same for every rung."""
    labelled = set(material.drawn(labels, seed))
    order = np.random.default_rng([seed, 1]).permutation(len(material.examples)).tolist()
    return [i for i in order if i not in labelled][:count]


def encoded(material: Material, lines: Sequence[TaggedLine]) -> Dataset:
    """The lines as the material's own are encoded."""
    return material.task.encode(list(lines), material.tokenizer, material.max_length, truncate=True)
