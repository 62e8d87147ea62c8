r"""Schematics of recurrent cells and of a recurrent network over the steps of a text.  F09, F10, F15, F16.

Here H is the hidden size, as in `minilm/layers/recurrent.py`; there are no heads.
"""

from minilm.viz.schematics.kit import BOLD_LINE, Schematic


def rnn_cell() -> Schematic:
    r"""hₜ = tanh(W_x xₜ + W_h hₜ₋₁ + b): one step of a simple recurrent network.  F09."""
    picture = Schematic(
        640, 262, "The simple recurrent cell: input and old state, each through its matrix, added, then tanh."
    )
    state = picture.box(64, 84, 66, 34, "hₜ₋₁", "[B, H]")
    given = picture.box(64, 206, 66, 34, "xₜ", "[B, I]")
    w_h = picture.box(202, 84, 78, 40, "W_h", "[H, H]", kind="learned")
    w_x = picture.box(202, 206, 78, 40, "W_x", "[H, I]", kind="learned")
    add = picture.sign(318, 84, "+")
    bias = picture.box(318, 34, 62, 26, "b  [H]", kind="learned", size=9)
    picture.arrow(state.right(), w_h.left(), shape="[B, H]")
    picture.arrow(given.right(), w_x.left(), shape="[B, I]")
    picture.arrow(w_h.right(), add.left(), shape="[B, H]")
    picture.arrow(w_x.right(), (318, 206), add.bottom(), shape="[B, H]", on=0)
    picture.arrow(bias.bottom(), add.top())
    tanh = picture.box(430, 84, 66, 32, "tanh", kind="operation")
    picture.arrow(add.right(), tanh.left(), shape="[B, H]")
    new = picture.box(562, 84, 66, 34, "hₜ", "[B, H]")
    picture.arrow(tanh.right(), new.left(), shape="[B, H]")
    picture.remark(562, 124, "to the next step, and", "to whatever reads", "the state")
    picture.key(330, 232, "tensor", "learned", "operation")
    return picture


def lstm_cell() -> Schematic:
    r"""i, f, o = σ(W_x xₜ + W_h hₜ₋₁ + b) each, g = tanh(…);  cₜ = f ⊙ cₜ₋₁ + i ⊙ g;  hₜ = o ⊙ tanh cₜ.  F15.

    The four blocks are in the order i, f, g, o, as in `LSTMCell` and in `nn.LSTM`.
    """
    picture = Schematic(
        720,
        432,
        "The LSTM cell: four blocks i, f, g, o; the memory c runs along the top and is only scaled and added to.",
    )
    memory, mix, y_gate, y_strip = 72, 148, 236, 322
    x_gate = {"i": 206, "f": 286, "g": 366, "o": 446}
    old = picture.box(58, memory, 66, 34, "cₜ₋₁", "[B, H]")
    state = picture.box(58, y_strip, 66, 34, "hₜ₋₁", "[B, H]")
    given = picture.box(58, 396, 66, 34, "xₜ", "[B, I]")
    strip = picture.box(
        326, y_strip, 320, 40, "a = W_x xₜ + W_h hₜ₋₁ + b", "[B, 4H], cut into four blocks [B, H]", kind="learned"
    )
    picture.arrow(state.right(), strip.left(), shape="[B, H]")
    picture.arrow(given.right(), (326, 396), strip.bottom(), shape="[B, I]", on=0)
    forget = picture.sign(286, memory, "⊙")
    add = picture.sign(326, memory, "+")
    write = picture.sign(326, mix, "⊙")
    gates = {}
    for (letter, x), does in zip(x_gate.items(), ("let in", "keep", "candidate", "let out")):
        what = "tanh" if letter == "g" else "σ"
        gates[letter] = picture.box(x, y_gate, 76, 42, f"{letter} = {what}(a)", does, kind="operation")
        picture.arrow((x, strip.top()[1]), gates[letter].bottom())
    picture.arrow(gates["i"].top(), (206, mix), write.left())
    picture.arrow(gates["g"].top(), (366, mix), write.right())
    picture.arrow(gates["f"].top(), forget.bottom(), over=True)
    picture.arrow(write.top(), add.bottom())
    picture.arrow(old.right(), forget.left(), width=BOLD_LINE, shape="[B, H]")
    picture.arrow(forget.right(), add.left(), width=BOLD_LINE)
    new = picture.box(662, memory, 66, 34, "cₜ", "[B, H]")
    picture.arrow(add.right(), new.left(), width=BOLD_LINE, shape="the memory: scaled by f, added to, nothing else")
    squash = picture.box(520, 152, 62, 32, "tanh", kind="operation")
    picture.arrow((520, memory), squash.top(), shape="[B, H]")
    out = picture.sign(520, y_gate, "⊙")
    picture.arrow(squash.bottom(), out.top(), shape="[B, H]")
    picture.arrow(gates["o"].right(), out.left())
    h = picture.box(662, y_gate, 66, 34, "hₜ", "[B, H]")
    picture.arrow(out.right(), h.left(), shape="[B, H]")
    picture.key(410, 396, "tensor", "learned", "operation")
    return picture


def gru_cell() -> Schematic:
    r"""r, z = σ(a + u) each;  n = tanh(a + r ⊙ u);  hₜ = (1 − z) ⊙ n + z ⊙ hₜ₋₁.  F16.

    a = W_x xₜ + b and u = W_h hₜ₋₁ + b_h, three blocks each in the order r, z, n. The reset comes after the product W_h hₜ₋₁,
    as in `GRUCell` and in `nn.GRU`; Cho et al. (2014) reset before it.
    """
    picture = Schematic(
        756, 484, "The GRU cell: blocks r, z, n from input and state; the reset comes after the product with the state."
    )
    y_u, y_a = 110, 420
    state = picture.box(54, y_u, 66, 34, "hₜ₋₁", "[B, H]")
    given = picture.box(54, y_a, 66, 34, "xₜ", "[B, I]")
    u = picture.box(312, y_u, 330, 40, "u = W_h hₜ₋₁ + b_h", "[B, 3H], cut into r, z, n", kind="learned")
    a = picture.box(312, y_a, 330, 40, "a = W_x xₜ + b", "[B, 3H], cut into r, z, n", kind="learned")
    picture.arrow(state.right(), u.left(), shape="[B, H]")
    picture.arrow(given.right(), a.left(), shape="[B, I]")
    r = picture.box(196, 196, 84, 32, "r = σ(a + u)", kind="operation")
    z = picture.box(306, 336, 84, 32, "z = σ(a + u)", kind="operation")
    reset = picture.sign(420, 196, "⊙")
    n = picture.box(420, 274, 124, 32, "n = tanh(a + r ⊙ u)", kind="operation")
    picture.arrow((196, 130), r.top())
    picture.arrow((196, 400), r.bottom())
    picture.arrow((306, 130), z.top())
    picture.arrow((306, 400), z.bottom())
    picture.arrow((420, 130), reset.top())
    picture.arrow((420, 400), n.bottom())
    picture.arrow(r.right(), reset.left(), over=True)
    picture.arrow(reset.bottom(), n.top())
    mix = picture.box(588, 274, 128, 60, "mix", "(1 − z) ⊙ n + z ⊙ hₜ₋₁", kind="operation")
    picture.arrow(n.right(), mix.left(), shape="[B, H]")
    picture.arrow(z.right(), (588, 336), mix.bottom(), shape="z  [B, H]", on=0, over=True)
    picture.arrow(state.top(), (54, 40), (588, 40), mix.top(), shape="hₜ₋₁  [B, H]", on=1, width=BOLD_LINE)
    new = picture.box(718, 274, 52, 34, "hₜ", "[B, H]")
    picture.arrow(mix.right(), new.left(), shape="[B, H]")
    picture.remark(600, 150, "z = 1 keeps", "the old state", align="left")
    picture.remark(434, 160, "reset after", "the product", align="left")
    picture.key(20, 466, "tensor", "learned", "operation")
    return picture


def rnn_unrolled() -> Schematic:
    r"""One cell over the steps of a text: the same weights at every step, and the state as the only memory.  F09, F10."""
    words, picture = (
        ("the", "film", "was", "fun"),
        Schematic(720, 320, "A recurrent network, rolled up and unrolled over four words."),
    )
    cell = picture.box(84, 160, 74, 40, "cell", kind="operation")
    picture.arrow(cell.right(), (150, 160), (150, 112), (84, 112), cell.top(), shape="hₜ₋₁", on=2)
    given = picture.box(84, 250, 66, 34, "xₜ", "[B, I]")
    picture.arrow(given.top(), cell.bottom(), side="left")
    picture.write(176, 160, "=", 13)
    before = picture.box(226, 160, 50, 34, "h₀", "[B, H]")
    for t, word in enumerate(words):
        x = 326 + 112 * t
        step = picture.box(x, 160, 60, 40, "cell", kind="operation")
        picture.arrow(before.right(), step.left(), shape="[B, H]")
        token = picture.box(x, 250, 60, 34, f"x{'₁₂₃₄'[t]}", f"“{word}”")
        picture.arrow(token.top(), step.bottom(), shape="[B, I]")
        read = picture.box(x, 70, 60, 34, f"h{'₁₂₃₄'[t]}", "[B, H]")
        picture.arrow(step.top(), read.bottom())
        before = step
    picture.remark(
        464, 300, "The same weights W_x, W_h and b work in every cell; only the state carries what was read."
    )
    return picture
