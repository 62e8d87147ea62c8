"""Measurements for TensorBoard, if the user asks for them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from minilm.errors import InputError


def tensorboard_writer(folder: Path, wanted: bool) -> Callable[[dict], None]:
    """A function that writes one measurement for TensorBoard if `wanted`. Raises InputError if TensorBoard is not installed."""
    if not wanted:
        return lambda measured: None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("--tensorboard needs the package tensorboard: pip install 'minilm[tensorboard]'") from None

    @cache
    def writer() -> SummaryWriter:
        """Made with the first measurement: a run that is refused leaves the folder as it is."""
        return SummaryWriter(str(folder / "tensorboard"))

    def write(measured: dict[str, float]) -> None:
        for name in measured.keys() - {"step"}:
            writer().add_scalar(name, measured[name], measured["step"])
        writer().flush()

    return write
