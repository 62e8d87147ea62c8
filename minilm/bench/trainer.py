"""The rival of `minilm bench race`: masked words with `BertForMaskedLM` and the Trainer of `transformers`."""

import importlib.util
import tempfile
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from minilm.bench.watch import Watch
from minilm.errors import InputError
from minilm.examples.bert_pretraining import PretrainingBatches
from minilm.jobs.pretrain import PretrainOptions
from minilm.models.bert import PretrainingOutput
from minilm.text.prepare import Prepared

REPORTED = (
    *("learning_rate", "per_device_train_batch_size", "num_train_epochs", "optim", "lr_scheduler_type", "warmup_steps"),
    *("weight_decay", "max_grad_norm", "adam_beta1", "adam_beta2", "adam_epsilon"),
)


def check_installed() -> None:
    """Raises InputError if `transformers`, or `accelerate`, without which its Trainer does not start, is not installed."""
    for package in ("transformers", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise InputError(f"the rival needs {package}, which is not installed: pip install transformers accelerate")


class LikeOurs(nn.Module):
    """`BertForMaskedLM`, called like our model, so that the same code measures both. It has no next sentence to predict."""

    def __init__(self, theirs: nn.Module):
        super().__init__()
        self.theirs = theirs

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor | None, masked: Tensor):
        """The logits [M, V] at the positions `masked` of the flattened batch."""
        model = cast(Any, self.theirs)
        seen = None if attention_mask is None else attention_mask.long()
        hidden = model.bert(input_ids, attention_mask=seen, token_type_ids=token_type_ids).last_hidden_state
        mlm_logits = model.cls(hidden.flatten(0, 1)[masked])
        return PretrainingOutput(mlm_logits, hidden.new_zeros(len(input_ids), 2))


class Rows(torch.utils.data.Dataset):
    """The training text as rows [CLS] window [SEP] of at most `length` tokens, whole documents cut into windows."""

    def __init__(self, prepared: Prepared, length: int, seed: int):
        self.ids, self.tokenizer = prepared.train.ids, prepared.tokenizer
        drawn = PretrainingBatches(prepared.train, self.tokenizer, length, 1, seed, next_sentence=False)
        parts = []
        for number in range(len(drawn.blocks)):
            drawn.open_round(number)
            parts.append(drawn.rows[:, :2])
        self.windows = np.concatenate(parts)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, number: int) -> dict[str, list[int]]:
        start, end = self.windows[number]
        row, _ = self.tokenizer.pair(self.ids[start:end].tolist())
        return {"input_ids": row, "special_tokens_mask": [1, *[0] * (len(row) - 2), 1]}


def their_tokenizer(prepared: Prepared):
    """Our tokenizer as `transformers` holds it, which its collator asks for [MASK], [PAD] and the size of the vocabulary."""
    import transformers

    names = prepared.tokenizer.names
    return transformers.PreTrainedTokenizerFast(tokenizer_object=prepared.tokenizer.backend, **names)


def their_model(settings: PretrainOptions, vocab_size: int) -> nn.Module:
    """A model of our size, before its first step, with its own initialisation and dropout."""
    import transformers

    config = transformers.BertConfig(
        vocab_size=vocab_size,
        hidden_size=settings.width,
        num_hidden_layers=settings.depth,
        num_attention_heads=settings.heads,
        intermediate_size=settings.feed_forward or 4 * settings.width,
        max_position_embeddings=settings.length,
    )
    return cast(nn.Module, transformers.BertForMaskedLM(config))


def by_trainer(
    settings: PretrainOptions, prepared: Prepared, watch: Callable[[], Watch], changed: dict[str, Any]
) -> tuple[Watch, dict[str, Any]]:
    """Train until the watch says that it is over, and return it with the arguments that decide the course of training.

    `changed` holds the training arguments that differ from the defaults.
    """
    import transformers

    transformers.logging.set_verbosity_error()
    rows, tokenizer = Rows(prepared, settings.length, settings.seed), their_tokenizer(prepared)
    collator = transformers.DataCollatorForLanguageModeling(tokenizer)
    trainer_class = transformers.Trainer  # imports much, which does not count
    their_model(settings, prepared.tokenizer.size)  # the same
    quiet: dict[str, Any] = dict(save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True)
    with tempfile.TemporaryDirectory() as empty:
        arguments = transformers.TrainingArguments(
            output_dir=empty, seed=settings.seed, use_cpu=True, dataloader_pin_memory=False, **quiet, **changed
        )
        transformers.set_seed(settings.seed)
        clock = watch()
        model = their_model(settings, prepared.tokenizer.size)
        like_ours = LikeOurs(model)

        class Measure(transformers.TrainerCallback):
            def on_step_end(self, args, state, control, **_):
                if clock.look(like_ours, state.global_step, state.global_step >= state.max_steps):
                    control.should_training_stop = True

        trainer = trainer_class(
            model=model, args=arguments, data_collator=collator, train_dataset=rows, callbacks=[Measure()]
        )
        trainer.remove_callback(transformers.PrinterCallback)
        clock.look(like_ours, 0)
        trainer.train()
    return clock, {name: plain(getattr(arguments, name)) for name in REPORTED}


def plain(value: Any) -> Any:
    """An argument as JSON writes it: the value of an enumeration, and numbers as they are."""
    return value if isinstance(value, int | float | str) and not hasattr(value, "value") else str(value.value)
