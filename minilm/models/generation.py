r"""Writing a text with a language model, token by token: greedily, at random, or by beam search.  F23, generation.

Letters:  B texts · T tokens · V vocabulary · K beams · z logits · α length penalty
Source:   Wu et al. (2016), Google's Neural Machine Translation System, §7 (a score that is divided by a power of the length).

A model that writes has `next_logits(input_ids, memory, attention_mask)`, `new_memory()`, `context` (the most tokens that a
prompt may have, or None) and `longest` (the most tokens of a text, or None): see `models/gpt.py` and `models/lstm.py`. The
memory holds what was computed for the tokens before, so that a step costs one token and not the whole text again.

Prompts of different lengths form one batch with padding in front, so that all of them are continued at the same place. The
mask hides the padding and positions do not count it, so every text is the one that its prompt would get alone.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.models.sampling import check_choice, choose

END, LENGTH, CONTEXT = "end", "length", "context"


class Written(NamedTuple):
    """What was written after a prompt, and why it ends there: "end" (the last token is one of `stop`), "length" (as many
    tokens as were asked for) or "context" (the text is as long as the model takes). `score` is the score of a beam."""

    ids: list[int]
    reason: str
    score: float | None = None


def generate(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int = 100,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int = 0,
    stop: Collection[int] = (),
    banned: Collection[int] = (),
    use_cache: bool = True,
    on_token: Callable[[int, int], None] | None = None,
) -> list[Written]:
    r"""Continue every prompt by up to `max_new_tokens` tokens, each drawn as `sampling_probabilities` says.  F23.

    Temperature 0 is greedy: the most likely token. A text ends after a token of `stop`; tokens in `banned` are never chosen.
    Text i has a generator of its own, from `seed` and i, so that it does not depend on the other texts. `on_token(i, token)`
    is called for every token as soon as it is chosen. Without `use_cache`, every step reads the whole text again, which gives
    the same text and takes longer. The model is left in evaluation mode.

    Raises InputError for a prompt without tokens or one longer than the model's context, and for settings out of range.
    """
    check_choice(temperature, top_k, top_p)
    check_prompts(model, prompts, max_new_tokens)
    writer: Any = model.eval()
    ids, mask = padded_in_front(prompts, next(model.parameters()).device)
    most = [most_new(writer, prompt, max_new_tokens) for prompt in prompts]
    generators = [torch.Generator().manual_seed(seed * 1_000_003 + i) for i in range(len(prompts))]
    written: list[list[int]] = [[] for _ in prompts]
    forbidden = torch.tensor(sorted(banned), dtype=torch.int64, device=ids.device)
    memory, new, rows = writer.new_memory() if use_cache else None, ids, list(range(len(prompts)))
    rows, memory, new, ids, mask = keep([i for i in rows if most[i]], rows, memory, new, ids, mask)
    with torch.inference_mode():
        while rows:
            logits = without(forbidden, writer.next_logits(new if use_cache else ids, memory, mask))  # [B, V]
            tokens = choose(logits, [generators[i] for i in rows], temperature, top_k, top_p)  # [B]
            for i, token in zip(rows, tokens.tolist(), strict=True):
                written[i].append(token)
                if on_token is not None:
                    on_token(i, token)
            new = tokens[:, None]
            ids = ids if use_cache else torch.cat([ids, new], dim=1)
            mask = None if mask is None else torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            going = [i for i in rows if written[i][-1] not in stop and len(written[i]) < most[i]]
            rows, memory, new, ids, mask = keep(going, rows, memory, new, ids, mask)
    return [Written(row, why_ended(row, stop, max_new_tokens)) for row in written]


def beam_search(
    model: nn.Module,
    prompt: Sequence[int],
    beams: int = 4,
    max_new_tokens: int = 100,
    length_penalty: float = 1.0,
    stop: Collection[int] = (),
    banned: Collection[int] = (),
) -> list[Written]:
    r"""The `beams` best continuations of a prompt that the search finds, the best first.  F23, generation.

        score(w₁ … w_n) = Σ log P(wᵢ ∣ everything before) / n^α,   n counts the new tokens, that of `stop` included

    Every step continues the K most probable unfinished texts by every token, and keeps the K best of these K·V. A text that
    ends among the K best of all is finished and leaves room for others. α = 0 compares sums, which favours short texts; with
    α = 1 it is the mean per token. The search goes on until nothing unfinished can become better than the K finished ones.

    Raises InputError as `generate` does, and for fewer than one beam.
    """
    if beams < 1:
        raise InputError(f"beams {beams} must be at least 1.")
    check_prompts(model, [prompt], max_new_tokens)
    writer: Any = model.eval()
    K, most, memory = beams, most_new(writer, prompt, max_new_tokens), writer.new_memory()
    finished: list[Written] = []
    texts: list[list[int]] = [[]]
    new = torch.tensor([list(prompt)], device=next(model.parameters()).device)  # [R, T], with R ≤ K unfinished texts
    scores = torch.zeros(1, dtype=torch.float64, device=new.device)
    forbidden = torch.tensor(sorted(banned), dtype=torch.int64, device=new.device)
    with torch.inference_mode():
        for n in range(1, most + 1):
            logits = without(forbidden, writer.next_logits(new, memory)).double()  # [R, V]
            totals = (scores[:, None] + logits.log_softmax(dim=-1)).flatten()  # [R·V]
            # of these, at most K · len(stop) end, so that K or more go on
            best, places = totals.topk(min(K * max(2, 1 + len(stop)), len(totals)))
            running: list[tuple[float, int, int]] = []  # score, row, token
            for rank, (score, place) in enumerate(zip(best.tolist(), places.tolist(), strict=True)):
                row, token = divmod(place, logits.size(1))
                if score == -torch.inf:
                    break
                if token in stop or n == most:
                    if rank < K:
                        ids = [*texts[row], token]
                        finished.append(Written(ids, why_ended(ids, stop, max_new_tokens), score / n**length_penalty))
                elif len(running) < K:
                    running.append((score, row, token))
            finished = sorted(finished, key=lambda text: -(text.score or 0.0))[:K]
            # a sum only falls: the longest text (α > 0) or the shortest (α ≤ 0) would have the best score
            length = most if length_penalty > 0 else n
            if not running or (len(finished) == K and running[0][0] / length**length_penalty <= finished[-1].score):
                break
            texts = [[*texts[row], token] for _, row, token in running]
            memory.select(torch.tensor([row for _, row, _ in running], device=new.device))
            new = torch.tensor([[token] for *_, token in running], device=new.device)
            scores = scores.new_tensor([score for score, *_ in running])
    return finished or [Written([], CONTEXT, 0.0)]


def check_prompts(model: nn.Module, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    """Raises InputError for a prompt that is empty or too long, and if not even one token is asked for."""
    if not hasattr(model, "next_logits"):
        raise InputError(f"{type(model).__name__} does not write texts: use a language model, such as a GPT.")
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens must be at least 1, not {max_new_tokens}.")
    context: int | None = getattr(model, "context", None)
    for i, prompt in enumerate(prompts, 1):
        if not len(prompt):
            raise InputError(f"prompt {i} has no tokens: begin with the token that begins a text.")
        if context is not None and len(prompt) > context:
            raise InputError(f"prompt {i} has {len(prompt)} tokens, and the model reads {context}: shorten it.")


def most_new(model: Any, prompt: Sequence[int], max_new_tokens: int) -> int:
    """How many tokens may be written after a prompt."""
    return max_new_tokens if model.longest is None else min(max_new_tokens, model.longest - len(prompt))


def why_ended(ids: list[int], stop: Collection[int], max_new_tokens: int) -> str:
    """See `Written`."""
    if ids and ids[-1] in stop:
        return END
    return LENGTH if len(ids) == max_new_tokens else CONTEXT


def padded_in_front(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor | None]:
    """The prompts as one tensor [B, T], and the mask of what is no padding; None if nothing is."""
    T = max(map(len, prompts), default=0)
    ids = torch.tensor([[0] * (T - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    mask = torch.tensor([[False] * (T - len(prompt)) + [True] * len(prompt) for prompt in prompts], device=device)
    return ids, None if mask.all() else mask


def keep(going: list[int], rows: list[int], memory: Any, *tensors: Tensor | None) -> tuple[Any, ...]:
    """`rows`, the memory and the tensors without the rows that are not in `going`."""
    if len(going) == len(rows):
        return rows, memory, *tensors
    index = torch.tensor([rows.index(i) for i in going], dtype=torch.int64)
    if memory is not None:
        memory.select(index.to(next(tensor.device for tensor in tensors if tensor is not None)))
    return going, memory, *(None if tensor is None else tensor[index.to(tensor.device)] for tensor in tensors)


def without(forbidden: Tensor, logits: Tensor) -> Tensor:
    """The logits with −∞ at tokens that must not be chosen."""
    return logits.index_fill(-1, forbidden, -torch.inf) if len(forbidden) else logits
