"""Campaigns against a run: it is killed, its folder is damaged, and ten start at once. Nothing may be lost or used damaged.

All of them train the same small model on the same generated text. What they must end in is the folder of a run that nothing
happened to: its weights, its state and its metrics, bit for bit.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from minilm.bench.options import BenchOptions
from minilm.errors import InputError
from minilm.files.tensors import read_safetensors
from minilm.pretrained.protocol import open_pretraining
from minilm.text.grammar import english_number
from minilm.training.state import load_state, read_metrics

SIZES = {"width": 12, "heads": 3, "layers": 1, "vocab-size": 200, "length": 24, "batch": 4, "held-out": 4}
STEPS, EVALUATIONS = 120, 60  # every second step, so that most kills meet a write or the moment beside one
MODEL = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
RUN = ("metrics.jsonl", "training_state/latest.json")
STATE = ("state.safetensors", "facts.json")
SEALED = "checksums.json"
LONGEST = 120.0  # seconds that a run of this size may take before it counts as hanging


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """The three campaigns. A run that cannot be resumed, or ends in something else, is counted and described."""
    here = options.out / "faults"
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(parents=True)
    write_text_of_numbers(here / "numbers.txt", options.seed)
    straight = here / "straight"
    began = time.perf_counter()
    run_to_the_end(here, straight)
    seconds = time.perf_counter() - began
    say(f"a run of {STEPS} steps that nothing happens to: {seconds:.1f} s")
    rng = np.random.default_rng(options.seed)
    results: dict[str, Any] = {}
    if options.kills:
        results["kills"] = killed(here, straight, options.kills, rng, options.progress)
        say(
            in_words(
                results["kills"],
                "kill -9: {kills} at random moments ({while_saving} while a file was being written), {runs} runs",
            )
        )
    if options.corruptions:
        results["corruptions"] = damaged(here, straight, options.corruptions, rng, options.progress)
        say(in_words(results["corruptions"], "damage: {done} changes, {noticed} noticed and the file named"))
    if options.together:
        results["together"] = at_once(here, straight, options.together)
        say(in_words(results["together"], "at once: {runs} trainings on one corpus, which {prepared} of them prepared"))
    return {"steps": STEPS, "seconds_of_a_run": round(seconds, 1)} | results


def in_words(found: dict, sentence: str) -> str:
    """The counts, and every finding on a line of its own."""
    ends = f": {len(found['findings'])} findings" if found["findings"] else ": nothing found"
    return "\n  ".join([sentence.format(**found) + ends, *found["findings"]])


def write_text_of_numbers(path: Path, seed: int) -> None:
    """Forty documents of eight sentences, which are numbers in words."""
    rng = np.random.default_rng((seed, 1))
    documents = [[english_number(int(n)) for n in rng.integers(10**9, size=8)] for _ in range(40)]
    path.write_text("\n\n".join("\n".join(document) for document in documents) + "\n", encoding="utf-8")


def begun(here: Path, out: Path, resume: bool = False, cache: str = "cache") -> subprocess.Popen:
    """Start the command as a user would, in a process of its own."""
    sizes = [part for name, value in SIZES.items() for part in (f"--{name}", str(value))]
    length = ["--steps", str(STEPS), "--evaluations", str(EVALUATIONS), "--dropout", "0.1", "--no-progress"]
    places = ["--corpus", str(here / "numbers.txt"), "--out", str(out), "--cache", str(here / cache)]
    command = [sys.executable, "-m", "minilm", "pretrain", *places, *sizes, *length, *["--resume"] * resume]
    surroundings = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    pipes: Any = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=surroundings)
    return subprocess.Popen(command, **pipes)


def run_to_the_end(here: Path, out: Path) -> None:
    process = begun(here, out)
    _, errors = process.communicate()
    if process.returncode:
        raise InputError(f"the run that nothing happens to failed: {errors.strip()}")


def differences(out: Path, straight: Path) -> list[str]:
    """In what a run differs from the one that nothing happened to."""
    try:
        (ours, _), (theirs, _) = load_state(out) or ({}, {}), load_state(straight) or ({}, {})
        ours_too, theirs_too = (read_safetensors(folder / "model.safetensors") for folder in (out, straight))
        open_pretraining(out)
    except (InputError, OSError) as error:
        return [f"{out.name}: {error}"]
    found = [f"{out.name}: the weights differ"] * (not same(ours_too, theirs_too))
    ours, theirs = (dict(state) for state in (ours, theirs))
    for state in (ours, theirs):
        state["progress"] = state["progress"][:2]  # without the seconds
    found += [f"{out.name}: the states differ"] * (not same(ours, theirs))
    a, b = ([line | {"seconds": 0} for line in read_metrics(folder)] for folder in (out, straight))
    return found + [f"{out.name}: the metrics differ"] * (a != b)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether both hold the same names, and the same bits under each."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def killed(here: Path, straight: Path, kills: int, rng: np.random.Generator, bar: bool) -> dict:
    """Kill -9 at random moments between the first state and the end, until there were so many; each run goes on to its end."""
    done, runs, while_saving, findings = 0, 0, 0, []
    with tqdm(total=kills, desc="kills", disable=None if bar else True, leave=False) as shown:
        while done < kills:
            runs += 1
            out = here / "killed" / f"run-{runs}"
            while True:
                resume = (out / "training_state" / "latest.json").exists()
                process = begun(here, out, resume)
                if done < kills and killed_at_random(process, out, rng):
                    done += 1
                    while_saving += bool(list(out.rglob("*.growing")))
                    shown.update()
                    continue
                _, errors = process.communicate()
                if process.returncode:
                    findings.append(f"run {runs} could not go on: {errors.strip()[:300]}")
                break
            findings += differences(out, straight)
            if not findings:
                shutil.rmtree(out)
    return {"kills": done, "runs": runs, "while_saving": while_saving, "findings": findings}


def killed_at_random(process: subprocess.Popen, out: Path, rng: np.random.Generator) -> bool:
    """Kill a run at a random moment after it has begun to write; False if it had ended before."""
    metrics = out / "metrics.jsonl"
    before = metrics.stat().st_size if metrics.exists() else 0
    deadline = time.monotonic() + LONGEST
    while process.poll() is None and time.monotonic() < deadline:
        if metrics.exists() and metrics.stat().st_size > before:
            break
        time.sleep(0.002)
    time.sleep(float(rng.exponential(0.15)))
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return True


def files_of_a_run(run: Path) -> list[str]:
    """Everything that a number is computed from, relative to the run."""
    states = sorted(path.name for path in (run / "training_state").glob("step-*"))
    in_states = [f"training_state/{states[-1]}/{name}" for name in (*STATE, SEALED)]
    return [*MODEL, SEALED, *RUN, *in_states]


def damaged(here: Path, straight: Path, corruptions: int, rng: np.random.Generator, bar: bool) -> dict:
    """Change one file of a copy in one of four ways, and open what it belongs to: an error must name the file."""
    names, findings, noticed, kinds = files_of_a_run(straight), [], 0, Counter[str]()
    copy = here / "damaged"
    shutil.copytree(straight, copy)
    for _ in tqdm(range(corruptions), desc="damage", disable=None if bar else True, leave=False):
        name = names[rng.integers(len(names))]
        kind = ("a bit", "the end", "the file", "another file")[rng.integers(4)]
        if (kind, name) == ("the file", SEALED):
            kind = "a bit"  # a folder without checksums is opened as one of another program, and is whole
        original = (copy / name).read_bytes()
        change(copy, name, kind, names, rng)
        kinds[kind] += 1
        try:
            (load_state if name not in (*MODEL, SEALED) else open_pretraining)(copy)
            if json_alike(original, copy / name):
                noticed += 1  # white space that stands for other white space: the same settings
            else:
                findings.append(f"{kind} of {name} was not noticed")
        except InputError as error:
            if name.rpartition("/")[2] in str(error):
                noticed += 1
            else:
                findings.append(f"{kind} of {name}: the error names another file: {error}")
        except Exception as error:  # the campaign is there to find these
            findings.append(f"{kind} of {name}: {type(error).__name__}: {error}")
        (copy / name).write_bytes(original)
    return {"done": corruptions, "noticed": noticed, "kinds": dict(kinds), "findings": findings}


def json_alike(original: bytes, path: Path) -> bool:
    """Whether a changed file holds the same settings as the original."""
    try:
        return json.loads(original) == json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False


def change(copy: Path, name: str, kind: str, names: list[str], rng: np.random.Generator) -> None:
    """Flip a bit, cut off the end, take the file away, or put another one in its place."""
    path = copy / name
    content = bytearray(path.read_bytes())
    if kind == "a bit":
        place = int(rng.integers(8 * len(content)))
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
    elif kind == "the end":
        path.write_bytes(content[: rng.integers(len(content))])
    elif kind == "the file":
        path.unlink()
    else:
        others = [other for other in names if other != name]
        path.write_bytes((copy / others[rng.integers(len(others))]).read_bytes())


def at_once(here: Path, straight: Path, together: int) -> dict:
    """Start so many trainings on a corpus that nobody has prepared yet."""
    outs = [here / "together" / f"run-{number}" for number in range(together)]
    processes = [begun(here, out, cache="shared-cache") for out in outs]
    prepared, findings = 0, []
    for out, process in zip(outs, processes, strict=True):
        said, errors = process.communicate()
        prepared += "reading " in said
        if process.returncode:
            findings.append(f"{out.name}: {errors.strip()[:300]}")
        else:
            findings += differences(out, straight)
    if prepared != 1:
        findings.append(f"{prepared} of them prepared the corpus")
    return {"runs": together, "prepared": prepared, "findings": findings}
