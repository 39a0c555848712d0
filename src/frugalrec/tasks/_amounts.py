"""Numbers in a question: bounds on numeric fields, and how many items are wanted."""

from __future__ import annotations

import itertools
import re

from frugalrec.tasks._forms import Form, tokens
from frugalrec.tasks._question_words import CHINESE_NUMBERS, NUMBER, NUMBERS, OPERATORS
from frugalrec.tasks._unread import BLANK, Unread
from frugalrec.tasks._values import Values
from frugalrec.tasks.attributes import Attributes
from frugalrec.tasks.constraints import Range


def numeric_ranges(work: Unread, attributes: Attributes, field_words: dict[Form, str]) -> list[Range]:
    """Read numeric fields other than the year: "rating above 8", "under 100 片长"."""
    found: list[Range] = []
    for words, name in field_words.items():
        if name not in attributes.numbers or name == attributes.year_field:
            continue
        pattern = (
            r"\s*".join(re.escape(w) for w in words)
            if not words[0].isascii()
            else r"\W+".join(rf"{re.escape(w)}s?" for w in words)
        )
        for operator, said in OPERATORS.items():
            for expression in (
                rf"{pattern}\s*(?:is|was|of|在)?\s*(?:{said})\s*{NUMBER}",
                rf"(?:{said})\s*{NUMBER}\s*{pattern}",
            ):
                if match := re.search(expression, work.left, re.IGNORECASE):
                    number = float(match[1].replace(",", "."))
                    found.append(_range(name, operator, number))
                    work.blank(*match.span())
    return found


def how_many(work: Unread, values: Values) -> int | None:
    """Return how many items are wanted, and blank that; None where nothing is said."""
    number = r"(\d{1,3}|" + "|".join(NUMBERS) + r")"
    patterns = (
        rf"\b(?:top|best|first|only|just|exactly|give me|show me|name|list|recommend|suggest|want|need|find"
        rf"(?: me)?)(?: the| a)?(?: top| best)? {number}\b(?!\s*(?:year|%|'s|s\b))",
        rf"\b{number}(?: of(?: the)?| more| other| good| great| best| different)*(?: [\w'-]+){{0,3}}?"
        r" (?:movies|films|titles|items|suggestions|recommendations|ones|picks|products|books|things)\b",
    )
    for pattern in patterns:
        if (match := re.search(pattern, work.left, re.IGNORECASE)) and BLANK not in match[0]:
            said = match[1].casefold()
            k = int(said) if said.isdigit() else NUMBERS[said]
            work.blank(*match.span(1))
            return k or None
    if match := re.search(r"(?<!\d)([\d一二三四五六七八九十两]+)\s*(?:部|个|本|件|首|款)", work.left):
        said = match[1]
        k = int(said) if said.isdecimal() else sum(CHINESE_NUMBERS.get(c, 0) for c in said)
        work.blank(*match.span())
        # "一部喜剧" is an article, as "a comedy" is.
        return k if k > 1 else None
    # "three comedies": a number right before a value
    parts = tokens(work.left)
    for this, after in itertools.pairwise(parts):
        n = NUMBERS.get(this.text.casefold()) or (int(this.text) if re.fullmatch(r"\d{1,2}", this.text) else 0)
        if n and n <= 100 and values.at([after, *parts[parts.index(after) + 1 :]]) is not None:
            work.blank(this.start, this.end)
            return n if n > 1 else None
    return None


def _range(name: str, operator: str, number: float) -> Range:
    inf = float("inf")
    tiny = 1e-9 * max(1.0, abs(number))
    low, high = {
        ">=": (number, inf), "<=": (-inf, number), ">": (number + tiny, inf), "<": (-inf, number - tiny),
        "=": (number, number),
    }[operator]  # fmt: skip
    return Range(name, low, high)
