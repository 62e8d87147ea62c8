"""One page as Markdown and as HTML, from the same blocks, so that both say the same.

The HTML is a single file: its style sheet and the picture stand in it, so it can be opened, printed and passed on by itself.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from minilm.files.atomic import write_text
from minilm.viz.schematics import Schematic

CHINESE = re.compile(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]+")


@dataclass(frozen=True)
class Block:
    """A part of a page. In its texts, `…` is code."""

    kind: ClassVar[str]

    def markdown(self) -> str:
        """The block as Markdown."""
        raise NotImplementedError


@dataclass(frozen=True)
class Heading(Block):
    """A heading of the second or third level. `anchor` is its place in the list of contents, if it has one."""

    text: str
    level: int = 2
    anchor: str = ""
    kind = "heading"

    def markdown(self) -> str:
        return f"{'#' * self.level} {self.text}"


@dataclass(frozen=True)
class Words(Block):
    """A paragraph. `lead` are its first words, in bold."""

    text: str
    lead: str = ""
    kind = "words"

    def markdown(self) -> str:
        return f"**{self.lead}** {self.text}" if self.lead else self.text


@dataclass(frozen=True)
class Code(Block):
    """A piece of Python."""

    text: str
    kind = "code"

    def markdown(self) -> str:
        return f"```python\n{self.text.rstrip()}\n```"


@dataclass(frozen=True)
class Table(Block):
    """A table. The first column names the rows; the others hold figures, or whole sentences if `prose`."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    prose: bool = False
    kind = "table"

    def markdown(self) -> str:
        rule = "|---|" + ("---|" if self.prose else "---:|") * (len(self.head) - 1)
        lines = [self.head, *self.rows]
        head, *rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
        return "\n".join([head, rule, *rows])


@dataclass(frozen=True)
class Drawing(Block):
    """A schematic, which is written beside the page under this name as well."""

    picture: Schematic
    file: str
    kind = "drawing"

    def markdown(self) -> str:
        return f"![{self.picture.about}]({self.file})"

    @property
    def svg(self) -> Markup:
        """The picture, which our own code has written."""
        return Markup(self.picture.svg())


def pieces(text: str) -> Iterator[Markup]:
    """A text as HTML: everything escaped, code between backticks marked as code, and Chinese as Chinese."""
    for i, part in enumerate(text.split("`")):
        safe, last = Markup(), 0
        for found in CHINESE.finditer(part):
            safe += escape(part[last : found.start()]) + Markup('<span lang="zh">{}</span>').format(found[0])
            last = found.end()
        safe += escape(part[last:])
        yield Markup("<code>{}</code>").format(safe) if i % 2 else safe


def rich(text: str) -> Markup:
    """`pieces` in one."""
    return Markup().join(pieces(text))


def as_markdown(title: str, blocks: Iterable[Block]) -> str:
    """The page as Markdown."""
    return "\n\n".join([f"# {title}", *(block.markdown() for block in blocks)]) + "\n"


def as_html(title: str, blocks: Sequence[Block]) -> str:
    """The page as one HTML file."""
    loader = PackageLoader("minilm.experiments.documents", ".")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["rich"] = rich
    contents = [block for block in blocks if isinstance(block, Heading) and block.anchor]
    return environment.get_template("page.html").render(title=title, blocks=blocks, contents=contents)


def write_page(out: Path, title: str, blocks: Sequence[Block]) -> None:
    """Write `report.md`, `report.html` and the pictures."""
    for block in blocks:
        if isinstance(block, Drawing):
            write_text(out / block.file, block.picture.svg())
    write_text(out / "report.md", as_markdown(title, blocks))
    write_text(out / "report.html", as_html(title, blocks))
