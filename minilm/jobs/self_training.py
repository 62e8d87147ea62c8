"""Self-training in `minilm finetune --unlabelled`: fitted models label texts, and a new one learns from both.  F01."""

from collections.abc import Callable

from minilm.examples.batching import Dataset
from minilm.jobs.finetune_options import FinetuneOptions
from minilm.jobs.labelled_data import Part
from minilm.models.heads import Classifier
from minilm.text.remarks import counted
from minilm.training.self_training import Learner, sure_of, taught_by_several, together

CONFIDENCE, TEACHERS, STUDENT_EPOCHS = 0.9, 3, 2


def taught_classifier(
    options: FinetuneOptions,
    first: Classifier,
    learner: Learner,
    train: Dataset,
    free: Dataset,
    say: Callable[[str], None],
) -> tuple[Classifier, float]:
    """A classifier that also learns from what the `first` one is sure of, and the seconds that both took."""
    seconds = learner.fit(first, train, options.seed, None)
    added = sure_of(first, free, options.little.confidence or CONFIDENCE, learner.device)
    say(
        f"the first model is sure of {len(added):,} of {len(free):,} texts without labels; a new one learns from them, too"
    )
    student = learner.new(options.seed)
    return student, seconds + learner.fit(student, together(train, added), options.seed, None)


def taught_tagger(
    options: FinetuneOptions, learner: Learner, train: Dataset, free: Part, say: Callable[[str], None]
) -> tuple[Classifier, float]:
    """A tagger that also learns from the lines on which several models agree, and the seconds that all took.

    It reads the labelled lines as often as these do, and all others `--student-epochs` times.
    """
    little, rounds = options.little, options.recipe.epochs
    teachers, epochs = little.teachers or TEACHERS, min(little.student_epochs or STUDENT_EPOCHS, rounds)
    say(f"{counted(teachers, 'model')} first, from the labelled lines; then a new one, from what they agree on, too")
    found = taught_by_several(learner, train, free.examples, teachers, max(1, rounds // epochs), epochs, options.seed)
    words = sum(map(len, found.tags))
    say(
        f"they give all words of {len(found.chosen):,} of {len(free.examples):,} lines without tags ({words:,} words) "
        "the same tags, and the new one has learned from these lines, too"
    )
    return found.student, found.seconds
