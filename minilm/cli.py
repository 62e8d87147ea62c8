"""The command line: each job with its dataclass of options, and one sentence when something is wrong.

minilm quickstart · pretrain · finetune · evaluate · predict · fill-mask · attention · similar · data · notebooks · exercise · bench
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
from pathlib import Path

import tyro

from minilm.errors import InputError

# command → (module, function, class of its options); imported when asked for, so that `minilm data` need not load torch
COMMANDS = {
    "quickstart": ("minilm.jobs.quickstart", "quickstart", "QuickstartOptions"),
    "pretrain": ("minilm.jobs.pretrain", "pretrain", "PretrainOptions"),
    "finetune": ("minilm.jobs.finetune", "finetune", "FinetuneOptions"),
    "evaluate": ("minilm.jobs.finetune", "evaluate", "EvaluateOptions"),
    "predict": ("minilm.jobs.predict", "predict", "PredictOptions"),
    "fill-mask": ("minilm.jobs.predict", "fill_mask", "FillMaskOptions"),
    "attention": ("minilm.jobs.predict", "attention", "AttentionOptions"),
    "similar": ("minilm.jobs.similar", "similar", "SimilarOptions"),
    "data": ("minilm.jobs.data", "data", "DataOptions"),
    "notebooks": ("minilm.jobs.notebooks", "notebooks", "NotebooksOptions"),
    "exercise": ("minilm.exercises.command", "exercise", "ExerciseOptions"),
    "bench": ("minilm.bench.run", "bench", "BenchOptions"),
}
WHAT = {
    "quickstart": "the whole story in about ten minutes: pretrain, fine-tune, compare",
    "pretrain": "masked words and next sentence, on any text",
    "finetune": "fit a model to labels",
    "evaluate": "measure a fine-tuned model",
    "predict": "label texts",
    "fill-mask": "guess the words that are written [MASK]",
    "attention": "draw who looks at whom",
    "similar": "find the lines that are nearest in meaning",
    "data": "which corpora and published models there are",
    "notebooks": "copy the notebooks into a folder of your own and open them",
    "exercise": "write pieces of the library yourself and be told which mistake you made",
    "bench": "measure again what the README claims",
}

TRAINS = ("quickstart", "pretrain")  # … with the learner's own pieces, too: --mine
FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}  # Windows knows no quota


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0: done · 1: a check failed · 2: something the user gave is wrong, said in one sentence · 130: Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    open_what_is_closed()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        from minilm import __version__

        print(f"minilm {__version__}")
        return 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character is no reason to stop
    try:
        code = run(arguments[0], arguments[1:])
        sys.stdout.flush()
        return code
    except InputError as error:
        return complain(str(error))
    except BrokenPipeError:  # minilm predict … | head: nobody reads on
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


def open_what_is_closed() -> None:
    """`minilm data >&-`: Python then has None for the stream, which nobody expects who writes to it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process lives


def run(command: str, arguments: list[str]) -> int:
    if command not in COMMANDS:
        raise InputError(f"there is no command '{command}': the commands are {', '.join(COMMANDS)}.")
    module_name, function, options_class = COMMANDS[command]
    module = importlib.import_module(module_name)
    folder, arguments = written_by_the_learner(command, arguments)
    options = parse(command, getattr(module, options_class), arguments)
    if options is not None:
        with theirs(folder):
            result = getattr(module, function)(options)
        return result if type(result) is int else 0  # `minilm exercise check`: 1 when a check failed
    if command in TRAINS:
        print("With the pieces that you have written (`minilm exercise`):  --mine, or --mine FOLDER")
    return 0


def written_by_the_learner(command: str, arguments: list[str]) -> tuple[Path | None, list[str]]:
    """The folder of `--mine`, `--mine FOLDER` or `--mine=FOLDER`, None without, and the other arguments.

    It is no option of a job: jobs know nothing of exercises.
    """
    folder, others = None, []
    before = ""
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name == "--mine" and command in TRAINS:
            folder = Path(value or "minilm-exercises")
        elif before == "--mine" and command in TRAINS and not argument.startswith("-"):
            folder = Path(argument)
        else:
            others.append(argument)
        before = argument
    return folder, others


def theirs(folder: Path | None) -> AbstractContextManager:
    """The learner's pieces in the place of the library's, or nothing special."""
    if folder is None:
        return nullcontext()
    from minilm.exercises.mine import mine

    return mine(folder)


def parse(command: str, options_class: type, arguments: list[str]):
    """The options as `options_class`, or None when help was asked for, and printed.

    tyro draws a box round what it has to complain of; here it becomes one sentence like every other.
    """
    box = io.StringIO()
    try:
        with redirect_stderr(box):
            return tyro.cli(options_class, prog=f"minilm {command}", args=spread(arguments))
    except SystemExit as end:
        if not end.code:
            return None
        cause: BaseException | None = end
        while cause := cause.__context__:  # what the dataclass itself found wrong
            if isinstance(cause, InputError):
                raise cause from None
    raise InputError(f"{sentence_in(box.getvalue())} (see: minilm {command} --help).")


def spread(arguments: list[str]) -> list[str]:
    """`--labels 100,500` as `--labels 100 500`, which is how tyro reads a list."""
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


def sentence_in(box: str) -> str:
    """What is written in one of tyro's boxes, without its frame, its title and its examples."""
    box = re.sub(r"\x1b\[[0-9;]*m", "", box)  # colours
    lines = [re.sub("[\u2500-\u257f]|-{4,}", " ", line) for line in box.splitlines()]
    text = " ".join(" ".join(lines[1:]).split())
    if "Missing from" in text:
        needed, _, typed = "\n".join(lines).partition("Unrecognized options:")
        names = re.findall(r"^ {6}(--[\w.-]+|[A-Z]\S*)", needed, re.MULTILINE)
        typed = " ".join(typed.split("For full helptext")[0].split())
        known = f" ({typed} is no option)" if typed else ""
        return f"something is missing: {', '.join(names).replace('STR', 'a text')}{known}"
    text = text.split("For full helptext")[0]
    near = nearest(*text.partition("Perhaps you meant")[::2])
    text = re.split(r"Got errors:|Argument helptext:|Similar|Arguments similar|Perhaps you meant", text)[0]
    text = text.strip().rstrip(".") or "the options cannot be read"
    return text[0].lower() + text[1:] + near


def nearest(typed: str, offered: str) -> str:
    """Of the options that tyro offers for the one that was typed, the one most like it, as a question; or nothing."""
    name = r"--[\w.-]+"
    wrong = re.findall(name, typed)
    found = difflib.get_close_matches(wrong[0], re.findall(name, offered), 1) if len(wrong) == 1 else []
    return f"; did you mean {found[0]}?" if found else ""


def usage() -> str:
    rows = "\n".join(f"  {command:12} {WHAT[command]}" for command in COMMANDS)
    return f"usage: minilm COMMAND [--help] [options]\n\n{rows}\n\nBegin with:  minilm quickstart"


def explain(error: OSError) -> str:
    """The operating system's complaint as a sentence that says what to do."""
    where = f" ({error.filename})" if error.filename else ""
    # NumPy says how much it wrote, and leaves the number of the error out
    if error.errno in FULL or (error.errno is None and "written" in str(error)):
        return f"the disk is full{where}: free some space, then run the same command again; what was saved is whole."
    if error.errno == errno.EFBIG:
        return (
            f"a file grew larger than the disk or `ulimit -f` allows{where}: choose another --out, or lift the limit."
        )
    if isinstance(error, FileNotFoundError) and not current_folder_exists():
        return "the folder that you are in is gone: go to another one (cd), then run the same command again."
    if isinstance(error, IsADirectoryError):
        return f"a folder stands where a file is needed{where}: name a file, or move the folder away."
    if isinstance(error, PermissionError):
        return f"no permission{where}: choose another --out or --folder, or change the folder's rights."
    if isinstance(error, NotADirectoryError | FileExistsError):
        return f"a file stands where a folder is needed{where}: choose another --out, --folder or --cache."
    return f"{error.strerror or error}{where}."


def current_folder_exists() -> bool:
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False


def complain(sentence: str) -> int:
    print("minilm:", " ".join(sentence.splitlines()), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
