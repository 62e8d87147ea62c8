"""Dates and numbers in English with their Chinese: a closed grammar, so that every answer is known and none is a matter of taste.

    twelve million three hundred and four thousand and five      一千二百三十万四千零五
    Sunday, May 3rd, 1998 at 3:05 pm                             1998年5月3日星期日下午3点05分

Nothing here can be translated word by word. Chinese counts in ten thousands (万) where English counts in thousands, so "three
hundred and four thousand" becomes 三十万四千; it says 零 where places are skipped; and a date goes from the year to the minute.
"""

import datetime
from collections.abc import Callable

import numpy as np

from minilm.errors import InputError

DIGITS = "零一二三四五六七八九"
ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen"
).split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
MONTHS = "January February March April May June July August September October November December".split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
WEEKDAYS_IN_CHINESE = "一二三四五六日"
FIRST_DAY, LAST_DAY = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)
MOST_DIGITS = 8  # of a number

Draw = Callable[[int], int]  # n → a random number below n


def english_number(n: int, draw: Draw = lambda n: 1) -> str:
    """A number from 0 to 10¹² − 1 in words. `draw(2)` decides each time whether "and" stands before the last two digits."""
    if not 0 <= n < 10**12:
        raise InputError(f"{n} is not between 0 and 10¹² − 1.")
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + (f"-{ONES[n % 10]}" if n % 10 else "")
    for size, word in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if n >= size:
            head, rest = divmod(n, size)
            words = f"{english_number(head, draw)} {word}"
            if not rest:
                return words
            link = " and " if rest < 100 and draw(2) else " "
            return words + link + english_number(rest, draw)
    raise AssertionError


def chinese_number(n: int) -> str:
    """A number from 0 to 10¹² − 1 in Chinese: in groups of four digits, with one 零 for the places that are skipped."""
    if not 0 <= n < 10**12:
        raise InputError(f"{n} is not between 0 and 10¹² − 1.")
    words, skipped = "", False
    for group, unit in ((n // 10**8, "亿"), (n // 10**4 % 10**4, "万"), (n % 10**4, "")):
        if group:
            zero = "零" if words and (skipped or group < 1000) else ""
            words += zero + four_digits(group) + unit
        skipped = group == 0
    return (
        words.removeprefix("一") if words.startswith("一十") else words or DIGITS[0]
    )  # 十二, not 一十二, at the beginning


def four_digits(n: int) -> str:
    """A number from 1 to 9999 in Chinese: 4007 is 四千零七."""
    words, skipped = "", False
    for place, mark in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = n // place % 10
        if digit:
            words += ("零" if words and skipped else "") + DIGITS[digit] + mark
        skipped = digit == 0
    return words


def ordinal(n: int) -> str:
    """1st, 2nd, 3rd, 4th …, 11th, 21st."""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def number_pair(draw: Draw) -> tuple[str, str]:
    """A number and its Chinese. Its number of digits is drawn first, so that short ones are as frequent as long ones."""
    digits = 1 + draw(MOST_DIGITS)
    least = 0 if digits == 1 else 10 ** (digits - 1)
    n = least + draw(10**digits - least)
    for place in range(digits - 1):  # of half of the numbers, some places are 0: that is where the rules are
        if digits > 2 and n % 2 and draw(3) == 0:
            n -= n // 10**place % 10 * 10**place
    return english_number(n, draw), chinese_number(n)


def date_pair(draw: Draw) -> tuple[str, str]:
    """A date, perhaps with its weekday and a time of day, in one of several English orders, and its Chinese."""
    date = FIRST_DAY + datetime.timedelta(draw((LAST_DAY - FIRST_DAY).days + 1))
    day = str(date.day) if draw(2) else ordinal(date.day)
    month = MONTHS[date.month - 1] if draw(2) else MONTHS[date.month - 1][:3]
    english = (
        f"{day} {month} {date.year}",
        f"{month} {day}, {date.year}",
        f"the {ordinal(date.day)} of {MONTHS[date.month - 1]} {date.year}",
        f"{date.year}-{date.month:02}-{date.day:02}",
    )[draw(4)]
    chinese = f"{date.year}年{date.month}月{date.day}日"
    if draw(3) == 0:
        weekday = WEEKDAYS[date.weekday()]
        english = f"{weekday}, {english}" if draw(2) else f"{english}, {weekday}"
        chinese += f"星期{WEEKDAYS_IN_CHINESE[date.weekday()]}"
    if draw(3) == 0:
        hour, minute = draw(12) + 1, draw(60)
        half = draw(2)
        english += f" at {hour}:{minute:02} {('am', 'pm')[half]}"
        chinese += f"{('上午', '下午')[half]}{hour}点{minute:02}分"
    return english, chinese


def pairs(n: int, seed: int) -> list[tuple[str, str]]:
    """`n` different pairs (English, Chinese), half of them numbers and half dates, as far as there are different ones."""
    rng = np.random.default_rng(seed)

    def draw(below: int) -> int:
        return int(rng.integers(below))

    found: dict[str, str] = {}
    while len(found) < n:
        english, chinese = (number_pair, date_pair)[draw(2)](draw)
        found.setdefault(english, chinese)
    return list(found.items())
