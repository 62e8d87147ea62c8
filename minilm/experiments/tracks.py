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
    short: tuple[str, ...]  # the rows of the short table; empty: all of them
    steps: int
    pretraining: PretrainOptions
    probes: tuple[str, ...]
    masked: tuple[str, ...]
    look_at: str
    example: str

    def material(
        self, prepared: Prepared, settings: PretrainOptions, device: torch.device, say: Callable[[str], None]
    ) -> Material: ...

    def development(self, material: Material, settings: PretrainOptions) -> Material:
        """The same task, measured on a development part instead of the test set: choices are made on it."""

    def rungs(self, start: Start, keep: Path | None = None) -> list[Climber]: ...

    def predictions(self, loaded: LoadedModel) -> list[str]: ...

    def remarks(self, rows: list[dict], labels: tuple[int, ...], measured: dict) -> str: ...


def track_for(name: str) -> Track:
    """The track of this name: en, zh, or tweets (the second English task)."""
    from minilm.experiments.chinese import Chinese
    from minilm.experiments.english import English
    from minilm.experiments.tweets import Tweets

    tracks: dict[str, type[Track]] = {"en": English, "zh": Chinese, "tweets": Tweets}
    return tracks[name]()
