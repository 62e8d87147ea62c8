"""Labels of texts that are read from a prompt: the text in a template with one [MASK].  F33."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.examples.labelled import dataset
from minilm.examples.labels import IGNORED
from minilm.files.notes import Note, unheard
from minilm.models.verbaliser import TEXT
from minilm.text.files import Example
from minilm.text.tokenizer import Tokenizer
from minilm.training.text_tasks import TextTask


@dataclass(frozen=True)
class PromptTask(TextTask):
    """One label per text, found by filling in a template; see `models/verbaliser.py`."""

    pairs: bool | None = False
    template: str = f"{TEXT} It was [MASK]."

    def encode(  # type: ignore[override]  # TextTask passes on whatever `encode_texts` takes, and this takes the same
        self,
        examples: list[Example],
        tokenizer: Tokenizer,
        max_length: int | None,
        *,
        truncate: bool = False,
        where: str = "the data",
        places: Sequence[int] | None = None,
        note: Note = unheard,
    ) -> Dataset:
        """[CLS], the template with the text in it, [SEP]. If it is too long, the text is cut at its end, never the template.

        Raises InputError as `TextTask.encode` does.
        """
        number = {label: i for i, label in enumerate(self.labels)}
        parts = self.template.split(TEXT)
        before, after = tokenizer.ids([part.strip() for part in parts], special=True)
        room = None if max_length is None else max_length - 2 - len(before) - len(after)
        if room is not None and room < 1:
            raise InputError(
                f"the model takes {max_length} tokens, and the template {self.template!r} leaves none for a text."
            )
        rows, segments, numbers, were_cut = [], [], [], 0
        for i, (example, ids) in enumerate(zip(examples, tokenizer.ids([e.text for e in examples]), strict=True)):
            name = f"text {(i if places is None else places[i]) + 1} of {where}"
            if example.pair is not None:
                raise InputError(
                    f"{name} has a second text, and a prompt takes one: leave out --pair and --pair-column."
                )
            if example.label is not None and example.label not in number:
                known = ", ".join(self.labels)
                raise InputError(f"{name} has the label '{example.label}', which has no word (the labels are {known}).")
            if room is not None and len(ids) > room:
                if not truncate:
                    raise InputError(
                        f"{name} has {len(ids)} tokens and the prompt leaves room for {room}: "
                        "shorten it, or allow long texts to be cut with --truncate."
                    )
                were_cut += 1
            row, kinds = tokenizer.pair([*before, *ids[:room], *after])
            rows.append(row)
            segments.append(kinds)
            numbers.append(IGNORED if example.label is None else number[example.label])
        if were_cut:
            note(f"{were_cut:,} of {len(examples):,} texts were cut at the end to fit into the prompt.")
        return dataset(rows, segments, numbers, tokenizer, list(range(len(rows))))


@torch.no_grad()
def mean_logits(model: nn.Module, examples: Dataset) -> tuple[float, ...]:
    """The mean logit of each label over the rows, whose labels are not looked at: a prior for `VerbaliserConfig`."""
    model.eval()
    device = next(model.parameters()).device
    total: torch.Tensor | float = 0.0
    for chosen in examples.in_order():
        batch = examples.batch(chosen).to(device)
        total = total + model(batch.input_ids, batch.token_type_ids, batch.attention_mask).double().sum(dim=0)
    return tuple((torch.as_tensor(total) / len(examples)).tolist())
