r"""The linear-chain CRF in PyTorch: score of a path, log Z, loss with its gradient by hand, Viterbi.  F31.

    s(x, y) = start(y₁) + Σₜ E[t, yₜ] + Σₜ A[yₜ, yₜ₊₁] + end(y_last)
    P(y ∣ x) = exp s(x, y) / Z,   Z = Σ over all Kᵀ paths of exp s      loss = −log P = log Z − s(x, y)

Letters:  B sentences · T words of the longest one · K tags · E emissions [B, T, K], the score of each tag at each word ·
          A transitions [K, K], A[i, j] from tag i to tag j · start, end [K] · y tags [B, T] · attention_mask [B, T], True
          for words, False for padding, which comes at the end of a row
Sources:  Lafferty, McCallum and Pereira (2001), Conditional Random Fields; Rabiner (1989), §III.

`minilm/formulas/crf.py` has the same formulas in NumPy. Here, start belongs to the emissions of the first word and end to
those of the last (`with_borders`), so that the functions below need E and A alone. A forbidden step has the score −∞. A
sentence without words has one path, the empty one, with the score 0.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from minilm.errors import InputError

IGNORED = -100  # the tag in padding
FORBIDDEN = float("-inf")

Emissions = Float[Tensor, "B T K"]
Transitions = Float[Tensor, "K K"]
Words = Bool[Tensor, "B T"]  # an attention_mask


def with_borders(
    E: Emissions,
    start: Float[Tensor, " K"],
    end: Float[Tensor, " K"],
    attention_mask: Words,
    begins: Bool[Tensor, " B"] | None = None,
    ends: Bool[Tensor, " B"] | None = None,
) -> Emissions:
    """E with start added at the first word and end added at the last one, and 0 in padding.

    A row that is only a part of a sentence has no start where `begins` is False, and no end where `ends` is False.
    """
    first, last = attention_mask.clone(), attention_mask.clone()
    first[:, 1:] = False
    last[:, :-1] &= ~attention_mask[:, 1:]
    first = first if begins is None else first & begins[:, None]
    last = last if ends is None else last & ends[:, None]
    E = E.masked_fill(~attention_mask[..., None], 0)
    E = torch.where(first[..., None], E + start, E)
    return torch.where(last[..., None], E + end, E)


def path_score(E: Emissions, A: Transitions, y: Int[Tensor, "B T"], attention_mask: Words) -> Float[Tensor, " B"]:
    r"""s(x, y) [B] = Σₜ E[t, yₜ] + Σₜ A[yₜ, yₜ₊₁].  F31."""
    y = y.masked_fill(~attention_mask, 0)
    emissions, steps = E.gather(2, y[..., None])[..., 0], A[y[:, :-1], y[:, 1:]]  # [B, T], [B, T−1]
    return emissions.masked_fill(~attention_mask, 0).sum(1) + steps.masked_fill(~attention_mask[:, 1:], 0).sum(1)


def log_z(E: Emissions, A: Transitions, attention_mask: Words) -> Float[Tensor, " B"]:
    r"""log Z [B] = log Σⱼ exp α_last(j).  F31.

    α₁(j) = E[1, j],   αₜ(j) = E[t, j] + log Σᵢ exp(αₜ₋₁(i) + A[i, j]);   in padding α does not change.
    """
    alpha = E[:, 0]
    for t in range(1, E.size(1)):
        step = E[:, t] + log_sum_exp(alpha[:, :, None] + A, dim=1)  # [B, i, j] → [B, j]
        alpha = torch.where(attention_mask[:, t, None], step, alpha)
    return log_sum_exp(alpha, dim=1).masked_fill(~attention_mask[:, 0], 0)


def log_sum_exp(scores: Tensor, dim: int) -> Tensor:
    """log Σ exp. Where every score is −∞ the sum is −∞, and the gradient is 0 and not NaN, as of a step never taken."""
    none = (scores == FORBIDDEN).all(dim, keepdim=True)
    return scores.masked_fill(none, 0).logsumexp(dim).masked_fill(none.squeeze(dim), FORBIDDEN)


def loss_by_autograd(E: Emissions, A: Transitions, y: Int[Tensor, "B T"], attention_mask: Words) -> Float[Tensor, " B"]:
    r"""−log P(y ∣ x) = log Z − s(x, y) of each sentence [B], in nats.  F31."""
    return log_z(E, A, attention_mask) - path_score(E, A, y, attention_mask)


def loss_by_hand(E: Emissions, A: Transitions, y: Int[Tensor, "B T"], attention_mask: Words) -> Float[Tensor, " B"]:
    """`loss_by_autograd` with the gradient by hand: equal results in less time (`minilm bench crf`)."""
    return _LossByHand.apply(E, A, y, attention_mask)


class _LossByHand(torch.autograd.Function):
    r"""−log P, and its gradient from the probabilities of tags and steps: expected counts minus true counts.  F31.

    With leftₜ₊₁(j) = log Σᵢ exp(αₜ(i) + A[i, j]), a path that is in tag j at word t + 1 came from tag i with the probability
        wₜ(i ∣ j) = exp(αₜ(i) + A[i, j] − leftₜ₊₁(j)),
    so that the probabilities p of tags and q of steps follow from the last word to the first, without a single logarithm:
        p_last = softmax(α_last),   qₜ(i, j) = wₜ(i ∣ j) pₜ₊₁(j),   pₜ(i) = Σⱼ qₜ(i, j).
    A path uses E[t, j] if yₜ = j, and A[i, j] at each of its steps from i to j. Hence
        ∂loss/∂E = p − onehot(y),   ∂loss/∂A = Σₜ qₜ − onehot(yₜ) onehot(yₜ₊₁)ᵀ.
    (`formulas/crf.py` has p and q from α and β. They are the same numbers, but β would cost a second loop of logarithms.)
    """

    @staticmethod
    def forward(ctx, E, A, y, attention_mask):
        message, messages, A_T = torch.zeros_like(E[:, 0]), [], A.T.contiguous()
        for emissions in E.unbind(1):
            messages.append(message)
            message = torch.logsumexp((message + emissions)[:, None, :] + A_T, dim=-1)  # [B, j, i] → [B, j]
        left = torch.stack(messages, dim=1)  # in padding it goes on, and nobody reads it there
        alpha = E + left
        last = (attention_mask.sum(1) - 1).clamp(min=0)
        log_z = alpha[torch.arange(len(E), device=E.device), last].logsumexp(-1)
        ctx.save_for_backward(A, y, attention_mask, left, alpha, last)
        return (log_z - path_score(E, A, y, attention_mask)).masked_fill(~attention_mask[:, 0], 0)

    @staticmethod
    def backward(ctx, upstream):
        if torch.is_grad_enabled():  # create_graph=True would silently be wrong: the saved tensors have no history
            raise RuntimeError("the CRF's gradient by hand cannot be differentiated again: pass by_hand=False")
        A, y, attention_mask, left, alpha, last = ctx.saved_tensors
        (B, T, K), upstream = alpha.shape, upstream * attention_mask[:, 0]
        rows = torch.arange(B, device=A.device)
        onehot = torch.zeros_like(alpha).scatter_(-1, y.masked_fill(~attention_mask, 0)[..., None], 1)
        onehot *= attention_mask[..., None]
        left = left.masked_fill(
            left == FORBIDDEN, 0
        )  # nothing leads to such a tag: −∞ − 0 and not −∞ − (−∞), so w is 0
        w = (alpha[:, :-1, None, :] + A.T - left[:, 1:, :, None]).exp()  # [B, T−1, j, i]
        p = torch.zeros_like(alpha)  # times `upstream`, like everything from here on
        p[rows, last] = alpha[rows, last].softmax(-1) * upstream[:, None]
        for t in range(T - 2, -1, -1):  # p is 0 in padding, so that each row begins at its own last word
            p[:, t] += torch.bmm(p[:, t + 1, None], w[:, t])[:, 0]
        q = p[:, 1:, :, None] * w  # [B, T−1, j, i]
        true = onehot * upstream[:, None, None]
        taken = true[:, :-1].reshape(-1, K).T @ onehot[:, 1:].reshape(-1, K)
        return p - true, q.sum((0, 1)).T - taken, None, None


def viterbi(E: Emissions, A: Transitions, attention_mask: Words) -> tuple[Int[Tensor, "B T"], Float[Tensor, " B"]]:
    r"""The best path ŷ [B, T] (−100 in padding) and its score [B].  F31.

    This is `log_z` with max instead of log Σ exp: δₜ(j) = E[t, j] + maxᵢ (δₜ₋₁(i) + A[i, j]). Each j remembers its best i,
    and the path is read backwards along these memories. If scores are equal, the lower tag wins.
    """
    delta, came_from = E[:, 0], []
    stay = torch.arange(E.size(2), device=E.device)
    for t in range(1, E.size(1)):
        best, i = (delta[:, None, :] + A.T).max(dim=-1)  # [B, j, i] → [B, j]
        word = attention_mask[:, t, None]
        came_from.append(torch.where(word, i, stay))  # in padding, keep the tag
        delta = torch.where(word, E[:, t] + best, delta)
    score, tag = delta.max(dim=-1)
    path = [tag]
    for memory in reversed(came_from):
        path.append(memory.gather(1, path[-1][:, None])[:, 0])
    y_hat = torch.stack(path[::-1], dim=1)
    return y_hat.masked_fill(~attention_mask, IGNORED), score.masked_fill(~attention_mask[:, 0], 0)


class CRF(nn.Module):
    """The scores A, start and end, which are learned, on emissions E that another module computes.  F31.

    All of them start at 0: at first, the loss is the cross-entropy of the softmax at each word, and Viterbi is its argmax.
    `allowed` [K + 1, K + 1] says which steps are possible: `allowed[i, j]` from tag i to tag j, `allowed[K, j]` from the start
    to tag j, and `allowed[i, K]` from tag i to the end. If it is None, all are.

    Raises InputError if `allowed` has another shape, for shapes that do not fit, for a word after padding, and for true tags
    that are outside 0 … K − 1 or take a step that is not allowed.
    """

    decays = (
        False  # A is a table of scores for pairs of tags, whose size is a matter of the data: see `parameter_groups`
    )

    def __init__(self, tags: int, allowed: Bool[Tensor, "_ _"] | None = None):
        super().__init__()
        if allowed is not None and allowed.shape != (tags + 1, tags + 1):
            raise InputError(f"allowed is {list(allowed.shape)} and must be {[tags + 1] * 2} for {tags} tags.")
        self.A = nn.Parameter(torch.zeros(tags, tags))
        self.start = nn.Parameter(torch.zeros(tags))
        self.end = nn.Parameter(torch.zeros(tags))
        self.forbidden = None if allowed is None else ~allowed  # no buffer: it is no weight, and not saved as one

    def forward(
        self,
        E: Emissions,
        y: Int[Tensor, "B T"],
        attention_mask: Words | None = None,
        begins: Bool[Tensor, " B"] | None = None,
        ends: Bool[Tensor, " B"] | None = None,
        by_hand: bool = True,
    ) -> Float[Tensor, " B"]:
        """−log P(y ∣ x) of each sentence [B], in nats. For `begins` and `ends`, see `with_borders`."""
        E, A, attention_mask = self.scores(E, attention_mask, begins, ends)
        counted = y[attention_mask]
        if counted.numel() and not (counted.min() >= 0 and counted.max() < E.size(2)):
            raise InputError(
                f"y has tags outside 0 … {E.size(2) - 1}; mark positions that do not count in attention_mask."
            )
        loss = (loss_by_hand if by_hand else loss_by_autograd)(E, A, y, attention_mask)
        if self.forbidden is not None and loss.isinf().any():
            row = int(loss.isinf().nonzero()[0])
            raise InputError(
                f"the true tags of sentence {row} of the batch take a step that the CRF's constraints forbid."
            )
        return loss

    def log_z(self, E: Emissions, attention_mask: Words | None = None) -> Float[Tensor, " B"]:
        """log Z of each sentence [B]."""
        return log_z(*self.scores(E, attention_mask))

    def viterbi(
        self, E: Emissions, attention_mask: Words | None = None
    ) -> tuple[Int[Tensor, "B T"], Float[Tensor, " B"]]:
        """The best path ŷ [B, T] (−100 in padding) and its score [B]."""
        return viterbi(*self.scores(E, attention_mask))

    def scores(
        self,
        E: Emissions,
        attention_mask: Words | None = None,
        begins: Bool[Tensor, " B"] | None = None,
        ends: Bool[Tensor, " B"] | None = None,
    ) -> tuple[Emissions, Transitions, Words]:
        """E with start and end, A with −∞ for the steps that are not allowed, and the mask: what the functions above take."""
        if E.ndim != 3 or E.size(2) != len(self.start) or not E.size(1):
            raise InputError(f"E is {list(E.shape)} and must be [B, T, {len(self.start)}] with at least one position.")
        if attention_mask is None:
            attention_mask = torch.ones(E.shape[:2], dtype=torch.bool, device=E.device)
        elif (attention_mask[:, 1:] & ~attention_mask[:, :-1]).any():
            raise InputError("attention_mask has a word after padding: move the words of each row to its beginning.")
        A: Tensor = self.A
        start: Tensor = self.start
        end: Tensor = self.end
        if self.forbidden is not None:
            forbidden = self.forbidden.to(E.device)
            A = A.masked_fill(forbidden[:-1, :-1], FORBIDDEN)
            start, end = (
                start.masked_fill(forbidden[-1, :-1], FORBIDDEN),
                end.masked_fill(forbidden[:-1, -1], FORBIDDEN),
            )
        return with_borders(E, start, end, attention_mask, begins, ends), A, attention_mask
