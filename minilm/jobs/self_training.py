"""Self-training in `minilm finetune --unlabelled`: fitted models label texts, and a new one learns from both.  F01."""

from minilm.examples.batching import Dataset
from minilm.files.notes import Note
from minilm.jobs.finetune_options import FinetuneOptions
from minilm.jobs.labelled_data import Part
from minilm.models.heads import Classifier
from minilm.text.remarks import counted
from minilm.text.tagged import TaggedLine
from minilm.training.self_training import Learner, sure_of, taught_by_several, together

CONFIDENCE, TEACHERS, STUDENT_EPOCHS = 0.9, 3, 2
AS_WELL = "from which a new one learns as well"
NOTHING = "so nothing is added to what a new one learns: more --recipe.epochs may help, or"


def taught_classifier(
    options: FinetuneOptions, first: Classifier, learner: Learner, train: Dataset, free: Dataset, note: Note
) -> tuple[Classifier, float]:
    """A classifier that also learns from what the `first` one is sure of, and the seconds that both took."""
    seconds = learner.fit(first, train, options.seed, None)
    confidence = options.little.confidence or CONFIDENCE
    added = sure_of(first, free, confidence, learner.device)
    what = (
        f"the first model is sure of {len(added):,} of {len(free):,} texts without labels (confidence {confidence:g})"
    )
    note(f"{what}, {AS_WELL if len(added) else f'{NOTHING} a lower --confidence'}.")
    student = learner.new(options.seed)
    return student, seconds + learner.fit(student, together(train, added), options.seed, None)


def taught_tagger(
    options: FinetuneOptions, learner: Learner, train: Dataset, free: Part, note: Note
) -> tuple[Classifier, float]:
    """A tagger that also learns from the lines on which several models agree, and the seconds that all took.

    It reads the labelled lines about as often as these do, and all others `--student-epochs` times.
    """
    little, rounds = options.little, options.recipe.epochs
    teachers, epochs = little.teachers or TEACHERS, little.student_epochs or min(STUDENT_EPOCHS, rounds)

    def say_what_is_added(lines: list[TaggedLine]) -> None:
        words = counted(sum(len(line.tokens) for line in lines), "word")
        what = f"lines without tags to which {counted(teachers, 'model')} gave the same tags: {len(lines):,} of {len(free.examples):,}"
        note(f"{what} ({words}), {AS_WELL if lines else f'{NOTHING} fewer --teachers'}.")

    how = teachers, max(1, round(rounds / epochs)), epochs, options.seed
    found = taught_by_several(learner, train, free.examples, *how, on_agreed=say_what_is_added)
    return found.student, found.seconds
