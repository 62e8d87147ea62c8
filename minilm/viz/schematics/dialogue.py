r"""Schematic of a conversation: whose turn it is, and which tokens count.  F29."""

from minilm.viz.schematics.kit import Schematic

# a conversation as a row of tokens; the turn of each is the letter below it: u the user's, m the model's, - neither
ROW = "[CLS] [USER] hi [SEP] [MODEL] hello ! [SEP] [USER] tea ? [SEP] [MODEL] yes [SEP] [PAD]".split()
WHOSE = "-uuummmmuuuummm-"
STEP, FIRST = 40, 96


def conversation_labels() -> Schematic:
    r"""A conversation as one row of tokens, the labels of the answers alone, and D2's: everything, shifted, padding too.  F29."""
    picture = Schematic(
        744, 306, "A conversation as a row of tokens: the labels are the tokens of the answers, and −100 elsewhere."
    )
    x = [FIRST + 22 + STEP * t for t in range(len(ROW))]
    counted = [t for t, who in enumerate(WHOSE) if who == "m" and ROW[t] != "[MODEL]"]
    for who, name in (("u", "the user's turn"), ("m", "the model's turn")):
        for start in [t for t in range(1, len(ROW)) if WHOSE[t] == who != WHOSE[t - 1]]:
            size = next((n for n, after in enumerate(WHOSE[start:]) if after != who), len(WHOSE) - start)
            picture.write(x[start] + STEP * (size - 1) / 2, 22, name, 9, bold=who == "m")
            edge = (x[start] - 17, 36), (x[start] + STEP * (size - 1) + 17, 36)
            picture.arrow(
                *edge, head=False, width=2.4 if who == "m" else 1.2, kind="ink" if who == "m" else "tensor line"
            )
    heads = (("input_ids", "[B, T]", 58), ("labels", "right", 140), ("labels", "as in D2", 236))
    for name, shape, y in heads:
        picture.write(12, y - 6, name, bold=True, align="left")
        picture.remark(12, y + 9, shape, align="left")
    for t, token in enumerate(ROW):
        picture.box(x[t], 58, STEP - 3, 26, token, kind="muted" if token == "[PAD]" else "text", size=7.2)
        picture.box(
            x[t],
            140,
            STEP - 4,
            26,
            token if t in counted else "−100",
            kind="marked" if t in counted else "muted",
            size=7.2,
        )
        after = ROW[t + 1] if t + 1 < len(ROW) else "[PAD]"
        picture.box(x[t], 236, STEP - 3, 26, after, kind="marked", size=7.2)
    for t in counted:
        picture.arrow((x[t - 1], 71), (x[t], 127), kind="tensor line")
    picture.remark(
        FIRST + 4,
        176,
        "An arrow: the logits at t are asked for the label at t + 1. The objective shifts, once.",
        align="left",
    )
    picture.remark(
        FIRST + 4,
        189,
        "The role is given, the end of an answer is learned: so a model knows when to stop.",
        align="left",
    )
    picture.remark(
        FIRST + 4,
        272,
        "The caller has shifted, and the model shifts again: the logits at t are asked for token t + 2.",
        align="left",
    )
    picture.remark(
        FIRST + 4,
        285,
        "The user's messages and the padding count as well, and nothing hides the padding.",
        align="left",
    )
    return picture
