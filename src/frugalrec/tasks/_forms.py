"""Text → comparable forms: words without endings that do not matter, Chinese by characters, and synonyms of genres."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

Form = tuple[str, ...]

_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3041-\u30ff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+(?:'[^\W_{_CJK}]+)*|[^\w\s]")
_YEAR_AT_END = re.compile(r"\s*[(（]\s*(\d{4})\s*(?:[-–]\s*\d{0,4}\s*)?[)）]\s*$")
_ARTICLE_AT_END = re.compile(r"^(.*), (the|a|an|le|la|les|l'|el|das|der|die|il|los|lo|un|une)$", re.IGNORECASE)
_ARTICLES = frozenset({"the", "a", "an"})

# Each row names one thing. A word stands for a value of the catalogue only where one of its row is a value there.
_SYNONYMS = """
comedy|funny|comedic|喜剧|搞笑
drama|dramatic|剧情
sci-fi|science fiction|scifi|sf|科幻
film-noir|noir|黑色电影
romance|romantic|love story|爱情
thriller|suspense|惊悚
horror|scary|恐怖
animation|animated|cartoon|动画
children's|children|kids|kid|child|儿童
documentary|纪录片|纪录
war|战争
crime|犯罪
mystery|悬疑
adventure|冒险
fantasy|奇幻
musical|歌舞
music|音乐
western|西部
action|动作
family|家庭
biography|biographical|biopic|传记
history|historical|历史
sport|sports|运动
美国|american|usa|united states|america
日本|japanese|japan
法国|french|france
英国|british|britain|uk|united kingdom
中国大陆|中国|chinese|china|大陆|国产
中国香港|香港|hong kong
中国台湾|台湾|taiwanese|taiwan
韩国|korean|korea|south korea
意大利|italian|italy
德国|german|germany
印度|indian|india
英语|english|in english
法语|in french
日语|in japanese
"""


@dataclass(frozen=True, slots=True)
class Token:
    """One word, Chinese character or sign: ``word`` to compare, ``text`` as written, and where it stands."""

    word: str
    text: str
    start: int
    end: int


def normal(text: str) -> str:
    """Return ``text`` in NFKC with straight quotation marks; case is kept."""
    text = unicodedata.normalize("NFKC", text)
    return text.translate(str.maketrans("’‘ʼ“”„", "'''\"\"\""))


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text that is `normal`."""
    return [Token(_stem(m[0].casefold()), m[0], m.start(), m.end()) for m in _TOKEN.finditer(text)]


def form(text: str) -> Form:
    """Return the words of ``text`` as they are compared: no case, no signs, no plural.

    >>> form("Children's Films"), form("Sci-Fi"), form("喜剧")
    (('children', 'film'), ('sci', 'fi'), ('喜', '剧'))
    """
    return tuple(t.word for t in tokens(normal(text)) if t.word[0].isalnum())


def spelling(text: str) -> Form:
    """Return the words of ``text`` as `form` does, with their endings: what tells "Aliens" from "Alien".

    >>> spelling("Aliens (1986)")
    ('aliens', '1986')
    """
    return tuple(t.text.casefold() for t in tokens(normal(text)) if t.word[0].isalnum())


def title_forms(title: str, form: Callable[[str], Form] = form) -> list[Form]:
    """Return the forms under which an item is known: without year and article, in either language, other titles.

    What stands before a colon is one too, if it has two words, so that parts of a series share a form.

    >>> title_forms("Usual Suspects, The (1995)")
    [('usual', 'suspect', 'the'), ('the', 'usual', 'suspect'), ('usual', 'suspect')]
    """
    rest, _ = split_year(normal(title))
    parts = [rest]
    inner = re.findall(r"[(（]([^()（）]+)[)）]", rest)
    if inner:
        parts = [re.sub(r"\s*[(（][^()（）]+[)）]\s*", " ", rest).strip(), *(p for p in inner if len(p) > 2), rest]
    before, colon, _ = parts[0].partition(": ")
    if colon and len(form(before)) > 1:
        parts.append(before)
    found: dict[Form, None] = {}
    for part in parts:
        part = part.strip()
        if match := _ARTICLE_AT_END.match(part):
            found[form(part)] = None
            part = f"{match[2]} {match[1]}"
        whole = form(part)
        # Chinese catalogues write a title twice: in both scripts, or with the original title after a space.
        runs = [part.split(None, 1)[0], *part.split(None, 1)[1:]] if re.match(rf"\d*[{_CJK}]", part) else []
        for each in (whole, *(form(run) for run in runs)):
            if each and (each == whole or len("".join(each)) > 2 or len(each) > 1):
                found[each] = None
                if each[0] in _ARTICLES and len(each) > 1:
                    found[each[1:]] = None
    return list(found)


def split_year(title: str) -> tuple[str, int | None]:
    """Return a title and the year in brackets at its end, where there is one.

    >>> split_year("Heat (1995)"), split_year("Heat")
    (('Heat', 1995), ('Heat', None))
    """
    match = _YEAR_AT_END.search(title)
    return (title[: match.start()].strip(), int(match[1])) if match else (title.strip(), None)


def spoken(title: str) -> str:
    """Return a title as people say it, the year left where it is.

    >>> spoken("Usual Suspects, The (1995)")
    'The Usual Suspects (1995)'
    """
    rest, year = split_year(title)
    if match := _ARTICLE_AT_END.match(rest):
        rest = f"{match[2]} {match[1]}"
    return rest if year is None else f"{rest} ({year})"


@lru_cache(maxsize=1)
def synonyms() -> dict[Form, tuple[Form, ...]]:
    """Return, for each form that has any, the forms of the same thing."""
    rows = [[form(word) for word in line.split("|")] for line in _SYNONYMS.split("\n") if line]
    return {each: tuple(other for other in row if other != each) for row in rows for each in row}


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    if not word.isascii() or len(word) < 4:
        return word
    if word.endswith("'s"):
        return word[:-2]
    word = word.rstrip("'")
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
