"""What may be asked of the server: sizes and kinds of the fields, checked before any model sees them."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from minilm.errors import InputError
from minilm.files.tensors import once
from minilm.text.characters import visible
from minilm.text.files import refuse_half_characters


@dataclass(frozen=True)
class Limits:
    """The most that a request may be, and how many may wait while one is answered."""

    body: int = 65_536
    """Bytes."""
    characters: int = 4_000
    """Of one text."""
    texts: int = 64
    """In one request."""
    tokens: int = 200
    """To be written."""
    top: int = 100
    """Guesses or lines to be returned."""
    waiting: int = 16
    """Requests at the same time, the one that is being answered included."""
    seconds: float = 10.0
    """For a request to arrive."""


class Refused(Exception):
    """A request that is not answered, with the status of HTTP and one sentence."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status = status


Check = Callable[[Any, str, Limits], Any]


def text(value: Any, name: str, limits: Limits) -> str:
    """A text that shows something, of a length that is allowed, in whole characters."""
    if not isinstance(value, str):
        raise InputError(f'"{name}" must be a text in quotation marks, not {kind_of(value)}.')
    if len(value) > limits.characters:
        raise InputError(
            f'"{name}" has {len(value):,} characters, and at most {limits.characters:,} are read: shorten it.'
        )
    refuse_half_characters(value, f'"{name}"')
    if not visible(value):
        raise InputError(f'"{name}" has nothing that can be seen: write a text with words in it.')
    return value


def prompt(value: Any, name: str, limits: Limits) -> str:
    """A text that may be empty: the model then begins one."""
    return "" if value == "" else text(value, name, limits)


def texts(value: Any, name: str, limits: Limits) -> list[str]:
    """A list of texts."""
    if not isinstance(value, list):
        raise InputError(f'"{name}" must be a list of texts, not {kind_of(value)}.')
    if not 1 <= len(value) <= limits.texts:
        raise InputError(f'"{name}" has {len(value):,} texts, and one to {limits.texts} are read at a time.')
    return [text(each, f"{name}[{i}]", limits) for i, each in enumerate(value)]


def whole(least: int, most: Callable[[Limits], int]) -> Check:
    """A whole number in a range."""

    def check(value: Any, name: str, limits: Limits) -> int:
        if type(value) is not int or not least <= value <= most(limits):
            raise InputError(
                f'"{name}" must be a whole number from {least} to {most(limits):,}, not {shortened(value)}.'
            )
        return value

    return check


def number(least: float, most: float) -> Check:
    """A number in a range."""

    def check(value: Any, name: str, limits: Limits) -> float:
        if type(value) not in (int, float) or not math.isfinite(value) or not least <= value <= most:
            raise InputError(f'"{name}" must be a number from {least:g} to {most:g}, not {shortened(value)}.')
        return float(value)

    return check


def yes_or_no(value: Any, name: str, limits: Limits) -> bool:
    if type(value) is not bool:
        raise InputError(f'"{name}" must be true or false, not {shortened(value)}.')
    return value


def kind_of(value: Any) -> str:
    """What JSON calls this kind of value."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names = ((str, "a text"), (list, "a list"), (dict, "an object"))
    return next((name for kind, name in names if isinstance(value, kind)), "a number")


def shortened(value: Any) -> str:
    """A value as it was written, or what kind it is if that is long."""
    simple = value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 10**15)
    return json.dumps(value) if simple else kind_of(value)


def parsed(body: bytes) -> dict[str, Any]:
    """The JSON object in the body of a request. Raises InputError for anything else."""
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=once, parse_constant=refuse_constant)
    except InputError as error:
        raise InputError(f"the request {error}.") from None
    except UnicodeDecodeError:
        raise InputError("the request is not UTF-8: encode it as UTF-8.") from None
    except (ValueError, RecursionError):
        raise InputError('the request is not JSON: send an object, such as {"text": "…"}.') from None
    if not isinstance(found, dict):
        raise InputError(f'the request must be a JSON object, such as {{"text": "…"}}, not {kind_of(found)}.')
    return found


def refuse_constant(name: str) -> None:
    raise InputError(f"contains {name}, which is not a number of JSON")


def checked(
    asked: Mapping[str, Any], needed: Mapping[str, Check], optional: Mapping[str, Check], limits: Limits
) -> dict:
    """The fields of a request, each checked. Raises InputError for one that is missing, unknown or wrong."""
    known = {**needed, **optional}
    if unknown := [name for name in asked if name not in known]:
        refuse_half_characters(unknown[0], "the name of a field")
        raise InputError(f'there is no field "{unknown[0][:40]}" here: the fields are {", ".join(known)}.')
    if missing := [name for name in needed if name not in asked]:
        raise InputError(f'the field "{missing[0]}" is missing.')
    return {name: known[name](value, name, limits) for name, value in asked.items()}
