"""What differs between the two quickstarts: the text, the task, the rungs of the ladder, the remarks under the table."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from minilm.experiments.ladder import Climber, Material
from minilm.experiments.rungs import Start
from minilm.jobs.pretrain import PretrainOptions
from minilm.pretrained.run_folder import LoadedModel
from minilm.text.prepare import Prepared


@runtime_checkable
class Track(Protocol):
    """Everything that the quickstart needs to know about one language."""

    text: str
    task: str
    title: str
    metric: str
    labels: tuple[int, ...]
    run: int  # so many tokens in a row, found in two examples, make them copies (`text/duplicates.py`)
    steps: int
    pretraining: PretrainOptions
    probes: tuple[str, ...]
    masked: tuple[str, ...]
    look_at: str
    example: str

    def material(
        self, prepared: Prepared, settings: PretrainOptions, device: torch.device, say: Callable[[str], None]
    ) -> Material: ...

    def rungs(self, start: Start, keep: Path | None = None) -> list[Climber]: ...

    def predictions(self, loaded: LoadedModel) -> list[str]: ...

    def remarks(self, rows: list[dict], labels: tuple[int, ...], measured: dict) -> str: ...


def track_for(language: str) -> Track:
    from minilm.experiments.chinese import Chinese
    from minilm.experiments.english import English

    return English() if language == "en" else Chinese()
