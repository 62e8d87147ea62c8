"""Damage to a file: what an editor, a broken transfer, a spreadsheet program or a stranger with bad intentions leaves behind.

A `Damage` is four numbers and names, and what it does to some bytes depends on nothing else, so a damaged input can be made
again from the few numbers that stand in a finding.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

CANARY = "ran.txt"  # a file that the payloads below would write, if anything ran them
PICKLE = f"cbuiltins\nopen\n(S'{CANARY}'\nS'w'\ntR.".encode()
CODE = f"open({CANARY!r}, 'w')\n".encode()

# Bytes that mean something to a reader of texts, tables, tags, JSON or scripts, or that no encoding allows.
PIECES: tuple[bytes, ...] = (
    *(b'"', b'""', b"'", b",", b"\t", b";", b"|", b" ", b"\\", b"/", b"#", b":", b"-"),
    *(b"\n", b"\r", b"\r\n", b"\n\n", b'"\n"', b',"', b'",'),
    *(b"\0", b"\x1a", b"\x1c", b"\x0b", b"\x0c", b"\x7f", b"\x1b[2J"),
    *(b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80"),
    *(c.encode() for c in "\x85\u2028\u2029\u200b\u200d\u202e\u00ad\u3000\ufffe\ufffd\U000e0041\U0010ffff"),
    *(c.encode() for c in ("é", "e\u0301" + "\u0301" * 40, "İ", "ß", "没有", "👩‍👩‍👧", "ﷺ", "\u1100\u1161\u11a8")),
    *(b"[", b"{", b"}", b"]", b"[" * 100_000, b'{"a":' * 3_000, b"(" * 300),
    *(b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"9" * 400, b"9" * 5_000, b"1,5", b"0x10", b"1_000", b"true", b"null"),
    *(rb"\ud800", rb"\u0000", rb"\udc00\ud800", b'"text":', b'"label"', b"text,label", b"sep=;"),
    *(b"x" * 200, b"x" * 140_000, b"word " * 30_000, b"\xe6\xb2\xa1" * 5_000),
    *(b"O", b" B-", b" I-PER", b"\tE-X", b"-DOCSTART- O", b"# text = ", b"1-2", b"/", b"[", b"]nt"),
    *(b"[UNK]", b"[MASK]", b"<e1>", b"</e2>", b"[USER]", b"##", "Ġ".encode()),
    *(b"# coding: hex\n", b"# coding: idna\n", b"# -*- coding: utf-7 -*-\n", b"# coding: undefined\n"),
    *(b"# coding: punycode\n", b"# %%\n", b"%%time\n"),
    *(b"../", b"..\\", b"C:", b"/etc/passwd", CODE, PICKLE),
)  # fmt: skip

# What a value of a JSON file can be exchanged for. None and NOTHING are two things: null, and no entry at all.
NOTHING = "\0nothing"
DEEP: Any = None
for _ in range(400):
    DEEP = [DEEP]
VALUES: tuple[Any, ...] = (
    *(None, NOTHING, True, False, 0, -1, 1, 2, 3, 7, 10**6, 10**9, 2**31, 2**63, 10**30, 0.5, -0.5, 1e308),
    *(
        float("nan"),
        float("inf"),
        "",
        " ",
        "x",
        "0",
        "1",
        "\ud800",
        "\0",
        "x" * 70_000,
        "../../" + CANARY,
        "/" + CANARY,
    ),
    *([], [None], ["a", "a"], [1, 2], [[]], {}, {"a": None}, {"content": 1}, {"__type": "AddedToken"}, DEEP),
    *("O", "object", "int8", "gelu", "relu", "BertTokenizer", "GPT2Tokenizer", "os.system", "torch.nn.Tanh", "[PAD]"),
)
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "gb18030", "shift-jis", "latin-1", "utf-8-sig", "utf-7", "cp037")
LINE_ENDS: tuple[bytes, ...] = (b"\r\n", b"\r", b"\n\r", b"\x85", "\u2028".encode(), b"\n\n", b"", b"\x0b")
SHAMS: tuple[bytes, ...] = (
    PICKLE,
    b"\x80\x04" + PICKLE,
    b"PK\x03\x04",
    b"\x89HDF\r\n\x1a\n",
    b"\x1f\x8b\x08\0",
)  # pickles, zip, HDF5, gzip
SHAMS += (b"", b"\n", b"\xff\xfe", b"null", b"[]", b"{}")


class Damage(NamedTuple):
    """`file`: which of the files of an input; `place`: how far into it, of 65,536; `value`: which piece, or how many bytes."""

    file: int
    kind: str
    place: int
    value: int


def at(place: int, length: int) -> int:
    """A place among `length` + 1 ones."""
    return place * (length + 1) >> 16


def a_bit(content: bytes, place: int, value: int) -> bytes:
    if not content:
        return content
    changed = bytearray(content)
    changed[at(place, len(content) - 1)] ^= 1 << value % 8
    return bytes(changed)


def a_piece(content: bytes, place: int, value: int) -> bytes:
    where = at(place, len(content))
    return content[:where] + PIECES[value % len(PIECES)] + content[where:]


def a_mark(content: bytes, place: int, value: int) -> bytes:
    """A quotation mark more, or one of those that are there less."""
    there = [i for i, byte in enumerate(content) if byte == 0x22]
    if value % 2 and there:
        where = there[at(place, len(there) - 1)]
        return content[:where] + content[where + 1 :]
    ends = [i + 1 for i, byte in enumerate(content) if byte in b",\t\n"]
    where = ends[at(place, len(ends) - 1)] if value % 4 and ends else at(place, len(content))
    return content[:where] + b'"' + content[where:]


def a_gap(content: bytes, place: int, value: int) -> bytes:
    where = at(place, len(content))
    return content[:where] + content[where + 1 + value % 40 :]


def an_echo(content: bytes, place: int, value: int) -> bytes:
    """Some bytes twice; of a long piece, a line or more."""
    where, length = at(place, len(content)), 1 + value % 120
    return content[: where + length] + content[where:]


def the_end(content: bytes, place: int, value: int) -> bytes:
    return content[: at(place, len(content))]


def the_encoding(content: bytes, place: int, value: int) -> bytes:
    text = content.decode("utf-8", errors="replace")
    return text.encode(ENCODINGS[value % len(ENCODINGS)], errors="replace")


def the_line_ends(content: bytes, place: int, value: int) -> bytes:
    """All of them, or only those behind a place."""
    where = at(place, len(content)) if value & 64 else 0
    return content[:where] + content[where:].replace(b"\n", LINE_ENDS[value % len(LINE_ENDS)])


def a_sham(content: bytes, place: int, value: int) -> bytes:
    """Another kind of file under the name, or with the other file behind it."""
    return SHAMS[value % len(SHAMS)] + (content if value & 64 else b"")


def a_value(content: bytes, place: int, value: int) -> bytes:
    """An entry of a JSON file, of a line of JSON, or of the header of a file of tensors, exchanged for another value."""
    try:
        return in_json(content, place, value)
    except (ValueError, RecursionError):
        pass
    length = int.from_bytes(content[:8], "little")
    if 2 <= length <= len(content) - 8:
        try:
            header = in_json(content[8 : 8 + length], place, value)
        except (ValueError, RecursionError):
            return a_piece(content, place, value)
        return len(header).to_bytes(8, "little") + header + content[8 + length :]
    lines = content.splitlines(keepends=True)
    if len(lines) > 1:
        line = at(place, len(lines) - 1)
        try:
            lines[line] = in_json(lines[line], place * 7919 % 65_536, value) + b"\n"
            return b"".join(lines)
        except (ValueError, RecursionError):
            pass
    return a_piece(content, place, value)


def in_json(content: bytes, place: int, value: int) -> bytes:
    """JSON with one entry exchanged. Raises ValueError if it is none, or has no entries."""
    whole = json.loads(content)
    if not isinstance(whole, list | dict):
        raise ValueError("no entries")
    entries: list[tuple[Any, Any]] = []
    waiting = [whole]
    while waiting:
        container = waiting.pop()
        for key in range(min(len(container), 50)) if isinstance(container, list) else list(container)[:50]:
            entries.append((container, key))
            if isinstance(container[key], list | dict):
                waiting.append(container[key])
    if not entries:
        raise ValueError("no entries")
    container, key = entries[at(place, len(entries) - 1)]
    other = VALUES[value % len(VALUES)]
    if other == NOTHING:
        del container[key]
    elif value // len(VALUES) % 3 == 1 and isinstance(container, dict):
        container["x" * (value % 90)] = other  # beside it
    elif value // len(VALUES) % 3 == 2 and isinstance(container[key], int | float):
        container[key] = container[key] * (value % 5 - 1)
    else:
        container[key] = other
    return json.dumps(whole, ensure_ascii=bool(value & 1)).encode("utf-8", errors="surrogatepass")


KINDS: dict[str, Callable[[bytes, int, int], bytes]] = {
    "a bit": a_bit,
    "a piece": a_piece,
    "a mark": a_mark,
    "a gap": a_gap,
    "an echo": an_echo,
    "the end": the_end,
    "the encoding": the_encoding,
    "the line ends": the_line_ends,
    "a sham": a_sham,
    "a value": a_value,
}
LONGEST = 2_000_000  # bytes that repeated damage may make of a file


def damaged(files: dict[str, bytes], damages: list[Damage]) -> dict[str, bytes]:
    """The files of an input, by their paths in its folder, after all the damage."""
    names, out = sorted(files), dict(files)
    for each in damages:
        name = names[each.file % len(names)]
        changed = KINDS[each.kind](out[name], each.place, each.value)
        out[name] = changed[:LONGEST]
    return out
