"""What questions say of years: "before 1990", "the late 80s", "not since 2000", "1990年以前"."""

from __future__ import annotations

import math
import re

from frugalrec.tasks._question_words import CHINESE_NEGATORS, CHINESE_NUMBERS
from frugalrec.tasks._unread import Unread
from frugalrec.tasks.constraints import Range

_YEAR = r"((?:1[89]|20)\d\d)"
_NOT = (
    r"(?P<not>\b(?:not|never|isn't|aren't|wasn't|nothing|none|no (?:movies?|films?|items?|titles?)|"
    r"except|excluding|without)"
    r"\s+(?:(?:anything|something|ones?|those|any|from|in|of|for|made|released)\s+)*)?"
)
_BETWEEN = re.compile(
    rf"{_NOT}\b(?:(?:any(?:where|time)? )?(?:between|from)(?: the years?)?)\s+{_YEAR}\s*"
    rf"(?:and|to|till|until|through|thru|-|–|—)\s*{_YEAR}|"
    rf"{_YEAR}\s*年?\s*(?:-|–|—|to|through|到|至)\s*{_YEAR}(?:\s*年)?(?:\s*之间)?",
    re.IGNORECASE,
)
_DECADE_WORDS = {
    "twenties": 1920, "thirties": 1930, "forties": 1940, "fifties": 1950, "sixties": 1960, "seventies": 1970,
    "eighties": 1980, "nineties": 1990,
}  # fmt: skip
_DECADE = re.compile(
    rf"{_NOT}(?:\b(?:in|from|of|during|made in|(?P<since>since))?\s*(?:the )?(?:(?P<part>early|mid|late)[ -])?"
    r"(?:(?:the )?(?P<full>(?:1[89]|20)\d)0'?s\b|'?\b(?P<short>\d)0'?s\b|"
    rf"\b(?P<word>{'|'.join(_DECADE_WORDS)})\b)|(?:(?:二十|20)世纪)?(?P<chinese>[1-9一二三四五六七八九])[0十]年代)",
    re.IGNORECASE,
)
# What a phrase says of the year after it.
_BOUNDS: tuple[tuple[str, str], ...] = (
    (
        r"(?:no|not|never) (?:any )?(?:later|newer|younger|more recent) than|at the latest|"
        r"up to(?: and including)?|until(?: the end of)?|till|through|"
        r"by(?: the end of)?|in or before|(?:from )?on or before",
        "<=",
    ),
    (
        r"(?:no|not|never) (?:any )?(?:earlier|older) than|since|"
        r"from(?: the year)?(?= \d{4} (?:on|onwards?|or later|and later|up|and after)\b)|"
        r"starting (?:in|from|with)|in or after|(?:from )?on or after|at the earliest",
        ">=",
    ),
    (r"before|prior to|earlier than|older than|preceding|pre-?|predat\w+|ahead of", "<"),
    (r"after|later than|newer than|more recent than|younger than|following|past|post-?|beyond", ">"),
)
_LEADS = (
    r"(?:(?:that )?(?:is|was|are|were|came out|come out|made|released|shot|filmed|date|dated|dating|produced|from|"
    r"anything|anywhere|some time|sometime)\s+)*"
)
_BOUND = re.compile(
    rf"{_NOT}\b{_LEADS}(?:{'|'.join(f'(?P<b{i}>{phrase})' for i, (phrase, _) in enumerate(_BOUNDS))})"
    rf"\s*(?:the )?(?:years? |yr )?(?P<year>{_YEAR})(?P<decade>'?s)?"
    r"(?P<on> (?:on|onwards?|or later|and later|and after|up))?\b",
    re.IGNORECASE,
)
_BOUND_AFTER = re.compile(
    rf"{_NOT}(?:\b(?:from|in|of|made in|released in)\s+)?\b(?P<year>{_YEAR})\s*(?:"
    r"(?P<from>,? ?(?:and|or) (?:later|after|newer|onwards?|up|more recent|beyond)|onwards?\b|on\b(?! the))|"
    rf"(?P<until>,? ?(?:(?:and|or) (?:earlier|before|older)|at the latest|or so at most|at most|max(?:imum)?\b)))|"
    rf"(?P<comparison>不早于|不晚于|早于|晚于|比|从|自)?(?P<chinese>{_YEAR})年?(?:及|或)?(?:"
    r"(?P<before>以前|之前|前|更?早|更?老|更?旧)|(?P<since>以来|开始|起|至今|到现在)|(?P<after>以后|之后|后|更?新|更?晚))|"
    rf"(?P<sign>不早于|不晚于|早于|晚于)(?P<signed>{_YEAR})年?",
    re.IGNORECASE,
)
_EXACT = re.compile(
    rf"{_NOT}(?:\b(?:in|from|of|made in|released in|during|year|dated|the year)\s+)*(?<!\d)(?P<year>{_YEAR})(?!\d)"
    r"\s*年?(?:的|上映|出品)?",
    re.IGNORECASE,
)


def read_years(work: Unread, name: str) -> list[Range]:
    """Return what a question says of years, and blank it; ``name`` is the field that years are in, "" for none."""
    if not name:
        return []
    found: list[Range] = []

    def take(match: re.Match[str], low: float, high: float) -> None:
        found.append(Range(name, low, high, outside=bool(match["not"]) or _negated(work, match.start())))
        work.blank(*match.span())

    for match in list(_BETWEEN.finditer(work.left)):
        years = [int(year) for year in match.groups() if year and year.isdigit()]
        # From 1990 to 1980 is no time at all: it is told, not turned round.
        take(match, years[0], years[1])
    for match in list(_BOUND.finditer(work.left)):
        operator = next(op for i, (_, op) in enumerate(_BOUNDS) if match[f"b{i}"])
        first = int(match["year"])
        take(match, *_bounded(">=" if match["on"] else operator, first, first + 9 if match["decade"] else first))
    for match in list(_BOUND_AFTER.finditer(work.left)):
        year = int(match["year"] or match["chinese"] or match["signed"])
        operator = "<" if match["before"] else ">" if match["after"] else "<=" if match["until"] else ">="
        if match["sign"]:
            operator = {"不早于": ">=", "不晚于": "<=", "早于": "<", "晚于": ">"}[match["sign"]]
        take(match, *_bounded(operator, year, year))
    for match in list(_DECADE.finditer(work.left)):
        start = _decade(match)
        if match["since"]:
            take(match, start, math.inf)
        elif operator := _bound_before(work, match.start()):
            take(match, *_bounded(operator, start, start + 9))
        else:
            first, last = {"early": (0, 3), "mid": (4, 6), "late": (7, 9)}.get((match["part"] or "").casefold(), (0, 9))
            take(match, start + first, start + last)
    for match in list(_EXACT.finditer(work.left)):
        take(match, int(match["year"]), int(match["year"]))
    return found


def _bounded(operator: str, first: int, last: int) -> tuple[float, float]:
    """Return the years before, until, from or after a time from ``first`` to ``last``."""
    bounds = {
        "<": (-math.inf, first - 1), "<=": (-math.inf, last), ">": (last + 1, math.inf), ">=": (first, math.inf)
    }  # fmt: skip
    return bounds[operator]


def _decade(match: re.Match[str]) -> int:
    if match["full"]:
        return int(match["full"]) * 10
    if match["short"]:
        return (1900 if int(match["short"]) > 2 else 2000) + int(match["short"]) * 10
    if match["word"]:
        return _DECADE_WORDS[match["word"].casefold()]
    digit = match["chinese"]
    return 1900 + 10 * (int(digit) if digit.isdigit() else CHINESE_NUMBERS[digit])


def _bound_before(work: Unread, start: int) -> str:
    """Return how what stands right before a decade bounds it, and blank that."""
    for phrase, operator in _BOUNDS:
        if match := re.search(rf"\b(?:{phrase})\s*(?:the\s*)?$", work.left[:start], re.IGNORECASE):
            work.blank(*match.span())
            return operator
    return ""


def _negated(work: Unread, start: int) -> bool:
    before = work.left[max(0, start - 6) : start].rstrip()
    return before.endswith(CHINESE_NEGATORS)
