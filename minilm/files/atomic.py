"""Replace a file in one step, so that a reader sees either the old content or the new one, never half of it."""

import json
import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path` by `text`, in UTF-8."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, data: bytes) -> None:
    """Write `data` beside `path` first, then rename: the operating system makes the rename a single step."""
    growing = path.with_name(path.name + ".growing")
    try:
        growing.write_bytes(data)
        os.replace(growing, path)
    except OSError:
        growing.unlink(missing_ok=True)  # half a file is useless, and the disk may be full
        raise


def write_json(path: Path, value) -> None:
    """Replace the file at `path` by `value` as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
