"""What kind of answer a question wants, by its words alone."""

from __future__ import annotations

import re

from frugalrec.tasks._forms import Form, form
from frugalrec.tasks._question_words import (
    ASKS_COUNT,
    ASKS_FACTS,
    ASKS_WHETHER,
    CHINESE_FACTS,
    CHINESE_NUMBERS,
    CHINESE_WHETHER,
    ORDINALS,
)
from frugalrec.tasks._reading import Intent
from frugalrec.tasks.attributes import Attributes


def intent_of(text: str) -> Intent:
    """Return what a question wants: items, their number, facts about one, or whether something holds."""
    if ASKS_COUNT.search(text):
        return "count"
    if ASKS_WHETHER.search(text) or CHINESE_WHETHER.search(text):
        return "check"
    if ASKS_FACTS.search(text) or CHINESE_FACTS.search(text):
        return "facts"
    return "find"


def asked_fields(text: str, attributes: Attributes, field_words: dict[Form, str]) -> tuple[str, ...]:
    """Return the fields whose facts are asked for; "who" where a person is and no field tells."""
    asked: list[str] = []
    lowered = text.casefold()
    known = set(form(text))
    for words, name in field_words.items():
        if set(words) <= known or (not words[0].isascii() and "".join(words) in lowered):
            asked.append(name)
    year = attributes.year_field
    if year and re.search(r"\bwhen\b|\byear\b|how old|哪(?:一)?年|什么时候|上映", lowered):
        asked.append(year)
    if re.search(r"\bgenres?\b|\bkind\b|\btype\b|\bsort\b|\bcategory\b|类型", lowered):
        asked += [name for name in attributes.fields if re.search("genre|type|categor|class|类", name, re.I)]
    if re.search(r"who directed|导演", lowered):
        asked += [name for name in attributes.fields if re.search("direct|导演", name, re.I)]
    if re.search(r"who (?:stars?|acted|plays?)|主演|谁演", lowered):
        asked += [name for name in attributes.fields if re.search("actor|cast|star|主演", name, re.I)]
    if not asked and re.search(r"\bwho\b|谁", lowered):
        asked.append("who")  # which no field of this catalogue tells
    return tuple(dict.fromkeys(name for name in asked if name != attributes.title_field))


def ordinal(text: str) -> int:
    """Return the number of the shown item that ``text`` points at, -1 for the last, 0 where it points at none."""
    if match := re.search(
        r"^\s*(?:tell me (?:more )?about |what(?:'s| is) |more about |about )?(?:the |number |no\.? ?|#)?"
        r"(first|second|third|fourth|fifth|last|\d{1,2})(?:st|nd|rd|th)?(?: one| movie| film| item)?\s*[.?!]*\s*$",
        text,
        re.IGNORECASE,
    ):
        said = match[1].casefold()
        return ORDINALS.get(said) or int(said)
    if match := re.search(r"^第?([一二三四五六七八九十]|\d{1,2})[个部]?(?:怎么样|呢|是什么)?[？?]?$", text):
        return CHINESE_NUMBERS.get(match[1]) or int(match[1])
    return 0


def relative_age(text: str) -> bool | None:
    """Whether a turn asks for something older (True) or newer (False) than what was shown."""
    if re.search(r"\b(?:older|earlier)\b(?! than)|更(?:早|老)", text, re.IGNORECASE):
        return True
    if re.search(r"\b(?:newer|later|more recent)\b(?! than)|更(?:新|晚)", text, re.IGNORECASE):
        return False
    return None
