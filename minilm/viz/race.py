"""The picture of a race: the held-out loss of several contenders over the minutes of their own clocks."""

from collections.abc import Mapping

from matplotlib import style

from minilm.errors import InputError
from minilm.viz.plots import COLOURS, CURVES, GREY, MARKERS, STYLE, Picture, Rows, Target, label_ends, numbers, reached

TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 240, 480)


@style.context(STYLE)
def race(curves: Mapping[str, Rows], target: int | float, path: Target = None) -> Picture:
    """Held-out masked-word loss (nats) over minutes, on a logarithmic scale, and the loss that was to be reached.

    `curves`: name → rows with seconds and mlm_loss. The legend says when each reached the target. The scale begins at the
    earliest second measurement, because the start of the clock has no place on it. Raises InputError if there is nothing to
    draw or a number is missing.
    """
    if not curves:
        raise InputError(
            "There is no race to draw: give at least one contender, name → rows with seconds and mlm_loss."
        )
    figure = Picture(8.5, 5.2)
    axis = figure.subplots()
    ends: list[tuple[float, float, str, str]] = []
    first: list[float] = []
    last: list[float] = []
    for i, (name, rows) in enumerate(curves.items()):
        x, y = (numbers(rows, key, f"contender {name!r}") for key in ("seconds", "mlm_loss"))
        x, colour = x / 60, COLOURS[i % len(COLOURS)]
        seconds = reached(rows, target, "seconds")
        when = f"{target:g} after {seconds / 60:.1f} min" if seconds is not None else f"{target:g} not reached"
        every = max(1, len(x) // 12)  # a marker at every measurement would be a band
        axis.plot(x, y, color=colour, marker=MARKERS[i % len(MARKERS)], markevery=every, label=f"{name}: {when}")
        ends.append((x[-1], y[-1], f"{y[-1]:.2f}", colour))
        first.append(x[min(1, len(x) - 1)])
        last.append(x[-1])
    axis.set(xscale="log", xlabel="minutes", xlim=(0.9 * max(min(first), 1e-4), 1.1 * max(last)))
    axis.set_title(CURVES["mlm_loss"])
    low, high = axis.get_xlim()
    axis.set_xticks(ticks := [tick for tick in TICKS if low <= tick <= high], [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.axhline(target, color=GREY, ls=":")
    axis.grid(axis="y")
    figure.legend(handles=list(axis.lines[: len(curves)]), loc="outside lower center", ncols=1)
    label_ends(axis, ends)
    return figure.written(path)
