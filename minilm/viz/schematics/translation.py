r"""Schematics of encoder and decoder: one reads the source, the other writes the target and looks at what was read.  F18, F20."""

from minilm.viz.schematics.kit import Schematic


def encoder_decoder() -> Schematic:
    r"""The encoder reads once; every block of the decoder asks what the encoder has read.  F18, F20."""
    picture = Schematic(
        740, 470, "Encoder and decoder: self-attention in both, and cross-attention from the decoder to the encoder."
    )
    picture.frame(16, 12, 270, 446, "encoder: reads the source once")
    picture.frame(394, 12, 330, 446, "decoder: writes token by token")
    x, y = 150, 560
    source = picture.box(x, 66, 210, 34, "3 May 1998 END", kind="text")
    target = picture.box(y, 66, 210, 34, "BEGIN 1998 - 05 - 03", kind="text")
    embedding = picture.box(x, 136, 150, 36, "embeddings", kind="learned")
    again = picture.box(y, 136, 150, 36, "embeddings", kind="learned")
    picture.arrow(source.bottom(), embedding.top(), shape="[B, S]")
    picture.arrow(target.bottom(), again.top(), shape="[B, T]")
    reading = picture.box(x, 222, 170, 42, "self-attention", "every token sees all", kind="operation")
    writing = picture.box(y, 222, 170, 42, "self-attention", "causal: only what is before", kind="operation")
    picture.arrow(embedding.bottom(), reading.top(), shape="[B, S, C]")
    picture.arrow(again.bottom(), writing.top(), shape="[B, T, C]")
    feed = picture.box(x, 308, 170, 36, "feed-forward", kind="operation")
    picture.arrow(reading.bottom(), feed.top())
    memory = picture.box(x, 396, 170, 42, "memory M", "[B, S, C]")
    picture.arrow(feed.bottom(), memory.top(), shape="× layers")
    cross = picture.box(y, 308, 170, 42, "cross-attention", "sees the whole source", kind="marked")
    picture.arrow(writing.bottom(), cross.top(), shape="queries [B, T, C]")
    picture.arrow(memory.right(), (340, 396), (340, 308), cross.left(), shape="keys, values", on=2, side="above")
    last = picture.box(y, 378, 170, 34, "feed-forward", kind="operation")
    picture.arrow(cross.bottom(), last.top())
    logits = picture.box(y, 433, 210, 30, "logits for 1998 - 05 - 03 END", kind="text")
    picture.arrow(last.bottom(), logits.top(), shape="× layers", side="right")
    return picture
