"""The options of `minilm documents`, and what follows from them: folders, steps and labels."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from minilm.errors import InputError, check_least, check_most
from minilm.experiments.dialogue import DialogueOptions
from minilm.experiments.tracks import track_for
from minilm.jobs.pretrain import PretrainOptions

Name = Literal["D0", "D1", "D2", "D3", "D4"]
DOCUMENTS: tuple[Name, ...] = ("D0", "D1", "D2", "D3", "D4")
LANGUAGE = {"D0": "en", "D3": "en", "D4": "zh"}  # of the model that a document starts from
ONCE = ("D1", "D2")  # models that write: they take the longest, and one seed is enough for what is asked
STEPS = {"en": 1_500, "zh": 1_200, "D2": 900}


@dataclass(frozen=True)
class DocumentsOptions:
    """Run the five documents' programs, put right, on real data, and write one page: what each program does, what is wrong in
    it, and its table beside the printed one.

    By itself the command pretrains an English and a Chinese model first, for two fifths of the quickstart's steps."""

    documents: tyro.conf.Positional[tuple[Name, ...]] = ()
    """Which documents; all five if you name none."""
    model: Path | None = None
    """A pretrained English model for D0 and D3, such as runs/quickstart/pretrained, instead of pretraining one."""
    model_zh: Path | None = None
    """A pretrained Chinese model for D4, such as runs/quickstart-zh/pretrained."""
    seeds: int = 3
    """How many times D0, D3 and D4 are run. D1 and D2, which take the longest, are run once."""
    share: float = 1.0
    """The share of the labels and the steps. With 0.1 the command shows what it does in a fraction of the time,
    and the figures are lower."""
    out: Path = Path("runs/documents")
    cache: Path = Path("runs/cache")
    again: bool = False
    """Run again what an earlier run has finished."""
    workers: int | None = None
    """How many programs run side by side; one per core, at most four, if not given."""
    progress: bool = True

    def __post_init__(self) -> None:
        check_least(self, 1, "seeds")
        check_most(self, {"seeds": 100})
        if not 0 < self.share <= 2:  # there are no more labels than that
            raise InputError(f"share must be above 0 and at most 2 (1 is the whole run), not {self.share}.")
        if self.workers is not None:
            check_least(self, 1, "workers")
        for name, model in {"--model": self.model, "--model-zh": self.model_zh}.items():
            if model is not None and not (model / "config.json").exists():
                raise InputError(f"{name} {model} holds no model: name a folder that `minilm pretrain` wrote.")
        starts = {LANGUAGE.get(name) for name in self.chosen}
        for option, language in {"--model": "en", "--model-zh": "zh"}.items():
            if self.given(language) is not None and language not in starts:
                chosen = " and ".join(self.chosen)
                raise InputError(f"{option} means nothing to {chosen}, which start from no such model: leave it out.")

    @property
    def chosen(self) -> tuple[Name, ...]:
        """The documents, each once and in order."""
        return tuple(name for name in DOCUMENTS if name in self.documents or not self.documents)

    def scaled(self, number: int) -> int:
        """This share of a number of labels or steps, and at least 8."""
        return max(8, round(self.share * number))

    def given(self, language: str) -> Path | None:
        """The model that was given for a language."""
        return self.model if language == "en" else self.model_zh

    def start(self, language: str) -> Path:
        """The folder of the model that D0 and D3, or D4, start from."""
        return self.given(language) or self.out / "pretrained" / f"{language}-{self.scaled(STEPS[language])}-steps"

    def pretraining(self, language: str) -> PretrainOptions:
        """How the model is pretrained: the quickstart's recipe with fewer steps."""
        out = self.start(language)
        recipe = track_for(language).pretraining
        return replace(
            *(recipe,),
            steps=self.scaled(STEPS[language]),
            resume=(out / "training_state" / "latest.json").exists(),
            out=out,
            cache=self.cache,
            device="cpu",
            progress=False,
        )

    def conversations(self) -> DialogueOptions:
        """What D2 learns from, and for how long."""
        return DialogueOptions(steps=self.scaled(STEPS["D2"]), cache=self.cache, device="cpu", progress=False)
