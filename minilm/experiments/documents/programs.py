"""The five programs of the documents, put right: one function for each, as short as the library allows.  F08, F17, F28–F31.

What a document prints and what is not wrong stays as it is: five epochs of batches of 16 (D0, D3, D4), ten of 64 and the sizes of
the LSTM (D1). The learning rates are ours, because our models are small and new.

Source:  D0 §5.2, D1 §5.2, D2 §5.2, D3 §5.2, D4 §5.2.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from minilm.examples.batching import Batch, Dataset
from minilm.examples.causal_lm import TextWindows
from minilm.examples.dialogue import DialogueWindows
from minilm.examples.labels import IGNORED
from minilm.jobs.finetune import finetune, new_model, tokenizer_of
from minilm.jobs.finetune_options import FinetuneOptions, load_material
from minilm.jobs.pretrain import PretrainOptions, build
from minilm.models.lstm import LSTMConfig, LSTMLanguageModel
from minilm.pretrained.protocol import open_classifier
from minilm.text.corpus import tagged
from minilm.text.dialogues import Roles
from minilm.text.prepare import Prepared
from minilm.training.entity_report import Row, label_rows, report
from minilm.training.inference import predicted_tags, true_tags
from minilm.training.loop import LearningRate
from minilm.training.objectives import Answers, CausalLM, Classification
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget
from minilm.training.supervised import Recipe, fit
from minilm.training.tasks import task_of

Say = Callable[[str], None]


def same(batch: Batch) -> Batch:
    """The batch as it is: every place is asked for its next token."""
    return batch


def last_alone(batch: Batch) -> Batch:
    """The batch with one label per row, its last token: what the program of D1 asks for."""
    ids, mask = batch.input_ids, batch.attention_mask
    last = torch.full((len(ids),), ids.size(1) - 1) if mask is None else mask.sum(dim=1) - 1
    return replace(batch, labels=ids.where(torch.arange(ids.size(1)) == last[:, None], IGNORED))


def d0(model: Path, train: Path, test: Path, out: Path, labels: int, development: int, seed: int, say: Say) -> float:
    """Fine-tune on positive and negative sentences, keep the best epoch, and test it once."""
    options = FinetuneOptions(
        data=str(train),
        test=str(test),
        model=str(model),  # a folder that exists
        labels=labels + development,
        development=development,  # decides which epoch is kept
        recipe=Recipe(epochs=5, batch=16, learning_rate=5e-4),  # AdamW; batches of similar length
        seed=seed,
        out=out,  # the model is kept
        device="cpu",  # it is small
        progress=False,
    )
    return finetune(options, say)["accuracy"] or 0.0


def d1(prepared: Prepared, epochs: int, seed: int, ask: Callable[[Batch], Batch] = same) -> LSTMLanguageModel:
    """Train the document's LSTM to predict the next token at every place of a text, or where `ask` says."""
    sizes = LSTMConfig(prepared.tokenizer.size, embedding=64, hidden=128, layers=2)
    model = LSTMLanguageModel(sizes, torch.Generator().manual_seed(seed))
    windows = TextWindows(prepared.train, prepared.tokenizer, length=51, size=64, seed=seed)  # 50 + 1
    windows.open_round(0)
    budget = Budget(steps=epochs * len(windows.batches))
    how = Optimisation(LearningRate(8e-3))
    # the model returns logits, the loss takes the softmax, and padding does not count
    TrainingRun(model, CausalLM(), lambda step: ask(windows[step]), budget, how, seed).train(bar=False)
    return model.eval()


def d2(prepared: Prepared, roles: Roles, settings: PretrainOptions, seed: int) -> nn.Module:
    """Train a GPT on conversations: first on every token of them, then on the answers alone."""
    model = build(settings, prepared, further=2)  # a GPT of our own, with a token for each role
    rows = DialogueWindows(prepared.train, roles, settings.length, settings.batch, seed)
    objective = Answers(0.7)  # shifts the labels, once; after 70 % of the steps only answers count
    budget, how = settings.budget, settings.optimisation
    TrainingRun(model, objective, rows.__getitem__, budget, how, seed).train(bar=False)
    return model.eval()


def d3(model: Path, train: Path, development: Path, labels: int, seed: int) -> list[tuple[float, float]]:
    """Fine-tune on positive and negative sentences; return both losses of each epoch."""
    options = FinetuneOptions(str(train), str(model), test=str(development), labels=labels, seed=seed)
    material, tokenizer = load_material(options), tokenizer_of(options)
    classifier = new_model(options, material.task, tokenizer)
    learn, choose = (
        material.task.encode(part.examples, tokenizer, classifier.config.max_length, truncate=True)
        for part in (material.train, material.test)
    )
    losses: list[tuple[float, float]] = []

    def after_epoch(epoch: int, _: object) -> None:
        losses.append((loss_of(classifier, learn), loss_of(classifier, choose)))

    recipe = Recipe(epochs=5, batch=16, learning_rate=5e-4)
    fit(classifier, learn, recipe, seed, bar=False, on_epoch=after_epoch)
    return losses


def d4(
    model: Path, train: Path, test: Path, out: Path, labels: int, development: int, seed: int, say: Say
) -> tuple[list[Row], list[Row]]:
    """Fine-tune a tagger with a CRF; report its tags, as the document does, and its names."""
    options = FinetuneOptions(
        data=str(train),  # each tag goes to the token that it belongs to
        test=str(test),
        model=str(model),
        labels=labels + development,
        development=development,
        crf=True,  # the loss is −log P(y ∣ x), F31
        recipe=Recipe(epochs=5, batch=16, learning_rate=2e-3, embedding_learning_rate_scale=1.0),
        seed=seed,
        out=out,
        device="cpu",
        progress=False,
    )
    finetune(options, say)
    return reports_of(out, test)


# ---------------------------------------------------------------------------------------------- what they measure with


def reports_of(model: Path, test: Path) -> tuple[list[Row], list[Row]]:
    """The report of all tags, and that of the whole names, of a tagger on lines with BIO tags. Padding is in neither."""
    tagger, lines = open_classifier(model), tagged(str(test))
    task = task_of(tagger.model.head_config)
    encoded = task.encode(lines, tagger.tokenizer, tagger.max_length)
    true, guessed = true_tags(encoded, task.labels), predicted_tags(tagger.model, encoded, task.labels)
    number = {tag: k for k, tag in enumerate(task.labels)}
    y, y_hat = ([number[tag] for line in found for tag in line] for found in (true, guessed))
    return label_rows(y, y_hat, task.labels), report(lines, guessed)


def loss_of(model: nn.Module, examples: Dataset) -> float:
    """The mean loss over all examples of a part, without dropout."""
    return Classification().measure(model, (examples.batch(chosen) for chosen in examples.in_order()))["loss"]


@torch.no_grad()
def next_tokens(model: nn.Module, batches: Iterable[Batch]) -> tuple[np.ndarray, np.ndarray]:
    """The tokens [N] that count as labels, and those [N] that a language model finds most probable in their places."""
    true, guessed = list[torch.Tensor](), list[torch.Tensor]()
    for batch in batches:
        labels = batch.input_ids if batch.labels is None else batch.labels
        if batch.attention_mask is not None:
            labels = labels.masked_fill(~batch.attention_mask, IGNORED)
        logits = model(batch.input_ids, attention_mask=batch.attention_mask)[:, :-1]  # [B, T − 1, V]
        counted = labels[:, 1:] != IGNORED
        true.append(labels[:, 1:][counted])
        guessed.append(logits[counted].argmax(dim=-1))
    return torch.cat(true).numpy(), torch.cat(guessed).numpy()
