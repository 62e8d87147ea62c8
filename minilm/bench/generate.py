"""How fast a model writes: ours with its cache, ours without, and `generate` of transformers, on the same weights.  F23."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from minilm.bench.options import BenchOptions
from minilm.bench.report import alternate, compared, table_of
from minilm.errors import InputError
from minilm.models.config import parameter_count
from minilm.models.generation import generate
from minilm.models.gpt import GPT, GPTConfig
from minilm.models.initialisation import initialise
from minilm.pretrained.gpt2 import ARCHITECTURE
from minilm.pretrained.weights import weights_of

OURS, WITHOUT, THEIRS = "ours, with cache", "ours, without cache", "transformers"
BATCHES, PROMPT = (16, 1), 16  # texts at once (the larger first: see `measure`), and the tokens of a prompt
NOTE = (
    "Greedy, so that all must write the same tokens; no token ends a text. Without a cache, every step reads the whole text "
    "again, but only the last position is projected on the vocabulary. transformers is called as "
    "generate(do_sample=False, use_cache=True)."
)


def new_model(options: BenchOptions) -> GPT:
    """A GPT-2 of the size that is measured: with learned positions, because transformers has no others."""
    s = options.size
    sizes: dict[str, Any] = dict(
        vocab_size=s.vocab_size, width=s.width, layers=s.layers, heads=s.heads, feed_forward=4 * s.width
    )
    model = GPT(GPTConfig(**sizes, max_length=PROMPT + s.length, positions="learned"))
    initialise(model, generator=torch.Generator().manual_seed(options.seed))
    return model.eval()


def twin(model: GPT) -> Any:
    """The same weights in transformers. Raises InputError if it is not installed."""
    try:
        import transformers
    except ImportError:
        raise InputError("this needs the referee: pip install transformers") from None
    config = transformers.GPT2Config(**ARCHITECTURE.write_config(model) | {"bos_token_id": 0, "eos_token_id": None})
    theirs = transformers.GPT2LMHeadModel(config).eval()
    theirs.load_state_dict(ARCHITECTURE.write_names(weights_of(model)), strict=False)
    return theirs


def contenders(model: GPT, prompts: list[list[int]], new: int) -> dict[str, Callable[[], list[list[int]]]]:
    """Each writes `new` tokens after every prompt."""
    theirs, ids = twin(model), torch.tensor(prompts)

    def ours(use_cache: bool) -> list[list[int]]:
        return [text.ids for text in generate(model, prompts, new, temperature=0, use_cache=use_cache)]

    @torch.inference_mode()
    def referee() -> list[list[int]]:
        options = dict(attention_mask=torch.ones_like(ids), do_sample=False, use_cache=True, pad_token_id=0)
        return theirs.generate(ids, **options, max_new_tokens=new)[:, PROMPT:].tolist()

    return {OURS: lambda: ours(True), WITHOUT: lambda: ours(False), THEIRS: referee}


def agreement(found: dict[str, list[list[int]]]) -> float:
    """The share of texts that all contenders wrote alike, token for token. Two almost equal logits may part a pair of texts."""
    rows: list[Sequence[list[int]]] = list(zip(*found.values(), strict=True))
    return sum(all(text == texts[0] for text in texts) for texts in rows) / len(rows)


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Tokens per second, in turns, for sixteen texts and for one. Raises RuntimeError if the texts are not the same.

    Without a cache every step allocates a little more than the one before. If that is the first thing the process does, the
    allocator grows in one piece to 1 GB; after other work, it finds no hole that is large enough and takes 2.5 GB.
    """
    model, new = new_model(options), options.size.length
    generator = torch.Generator().manual_seed(options.seed)
    out: dict = {"parameters": parameter_count(model), "note": NOTE}
    say(f"{out['parameters']:,} parameters, {new} tokens after prompts of {PROMPT}. {NOTE}")
    for B in BATCHES if options.batch is None else (options.batch,):
        prompts = torch.randint(options.size.vocab_size, (B, PROMPT), generator=generator).tolist()
        rivals = contenders(model, prompts, new)
        alike = agreement({name: rivals[name]() for name in (WITHOUT, OURS, THEIRS)})
        if alike < 0.9:
            raise RuntimeError(f"the contenders are not the same model: only {alike:.0%} of their texts are alike")

        def run(name: str, rivals=rivals) -> Callable[[int], None]:
            return lambda number: rivals[name]() and None

        clocks = alternate({name: run(name) for name in rivals}, options.rounds, options.progress)
        race = compared(clocks, [B * new] * options.rounds, "tokens", OURS)
        faster = {name: race["ratios"][name]["median"] for name in (WITHOUT, THEIRS)}
        out[f"batch_{B}"] = race | {"texts_alike": alike, "faster_than": faster}
        say(
            f"\nbatch {B}: {faster[THEIRS]:.1f} × transformers, {faster[WITHOUT]:.1f} × without cache ({alike:.0%} alike)"
        )
        say(table_of(race, "tokens"))
    return out
