"""Constraints and answers as sentences, in English or Chinese."""

from __future__ import annotations

import math
from collections.abc import Sequence

from frugalrec.tasks.attributes import Attributes, Value
from frugalrec.tasks.constraints import Constraints, Range

PHRASES: dict[str, dict[str, str]] = {
    "en": {
        "or": " or ",
        "and": " and ",
        "not": "not {}",
        "all": "anything",
        "like": "like {}",
        "words": "about “{}”",
        "seen": "in your history",
        "unseen": "new to you",
        "count": "{n} of {total} match ({what}).",
        "shown": "Here are {n} of the {total} that match ({what}):",
        "shown all": "All {total} that match ({what}):",
        "shown one": "The one that matches ({what}):",
        "for you": "{n} of {total} to choose from, for you:",
        "for all": "{n} of {total}, popular ones first:",
        "near first": "{n} of {total}, most {what} first:",
        "none": "Nothing in the catalogue is {what}.",
        "relax": "Without “{what}” there would be {n}.",
        "drop": "Which shall I drop?",
        "contradiction": "That cannot be: {why}. Which do you mean?",
        "none left": "Nothing else matches.",
        "no history": "I do not know whose history is meant: start with a user.",
        "unknown": "The catalogue says nothing about “{words}”.",
        "near": "Did you mean {near}?",
        "unknown go on": "Shall I look without that?",
        "ignored": "(I did not understand “{words}” and left it out.)",
        "which title": "Which “{title}” do you mean?",
        "no title": "No item is called “{title}”.",
        "no title near": "No item is called “{title}”. Did you mean one of these?",
        "ask": "What are you looking for? For example {example}.",
        "ask fields": "What kind? {field}: {values}, …",
        "yes": "Yes: {title} is {what}.",
        "no": "No: {title} is not {what}.",
        "not known": "That is not known of {title}.",
        "fact": "{title}: {facts}.",
        "no facts": "Nothing is known of {title} but its name.",
        "reset": "All right, from the beginning. What are you looking for?",
        "which one": "Which one do you mean?",
        "no such number": "I have not shown that many. Which one do you mean?",
        "from": "from {low:.12g}",
        "before": "until {high:.12g}",
        "between": "{low:.12g} to {high:.12g}",
        "exact": "{low:.12g}",
        "at least": "{field} of at least {low:.12g}",
        "at most": "{field} of at most {high:.12g}",
        "within": "{field} from {low:.12g} to {high:.12g}",
        "outside": "not {}",
        "example": "“a {value} from before {year}”",
        "example short": "“{value}”",
    },
    "zh": {
        "or": "或",
        "and": "、",
        "not": "不含{}",
        "all": "不限",
        "like": "类似{}",
        "words": "关于“{}”",
        "seen": "看过的",
        "unseen": "没看过的",
        "count": "{total}个里有{n}个符合（{what}）。",
        "shown": "符合（{what}）的共{total}个，先列{n}个：",
        "shown all": "符合（{what}）的全部{total}个：",
        "shown one": "只有1个符合（{what}）：",
        "for you": "从{total}个里为你选了{n}个：",
        "for all": "从{total}个里选了{n}个，热门在前：",
        "near first": "{total}个里最符合（{what}）的{n}个：",
        "none": "目录里没有符合（{what}）的。",
        "relax": "去掉“{what}”有{n}个。",
        "drop": "要去掉哪一个？",
        "contradiction": "条件矛盾：{why}。你要哪一个？",
        "none left": "没有别的了。",
        "no history": "不知道是谁的记录：请先指定用户。",
        "unknown": "目录里没有“{words}”。",
        "near": "是不是{near}？",
        "unknown go on": "不管它，继续找吗？",
        "ignored": "（没看懂“{words}”，没有用它。）",
        "which title": "你说的是哪一个“{title}”？",
        "no title": "没有叫“{title}”的。",
        "no title near": "没有叫“{title}”的。是下面的某一个吗？",
        "ask": "想找什么？比如{example}。",
        "ask fields": "什么样的？{field}：{values}等。",
        "yes": "是的：{title}符合（{what}）。",
        "no": "不是：{title}不符合（{what}）。",
        "not known": "{title}的这一项没有记录。",
        "fact": "{title}：{facts}。",
        "no facts": "除了名字，没有{title}的记录。",
        "reset": "好的，重新开始。想找什么？",
        "which one": "你说的是哪一个？",
        "no such number": "还没有列出那么多。你说的是哪一个？",
        "from": "{low:.12g}年起",
        "before": "{high:.12g}年及以前",
        "between": "{low:.12g}到{high:.12g}年",
        "exact": "{low:.12g}年",
        "at least": "{field}至少{low:.12g}",
        "at most": "{field}至多{high:.12g}",
        "within": "{field}从{low:.12g}到{high:.12g}",
        "outside": "不是{}",
        "example": "“{year}年以前的{value}”",
        "example short": "“{value}”",
    },
}


def range_words(each: Range, attributes: Attributes, language: str) -> str:
    """Return what a range asks for."""
    say = PHRASES[language]
    low, high = each.low, each.high
    if each.field == attributes.year_field:
        kind = "exact" if low == high else "before" if math.isinf(low) else "from" if math.isinf(high) else "between"
    else:
        kind = "at most" if math.isinf(low) else "at least" if math.isinf(high) else "within"
    said = say[kind].format(low=low, high=high, field=each.field)
    return say["outside"].format(said) if each.outside else said


def constraint_words(constraints: Constraints, attributes: Attributes, language: str) -> str:
    """Return what constraints ask for, in words of the catalogue."""
    say = PHRASES[language]
    parts = [say["or"].join(dict.fromkeys(v.name for v in group)) for group in constraints.any_of]
    parts += [say["not"].format(name) for name in dict.fromkeys(v.name for v in constraints.none_of)]
    parts += [say["not"].format(f"“{' '.join(words)}”") for words in constraints.without]
    parts += [range_words(each, attributes, language) for each in constraints.ranges]
    if constraints.like:
        parts.append(say["like"].format(say["and"].join(attributes.catalog.title(code) for code in constraints.like)))
    if constraints.text:
        parts.append(say["words"].format(constraints.text))
    if constraints.seen is not None:
        parts.append(say["seen" if constraints.seen else "unseen"])
    return ("；" if language == "zh" else ", ").join(parts) or say["all"]


def fact_words(attributes: Attributes, code: int, fields: Sequence[str], language: str) -> str:
    """Return the values of ``fields`` of an item (all where none are named), as the catalogue has them."""
    known = attributes.of(code)
    colon, comma, end = ("：", "、", "；") if language == "zh" else (": ", ", ", "; ")
    chosen = [name for name in fields if name in known] if fields else list(known)
    return end.join(f"{name}{colon}{comma.join(known[name][:12])}" for name in chosen)


def example(attributes: Attributes, language: str) -> str:
    """Return a question that this catalogue can answer."""
    say = PHRASES[language]
    values = [v.name for name in attributes.fields[:1] for v in attributes.common(name, 1)]
    if not values:
        return ""
    years = attributes.years[attributes.years == attributes.years]
    if len(years):
        return say["example"].format(value=values[0], year=round(int(sorted(years)[len(years) // 2]), -1))
    return say["example short"].format(value=values[0])


def names(values: Sequence[Value | str]) -> list[str]:
    """Return the names of values, each once."""
    return list(dict.fromkeys(v if isinstance(v, str) else v.name for v in values))


__all__ = ["PHRASES", "constraint_words", "example", "fact_words", "names", "range_words"]
