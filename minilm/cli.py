"""The command line: it reads the options of a command into a dataclass, runs the command, and explains what went wrong.

A wrong value becomes one sentence that begins with `minilm:`; options that cannot be read at all are reported by tyro,
the library that turns dataclasses into command lines, in its own form. Both end with exit code 2.
"""

import difflib
import errno
import importlib
import io
import os
import re
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from minilm.errors import InputError


@dataclass(frozen=True)
class Command:
    """One command. Its module is imported only when the command is used, which keeps the others fast."""

    name: str
    module: str
    function: str
    options: str  # the dataclass in `module` that lists the options
    what: str  # one line for `minilm --help`


LIST = [
    Command("quickstart", "minilm.experiments.quickstart", "quickstart", "QuickstartOptions",
            "run everything in about ten minutes: pretrain, fine-tune and compare"),
    Command("pretrain", "minilm.jobs.pretrain", "pretrain", "PretrainOptions",
            "pretrain on any text: on masked words and next sentences, or on the next token"),
    Command("finetune", "minilm.jobs.finetune", "finetune", "FinetuneOptions",
            "train a classifier or a tagger on labelled examples"),
    Command("search", "minilm.jobs.search", "search", "SearchOptions",
            "search the settings of finetune within a budget, on a development part"),
    Command("prompt", "minilm.jobs.prompt", "prompt", "PromptOptions",
            "label texts by a prompt for a masked word, with few labels or none"),
    Command("evaluate", "minilm.jobs.evaluate", "evaluate", "EvaluateOptions",
            "measure a fine-tuned model on labelled examples"),
    Command("predict", "minilm.jobs.predict", "predict", "PredictOptions",
            "label texts with a fine-tuned model"),
    Command("fill-mask", "minilm.jobs.predict", "fill_mask", "FillMaskOptions",
            "predict the words that [MASK] hides"),
    Command("generate", "minilm.jobs.generate", "generate", "GenerateOptions",
            "let a language model continue a text"),
    Command("tagging", "minilm.experiments.tagging", "tagging", "TaggingOptions",
            "find words and parts of speech in a newspaper, with more and more labels"),
    Command("questions", "minilm.experiments.questions", "questions", "QuestionsOptions",
            "find the answers to questions in the articles of a newspaper"),
    Command("dialogue", "minilm.experiments.dialogue", "dialogue", "DialogueOptions",
            "train a model that answers in conversations, and compare it"),
    Command("chat", "minilm.jobs.chat", "chat", "ChatOptions",
            "talk to a model that `minilm dialogue` trained"),
    Command("translation", "minilm.experiments.translation", "translation", "TranslationOptions",
            "train a model that turns one text into another, and compare it"),
    Command("translate", "minilm.jobs.translate", "translate", "TranslateOptions",
            "translate texts with a model of `minilm translation`"),
    Command("attention", "minilm.jobs.predict", "attention", "AttentionOptions",
            "draw which tokens attend to which"),
    Command("explore", "minilm.explorer.explore", "explore", "ExploreOptions",
            "write one page that shows a model at work on a text of yours"),
    Command("serve", "minilm.explorer.serve", "serve", "ServeOptions",
            "serve that page with a live model, and its answers as JSON"),
    Command("similar", "minilm.jobs.similar", "similar", "SimilarOptions",
            "find the lines of a file that are closest in meaning to a sentence"),
    Command("service", "minilm.experiments.applications.service", "service", "ServiceOptions",
            "answer customers with written answers, or say nothing, and measure it"),
    Command("monitor", "minilm.experiments.applications.monitor", "monitor", "MonitorOptions",
            "watch the topics and the mood of a stream of texts, and give the alarm"),
    Command("recommend", "minilm.experiments.applications.recommend", "recommend", "RecommendOptions",
            "recommend films by their texts and past likes, and compare"),
    Command("pixels", "minilm.experiments.pixels", "pixels", "PixelsOptions",
            "draw and recognise digits, pixel by pixel, and compare with histograms"),
    Command("captions", "minilm.experiments.captions", "captions", "CaptionsOptions",
            "match pictures and captions, and name digits by sentences"),
    Command("emergence", "minilm.experiments.emergence.lab", "emergence", "EmergenceOptions",
            "watch an ability appear in small models, with predictions and controls"),
    Command("documents", "minilm.experiments.documents.run", "documents", "DocumentsOptions",
            "run the programs of the five documents, put right, beside their tables"),
    Command("explain", "minilm.jobs.explain", "explain_text", "ExplainOptions",
            "show which words decided, by four methods, and test them by deletion"),
    Command("trust", "minilm.experiments.trust", "trust", "TrustOptions",
            "measure explanations, bias and robustness of fine-tuned models"),
    Command("eight-bit", "minilm.jobs.eight_bit", "eight_bit", "EightBitOptions",
            "write a model with its linear layers in 8 bits"),
    Command("data", "minilm.jobs.data", "data", "DataOptions",
            "list the corpora and the published models, and how to install missing ones"),
    Command("notebooks", "minilm.jobs.notebooks", "notebooks", "NotebooksOptions",
            "copy the notebooks into a folder of your own and open them"),
    Command("schematics", "minilm.jobs.schematics", "schematics", "SchematicsOptions",
            "write the schematics of the notebooks as SVG and PNG"),
    Command("exercise", "minilm.exercises.command", "exercise", "ExerciseOptions",
            "write parts of the library yourself and learn which mistake you made"),
    Command("bench", "minilm.bench.run", "bench", "BenchOptions",
            "measure the numbers in the README again"),
]  # fmt: skip
COMMANDS = {command.name: command for command in LIST}

TRAINS = ("quickstart", "pretrain")  # the commands that accept --mine
DISK_IS_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}  # Windows has no EDQUOT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: done · 1: a check failed · 2: the user has to correct something · 130: stopped with Ctrl-C.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    replace_closed_streams()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        from minilm import __version__

        print(f"minilm {__version__}")
        return 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # print "?" where the terminal lacks a character
    try:
        code = run(arguments[0], arguments[1:])
        sys.stdout.flush()
        return code
    except InputError as error:
        return complain(str(error))
    except BrokenPipeError:  # minilm predict … | head: the reader has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return complain(explain(error))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or re.search("allocate memory|out of memory", str(error)):
            return complain("there is not enough memory: make the model (--width, --layers) or the --batch smaller.")
        raise
    except KeyboardInterrupt:
        print("minilm: stopped.", file=sys.stderr)
        return 130


def replace_closed_streams() -> None:
    """After `minilm data >&-` Python has None for the stream: put the null device there, so that printing works."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open while the process lives


def run(name: str, arguments: list[str]) -> int:
    """Import the command's module, read its options and call it. Raises InputError for an unknown command."""
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"there is no command '{name}'{hint} (the commands are {', '.join(COMMANDS)}).")
    command = COMMANDS[name]
    module = importlib.import_module(command.module)
    folder, arguments = split_mine_option(name, arguments)
    try:
        options = parse(name, getattr(module, command.options), arguments)
    except SystemExit as end:
        if end.code:
            return 2
        if name in TRAINS:
            print("To train with the pieces that you wrote in `minilm exercise`, add --mine or --mine FOLDER.")
        return 0
    with learner_pieces(folder):
        result = getattr(module, command.function)(options)
    return result if type(result) is int else 0  # `minilm exercise check` returns 1 when a check failed


def split_mine_option(name: str, arguments: list[str]) -> tuple[Path | None, list[str]]:
    """The folder of `--mine`, `--mine FOLDER` or `--mine=FOLDER` (None without it), and the other arguments.

    It is handled here and not in the options of a job, because jobs do not know about exercises.
    """
    folder: Path | None = None
    others: list[str] = []
    before = ""
    for argument in arguments:
        option, _, value = argument.partition("=")
        if option == "--mine" and name in TRAINS:
            folder = Path(value or "minilm-exercises")
        elif before == "--mine" and name in TRAINS and not argument.startswith("-"):
            folder = Path(argument)
        else:
            others.append(argument)
        before = argument
    return folder, others


def learner_pieces(folder: Path | None) -> AbstractContextManager:
    """A context in which the learner's pieces replace the library's; without a folder it changes nothing."""
    if folder is None:
        return nullcontext()
    from minilm.exercises.mine import mine

    return mine(folder)


def parse(name: str, options_class: type, arguments: list[str]) -> Any:
    """Read the arguments into an instance of `options_class`.

    Raises InputError for a value that the dataclass refuses, and SystemExit after tyro has printed either the help
    (code 0) or its own error (code 2).
    """
    printed = io.StringIO()
    try:
        with redirect_stderr(printed):
            return tyro.cli(options_class, prog=f"minilm {name}", args=separate_labels(arguments))
    except SystemExit as end:
        cause = end.__context__  # tyro exits while it handles the error that the dataclass raised
        while cause is not None:
            if isinstance(cause, InputError):
                raise cause from None
            cause = cause.__context__
        sys.stderr.write(printed.getvalue())
        raise


def separate_labels(arguments: list[str]) -> list[str]:
    """Turn `--labels 100,500` into `--labels 100 500`, the form in which tyro reads a list."""
    out: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name == "--labels" and equals:
            out += [name, *value.split(",")]
        elif out and out[-1] == "--labels":
            out += argument.split(",")
        else:
            out.append(argument)
    return out


def usage() -> str:
    """What `minilm --help` prints."""
    rows = "\n".join(f"  {command.name:12} {command.what}" for command in LIST)
    return (
        f"usage: minilm COMMAND [options]\n\n{rows}\n\n"
        "Start with `minilm quickstart`. `minilm COMMAND --help` lists the options of a command."
    )


def explain(error: OSError) -> str:
    """Turn an error of the operating system into a sentence that says what to do."""
    where = f" ({error.filename})" if error.filename else ""
    # NumPy reports how much it wrote and gives no error number.
    if error.errno in DISK_IS_FULL or (error.errno is None and "written" in str(error)):
        return f"the disk is full{where}: free some space, then run the same command again; what was already saved is intact."
    if error.errno == errno.EFBIG:
        return f"a file would become larger than the disk or `ulimit -f` allows{where}: choose another --out, or raise the limit."
    if isinstance(error, FileNotFoundError) and not current_folder_exists():
        return (
            "the folder that you are in no longer exists: change to another one (cd), then run the same command again."
        )
    if isinstance(error, IsADirectoryError):
        return f"there is a folder where a file is needed{where}: name a file, or move the folder away."
    if isinstance(error, PermissionError):
        return f"permission denied{where}: choose another --out or --folder, or change the permissions of the folder."
    if isinstance(error, NotADirectoryError | FileExistsError):
        return f"there is a file where a folder is needed{where}: choose another --out, --folder or --cache."
    return f"{error.strerror or error}{where}."


def current_folder_exists() -> bool:
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False


def complain(sentence: str) -> int:
    """Print the sentence on one line of standard error and return exit code 2."""
    print("minilm:", " ".join(sentence.splitlines()), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
