"""Does a text say more than its sources? Names, numbers and years that are in none of them are flagged."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from frugalrec.tasks._forms import normal, tokens
from frugalrec.tasks.attributes import Attributes, Value
from frugalrec.text.stop_words import STOP_WORDS

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?P<decade>'?s\b)?")
_NUMBER_WORDS = {
    word: str(n)
    for n, word in enumerate(
        ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), 2
    )
} | {"dozen": "12", "hundred": "100", "thousand": "1000", "million": "1000000"}
_WORD = re.compile(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*")
_SENTENCE = re.compile(r"(?:^|[.!?:;\n。！？]\s*[\"“(]?)\s*$")
_QUOTED = re.compile(r"《([^》]+)》|“([^”]+)”|\"([^\"]+)\"")
_TRANSLITERATED = re.compile(r"[\u4e00-\u9fff]+(?:·[\u4e00-\u9fff]+)+")
_JOINS = frozenset({"of", "the", "de", "la", "van", "von", "and"})
_OPENERS = frozenset(
    """this these those it its here people viewers readers fans audiences everyone someone anyone many most few several
    some others both if when while from set based made released directed written starring features featuring follows
    enjoy enjoyed discover watch try loved likes like dislikes likely mostly often recently lately before later earlier
    overall also then their they he she you your we his her one another each every among with without in on at by for to
    and but or so as because though although however still even rated ratings chosen choose chose""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Flag:
    """Something a text says that no source says."""

    kind: Literal["number", "name", "title"]
    words: str


def ungrounded(text: str, sources: Sequence[str], *, known: Collection[str] = ()) -> tuple[Flag, ...]:
    """Return the names, numbers and quoted titles of ``text`` that are in none of ``sources``.

    A name is a run of capitalised words; it must stand in a source in the same order. The first word of a sentence may
    also be an ordinary word: a stop word, one of a short list, or one of ``known`` (in lower case). "The 1990s" is
    covered by any year of that decade. Strict on purpose: a false alarm costs a fall back to a template, a miss a false
    sentence. It knows nothing of claims in other words ("a sad ending"), nor of Chinese names without signs around
    them, "·" excepted.

    >>> ungrounded("Heat was directed by Michael Mann in 1995.", ["Heat (1995), Crime"])
    (Flag(kind='name', words='Michael Mann'),)
    """
    text = normal(text)
    joined = normal("\n".join(sources))
    flags: dict[Flag, None] = {}
    for flag in (*_numbers(text, joined), *_titles(text, joined), *_names(text, joined, known)):
        flags[flag] = None
    return tuple(flags)


def foreign_values(text: str, sources: Sequence[str], attributes: Attributes) -> tuple[str, ...]:
    """Return the catalogue's own values that ``text`` names and no source does: "a drama" said of a comedy.

    Synonyms count as what they stand for. A word that is a value and ordinary too ("family") may be a false alarm.
    """
    there = set(spelled_values(" ; ".join(sources), attributes).values())
    found = spelled_values(text, attributes)
    return tuple(words for words, values in found.items() if not any(set(values) & set(each) for each in there))


def spelled_values(text: str, attributes: Attributes) -> dict[str, tuple[Value, ...]]:
    """Return the values that a text spells, longest first at each place, by how it spells them."""
    parts = [t for t in tokens(normal(text)) if t.word[0].isalnum()]
    found: dict[str, tuple[Value, ...]] = {}
    i = 0
    while i < len(parts):
        for length in range(min(attributes.longest_value, len(parts) - i), 0, -1):
            words = tuple(t.word for t in parts[i : i + length])
            values = attributes.spelled(words)
            if values and not all(word in STOP_WORDS or len(word) < 2 for word in words):
                found[" ".join(t.text for t in parts[i : i + length])] = values
                i += length - 1
                break
        i += 1
    return found


def _numbers(text: str, source: str) -> list[Flag]:
    there = {_plain_number(m[0]) for m in _NUMBER.finditer(source)}
    words = {word.casefold() for word in _WORD.findall(source)}
    there |= {_NUMBER_WORDS[word] for word in words if word in _NUMBER_WORDS}
    found = []
    for match in _NUMBER.finditer(text):
        number = _plain_number(match[0])
        decade = match["decade"] and len(number) == 4 and number.endswith("0")
        if number not in there and not (decade and any(len(n) == 4 and n[:3] == number[:3] for n in there)):
            found.append(Flag("number", match[0]))
    for match in _WORD.finditer(text):
        value = _NUMBER_WORDS.get(match[0].casefold())
        if value is not None and value not in there:
            found.append(Flag("number", match[0]))
    return found


def _titles(text: str, source: str) -> list[Flag]:
    said = [next(filter(None, groups)) for groups in _QUOTED.findall(text)] + _TRANSLITERATED.findall(text)
    return [Flag("title", words) for words in said if words.casefold() not in source.casefold()]


def _names(text: str, source: str, known: Collection[str]) -> list[Flag]:
    there = " " + " ".join(_words(source)) + " "
    found: list[Flag] = []
    run: list[re.Match[str]] = []

    def close() -> None:
        while run and run[-1][0] in _JOINS:
            run.pop()
        if run and not _said(run, text, there, known):
            found.append(Flag("name", " ".join(match[0] for match in run)))
        run.clear()

    end = 0
    for match in _WORD.finditer(text):
        gap = text[end : match.start()]
        end = match.end()
        if gap.strip(" ") and run:
            close()
        if match[0][0].isupper() or (run and match[0] in _JOINS):
            run.append(match)
        elif run:
            close()
    close()
    return found


def _said(run: Sequence[re.Match[str]], text: str, there: str, known: Collection[str]) -> bool:
    """Whether a source has the words of a run one after another; the first of a sentence may be an ordinary word."""
    words = _words(" ".join(match[0] for match in run))
    if not words or f" {' '.join(words)} " in there:
        return True
    first = run[0][0].casefold()
    ordinary = first in STOP_WORDS or first in _OPENERS or first in known
    if ordinary and (_SENTENCE.search(text[: run[0].start()]) or first in STOP_WORDS):
        rest = words[len(_words(run[0][0])) :]
        return not rest or f" {' '.join(rest)} " in there
    if any(match[0] == "and" for match in run):
        parts = re.split(r"\band\b", " ".join(match[0] for match in run))
        return all(f" {' '.join(_words(part))} " in there for part in parts)
    return False


def _words(text: str) -> list[str]:
    return [re.sub(r"['’]s$", "", word.casefold()) for word in _WORD.findall(text)]


def _plain_number(text: str) -> str:
    digits = re.sub(r"'?s$", "", text)
    digits = re.sub(r",(?=\d{3}\b)", "", digits).replace(",", ".")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits.lstrip("0") or "0"


__all__ = ["Flag", "foreign_values", "spelled_values", "ungrounded"]
