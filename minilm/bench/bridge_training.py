"""A published model, fine-tuned on the same labels here and by `transformers`, and a race of steps on the same batches."""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from minilm.bench.options import BenchOptions
from minilm.bench.padding import trainer
from minilm.bench.report import alternate, compared, table, table_of
from minilm.examples.batching import Batch
from minilm.examples.labelled import encode_texts, label_names
from minilm.experiments.ladder import Material
from minilm.experiments.rungs import PUBLISHED_RECIPE, published_rung
from minilm.experiments.table import deviation
from minilm.models.bert import Bert
from minilm.models.heads import Classifier, TextHeadConfig
from minilm.models.initialisation import initialise
from minilm.pretrained.protocol import load_encoder
from minilm.pretrained.run_folder import LoadedModel
from minilm.text.files import Example
from minilm.training.supervised import Recipe
from minilm.training.tasks import TextTask

OURS, THEIRS = "minilm", "transformers"
LABELS = 500  # to learn from, if no other number is given
NOTE = (
    "Same texts, batch size, steps, peak learning rate, warm-up, decay, clipping and dropout. transformers as in its "
    "examples: BertForSequenceClassification (pooler at [CLS]), shuffled, padded to the batch's longest (with "
    "DataCollatorWithPadding, like run_glue_no_trainer.py; run_glue.py itself pads to 128, which is slower), "
    "torch.optim.AdamW(fused=True), one learning rate for all weights. minilm as in the ladder: the mean of the tokens, "
    "batches of similar lengths, embeddings at a tenth of the learning rate."
)


def decay_groups(model: nn.Module, decay: float) -> list[dict]:
    """As in their examples: no decay for biases and norms."""
    none = [p for name, p in model.named_parameters() if name.endswith("bias") or "LayerNorm" in name]
    others = [p for name, p in model.named_parameters() if not (name.endswith("bias") or "LayerNorm" in name)]
    return [{"params": others, "weight_decay": decay}, {"params": none, "weight_decay": 0.0}]


def their_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Mapping, clip: float) -> None:
    """One training step as in their examples."""
    model(**batch).loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    optimizer.zero_grad()


def their_model(folder, labels: tuple[str, ...]) -> nn.Module:
    """The published model with a new head, in `transformers`."""
    import transformers

    return transformers.BertForSequenceClassification.from_pretrained(folder, num_labels=len(labels))


def fit_theirs(model: nn.Module, tokenizer, rows: list[dict], recipe: Recipe, seed: int) -> float:
    """Train as in their examples, and return the seconds it took."""
    import transformers

    started = time.perf_counter()
    torch.manual_seed(seed)
    loader: Any = torch.utils.data.DataLoader(
        cast(Any, rows),
        batch_size=recipe.batch,
        shuffle=True,
        collate_fn=transformers.DataCollatorWithPadding(tokenizer),
    )
    peak = recipe.optimisation().learning_rate.peak
    optimizer = torch.optim.AdamW(decay_groups(model, recipe.weight_decay), lr=peak, fused=True)
    steps = recipe.epochs * len(loader)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, round(recipe.warmup * steps), steps)
    model.train()
    for _ in range(recipe.epochs):
        for batch in loader:
            their_step(model, optimizer, batch, recipe.clip)
            schedule.step()
    model.eval()
    return time.perf_counter() - started


@torch.inference_mode()
def accuracy_of_theirs(model: nn.Module, tokenizer, test: list[Example], labels: tuple[str, ...]) -> float:
    """The share of test examples whose label it predicts."""
    right = 0
    for i in range(0, len(test), 32):
        part = test[i : i + 32]
        batch = tokenizer([e.text for e in part], padding=True, truncation=True, max_length=512, return_tensors="pt")
        guessed = model(**batch).logits.argmax(-1).tolist()
        right += sum(labels[guess] == example.label for guess, example in zip(guessed, part, strict=True))
    return right / len(test)


def finetuning(
    opened: LoadedModel, pool: list[Example], test: list[Example], options: BenchOptions, say: Callable[[str], None]
) -> dict:
    """Accuracy and seconds of both, in turns for each seed, and the seconds of steps on the same batches."""
    import transformers

    labels = label_names(TextTask.labels_of(pool), options.texts)
    recipe = replace(PUBLISHED_RECIPE, epochs=options.epochs or PUBLISHED_RECIPE.epochs)
    count = options.labels or LABELS
    task, cpu = TextTask(labels), torch.device("cpu")
    material = Material.encoded(task, (pool, test), opened.tokenizer, opened.max_length, cpu)
    rung = published_rung(options.model, material, recipe)
    tokenizer = transformers.AutoTokenizer.from_pretrained(opened.folder)
    found: dict[str, dict[str, list[float]]] = {name: {"accuracy": [], "seconds": []} for name in (OURS, THEIRS)}
    for seed in range(options.repeats):
        chosen = [pool[i] for i in material.drawn(count, seed)]
        outcome = rung.run(material, count, seed)
        texts = tokenizer([example.text for example in chosen], truncation=True, max_length=opened.max_length)
        rows = [
            {name: texts[name][i] for name in texts} | {"labels": labels.index(example.label)}
            for i, example in enumerate(chosen)
        ]
        torch.manual_seed(seed)
        model = their_model(opened.folder, labels)
        seconds = fit_theirs(model, tokenizer, rows, recipe, seed)
        theirs = accuracy_of_theirs(model, tokenizer, test, labels)
        for name, figures in {OURS: (outcome.score, outcome.seconds), THEIRS: (theirs, seconds)}.items():
            for what, figure in zip(("accuracy", "seconds"), figures, strict=True):
                found[name][what].append(figure)
        say(
            f"seed {seed}: minilm {outcome.score:.3f} in {outcome.seconds:.0f} s, transformers {theirs:.3f} in {seconds:.0f} s"
        )
    first = [pool[i] for i in material.drawn(count, 0)]
    each = [a / b for a, b in zip(found[OURS]["seconds"], found[THEIRS]["seconds"], strict=True)]
    summary: dict[str, Any] = {
        "labels": count,
        "tested_on": len(test),
        "ladder_row": rung.name,
        "recipe": vars(recipe),
        "note": NOTE,
        **{key: mean_and_spread(found[name]) for key, name in {"ours": OURS, "theirs": THEIRS}.items()},
        "seconds_ours_over_theirs": float(np.median(each)),
        "step": step_race(opened, first, labels, recipe, options, say),
    }
    head = f"{count} labels, {options.repeats} seeds", "accuracy", "seconds"
    lines = [
        (name, f"{s['accuracy']:.3f} ± {s['deviation']:.3f}", f"{s['seconds']:.1f}")
        for name, s in ((OURS, summary["ours"]), (THEIRS, summary["theirs"]))
    ]
    say("\n" + table(head, lines))
    return summary


def mean_and_spread(found: dict[str, list[float]]) -> dict:
    """The mean accuracy and its deviation over the seeds, and the median of the seconds."""
    scores = found["accuracy"]
    return {
        "accuracy": float(np.mean(scores)),
        "deviation": deviation(scores),
        "seconds": float(np.median(found["seconds"])),
        "each": found,
    }


def step_race(
    opened: LoadedModel,
    examples: list[Example],
    labels: tuple[str, ...],
    recipe: Recipe,
    options: BenchOptions,
    say: Callable[[str], None],
) -> dict:
    """Forward, loss, backward, clip and AdamW on batches of random texts, the same ones for both."""
    encoded = encode_texts(examples, labels, opened.tokenizer, opened.max_length, truncate=True)
    steps = options.size.steps
    order = np.random.default_rng(0).permutation(len(encoded))
    cuts = [order[i : i + recipe.batch] for i in range(0, len(order) - recipe.batch + 1, recipe.batch)] or [order]
    batches = [encoded.batch(cuts[i % len(cuts)].tolist()) for i in range(steps * (options.rounds + 1))]
    config = replace(opened.model.config, dropout=0.1)
    ours = Classifier(Bert(config), TextHeadConfig(labels, pooling="cls"))  # the same model as theirs
    initialise(ours, generator=torch.Generator().manual_seed(0))
    load_encoder(ours, opened.folder)
    step = trainer(copy.deepcopy(ours).train())
    theirs = their_model(opened.folder, labels).train()
    optimizer = torch.optim.AdamW(decay_groups(theirs, recipe.weight_decay), lr=1e-4, fused=True)

    def by_transformers(batch: Batch) -> None:
        assert batch.attention_mask is not None
        names = {
            "input_ids": batch.input_ids,
            "token_type_ids": batch.token_type_ids,
            "attention_mask": batch.attention_mask.long(),
        }
        their_step(theirs, optimizer, names | {"labels": batch.labels}, recipe.clip)

    def turn(one: Callable[[Batch], None]) -> Callable[[int], None]:
        def run(number: int) -> None:
            for batch in batches[number * steps : (number + 1) * steps]:
                one(batch)

        return run

    clocks = alternate({OURS: turn(step), THEIRS: turn(by_transformers)}, options.rounds, options.progress)
    tokens = [
        sum(batch.tokens for batch in batches[number * steps : (number + 1) * steps])
        for number in range(1, options.rounds + 1)
    ]
    race = compared(clocks, tokens, "tokens", OURS)
    say(f"\nA step of fine-tuning on the same batches of {len(batches[0].input_ids)} random texts:")
    say(table_of(race, "tokens"))
    return race
