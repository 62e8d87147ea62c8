"""Files that installed packages bring: found where they lie and checked by SHA-256. The packages' code is never run."""

import hashlib
import importlib.util
from importlib import metadata
from pathlib import Path


def package_folder(package: str) -> Path | None:
    """Where a package lies, or None if it is not installed."""
    spec = importlib.util.find_spec(package.replace("-", "_"))  # of a top-level name: finds it without running it
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def installed_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
