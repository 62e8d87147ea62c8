"""The tables of `minilm dialogue`, as markdown."""

import numpy as np

from minilm.experiments.table import over_seeds

NAMES = {"bigram": "bigram", "gpt-alone": "GPT without history", "lstm": "LSTM", "gpt": "GPT"}


def table(rows: list[dict]) -> str:
    """The table of perplexities, one line per model: mean and standard deviation over the seeds."""
    lines = ["| model | reads | perplexity of the answers | nats per token | training | parameters |"]
    lines.append("|---|---|---:|---:|---:|---:|")
    for name in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == name]
        mean = {key: float(np.mean([row[key] for row in mine])) for key in ("loss", "seconds")}
        perplexity = over_seeds([row["perplexity"] for row in mine], "{:.1f}")
        lines.append(
            f"| {NAMES[name]} | {mine[0]['reads']} | {perplexity} | {mean['loss']:.3f} | "
            f"{mean['seconds']:.0f} s | {mine[0]['parameters']:,} |"
        )
    return "\n".join(lines)


def fewer_table(rows: list[dict]) -> str:
    """The GPT of the table, when it is shown fewer turns than it has learned to read."""
    mine = [row["by_history"] for row in rows if row["model"] == "gpt" and len(row["by_history"]) > 1]
    if not mine:
        return ""
    means = [float(np.mean([each[turns] for each in mine])) for turns in mine[0]]
    head = f"| turns that the GPT is shown | {' | '.join(mine[0])} |\n|---|{'---:|' * len(means)}\n"
    return head + f"| perplexity | {' | '.join(f'{mean:.1f}' for mean in means)} |"


def written_table(written: list[dict]) -> str:
    """The table of how varied the answers are."""
    lines = [
        "| who answers | temperature | tokens | distinct-1 | distinct-2 | different answers | the most frequent one |"
    ]
    lines.append("|---|---:|---:|---:|---:|---:|---|")
    for row in written:
        temperature = "–" if row["temperature"] is None else f"{row['temperature']:g}"
        figures = f"{row['tokens']:.1f} | {row['distinct-1']:.3f} | {row['distinct-2']:.3f} | {row['different']:.0%}"
        name = NAMES.get(row["model"], row["model"])
        lines.append(f"| {name} | {temperature} | {figures} | {row['most_frequent'][:40]} |")
    return "\n".join(lines)


def examples(written: list[dict], messages: list[str]) -> str:
    """A few messages with the answers of people and of the GPT."""
    models = [row for row in written if row["model"] in ("people", "gpt")]
    lines = []
    for number, message in enumerate(messages):
        lines.append(f"* {message}")
        for row in models:
            at = "" if row["temperature"] is None else f", temperature {row['temperature']:g}"
            lines.append(f"    * {NAMES.get(row['model'], row['model'])}{at}: {row['texts'][number]}")
    return "\n".join(lines)
