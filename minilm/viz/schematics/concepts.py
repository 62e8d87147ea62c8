r"""One concept map: how the ideas of the five documents hang together.  F02, F08, F25, F28, F33, F36."""

from minilm.viz.schematics.kit import BOLD_LINE, Schematic


def concept_map() -> Schematic:
    r"""From text without labels to weights θ, three ways to use them, and where emergence can be seen.  F02, F28, F33, F36.

    An arrow means one thing: what stands at its beginning goes into what stands at its end. Thick arrows are weights.
    """
    picture = Schematic(
        760,
        452,
        "Concept map: text without labels is pretrained on and gives weights; labels fine-tune them, a prompt leaves them as they "
        "are; both give answers, which are measured; emergence is seen when several models are compared.",
    )
    picture.write(14, 24, "Pretraining: once, without labels", 13, bold=True, align="left")
    text = picture.box(74, 84, 112, 54, "text", "no labels", kind="text")
    learn = picture.box(258, 84, 136, 66, "pretraining", "hidden words,", "next word (F25, F23)", kind="operation")
    shape = picture.box(258, 172, 136, 40, "architecture", "Transformer or LSTM", kind="muted")
    theta = picture.box(454, 84, 124, 66, "weights θ", "what the model", "has learned", kind="learned")
    picture.arrow(text.right(), learn.left(), shape="words")
    picture.arrow(shape.top(), learn.bottom())
    picture.arrow(learn.right(), theta.left(), shape="θ", width=BOLD_LINE)

    picture.write(14, 238, "Use: for each task", 13, bold=True, align="left")
    labels = picture.box(74, 288, 112, 54, "labels", "few examples", kind="text")
    tune = picture.box(258, 288, 136, 66, "fine-tuning", "all of θ, or a few", "weights (F28, F32)", kind="operation")
    tuned = picture.box(454, 288, 124, 54, "weights θ′", "for one task", kind="learned")
    ask = picture.box(74, 396, 112, 54, "prompt", "examples in the text", kind="text", size=10.5)
    answer = picture.box(454, 396, 124, 54, "the model answers", "with θ or with θ′", kind="operation")
    score = picture.box(660, 396, 132, 54, "score", "on unseen data (F30)")
    picture.arrow(labels.right(), tune.left(), shape="(x, y)")
    picture.arrow(tune.right(), tuned.left(), shape="θ′", width=BOLD_LINE)
    picture.arrow((424, 117), (424, 216), (258, 216), tune.top(), shape="the start (F02)", on=1, width=BOLD_LINE)
    picture.arrow((430, 315), (430, 369), width=BOLD_LINE, shape="θ′", side="left")
    way = (484, 117), (484, 216), (548, 216), (548, 342), (490, 342), (490, 369)
    picture.arrow(*way, width=BOLD_LINE, shape="θ as it is", on=2)
    picture.arrow(ask.right(), answer.left(), shape="x: no weight changes (F33)")
    picture.arrow(answer.right(), score.left())

    picture.frame(596, 40, 152, 232, "Emergence?")
    for i, size in enumerate(("small", "larger", "large")):
        picture.box(640, 92 + 34 * i, 64, 24, size, kind="learned", size=9)
        picture.cells(696, 84 + 34 * i, [[(0.1, 0.1, 0.9)[i]]], (36, 16), most=1.0)
        picture.arrow((672, 92 + 34 * i), (696, 92 + 34 * i))
    lines = "Models alike but for", "their size: an ability", "that only the large ones", "have has emerged (F36)."
    picture.remark(672, 200, *lines)
    picture.arrow(score.top(), (660, 272), dashed=True)
    return picture
