r"""Schematics of BERT: its input, its two objectives, and the heads for fine-tuning.  F07, F21, F23, F25, F26, F31."""

from minilm.viz.schematics.kit import Schematic

PAIR = ("[CLS]", "it", "rained", "[SEP]", "we", "stayed", "home", "[SEP]")
WIDTHS = (48, 88, 48, 124, 48)  # of the boxes of a pair: [CLS], a sentence, [SEP], a sentence, [SEP]


def bert_input() -> Schematic:
    r"""BERT's input for a pair of sentences: LayerNorm(token + segment + position), one vector per token.  F21.

    This is the published BERT, with learned positions. With positions "relative" or "rotary" the third row is missing, because
    attention itself knows how far apart two tokens are.
    """
    picture = Schematic(
        716, 404, "BERT's input: for each token, the sum of a token, a segment and a position embedding."
    )
    first, step, width = 158, 72, 62
    segments = ["A"] * 4 + ["B"] * 4
    rows = (("tokens", "table [V, C]", 108), ("segments", "table [2, C]", 172), ("positions", "table [L, C]", 236))
    picture.write(14, 44, "input", bold=True, align="left")
    picture.remark(14, 58, "input_ids  [B, T]", align="left")
    for name, table, y in rows:
        picture.write(14, y - 6, name, bold=True, align="left")
        picture.remark(14, y + 9, table, align="left")
    for y in (140, 204):
        picture.write(14 + 8, y, "+", 13, align="left")
    for t, word in enumerate(PAIR):
        x = first + step * t
        token = picture.box(x, 46, width, 26, word, kind="text", size=9)
        inner = (f"E({word})", f"E({segments[t]})", f"E({t})")
        boxes = [picture.box(x, y, width, 30, name, kind="learned", size=9) for name, (_, _, y) in zip(inner, rows)]
        picture.arrow(token.bottom(), boxes[0].top())
        for upper, lower in zip(boxes, boxes[1:]):
            picture.write(x, (upper.y + lower.y) / 2, "+", 13)
        picture.arrow(boxes[-1].bottom(), (x, 289))
    norm = picture.box(first + step * 3.5, 304, step * 7 + width, 30, "LayerNorm, dropout", kind="operation")
    picture.arrow(norm.bottom(), (norm.x, 358), shape="[B, T, C]")
    picture.box(norm.x, 375, 150, 30, "first block", kind="operation")
    picture.remark(norm.x + 96, 368, "With relative or rotary positions,", "the third row is missing.", align="left")
    return picture


def masked_and_causal() -> Schematic:
    r"""What a masked and a causal language model may see, and what each of them predicts.  F23, F25.

    A masked model sees both sides and predicts the tokens that were hidden; its other labels are −100. A causal model sees
    what stands on the left and predicts the next token at every position.
    """
    picture = Schematic(720, 424, "Masked and causal training: which tokens each prediction sees.")
    picture.frame(12, 12, 342, 400, "masked")
    picture.frame(366, 12, 342, 400, "causal")
    picture.remark(24, 48, "sees both sides, predicts what is hidden", align="left")
    picture.remark(378, 48, "sees the left side, predicts the next token", align="left")
    words = ("the", "cat", "sat", "down")
    for left, causal in ((12, False), (366, True)):
        x = [left + 54 + 78 * t for t in range(4)]
        given = words if causal else ("the", "[MASK]", "sat", "down")
        target = ("cat", "sat", "down", "…") if causal else ("–", "cat", "–", "–")
        tokens = []
        for t in range(4):
            tokens.append(picture.box(x[t], 336, 62, 28, given[t], kind="marked" if given[t] == "[MASK]" else "text"))
        asked = range(4) if causal else [1]
        for t in asked:
            for s in range(t + 1) if causal else range(4):
                picture.arrow(tokens[s].top(), (x[t], 196), kind="tensor line", head=False)
        for t in range(4):
            state = picture.box(
                x[t],
                180,
                62,
                32,
                "logits" if t in asked else "–",
                *(["[V]"] if t in asked else []),
                kind="tensor" if t in asked else "muted",
            )
            label = picture.box(x[t], 108, 62, 28, target[t], kind="marked" if t in asked else "muted")
            if t in asked:
                picture.arrow(state.top(), label.bottom(), shape="loss", dashed=True, head=False)
        picture.write(left + 12, 82, "labels", 9, align="left", colour="soft")
        picture.write(left + 12, 364, "input_ids  [B, T]", 9, align="left", colour="soft")
    picture.remark(
        24,
        384,
        "A line means: this prediction sees this token.",
        "A loss only where a token is hidden; other labels: −100.",
        align="left",
    )
    picture.remark(
        378, 384, "A line means: this prediction sees this token.", "A loss at every position.", align="left"
    )
    return picture


def next_sentence() -> Schematic:
    r"""How the pairs for next-sentence prediction are made, and what decides: [CLS], pooled, two logits.  F26.

    Label 0 means "is next", as in the published weights; in the pair with label 1, the second sentence is from elsewhere.
    """
    picture = Schematic(
        720, 378, "Next-sentence prediction: a true pair and a false pair, and the classifier on [CLS]."
    )
    slots = {name: 192 + sum(WIDTHS[:i]) + WIDTHS[i] / 2 for i, name in enumerate(("cls", "first", "sep", "second"))}
    picture.write(14, 40, "one document", bold=True, align="left")
    rained = picture.box(slots["first"], 40, 84, 26, "It rained.", kind="text", size=9)
    home = picture.box(slots["second"], 40, 120, 26, "We stayed home.", kind="text", size=9)
    picture.write(14, 106, "a true pair", bold=True, align="left")
    pair(picture, 106, "It rained.", "We stayed home.", "0: is next")
    picture.write(14, 172, "a false pair", bold=True, align="left")
    pair(picture, 172, "It rained.", "Tea grows on hills.", "1: is not next")
    picture.write(14, 238, "another document", bold=True, align="left")
    tea = picture.box(slots["second"], 238, 120, 26, "Tea grows on hills.", kind="text", size=9)
    picture.arrow(rained.bottom(), (slots["first"], 93))
    picture.arrow((slots["first"], 119), (slots["first"], 159))
    picture.arrow(home.bottom(), (slots["second"], 93))
    picture.arrow(tea.top(), (slots["second"], 185))
    picture.write(14, 292, "what decides", bold=True, align="left")
    ids = picture.box(70, 340, 112, 40, "a pair", "[B, T]")
    encoder = picture.box(222, 340, 84, 40, "encoder", kind="learned")
    pooler = picture.box(382, 340, 112, 40, "pooler", "tanh(W x + b), [CLS]", kind="learned")
    head = picture.box(536, 340, 70, 40, "W, b", "[C, 2]  [2]", kind="learned")
    logits = picture.box(664, 340, 72, 40, "logits", "[B, 2]")
    for left, right, shape in ((ids, encoder, "[B, T]"), (encoder, pooler, "[B, T, C]"), (pooler, head, "[B, C]")):
        picture.arrow(left.right(), right.left(), shape=shape)
    picture.arrow(head.right(), logits.left(), shape="[B, 2]")
    picture.key(420, 292, "text", "tensor", "learned")
    return picture


def pair(picture: Schematic, y: float, first: str, second: str, label: str) -> None:
    """Draw [CLS] first [SEP] second [SEP] and its label."""
    left = 192.0
    for word, width in zip(("[CLS]", first, "[SEP]", second, "[SEP]"), WIDTHS):
        kind = "marked" if word == "[CLS]" else "text"
        picture.box(left + width / 2, y, width - 4, 26, word, kind=kind, size=9)
        left += width
    picture.arrow((left, y), (left + 46, y), dashed=True)
    picture.box(646, y, 96, 26, label, kind="muted", size=9)


def fine_tuning_heads() -> Schematic:
    r"""Three heads on one encoder: one label per text, one per token, and a CRF that scores the tags together.  F07, F31."""
    picture = Schematic(720, 470, "One pretrained encoder with three heads: text, token, and token with a CRF.")
    picture.box(360, 442, 300, 28, "input_ids  [B, T]")
    encoder = picture.box(
        360, 372, 680, 46, "the pretrained encoder", "the same weights under every head", kind="learned"
    )
    picture.arrow((360, 428), encoder.bottom(), shape="[B, T]")
    for x, heading, what in (
        (130, "text", "one label per text"),
        (360, "token", "one tag per token"),
        (590, "token + CRF", "the best path of tags"),
    ):
        picture.frame(x - 110, 12, 220, 318, heading)
        picture.remark(x - 98, 46, what, align="left")
    pool = picture.box(130, 276, 150, 40, "one vector", "pooled [CLS], or the mean", kind="operation")
    picture.arrow((130, 349), pool.bottom(), shape="[B, T, C]")
    head = picture.box(130, 200, 96, 40, "W⁰, b⁰", "[C, K]  [K]", kind="learned")
    picture.arrow(pool.top(), head.bottom(), shape="[B, C]")
    logits = picture.box(130, 104, 96, 38, "logits", "[B, K]")
    picture.arrow(head.top(), logits.bottom(), shape="[B, K]")
    for x in (360, 590):
        head = picture.box(x, 240, 96, 40, "W⁰, b⁰", "[C, K]  [K]", kind="learned")
        picture.arrow((x, 349), head.bottom(), shape="[B, T, C]")
        if x == 360:
            logits = picture.box(x, 104, 96, 38, "logits", "[B, T, K]")
            picture.arrow(head.top(), logits.bottom(), shape="[B, T, K]")
        else:
            crf = picture.box(x, 164, 150, 40, "CRF", "transitions A [K, K]", kind="learned")
            picture.arrow(head.top(), crf.bottom(), shape="emissions  [B, T, K]")
            path = picture.box(x, 88, 96, 38, "best path", "[B, T]")
            picture.arrow(crf.top(), path.bottom(), shape="[B, T]")
    return picture
