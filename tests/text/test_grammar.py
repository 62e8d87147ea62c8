"""Dates and numbers: read back by another route, and compared with numbers that people write."""

import datetime
import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from minilm.errors import InputError
from minilm.text.grammar import DIGITS, MONTHS, ONES, TENS, chinese_number, english_number, pairs

KNOWN = {
    0: ("zero", "零"),
    10: ("ten", "十"),
    12: ("twelve", "十二"),
    110: ("one hundred and ten", "一百一十"),
    1_001: ("one thousand and one", "一千零一"),
    1_010: ("one thousand and ten", "一千零一十"),
    20_300: ("twenty thousand three hundred", "二万零三百"),
    100_000: ("one hundred thousand", "十万"),
    304_005: ("three hundred and four thousand and five", "三十万四千零五"),
    12_304_005: ("twelve million three hundred and four thousand and five", "一千二百三十万四千零五"),
    10_000_001: ("ten million and one", "一千万零一"),
    300_000_000: ("three hundred million", "三亿"),
    300_000_020: ("three hundred million and twenty", "三亿零二十"),
}


@pytest.mark.parametrize("n", KNOWN)
def test_numbers_that_people_write(n):
    assert (english_number(n), chinese_number(n)) == KNOWN[n]


def read_chinese(text):
    """The value of a Chinese number, by adding up."""
    total, group, digit = 0, 0, 0
    for character in "一" * text.startswith("十") + text:
        if character in DIGITS:
            digit = DIGITS.index(character)
        elif character in "十百千":
            group, digit = group + digit * 10 ** ("十百千".index(character) + 1), 0
        else:
            total, group, digit = total + (group + digit) * {"万": 10**4, "亿": 10**8}[character], 0, 0
    return total + group + digit


def read_english(text):
    """The value of a number in words, by adding up."""
    total, group = 0, 0
    for word in re.split("[ -]", text.replace(" and ", " ")):
        if word in ONES:
            group += ONES.index(word)
        elif word in TENS:
            group += 10 * TENS.index(word)
        elif word == "hundred":
            group *= 100
        else:
            total, group = total + group * {"thousand": 10**3, "million": 10**6, "billion": 10**9}[word], 0
    return total + group


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.one_of(st.integers(0, 10**12 - 1), st.integers(0, 10**5), st.integers(0, 99).map(lambda n: n * 10**6 + n)))
def test_a_number_reads_back_as_itself(n):
    assert (
        read_chinese(chinese_number(n))
        == n
        == read_english(english_number(n))
        == read_english(english_number(n, lambda n: 0))
    )
    assert "零零" not in chinese_number(n) and (n == 0 or not chinese_number(n).endswith("零"))


def test_pairs_are_different_and_say_the_same():
    found = pairs(1_500, seed=3)
    assert found == pairs(1_500, seed=3) != pairs(1_500, seed=4)
    assert len({english for english, _ in found}) == 1_500
    dates = [pair for pair in found if "年" in pair[1]]
    assert 600 < len(dates) < 900
    for english, chinese in found:
        if "年" not in chinese:
            assert read_english(english) == read_chinese(chinese) < 10**8
            continue
        date = datetime.date(*map(int, re.match(r"(\d+)年(\d+)月(\d+)日", chinese).groups()))
        if iso := re.search(r"\d{4}-\d\d-\d\d", english):
            assert datetime.date.fromisoformat(iso[0]) == date
        else:
            assert str(date.year) in english and re.search(rf"\b{date.day}(st|nd|rd|th)?\b", english)
            assert MONTHS[date.month - 1][:3] in english
        assert ("星期" in chinese) == ("day" in english)
        if "星期" in chinese:
            assert "一二三四五六日".index(re.search("星期(.)", chinese)[1]) == date.weekday()
            assert f"{date:%A}" in english
        assert ("点" in chinese) == (" at " in english)
        if clock := re.search(r"at (\d+:\d\d) ([ap]m)", english):
            half, hour, minute = re.search(r"([上下])午(\d+)点(\d\d)分", chinese).groups()
            assert (f"{hour}:{minute}", {"上": "am", "下": "pm"}[half]) == clock.groups()


def test_short_numbers_are_as_frequent_as_long_ones():
    rng = np.random.default_rng(0)
    from minilm.text.grammar import number_pair

    digits = [len(str(read_chinese(number_pair(lambda n: int(rng.integers(n)))[1]))) for _ in range(800)]
    assert set(digits) == set(range(1, 9)) and min(map(digits.count, set(digits))) > 60


@pytest.mark.parametrize("n", [-1, 10**12])
def test_a_number_out_of_range_is_refused(n):
    for name in (english_number, chinese_number):
        with pytest.raises(InputError, match="is not between 0 and"):
            name(n)
