"""The tables that the documents print in their §5.4, as data, and their concept maps."""

from typing import NamedTuple

from minilm.formulas.metrics import D4_AVERAGES, D4_TABLE

D0_ACCURACY = 0.92
D1_ROWS = ("Test Loss", "Test Accuracy")  # §5.4 prints the names, and no figures
D3_LOSSES = (
    (0.345, 0.305),
    (0.300, 0.275),
    (0.250, 0.250),
    (0.200, 0.225),
    (0.150, 0.200),
)  # of each epoch: train, dev
D2_TABLE = (  # row, precision, recall, F1, support
    *(("B-PER", 0.923, 0.915, 0.920, 2300), ("I-PER", 0.922, 0.920, 0.920, 2300), ("O", 0.925, 0.923, 0.923, 2300)),
    *(("B-LOC", 0.916, 0.916, 0.916, 2300), ("I-LOC", 0.916, 0.916, 0.916, 2300)),
    *(("B-MISC", 0.913, 0.913, 0.913, 2300), ("I-MISC", 0.913, 0.913, 0.913, 2300), ("O", 0.919, 0.919, 0.919, 2300)),
    *(("macro avg", 0.919, 0.919, 0.919, 2300), ("weighted avg", 0.919, 0.919, 0.919, 2300)),
)
D4_TOTAL = sum(row.support for row in D4_TABLE)
D4_ROWS = (*D4_TABLE, *((f"{name} avg", *figures, D4_TOTAL) for name, figures in D4_AVERAGES.items()))


class Map(NamedTuple):
    """A concept map of a document, and what is wrong with it."""

    where: str
    shows: str
    wrong: str


MAPS = (
    Map(
        "D0 §2.1",
        "pretraining → unlabelled data → model → fine-tuning → data of the task → a few labels → objective → new weights → "
        "model; model → emergence",
        "Data comes out of training, twice, where it goes in. Only fine-tuning has an objective and changes weights. Emergence "
        "hangs on the model, while §3.1 gives it to the fine-tuned one.",
    ),
    Map(
        "D0 §2.2.1",
        "texts → pretraining → model → fine-tuning → task; model → prompts",
        "The order is right. Labels are missing, and prompts lead to no answer. The text calls them a kind of fine-tuning that "
        "changes no weights, which is a contradiction.",
    ),
    Map(
        "D0 §2.2.2",
        "pretraining → source task → model → fine-tuning → task; pretraining → target task",
        "The target task and the task at the end are the same thing, drawn twice, and the first of them leads nowhere. "
        "Pretraining is the source task; it does not lead to it.",
    ),
    Map(
        "D0 §2.2.3",
        "pretraining → unlabelled data → model → fine-tuning → task → emergence",
        "Data comes out of pretraining again, and emergence now comes out of the task.",
    ),
    Map(
        "D1 §2.5",
        "neural network → deep learning → natural language processing → model → three tasks",
        "One arrow means “is part of”, the next “is used in”, the last “can do”. Data, training, emergence and "
        "the recurrent networks, which D1 calls the core, are missing.",
    ),
    Map(
        "D3 §2.1",
        "self-supervision → pretraining → fine-tuning → emergence, in-context learning and the large model; emergence → "
        "emergence → …",
        "The large model is there before it is fine-tuned. Emergence stands there twice and leads to itself. Learning in "
        "context needs no fine-tuning: it is what a model does without it. Complexity is a cost, and not a result.",
    ),
    Map(
        "D4 §2.2",
        "model → pretraining, fine-tuning, transfer, self-attention, masked words, next sentence; transfer → self-supervision",
        "All arrows begin at the result, so the map has no order. Self-supervision belongs to pretraining, and transfer is what "
        "fine-tuning does with it. Self-attention is a part of the Transformer, and not a task, which the text calls it.",
    ),
)
NO_MAP = "D2 draws none: its §2.3 is a list of three lines."
