"""Pictures of a model that is taken apart: the parts beside the whole, and which positions carry an answer.  F36."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import style

from minilm.errors import InputError
from minilm.viz.plots import COLOURS, GREY, INK, STYLE, Picture, Target

Records = Sequence[Mapping[str, Any]]
HATCHES = ("", "//", "..", "xx")


def arms_of(records: Records) -> dict[str, list[Mapping[str, Any]]]:
    """The records of each arm. Raises InputError if there are none."""
    if not records:
        raise InputError("There is nothing to draw: give at least one record of a model that was taken apart.")
    arms = dict.fromkeys(record["arm"] for record in records)
    return {arm: [record for record in records if record["arm"] == arm] for arm in arms}


@style.context(STYLE)
def parts_and_whole(records: Records, sums: Mapping[str, str], path: Target = None) -> Picture:
    """Left, two sums over single parts for every arm, as shares of the whole (the line at 1), with a dot for each seed; right,
    a map per arm of what each head is worth, in the mean over the seeds.

    `records`: "arm", the shares under the names in `sums` (where the whole is large enough), "heads" and "places", the
    layer and the number of each. `sums`: name → what it is called. Raises InputError if there is nothing to draw.
    """
    arms = arms_of(records)
    figure = Picture(11.5, 1.05 * len(arms) + 1.6)
    left, *maps = figure.subplot_mosaic(
        [["left", f"map {i}"] for i in range(len(arms))], width_ratios=(3, 1.4)
    ).values()
    for number, (name, says) in enumerate(sums.items()):
        for place, mine in enumerate(arms.values()):
            found = [record[name] for record in mine if name in record]
            y = place + (number - (len(sums) - 1) / 2) * 0.8 / len(sums)
            height, colour = 0.7 / len(sums), COLOURS[number]
            left.barh(
                y,
                np.mean(found) if found else 0,
                height,
                color=colour,
                alpha=0.75,
                hatch=HATCHES[number],
                edgecolor="white",
                label=says if not place else None,
            )
            left.plot(found, [y] * len(found), "o", color=INK, markersize=4)
            if not found:
                left.text(1.08, y, "the whole is too small", va="center", fontsize=9, color=GREY)
    left.axvline(1, color=INK, lw=1.2, label="the sum of the parts is the whole")
    left.set(yticks=range(len(arms)), xlabel="sum over single heads / all heads together (nats)")
    left.set_yticklabels([arm.replace(", ", ",\n") for arm in arms])
    left.invert_yaxis()
    left.grid(axis="x")
    left.legend(handles=left.get_legend_handles_labels()[0], loc="lower center", bbox_to_anchor=(0.5, 1), ncols=1)
    for axis, mine in zip(maps, arms.values(), strict=True):
        worth = np.mean([record["heads"] for record in mine], axis=0)
        places = np.array(mine[0]["places"])
        grid = np.full(places.max(axis=0) + 1, np.nan)
        grid[places[:, 0], places[:, 1]] = worth
        most = max(float(np.nanmax(abs(grid))), 1e-9)
        axis.imshow(grid, cmap="PuOr_r", vmin=-most, vmax=most, aspect="auto")
        for (layer, head), value in zip(places.tolist(), worth.tolist(), strict=True):
            dark = abs(value) > 0.6 * most
            axis.text(head, layer, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if dark else INK)
        axis.set(xticks=[], yticks=range(len(grid)))
        axis.set_yticklabels([f"layer {i + 1}" for i in range(len(grid))], fontsize=8)
    maps[0].set_title("what a head is worth (nats)", fontsize=10)
    maps[-1].set_xlabel("heads 1, 2, …", fontsize=9)
    return figure.written(path)


@style.context(STYLE)
def what_is_carried(records: Records, path: Target = None) -> Picture:
    """For every arm, the share of an answer that each group of positions carries, over the levels, in the mean over the seeds.

    `records`: "arm", and under "patched" a list of shares for each group. The dotted line is the sum of the groups. Raises
    InputError if there is nothing to draw.
    """
    arms = arms_of(records)
    figure = Picture(2.9 * len(arms) + 0.4, 3.9)
    axes = figure.subplots(1, len(arms), sharey=True, squeeze=False)[0]
    for axis, (arm, mine) in zip(axes, arms.items(), strict=True):
        axis.set_title(arm.replace(", ", ",\n"), fontsize=11)
        found = [record["patched"] for record in mine if record["patched"]]
        if not found:
            axis.text(0.5, 0.5, "no texts to exchange", ha="center", transform=axis.transAxes, fontsize=9, color=GREY)
            continue
        total: Any = 0
        for number, group in enumerate(found[0]):
            shares = np.mean([patched[group] for patched in found], axis=0)
            total = total + shares
            dash = ("-", "--", "-.", (0, (4, 1, 1, 1, 1, 1)))[number % 4]
            axis.plot(
                range(len(shares)), shares, color=COLOURS[number], ls=dash, marker="os^D"[number % 4], label=group
            )
        axis.plot(range(len(total)), total, color=INK, ls=":", lw=1.5, label="sum")
        axis.axhline(1, color=GREY, lw=0.8)
        axis.set(xticks=range(len(total)), xlabel="behind block (0: embeddings)")
        axis.grid(axis="y")
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), fontsize=9)
    axes[0].set_ylabel("share that is carried")
    return figure.written(path)
