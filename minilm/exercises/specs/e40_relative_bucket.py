r"""The bucket of a distance, for a relative bias.  F21.  30 minutes, medium."""

import math

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


def flawed(offset, buckets, farthest, wrong=frozenset()):
    if "ignores_buckets" in wrong:
        buckets = 32
    if "ignores_farthest" in wrong:
        farthest = 128
    if "all_for_each" in wrong:
        buckets = 2 * buckets
    E, n = buckets // 4, np.abs(offset)
    if "from_1" in wrong:
        n = n + 1
    far, cap = distant(np.maximum(n, 1), E, farthest, wrong), 2 * E - 1
    if "cap_one_late" in wrong:
        cap += 1
    if "no_cap" not in wrong and "cap_at_the_end" not in wrong:
        far = np.minimum(far, cap)
    found = np.where(n < E, n, far)
    if "one_bucket" in wrong:
        found = np.where(n < E, n, E)
    if "clipped" in wrong:
        found = np.minimum(n, cap)
    if "mirrored" in wrong:
        found = 2 * E - 1 - found
    after = offset >= 0 if "zero_after" in wrong else offset < 0 if "direction" in wrong else offset > 0
    if "one_side" in wrong:
        return found
    if "negative" in wrong:
        return np.where(after, -found, found)
    if "interleaved" in wrong:
        return 2 * found + after
    found = found + after * (E if "quarter" in wrong else 2 * E)
    return np.minimum(found, buckets - 1) if "cap_at_the_end" in wrong else found


def distant(n, E, farthest, wrong):
    """The bucket of a distance n ≥ E, before it is capped."""
    top, bottom = np.log(n / E), np.log(farthest / E)
    for key, other in {
        "log_n": np.log(n),
        "base_2": np.log2(n / E),
        "base_10": np.log10(n / E),
        "whole_ratio": np.log(np.maximum(n // E, 1)),
        "upside_down": np.log(E / n),
        "plus_1": np.log((n + 1) / E),
    }.items():
        top = other if key in wrong else top
    for key, other in {"log_farthest": np.log(farthest), "by_2E": np.log(farthest / (2 * E) + 1)}.items():
        bottom = other if key in wrong else bottom
    growth = (2 * E if "twice" in wrong else 1 if "no_factor" in wrong else E) * top / bottom
    if "linear" in wrong:
        growth = E * (n - E) / (farthest - E)
    if "root" in wrong:
        growth = E * np.sqrt(np.maximum(n - E, 0) / (farthest - E))
    if "unrounded" not in wrong:
        growth = np.round(growth) if "round" in wrong else np.ceil(growth) if "up" in wrong else np.floor(growth + 1e-9)
    return growth if "no_start" in wrong else E + growth


MISTAKES = """  key · what it looks like · a question
direction · keys before the query get the upper half, and keys after it the lower half ·
    the offset is s − t: is it positive for a key before the query or for one after it?
zero_after · the offset 0 counts as a key after the query ·
    does a token stand after itself?
one_side · both directions share the same buckets ·
    can a head that has one number for "one token away" look only to the left?
negative · keys after the query get negative numbers ·
    the numbers are rows of a table: which row is number −3?
interleaved · keys before and after the query take turns: even numbers for one, odd numbers for the other ·
    which numbers does the lower half of the buckets have?
quarter · keys after the query begin at a quarter of the buckets, so the two directions overlap ·
    how many buckets does each direction have: E or 2E?
no_cap · the far distances are not capped ·
    which bucket gets a distance of ten times `farthest`, and does it belong to the right direction?
cap_at_the_end · the cap is applied only after the direction was added ·
    which bucket gets a key that stands very far before the query, and does that bucket belong to keys before it?
cap_one_late · the cap is one bucket too high ·
    a direction has 2E buckets, counted from 0: what is the number of the last one?
clipped · every distance has a bucket of its own up to the cap: there is no logarithm ·
    with 12 buckets, how far can such a model see?
one_bucket · all far distances share a single bucket ·
    how many buckets does each direction have beyond the first E?
mirrored · the buckets of a direction are counted from far to near ·
    which bucket should the offset 0 have?
from_1 · every distance is counted one too high ·
    how far is a token from itself?
all_for_each · each direction gets all buckets, so there are twice as many ·
    `buckets` is the number for both directions together: how many are left for one?
ignores_buckets · there are always 32 buckets ·
    which argument says how many rows the table has?
ignores_farthest · the last bucket always begins as if `farthest` were 128 ·
    which argument says where the logarithm ends?
log_n · the logarithm is taken of n, not of n / E ·
    which bucket should n = E have, and what is log 1?
log_farthest · the logarithm below the line is that of `farthest`, not of `farthest` / E ·
    at n = `farthest`, what should the fraction be?
by_2E · the logarithm below the line is that of another ratio than `farthest` / E ·
    at n = `farthest`, what should the fraction be?
base_2 · the logarithm above the line has base 2, the one below has base e ·
    the base cancels in a fraction of two logarithms: when?
base_10 · the logarithm above the line has base 10, the one below has base e ·
    the base cancels in a fraction of two logarithms: when?
whole_ratio · n / E is rounded down before the logarithm: // stands where / belongs ·
    which ratios n / E does your logarithm see?
upside_down · the ratio is E / n, not n / E ·
    is your logarithm positive or negative for a distance beyond E?
plus_1 · the logarithm is taken of (n + 1) / E ·
    the logarithm is needed only for n ≥ E: does it have to be kept from log 0 there?
twice · the logarithm is multiplied by 2E, not by E ·
    the near distances have used up E of the 2E buckets: how many are left?
no_factor · the fraction of the logarithms is not multiplied by E ·
    between which numbers does the fraction lie, and how many buckets should it fill?
no_start · the far buckets begin at 0 again, not at E ·
    which bucket should n = E have, and which one has n = 0?
linear · the far buckets all have the same width ·
    should 100 and 101 tokens away be as different as 10 and 11?
root · the far buckets grow with a square root, not with a logarithm ·
    by which factor should the borders of the buckets grow?
round · the fraction is rounded to the nearest whole number ·
    ⌊ ⌋ are not the brackets of rounding: what is ⌊2.7⌋?
up · the fraction is rounded up ·
    ⌊ ⌋ and ⌈ ⌉ are different brackets: what is ⌊2.7⌋?
unrounded · the far buckets are not rounded at all ·
    the numbers are rows of a table: which row is number 9.5?
"""


def loops(offset, buckets, farthest):
    E, found = buckets // 4, np.zeros(np.shape(offset), dtype=int)
    for place in np.ndindex(found.shape):
        n = abs(int(offset[place]))
        if n >= E:
            n = min(2 * E - 1, E + int(math.log(n / E, farthest / E) * E))
        found[place] = n + (buckets // 2 if offset[place] > 0 else 0)
    return found


def borders(offset, buckets, farthest):
    """Count how many buckets of the direction begin at this distance or before it."""
    E = buckets // 4
    begins = np.concatenate([np.arange(1, E), E * (farthest / E) ** (np.arange(E) / E)])
    return np.searchsorted(begins, np.abs(offset), side="right") + np.where(offset > 0, buckets // 2, 0)


def two_halves(offset, buckets, farthest):
    half = buckets // 2
    before, after = np.maximum(-offset, 0), np.maximum(offset, 0)
    return (one_way(before + after, half, farthest) + half * np.sign(after)).astype(np.int64)


def one_way(n, half, farthest):
    near = half // 2
    with np.errstate(divide="ignore"):
        share = (np.log2(n) - np.log2(near)) / (np.log2(farthest) - np.log2(near))
    far = near + np.floor((half - near) * np.clip(share, 0, 1))
    return np.where(n < near, n, np.clip(far, None, half - 1))


def a_table(offset, buckets, farthest):
    """The buckets of all distances that can differ, and then a look-up."""
    E = buckets // 4
    table = list(range(E))
    for n in range(E, farthest + 1):
        while len(table) <= n:
            table.append(min(E + math.floor(E * math.log(n / E) / math.log(farthest / E)), 2 * E - 1))
    return np.array(table)[np.minimum(np.abs(offset), farthest)] + (offset > 0) * 2 * E


def probes(rng):
    T, S = int(rng.integers(40, 50)), int(rng.integers(25, 35))
    return {
        "all pairs of two texts": {"offset": np.arange(S) - np.arange(T)[:, None], "buckets": 12, "farthest": 20},
        "a few offsets": {"offset": rng.permutation(np.arange(-60, 61)), "buckets": 20, "farthest": 47},
        "many buckets": {"offset": rng.permutation(np.arange(-90, 91)), "buckets": 28, "farthest": 61},
        "a square": {"offset": np.arange(8) - np.arange(8)[:, None], "buckets": 8, "farthest": 7},
    }


def edges(rng):
    return {
        "one bucket near and one far, in each direction": {"offset": np.arange(-9, 10), "buckets": 4, "farthest": 7},
        "a single offset": {"offset": np.array([-3]), "buckets": 8, "farthest": 9},
        "the offset 0": {"offset": np.zeros((2, 3), dtype=int), "buckets": 12, "farthest": 20},
        "very far away": {"offset": np.array([-100_000, 99_999, 150, -150]), "buckets": 12, "farthest": 150},
        "offsets with three axes": {"offset": rng.integers(-70, 70, size=(2, 3, 5)), "buckets": 20, "farthest": 47},
        "the usual numbers": {"offset": np.array([-130, -91, -90, -12, -8, -1, 0, 7, 11, 33, 63, 90, 91, 200]),
                              "buckets": 32, "farthest": 128},
    }  # fmt: skip


def both_ways(rng):
    n = rng.integers(1, 80, size=9)
    return {
        "keys before": {"offset": -n, "buckets": 12, "farthest": 20},
        "keys after": {"offset": n, "buckets": 12, "farthest": 20},
    }


EXERCISE = Exercise(
    target="minilm.formulas.positions.bucket",
    section=("06", "A bias by relative position"),
    task="A relative bias has one learned number per head and *bucket* of distances. Find the bucket of each offset s − t of a "
    "key s and a query t: near distances have a bucket each, far ones share buckets that grow by a constant factor, and "
    "keys after the query have buckets of their own. The offsets may have any number of axes.",
    returns={"bucket": "place"},
    tiny=lambda: {"offset": np.array([-40, -9, -3, -1, 0, 1, 3, 9, 40]), "buckets": 12, "farthest": 20},
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "+δ lies half of all buckets above −δ",
            both_ways,
            lambda before, after: (after - before == 6).all() and (before < 6).all(),
        ),
    ),
    forbidden=("positions.bucket", "relative_position_bucket"),
    steps=(
        "the distance n = |s − t|, and the number E of near distances",
        "the bucket of a far distance: rounded down, and never more than the last one of its direction",
        "near or far, and then the direction",
    ),
    right={"loops": loops, "borders": borders, "two halves": two_halves, "a table": a_table},
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "Whether a word stands 2 or 3 tokens away matters a lot; whether it stands 82 or 83 away hardly matters. So near "
        "distances are counted one by one, and far ones on a ruler whose marks lie further and further apart.",
        "n = absolute values [..], E = a quarter of the buckets. Where n < E the bucket is n. Elsewhere it is E plus the share "
        "log(n / E) / log(farthest / E) of E, rounded down and capped at 2E − 1 (n must not be 0 inside the logarithm). "
        "Then add 2E where the offset is positive.",
        "share = log of (n, at least 1, over E), over log of farthest over E;  far = E plus floor of E times share, capped;  "
        "answer = where n is near: n, else far;  plus 2E where offset > 0",
    ),
)
