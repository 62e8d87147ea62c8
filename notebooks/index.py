r"""Write INDEX.md, which follows each formula from the document to its test.

    python notebooks/index.py            writes INDEX.md
    python notebooks/index.py --check    checks that INDEX.md is up to date

The table below says what is right and wrong in the documents, and minilm/experiments/documents/ quotes them. Everything else is found
by the formula's number: in the docstrings of minilm/, in the headings of the notebooks, and in the names of the tests.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from minilm.experiments.documents.printed import DOCUMENTS
from minilm.experiments.documents.quoted import ERRORS, QUOTED, SAID

TOP = Path(__file__).resolve().parents[1]
ROOMS = ("layers", "models", "training", "examples", "text")  # where a formula may be implemented a second time
LATER: tuple[str, ...] = ()


class Formula(NamedTuple):
    """What the documents say. `printed`: right, wrong, or words (the document names it without a formula)."""

    id: str
    title: str
    where: str
    printed: str
    note: str = ""


PRINTED = {"right": "printed correctly", "wrong": "printed **wrongly**", "words": "in words only"}
PAPER = "the formula is in the paper that D1 §8.3 and D3 §7.3 cite"
ONLY_PAPER = "no document names it; it is in the paper that both cite (Vaswani et al., 2017)"
BPTT = (
    "it is always zero; even with ŷ − y it is, because both sum to 1 over i, and it has the wrong shape and "
    "lacks W_yᵀ, the "
    "derivative of σ and the chain through time"
)
OVER = "the maximum over the answer is prediction, and training maximises over θ"
CHAPTERS = {
    "Learning from data": [
        Formula("F01", "Empirical risk", "D0 §4.1", "right"),
        Formula(
            *("F02", "The parameters with the smallest risk", "D0 §4.1 · D4 §4.1.1", "right"),
            "fine-tuning is the same search, from θ that was pretrained",
        ),
        Formula(
            *(
                "F03",
                "The gradient step and its successors",
                "D0 §3.2, §4.1 · D4 §4.1.2, §4.3.1.3 · D1 appendix",
                "right",
            ),
            "SGD and AdamW, L2, dropout and early stopping (D0 §3.2) and clipping (D1 appendix) are named "
            "without a formula",
        ),
        Formula("F04", "Binary cross-entropy", "D0 §4.2 · D4 §4.2.1", "right", "it overflows unless it takes logits"),
        Formula("F05", "Binary cross-entropy: mean over the examples", "D0 §4.2 · D4 §4.2.1", "right"),
        Formula(
            *("F06", "Binary cross-entropy: gradient", "D0 §4.2 · D4 §4.2.2", "right"),
            "with a sigmoid it simplifies to (ŷ − y) ∂z/∂θ",
        ),
        Formula("F07", "The head on top of BERT", "D0 §4.3", "right"),
        Formula("F08", "Fine-tuning", "D0 §4.3", "wrong", "it trains only W⁰ and b⁰; fine-tuning trains θ too"),
    ],
    "Recurrent models": [
        Formula("F09", "The recurrent state", "D1 §4.1", "right", "but usually with tanh, not “usually ReLU”"),
        Formula(
            "F10", "The prediction at each step", "D1 §4.1", "right", "but its σ is softmax, not the function σ of F09"
        ),
        Formula("F11", "Cross-entropy over a sequence", "D1 §4.2", "wrong", "one y for both makes it an entropy"),
        Formula("F12", "The gradient for W_h", "D1 §4.2", "wrong", BPTT),
        Formula("F13", "The gradient for W_x", "D1 §4.2", "wrong", BPTT),
        Formula("F14", "The gradient for b_h", "D1 §4.2", "wrong", BPTT),
        Formula(
            "F15", "LSTM", "D1 §3.1", "words", "it helps against vanishing gradients, and not against exploding ones"
        ),
        Formula("F16", "GRU", "D1 §3.1", "words"),
        Formula(
            *("F17", "The document's own model", "D1 §5.2", "right"),
            "as a program; but it predicts one word per text, after the last, where F10 and F11 predict one at "
            "every step",
        ),
    ],
    "Attention and the Transformer": [
        Formula("F18", "Attention", "D4 §2.1.5, §2.1.10", "words", PAPER),
        Formula("F19", "Multi-head attention", "D4 §2.1.9", "words", PAPER),
        Formula("F20", "Feed-forward, layer norm, residual", "D1 §8.3 · D3 §7.3", "words", ONLY_PAPER),
        Formula("F21", "Positions", "D1 §8.3 · D3 §7.3", "words", ONLY_PAPER),
        Formula("F22", "What attention and recurrence cost, and how far they reach", "D4 §1.1.1, §2.1.9", "words"),
    ],
    "Language models and pretraining": [
        Formula("F23", "A text's probability, word by word", "D3 §4.1.1 · D0 §2.1 · D2 §4.3.1", "right"),
        Formula("F24", "A picture's probability, pixel by pixel, given its class", "D3 §4.1.2", "right"),
        Formula(
            "F25", "Masked words", "D3 §4.2.1", "wrong", f"it gives only the left side; the model sees both; {OVER}"
        ),
        Formula(
            *("F26", "Next sentence", "D3 §4.2.2", "wrong"),
            f"{OVER}; both sentences are drawn at random (D3: almost never the next one) or are consecutive (D4 "
            f"§2.1.7: always), and "
            "neither can be learned from",
        ),
        Formula("F27", "Pretraining", "D2 §4.2.1", "right", "but ℓ has no target; here it is F25 and F26"),
        Formula("F28", "Fine-tuning on a task", "D2 §4.2.2", "right"),
        Formula("F29", "New examples: dialogue", "D2 §4.2.3", "right", "but ℓ has no target; here it is the answer"),
    ],
    "Metrics, tags, frugal ways, word vectors": [
        Formula(
            *("F30", "Accuracy, precision, recall, F1", "D4 §5.4 · D0 §5.4 · D1 §3.2.5 · D2 §5.4", "wrong"),
            "four F1 of D4's table do not fit their precision and recall, 97.5 % is not in it, and counting O "
            "flatters all of it; D2's "
            "averages do not follow from its rows, and its rows are for another task",
        ),
        Formula(
            "F31",
            "Tags: CRF and Viterbi",
            "D4 §4.3.2",
            "wrong",
            "“minimise F1”, which has no gradient and is to be raised: the loss is −log P(y∣x)",
        ),
        Formula(
            *("F32", "Tuning a few weights: adapters and low-rank changes", "D3 §7.3", "words"),
            "D3 says that adapters add no parameters; they do, and a merged low-rank change does not. The A of "
            "AdaLoRA is a budget "
            "(*Adaptive Budget Allocation*), not an adaptation",
        ),
        Formula(
            *("F33", "Prompts and verbalisers", "D0 §2.2.1 · D3 §7.3 · D4 §2.1.4", "words"),
            "D0 says that they change no parameter, D3 that they are learned: both kinds exist",
        ),
        Formula("F34", "Word vectors", "D1 §3.2.1", "words", "D1 names Word2Vec and GloVe; here by counting"),
    ],
    "The likelihood, pictures with texts, and emergence": [
        Formula(
            *("F35", "Pictures and texts: the contrastive loss", "D2 §4.3.2", "words"),
            "D2 says without labels, a likelihood, fine-tuned: none is so; the data are pairs, the loss compares them",
        ),
        Formula(
            *("F36", "Emergence, and learning in the prompt", "D0 §1.2 · D1 §1 · D2 §1.2 · D3 §1.1, §3.1", "words"),
            "four meanings of one word, none of them measured; here each has an experiment with controls",
        ),
        Formula(
            *("F37", "Maximum likelihood", "D2 §4.1, §4.3.1, §4.3.2", "wrong"),
            "“minimise the likelihood”, three times: it is maximised; minimising it drives the loss to infinity",
        ),
    ],
}
FORMULAS = {formula.id: formula for chapter in CHAPTERS.values() for formula in chapter}
# Parts of the library that implement a formula without naming it, because autograd or a plain sum does the work.
ALSO = {
    "F01": [("minilm/training/losses.py", "cross_entropy")],
    "F02": [("minilm/training/loop.py", "train")],
    "F12": [("minilm/layers/recurrent.py", "RNNCell")],
    "F13": [("minilm/layers/recurrent.py", "RNNCell")],
    "F14": [("minilm/layers/recurrent.py", "RNNCell")],
    "F22": [("minilm/layers/attention.py", "MultiHeadAttention"), ("minilm/layers/recurrent.py", "Recurrent")],
    "F27": [("minilm/models/bert.py", "BertForPretraining")],
    "F28": [("minilm/training/supervised.py", "fit")],
    "F29": [("minilm/training/losses.py", "cross_entropy")],
    "F36": [("minilm/models/gpt.py", "GPT"), ("minilm/layers/transformer.py", "TransformerStack")],
    "F37": [("minilm/training/losses.py", "cross_entropy"), ("minilm/training/objectives.py", "CausalLM")],
    "F30": [("minilm/training/metrics.py", name) for name in ("measure_texts", "measure_tags")],
    "F31": [("minilm/examples/labelled.py", "encode_tagged")],
}
Ends = dict[str, list[str]]  # file → the names in it


class Section(NamedTuple):
    """A section of a notebook."""

    file: str  # without its suffix
    notebook: str
    heading: str


class Thread(NamedTuple):
    """Where a formula appears, apart from the document."""

    notebook: list[Section]
    numpy: Ends
    library: Ends
    tests: Ends
    exercises: Ends

    @property
    def as_printed(self) -> Ends:
        return {file: found for file, names in self.numpy.items() if (found := [n for n in names if "as_printed" in n])}


def ids_in(text: str) -> list[str]:
    """The formula numbers in the text, in order; F04–F06 and F12_to_F14 are three each."""
    found: list[str] = []
    for first, last in re.findall(r"(?<![A-Za-z0-9])F([0-3]\d)(?:(?:–|-|_to_)F?([0-3]\d))?(?!\d)", text):
        found += [f"F{n:02}" for n in range(int(first), int(last or first) + 1)]
    return list(dict.fromkeys(found))


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """(name, docstring) of every public function, class and method of a file; first the file's title, under the "
    "name ""."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield "", (ast.get_docstring(tree) or "").split("\n")[0]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, ast.get_docstring(node) or ""
            for part in node.body if isinstance(node, ast.ClassDef) else []:
                if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
                    yield f"{node.name}.{part.name}", ast.get_docstring(part) or ""


def named_in(rooms: tuple[str, ...], top: Path) -> dict[str, Ends]:
    """id → what has it in its docstring. Files with the id in their title come first; a title alone counts if "
    "nothing else."""
    titled: dict[str, Ends] = {id: {} for id in FORMULAS}
    others: dict[str, Ends] = {id: {} for id in FORMULAS}
    for path in [path for room in rooms for path in sorted((top / "minilm" / room).glob("*.py"))]:
        file = path.relative_to(top).as_posix()
        for name, text in docstrings(path):
            for id in FORMULAS.keys() & ids_in(text):
                if not name:
                    titled[id][file] = []
                else:
                    (titled if file in titled[id] else others)[id].setdefault(file, []).append(name)
    named = {id: {file: names for file, names in titled[id].items() if names} | others[id] for id in FORMULAS}
    return {id: named[id] or titled[id] for id in FORMULAS}


def exercises_titled(top: Path) -> dict[str, Ends]:
    """id → the exercises with the id in the title of their file."""
    found: dict[str, Ends] = {id: {} for id in FORMULAS}
    for path in sorted((top / "minilm" / "exercises").rglob("*.py")):
        for id in FORMULAS.keys() & ids_in(dict(docstrings(path))[""]):
            found[id][path.relative_to(top).as_posix()] = []
    return found


def sections(top: Path) -> Iterator[tuple[list[str], Section]]:
    """The notebook headings and the numbers in their brackets, as in `## Why √D?  (F18 · D4 §2.1.5)`."""
    for path in sorted((top / "notebooks").glob("[0-9][0-9]_*.py")):
        text = path.read_text(encoding="utf-8")
        title = re.search(r"^# # (.+)$", text, re.MULTILINE)
        for heading, bracket in re.findall(r"^# ###? (.+?)\s+\(([^()]*\bF\d\d\b[^()]*)\)\s*$", text, re.MULTILINE):
            yield ids_in(bracket.split(" · ")[0]), Section(path.stem, title[1] if title else path.stem, heading)


def tests_named(top: Path) -> dict[str, Ends]:
    """id → the tests with the id in their name; those of minilm/formulas/ come first."""
    found: dict[str, Ends] = {id: {} for id in FORMULAS}
    paths = sorted((top / "tests").rglob("test_*.py"), key=lambda path: (path.parent.name != "formulas", path))
    for path in paths:
        for name in re.findall(r"^ *def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            for id in FORMULAS.keys() & ids_in(re.sub("_(?=F)(?<!_to_)", " ", name)):
                found[id].setdefault(path.relative_to(top).as_posix(), []).append(name)
    return found


def scan(top: Path = TOP) -> dict[str, Thread]:
    """Find every formula in the source."""
    numpy, library, exercises = named_in(("formulas",), top), named_in(ROOMS, top), exercises_titled(top)
    for id, places in ALSO.items():
        for file, name in places:
            if (top / file).exists() and name in dict(docstrings(top / file)):
                names = library[id].setdefault(file, [])
                names += [name] if name not in names else []
    tests, books = tests_named(top), list(sections(top))
    return {
        id: Thread([section for ids, section in books if id in ids], numpy[id], library[id], tests[id], exercises[id])
        for id in FORMULAS
    }


def missing(id: str, thread: Thread) -> list[str]:
    """The parts that the formula lacks. A formula that is printed wrongly also needs its wrong form in the code."""
    ends = {
        "a section of a notebook": thread.notebook,
        "a function in minilm/formulas/": thread.numpy,
        "a function or class in the library": thread.library,
        "a test in tests/formulas/": [file for file in thread.tests if file.startswith("tests/formulas/")],
    }
    if FORMULAS[id].printed == "wrong":
        ends["a function …_as_printed"] = thread.as_printed
    return [end for end, found in ends.items() if not found]


def listed(ends: Ends) -> str:
    """Links to files, each with the names in it."""
    return " · ".join(
        f"[{file}](../{file})" + (": " + ", ".join(f"`{name}`" for name in names) if names else "")
        for file, names in ends.items()
    )


def printed(id: str) -> str:
    """The formula as the documents print it, and what they say wrongly in words, with the places."""
    formulas = [f"${latex}$ ({place})" for place, latex in QUOTED.get(id, {}).items()]
    return " · ".join([*formulas, *(f"“{words}” ({place})" for place, words in SAID.get(id, {}).items())])


def block(formula: Formula, thread: Thread) -> list[str]:
    """The block for one formula, from the document to the exercise."""
    books: dict[tuple[str, str], list[str]] = {}
    for file, notebook, heading in thread.notebook:
        books.setdefault((notebook, file), []).append(f"*{heading}*")
    wrong = thread.as_printed if formula.printed == "wrong" else {}
    right = {file: [n for n in names if n not in wrong.get(file, [])] for file, names in thread.numpy.items()}
    rows = {
        "Document": f"{formula.where}; {PRINTED[formula.printed]}" + (f": {formula.note}" if formula.note else ""),
        "Notebook": " · ".join(f"[{name}]({file}.ipynb): {', '.join(found)}" for (name, file), found in books.items()),
        "In NumPy": listed({file: names for file, names in right.items() if names}),
        "As printed": listed(wrong),
        "In the library": listed(thread.library),
        "Tests": listed(dict.fromkeys(thread.tests, [])),
        "Exercise": listed(thread.exercises),
    }
    if not wrong:
        del rows["As printed"]
    if quoted := printed(formula.id):
        rows = {"Document": rows.pop("Document"), "Printed": quoted} | rows
    head = [f"### {formula.id}", "", f"**{formula.title}**", ""]
    return [*head, *(f"* **{name}:** {text or '–'}" for name, text in rows.items()), ""]


def page(top: Path = TOP) -> str:
    """The text of INDEX.md as it should be."""
    lines = [
        "# Each formula, from the document to its test",
        "",
        "Every formula of the five documents has a number. You find this number in the docstring of the "
        "function, in the",
        'heading of the notebook section and in the name of the test. For example, `make test ARGS="-k F18"` runs all',
        "tests of attention. This page is written by `python notebooks/index.py`.",
        "",
        "| | document | author |",
        "|---|---|---|",
        *(f"| {each.name} | {each.title} | {each.author} |" for each in DOCUMENTS.values()),
        "",
        "All five are in Chinese. None says where or when it was published; D1 ends with a remark about how it "
        "was written. Formulas are",
        "quoted here as they are printed, with their mistakes. What is wrong in the documents' *programs* is in",
        "[notebook 15](15_the_documents_programs.ipynb), step by step; `minilm documents` runs all five of them, "
        "put right, and",
        "[prints their tables beside the "
        "documents'](../minilm/experiments/README.md#the-documents-programs-put-right).",
        "",
        "| | formula | document | printed |",
        "|---|---|---|---|",
    ]
    for formula in FORMULAS.values():
        place = (
            f"[{formula.id}](#{formula.id.lower()}) | {formula.title} | {formula.where} | {PRINTED[formula.printed]}"
        )
        lines.append(f"| {place} |")
    lines += ["", *([f"Still to come: {', '.join(LATER)}.", ""] if LATER else [])]
    threads = scan(top)
    for chapter, formulas in CHAPTERS.items():
        lines += [f"## {chapter}", ""]
        for formula in formulas:
            lines += block(formula, threads[formula.id])
    lines += ["## Errors of fact", "", "What belongs to no formula:", "", "| where | the document says | what is so |"]
    lines += ["|---|---|---|", *(f"| {error.where} | {error.said} | {error.so} |" for error in ERRORS)]
    return "\n".join(lines).rstrip("\n") + "\n"


def main(arguments: list[str] | None = None, top: Path = TOP) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    target = top / "notebooks" / "INDEX.md"
    if arguments == ["--check"]:
        if target.exists() and target.read_text(encoding="utf-8") == page(top):
            return 0
        print("notebooks/INDEX.md is out of date: run `python notebooks/index.py`.", file=sys.stderr)
        return 1
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    target.write_text(page(top), encoding="utf-8", newline="\n")
    for id, thread in scan(top).items():
        if lost := missing(id, thread):
            print(f"{id} lacks {', '.join(lost)}.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
