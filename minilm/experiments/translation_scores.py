"""How good texts are that a model has written, compared with those that people wrote: exact match, chrF, BLEU, ROUGE.

chrF compares short runs of characters and BLEU short runs of words (here, of Chinese characters), both from 0 to 100; they are
computed by sacrebleu. ROUGE is the share of characters, pairs of characters, or the longest common subsequence that two
texts have in common (F1), computed by rouge-score. Accuracy and F1 over labels, which D1 §3.2.5 names for generation, need one
right answer per place, and a text has none.

Sources:  Popović (2015), chrF: character n-gram F-score for automatic MT evaluation; Papineni et al. (2002), BLEU; Lin (2004),
          ROUGE; Post (2018), A Call for Clarity in Reporting BLEU Scores (why a library computes them).
"""

from collections.abc import Sequence
from typing import Any

from minilm.errors import InputError
from minilm.text.parallel import Pair, placeholders

EXACT, CHRF, BLEU, KEPT = "exact match", "chrF", "BLEU", "placeholders kept"
ROUGE = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
DECIMALS = {CHRF: 1, BLEU: 1}
NEEDS = "this needs the extra `translation`: pip install sacrebleu rouge-score"


def exact(pairs: Sequence[Pair], written: Sequence[str]) -> dict[str, float]:
    """The share of the texts that are the right ones, character for character."""
    return {EXACT: mean([one == target for (_, target), one in zip(pairs, written, strict=True)])}


def exact_by_length(pairs: Sequence[Pair], written: Sequence[str], step: int = 5) -> dict[str, float]:
    """`exact` for all, and for targets of 1 to 5 characters, 6 to 10, and so on."""
    groups: dict[int, list[bool]] = {}
    for (_, target), one in zip(pairs, written, strict=True):
        groups.setdefault((len(target) - 1) // step, []).append(one == target)
    by_length = {f"{n * step + 1}–{(n + 1) * step} characters": mean(groups[n]) for n in sorted(groups)}
    return exact(pairs, written) | by_length


def mean(values: Sequence[bool | float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def kept(pairs: Sequence[Pair], written: Sequence[str]) -> float:
    """The share of the placeholders of all sources that stand in what was written."""
    wanted = [placeholders(source) for source, _ in pairs]
    found = [(want & placeholders(one)).total() for want, one in zip(wanted, written, strict=True)]
    total = sum(want.total() for want in wanted)
    return sum(found) / total if total else float("nan")


def translated(pairs: Sequence[Pair], written: Sequence[str]) -> dict[str, float]:
    """Exact match, chrF, BLEU over characters, and the share of the placeholders that were kept (NaN if there are none).

    Raises InputError if sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU as Bleu
        from sacrebleu.metrics.chrf import CHRF as Chrf
    except ImportError:
        raise InputError(NEEDS) from None
    targets = [[target for _, target in pairs]]
    chrf, bleu = (metric.corpus_score(list(written), targets).score for metric in (Chrf(), Bleu(tokenize="zh")))
    return exact(pairs, written) | {CHRF: chrf, BLEU: bleu, KEPT: kept(pairs, written)}


class Characters:
    """The tokenizer that ROUGE over characters needs."""

    def tokenize(self, text: str) -> list[str]:
        return [character for character in text if not character.isspace()]


def summarised(pairs: Sequence[Pair], written: Sequence[str]) -> dict[str, float]:
    """The mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L over characters. Raises InputError if rouge-score is not installed."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise InputError(NEEDS) from None
    scorer: Any = RougeScorer(list(ROUGE), tokenizer=Characters())
    found = [scorer.score(target, one) for (_, target), one in zip(pairs, written, strict=True)]
    return {name: mean([each[key].fmeasure for each in found]) for key, name in ROUGE.items()}
