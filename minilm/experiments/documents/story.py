"""The page of `minilm documents`: for each document its program, what is wrong in it, the program put right, and both tables."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from math import log

import numpy as np

from minilm.experiments.documents import programs, tables
from minilm.experiments.documents.page import Block, Code, Drawing, Heading, Table, Words
from minilm.experiments.documents.printed import DOCUMENTS, Document
from minilm.experiments.documents.printed_tables import MAPS, NO_MAP
from minilm.experiments.table import over_seeds
from minilm.viz.schematics.concepts import concept_map

TITLE = "The documents' programs: what they do, what is wrong in them, and what they give when put right"
MAP_FILE = "concept_map.svg"


def story(chosen: Sequence[str], records: list[dict], spent: str) -> list[Block]:
    """The blocks of the page for these documents, from the records of their runs. `spent` says what that took."""
    out: list[Block] = [
        Words(
            "Five documents on large language models come with a program and a table of results. None of the programs runs as it "
            "is printed, and none of the printed figures can have come from the program above it. Here each program is described, "
            "its faults are listed, and the program that does what the document intends, written with minilm, is run on real data. "
            "Its table has the rows and columns of the printed one."
        ),
        Words(
            "The models here have 0.4 to 1.7 million parameters and are trained in minutes, while BERT has 110 million. Look at "
            "what the figures are compared with, and not at how far they lie below the printed ones, which nobody can check.",
            "How to read the tables.",
        ),
        Words(of_models(records)),
    ]
    for name in chosen:
        mine = [record for record in records if record["document"] == name]
        out += about(DOCUMENTS[name])
        out += [Heading("The program, put right", 3), Code(source_of(name))]
        out += [Heading("Its table, beside the printed one", 3), *RESULTS[name](mine)]
    return [*out, *concept_maps(), Words(spent, "What it took.")]


def source_of(name: str) -> str:
    """The program of a document, put right, as it stands in `programs.py`."""
    return inspect.getsource(getattr(programs, name.lower()))


def of_models(records: list[dict]) -> str:
    """Which models D0, D3 and D4 start from."""
    languages = {"en": "film reviews (D0, D3)", "zh": "a Chinese newspaper (D4)"}
    here = [
        f"on {languages[record['document']]} for {record['steps']:,} steps, to {record['line']}"
        for record in records
        if record["document"] in languages
    ]
    given = sorted({record["start"] for record in records if record["document"] in ("D0", "D3", "D4")})
    if here:
        return f"The models that D0, D3 and D4 start from were pretrained by this command {'; '.join(here)}."
    return (
        f"The programs start from the pretrained model in {', '.join(given)}."
        if given
        else "No program here needs a pretrained model."
    )


def about(document: Document) -> Iterator[Block]:
    """What a document is, what its program does, and what is wrong in it."""
    yield Heading(f"{document.name} · {document.title}", 2, document.name)
    yield Words(document.author + ".", "Author:")
    yield Words(document.program, "What the program does.")
    yield Words(document.stops, "What happens when you start it.")
    yield Heading("What is wrong in it", 3)
    head = ["what stands there", "what it does", "put right"]
    yield Table(head, [[fault.printed, fault.harm, fault.mended] for fault in document.faults], prose=True)
    sections = dict.fromkeys(fault.section for fault in document.faults if fault.section)
    named = ", ".join(f"“{section}”" for section in sections)
    yield Words(
        "Notebook 15 (15_the_documents_programs.ipynb, which `minilm notebooks` opens) makes these mistakes again in a few lines "
        f"and measures them: {named}."
    )


def of_d0(records: list[dict]) -> list[Block]:
    first = records[0]
    here = np.mean([record["accuracy"] for record in records])
    return [
        tables.accuracy_table(records),
        Words(
            f"{first['labels']:,} labelled sentences to learn from, {first['tested']:,} others to measure on, {seeds(records)}. "
            f"Always giving the more frequent answer reaches {first['majority']:.3f}, so that the model is worth "
            f"{100 * (here - first['majority']):.1f} points."
        ),
        Words(
            "CoNLL-2003 has no labels for texts; these are sentences from Rotten Tomatoes, half of them positive.",
            "Data:",
        ),
    ]


def of_d1(records: list[dict]) -> list[Block]:
    (first,) = records
    return [
        tables.next_token_table(records),
        Words(
            f"{first['epochs']} epochs on {first['tokens']:,} tokens of film reviews. The question is the document's: which token "
            f"follows 50 others, at {first['tested']:,} places of other reviews. The loss is in nats per token: the perplexity is "
            f"{np.exp(first['loss']):.0f} of 1,000 tokens. Trained as the document does it, with one label for 50 tokens, the same "
            f"model has {np.exp(first['printed_loss']):.0f}, and the frequencies alone have {np.exp(first['frequency_loss']):.0f}. "
            f"Over every place of these reviews the loss of our model is {first['every_place']:.3f}."
        ),
        Words(
            "The document prints no figures and names no data; these are film reviews, in 1,000 word pieces.", "Data:"
        ),
    ]


def of_d2(records: list[dict]) -> list[Block]:
    (first,) = records
    return [
        tables.dialogue_table(records),
        Words(
            f"{first['steps']:,} steps, and {first['answers']:,} answers of unseen conversations ({first['tested']:,} tokens) to "
            "measure on. The averages are those of the report that the program prints once its mistakes are gone: the most likely "
            "token in each place against the true one. Its rows are tokens; these are the eight most frequent ones:"
        ),
        tables.token_table(records),
        Words(
            "A report of tokens says little, because many words would be right. The figure for a model that answers is its "
            f"perplexity: {first['perplexity']:.1f}, where a model that counts pairs of tokens (bigram, Kneser–Ney) has "
            f"{first['bigram']:.1f}. The document's program never writes; this one does, at a temperature of 0.8:"
        ),
        tables.answer_table(records),
        Words(
            "CoNLL-2003 has no dialogues, and conversations have no entity tags, so the rows of the printed table stay empty; "
            "these are conversations of two people (chitchat).",
            "Data:",
        ),
    ]


def of_d3(records: list[dict]) -> list[Block]:
    first = records[0]
    losses = np.array([record["losses"] for record in records]).mean(axis=0)  # [epochs, 2]
    best = int(losses[:, 1].argmin())
    turn = (
        f"The development loss is lowest after epoch {best + 1} and higher afterwards, while the training loss goes on falling: the "
        "model begins to learn its sentences by heart. That is why D0's program has to keep the best epoch."
        if best + 1 < len(losses)
        else "Here the development loss falls to the end; with more epochs it would turn."
    )
    return [
        tables.loss_table(records),
        Words(
            f"{first['labels']:,} labelled sentences to learn from, {first['tested']:,} others as the development part, "
            f"{seeds(records)}. Both losses are in nats per sentence, measured after the epoch; guessing has log 2 = {log(2):.3f}. "
            f"{turn}"
        ),
        Words("The document's data are five placeholders; these are sentences from Rotten Tomatoes.", "Data:"),
    ]


def of_d4(records: list[dict]) -> list[Block]:
    first = records[0]
    return [
        tables.tag_table(records),
        Words(
            f"{first['labels']:,} labelled lines to learn from, {first['tested']:,} lines of other articles to measure on, "
            f"{seeds(records)}. All averages count O, as the printed ones do, and that flatters: most characters are O, and nearly "
            "all of them are easy."
        ),
        Words(
            "The F1 of whole names, for which kind, beginning and end must be right, is "
            f"{over_seeds([r['f1'] for r in records])}. A dictionary of the names in as many lines reaches "
            f"{first['dictionary']:.3f}.",
            "What counts.",
        ),
        Words(
            "The text of CoNLL-2003 is not free; this is the People's Daily of January 1998, where each character has a tag. It "
            "has no MISC.",
            "Data:",
        ),
    ]


def seeds(records: list[dict]) -> str:
    """How many times it was run."""
    return f"mean ± standard deviation over {len(records)} seeds" if len(records) > 1 else "one seed"


def concept_maps() -> Iterator[Block]:
    """What is wrong with the documents' seven maps, and one in their place."""
    yield Heading("One concept map in place of seven", 2, "map")
    yield Words(f"Four of the documents draw seven maps of their concepts. {NO_MAP}")
    yield Table(["map", "what it shows", "what is wrong"], [list(each) for each in MAPS], prose=True)
    yield Words(
        "In a map that can be right, an arrow means one thing. Below, a box with square corners is data or weights, a rounded one "
        "computes, and an arrow says what flows from one to the other. Emergence is no box that another one produces: it is seen "
        "only when several models are compared."
    )
    yield Drawing(concept_map(), MAP_FILE)


RESULTS: dict[str, Callable[[list[dict]], list[Block]]] = {
    "D0": of_d0,
    "D1": of_d1,
    "D2": of_d2,
    "D3": of_d3,
    "D4": of_d4,
}
