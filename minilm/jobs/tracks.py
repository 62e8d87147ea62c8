"""What differs between the two quickstarts: the text, the task, the rungs of the ladder, the words under the table."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from minilm.jobs.folders import Opened
from minilm.jobs.ladder import Rung, Study
from minilm.jobs.prepare import Prepared
from minilm.jobs.pretrain import PretrainOptions


@runtime_checkable
class Track(Protocol):
    """One language's story. All that the quickstart needs to tell it."""

    text: str
    task: str
    title: str
    metric: str
    labels: tuple[int, ...]
    steps: int
    pretraining: PretrainOptions
    probes: tuple[str, ...]
    masked: tuple[str, ...]
    look_at: str
    example: str

    def study(
        self,
        prepared: Prepared,
        settings: PretrainOptions,
        vectors: np.ndarray,
        device: torch.device,
        keep: Path,
        say: Callable[[str], None],
    ) -> Study: ...

    def rungs(self, study: Study) -> list[Rung]: ...

    def predictions(self, opened: Opened) -> list[str]: ...

    def remarks(self, rows: list[dict], labels: tuple[int, ...], measured: dict) -> str: ...


def track_for(language: str) -> Track:
    from minilm.jobs.quickstart_chinese import Chinese
    from minilm.jobs.quickstart_english import English

    return English() if language == "en" else Chinese()
