"""The command line: each job with its dataclass of options, and one sentence when something is wrong.

minilm quickstart · pretrain · finetune · evaluate · predict · fill-mask · attention · data · bench
"""

import errno
import importlib
import sys
from collections.abc import Sequence

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
    "data": ("minilm.jobs.data", "data", "DataOptions"),
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
    "data": "which corpora there are",
    "bench": "measure again what the README claims",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0: done · 2: something the user gave is wrong, said in one sentence · 130: Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        from minilm import __version__

        print(f"minilm {__version__}")
        return 0
    try:
        return run(arguments[0], arguments[1:])
    except InputError as error:
        return complain(str(error))
    except OSError as error:
        return complain(explain(error))
    except KeyboardInterrupt:
        print("minilm: stopped.", file=sys.stderr)
        return 130


def run(command: str, arguments: list[str]) -> int:
    if command not in COMMANDS:
        raise InputError(f"there is no command '{command}': the commands are {', '.join(COMMANDS)}.")
    module_name, function, options_class = COMMANDS[command]
    module = importlib.import_module(module_name)
    options = tyro.cli(getattr(module, options_class), prog=f"minilm {command}", args=arguments)
    getattr(module, function)(options)
    return 0


def usage() -> str:
    rows = "\n".join(f"  {command:12} {WHAT[command]}" for command in COMMANDS)
    return f"usage: minilm COMMAND [--help] [options]\n\n{rows}\n\nBegin with:  minilm quickstart"


def explain(error: OSError) -> str:
    """The operating system's complaint as a sentence that says what to do."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}: free some space, then run the same command again; what was saved is whole."
    if isinstance(error, PermissionError):
        return f"no permission{where}: choose another --out, or change the folder's rights."
    return f"{error.strerror or error}{where}."


def complain(sentence: str) -> int:
    print(f"minilm: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
