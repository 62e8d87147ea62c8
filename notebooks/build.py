"""Execute each NN_name.py and write NN_name.ipynb beside it.  `make notebooks` runs this program, then index.py.

    python notebooks/build.py                        builds all notebooks
    python notebooks/build.py 04_attention           builds only those named
    python notebooks/build.py --fast                 uses small sizes (MINILM_FAST=1) to find mistakes; writes nothing
    python notebooks/build.py --check                runs nothing; checks that each notebook has the cells of its source

The same source and the same outputs give the same bytes: the id of a cell is made from its text, and whatever depends
on this machine or this moment (versions, times) is left out. A notebook with a fault is reported and not written.
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
from matplotlib import font_manager  # noqa: F401  its first import on a machine warns that it is slow: here, not in a cell
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from PIL import Image

HERE = Path(__file__).resolve().parent
LARGEST = 600 * 1024  # bytes
LONGEST = 600  # seconds; a cell that runs longer hangs
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
# What an output must not contain, because the next machine or the next run would print something else.
FOREIGN = {
    "a path of a machine": r"(?<![\w.:/])(/(home|Users|root|tmp|var|opt|usr|mnt|private)/\w|[A-Z]:\\\w)\S*|site-packages",
    "the address of an object": r"\b0x[0-9a-f]{8,}",
    "a date and time": r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d",
}


class Fault(Exception):
    """One sentence: which notebook, which cell, what is wrong."""


class ThisPython(KernelSpecManager):
    """Use the Python that runs this program as the kernel, whatever kernel the machine has registered."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(**get_kernel_dict())


def sources(folder: Path = HERE, names: list[str] | None = None) -> list[Path]:
    """The files NN_name.py in `folder`, in reading order; only those in `names`, with or without their suffix."""
    found = sorted(folder.glob("[0-9][0-9]_*.py"))
    for name in names or []:
        if Path(name).stem not in [path.stem for path in found]:
            known = ", ".join(path.stem for path in found) or "none yet"
            raise Fault(f"there is no notebook '{name}' (known notebooks: {known}).")
    wanted = {Path(name).stem for name in names or []}
    return [path for path in found if not wanted or path.stem in wanted]


def read(source: Path) -> NotebookNode:
    """Read a percent-format file as a notebook without outputs; the id of each cell is made from its text."""
    cells = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent").cells
    seen: dict[str, int] = {}
    for cell in cells:
        name = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[name] = seen.get(name, 0) + 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"
        cell.metadata = NotebookNode({k: v for k, v in cell.metadata.items() if k == "tags"})
    return nbformat.v4.new_notebook(cells=cells)


def place(source: Path, number: int, line: int = 1) -> str:
    """`04_attention.py, line 31 (cell 7)`: where a line of the cell with this number (from 0) is in the source."""
    lines = source.read_text(encoding="utf-8").splitlines()
    starts = [i for i, text in enumerate(lines, 1) if text.startswith("# %%")]
    return f"{source.name}, line {starts[number] + line} (cell {number + 1})"


def execute(source: Path, fast: bool = False) -> NotebookNode:
    """Run all cells in order in a new kernel, in an empty folder, with two threads.

    Raises `Fault` for a cell that fails or prints a warning.
    """
    notebook = read(source)
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as empty:
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "2", "IPYTHONDIR": empty}
        environment |= {"MINILM_FAST": "1" if fast else "0", "MINILM_BUILD": "1"}  # now a false claim is an error
        client = NotebookClient(
            notebook,
            km=AsyncKernelManager(kernel_spec_manager=ThisPython()),
            timeout=LONGEST,
            record_timing=False,
            extra_arguments=["--Application.log_level=ERROR"],  # for the kernel itself, not for the cells
            resources={"metadata": {"path": empty}},
        )
        client.owns_km = True  # so it ends the kernel, which would otherwise live as long as this program
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
    """Join the pieces of each stream (where they are cut depends on timing), and check that nothing foreign is left."""
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
            data = output.get("data", {})
            if "image/svg+xml" in data:
                data.pop("image/png", None)  # the same picture: the SVG is sharp at every size, and smaller
                if found := re.search(r"<script|\bhref=|\burl\((?!#)", data["image/svg+xml"]):
                    raise Fault(f"{place(source, number)}: its SVG loads or runs something, {found[0]!r}.")
            if picture := data.get("image/png"):
                output.data["image/png"] = in_256_colours(picture)
        for what, found in foreign(outputs):
            raise Fault(f"{place(source, number)}: its output contains {what}, {found!r}.")
        if cell.cell_type == "code":
            cell.outputs = outputs
    notebook.metadata = NotebookNode(kernelspec=KERNEL, language_info={"name": "python"})
    return notebook


def in_256_colours(picture: str) -> str:
    """The same PNG (both in base64) at a third of its size: a plot has few colours, and it looks the same."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    file = io.BytesIO()
    image.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def foreign(outputs: list[NotebookNode]) -> list[tuple[str, str]]:
    """What in the outputs of a cell depends on one machine or one run: pairs (what it is, the text found)."""
    texts = []
    for output in outputs:
        data = output.get("data", {})
        texts += [output.get("text", ""), *(str(data[mime]) for mime in data if mime != "image/png")]
    return [(what, m[0]) for what, pattern in FOREIGN.items() for text in texts if (m := re.search(pattern, text))]


def written(notebook: NotebookNode, target: Path) -> int:
    """Write the notebook completely or not at all. Returns its size in bytes; raises `Fault` if it is too large."""
    content = (nbformat.writes(notebook, version=4).rstrip("\n") + "\n").encode()
    if len(content) > LARGEST:
        raise Fault(
            f"{target.name} would have {len(content) // 1024} KB, but at most {LARGEST // 1024} KB are allowed: draw "
            "fewer or smaller pictures, or print less."
        )
    growing = target.with_name(target.name + ".growing")
    growing.write_bytes(content)
    os.replace(growing, target)
    return len(content)


def check(source: Path) -> None:
    """Check that the .ipynb has the cells of its source. Raises `Fault`, which names the first cell that differs."""
    target = source.with_suffix(".ipynb")
    if not target.exists():
        raise Fault(f"{target.name} does not exist: run `make notebooks`.")
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
    parser.add_argument("names", nargs="*", metavar="NN_name", help="which notebooks to build (default: all)")
    parser.add_argument("--fast", action="store_true", help="use small sizes to find mistakes; write nothing")
    parser.add_argument("--check", action="store_true", help="run nothing; check the cells against the source")
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
