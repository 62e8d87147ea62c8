"""Find data files inside installed packages and check them by SHA-256. The code of the packages is never run."""

import hashlib
import importlib.util
from importlib import metadata
from pathlib import Path


def package_folder(package: str) -> Path | None:
    """The folder of an installed package, or None if it is not installed."""
    spec = importlib.util.find_spec(package.replace("-", "_"))  # for a top-level name this does not run the package
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
