"""From each NN_name.py the executed NN_name.ipynb beside it.  `make notebooks` is this program, then index.py.

    python notebooks/build.py                        all of them
    python notebooks/build.py 04_attention           only some
    python notebooks/build.py --fast                 small sizes (MINILM_FAST=1); looks for mistakes, writes nothing
    python notebooks/build.py --check                runs nothing: are the cells those of the source?

The same source and the same outputs give the same bytes: the name of a cell is made from its text, and what tells of
this machine or this hour (versions, times) is left out. What does not pass is said in a sentence, and not written.
"""

import argparse
import base64
import hashlib
import io
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from matplotlib import font_manager  # noqa: F401  its first import on a machine warns that it takes long: here, not in a cell
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from PIL import Image

HERE = Path(__file__).resolve().parent
LARGEST = 400 * 1024  # bytes
LONGEST = 600  # seconds for one cell: it hangs
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
# What must not stand in an output, because the next machine, or the next run, would print something else.
FOREIGN = {
    "a path of a machine": r"(?<![\w.:/])(/(home|Users|root|tmp|var|opt|usr|mnt|private)/\w|[A-Z]:\\\w)\S*|site-packages",
    "the address of an object": r"\b0x[0-9a-f]{8,}",
    "a date and time": r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d",
}


class Fault(Exception):
    """One sentence: which notebook, which cell, what is wrong."""


class ThisPython(KernelSpecManager):
    """The kernel is the Python that runs this program, whatever is registered on the machine under its name."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(**get_kernel_dict())


def sources(folder: Path = HERE, names: list[str] | None = None) -> list[Path]:
    """NN_name.py in `folder`, in reading order; only those that are named, with or without what follows the dot."""
    found = sorted(folder.glob("[0-9][0-9]_*.py"))
    for name in names or []:
        if Path(name).stem not in [path.stem for path in found]:
            known = ", ".join(path.stem for path in found) or "none yet"
            raise Fault(f"there is no notebook '{name}' (there are: {known}).")
    wanted = {Path(name).stem for name in names or []}
    return [path for path in found if not wanted or path.stem in wanted]


def read(source: Path) -> NotebookNode:
    """The notebook of a percent-format file: its cells, each with a name made from its text; no outputs yet."""
    cells = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent").cells
    seen: dict[str, int] = {}
    for cell in cells:
        name = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[name] = seen.get(name, 0) + 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"
        cell.metadata = NotebookNode({k: v for k, v in cell.metadata.items() if k == "tags"})
    return nbformat.v4.new_notebook(cells=cells)


def place(source: Path, number: int, line: int = 1) -> str:
    """`04_attention.py, line 31 (cell 7)`: where the cell with this number, from 0, is written."""
    lines = source.read_text(encoding="utf-8").splitlines()
    starts = [i for i, text in enumerate(lines, 1) if text.startswith("# %%")]
    return f"{source.name}, line {starts[number] + line} (cell {number + 1})"


def execute(source: Path, fast: bool = False) -> NotebookNode:
    """Run all cells from the first to the last in a new kernel, in an empty folder, with two threads.

    Raises `Fault` for a cell that fails, or that writes a warning.
    """
    notebook = read(source)
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as empty:
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "2", "IPYTHONDIR": empty}
        environment["MINILM_FAST"] = "1" if fast else "0"
        client = NotebookClient(
            notebook,
            km=AsyncKernelManager(kernel_spec_manager=ThisPython()),
            timeout=LONGEST,
            record_timing=False,
            extra_arguments=["--Application.log_level=ERROR"],  # of the kernel itself, not of the cells
            resources={"metadata": {"path": empty}},
        )
        try:
            client.execute(env=environment)
        except CellExecutionError as error:
            number = next(i for i, cell in enumerate(notebook.cells) if failure(cell))
            trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(failure(notebook.cells[number]).traceback))
            line = int((re.findall(r"Cell In\[\d+\], line (\d+)", trace) or [1])[0])
            why = " ".join(error.evalue.split())[:500] or notebook.cells[number].source.splitlines()[line - 1].strip()
            raise Fault(f"{place(source, number, line)}: {error.ename}: {why}") from None
        except (CellTimeoutError, DeadKernelError) as error:
            raise Fault(f"{source.name}: {' '.join(str(error).split())}") from None
    return cleaned(notebook, source)


def failure(cell: NotebookNode) -> NotebookNode | None:
    return next((output for output in cell.get("outputs", []) if output.output_type == "error"), None)


def cleaned(notebook: NotebookNode, source: Path) -> NotebookNode:
    """Pieces of one stream put together (where they are cut depends on the hour), nothing foreign left."""
    for number, cell in enumerate(notebook.cells):
        outputs: list[NotebookNode] = []
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                raise Fault(f"{place(source, number)}: it warns: {' '.join(output.text.split())[:300]}")
            if output.output_type == "stream" and outputs and outputs[-1].output_type == "stream":
                outputs[-1].text += output.text
            else:
                outputs.append(output)
        for output in outputs:
            if picture := output.get("data", {}).get("image/png"):
                output.data["image/png"] = in_256_colours(picture)
        for what, found in foreign(outputs):
            raise Fault(f"{place(source, number)}: its output holds {what}, {found!r}.")
        if cell.cell_type == "code":
            cell.outputs = outputs
    notebook.metadata = NotebookNode(kernelspec=KERNEL, language_info={"name": "python"})
    return notebook


def in_256_colours(picture: str) -> str:
    """The same PNG (both in base64) at a third of its size: a plot has few colours, and to the eye they stay the same."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    file = io.BytesIO()
    image.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def foreign(outputs: list[NotebookNode]) -> list[tuple[str, str]]:
    """What in the outputs of a cell belongs to one machine or one run: (what it is, what stands there)."""
    texts = []
    for output in outputs:
        data = output.get("data", {})
        texts += [output.get("text", ""), *(str(data[mime]) for mime in data if mime != "image/png")]
    return [(what, m[0]) for what, pattern in FOREIGN.items() for text in texts if (m := re.search(pattern, text))]


def written(notebook: NotebookNode, target: Path) -> int:
    """Write the notebook, whole or not at all; its size in bytes. Raises `Fault` if it is too large."""
    content = (nbformat.writes(notebook, version=4).rstrip("\n") + "\n").encode()
    if len(content) > LARGEST:
        raise Fault(
            f"{target.name} would have {len(content) // 1024} KB, and {LARGEST // 1024} is the most: draw fewer or "
            "smaller pictures, print less."
        )
    growing = target.with_name(target.name + ".growing")
    growing.write_bytes(content)
    os.replace(growing, target)
    return len(content)


def check(source: Path) -> None:
    """The cells of the .ipynb are those of its source. Raises `Fault`, which names the first cell that is not."""
    target = source.with_suffix(".ipynb")
    if not target.exists():
        raise Fault(f"{target.name} is not there: run `make notebooks`.")
    wanted = read(source).cells
    found = nbformat.read(target, as_version=4).cells
    for number, cell in enumerate(wanted):
        if number >= len(found) or any(cell[key] != found[number].get(key) for key in ("cell_type", "source", "id")):
            raise Fault(f"{target.name} is older than {place(source, number)}: run `make notebooks`.")
    if len(found) > len(wanted):
        raise Fault(
            f"{target.name} has a cell {len(wanted) + 1} that {source.name} does not have: run `make notebooks`."
        )


def main(arguments: list[str] | None = None, folder: Path = HERE) -> int:
    parser = argparse.ArgumentParser(prog="notebooks/build.py", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NN_name", help="which notebooks; none: all")
    parser.add_argument("--fast", action="store_true", help="small sizes; look for mistakes and write nothing")
    parser.add_argument("--check", action="store_true", help="run nothing: are the cells those of the source?")
    options = parser.parse_args(arguments)
    try:
        chosen = sources(folder, options.names)
    except Fault as fault:
        print(fault, file=sys.stderr)
        return 2
    start, faults = time.monotonic(), 0
    for source in chosen:
        before = time.monotonic()
        try:
            if options.check:
                check(source)
                continue
            notebook = execute(source, options.fast)
            size = "" if options.fast else f"{written(notebook, source.with_suffix('.ipynb')) / 1024:5.0f} KB"
            print(f"{source.stem:32} {time.monotonic() - before:6.1f} s  {size}".rstrip(), flush=True)
        except Fault as fault:
            faults += 1
            print(fault, file=sys.stderr, flush=True)
    if not options.check:
        print(f"{f'{len(chosen)} notebooks':32} {time.monotonic() - start:6.1f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
