"""Are questions about a catalogue understood without a language model? Generated from its facts, checked against them.

    python benchmarks/language/ask.py movielens-1m
    python benchmarks/language/ask.py movielens-100k
    python benchmarks/language/ask.py douban --data DIR        # DIR holds interactions.csv.gz and movies.csv.gz

A question is a template filled with values drawn from the catalogue's raw columns; its answer is computed from these
columns here, apart from the code that is tested. *Exact* means: of a question for items, that the set of all items
meeting what was understood is the true set; of a count, the number; of a fact, all true values and no others; of a
yes/no question, the answer; of a question about something that the catalogue does not have, that no item is given.
*Invented* counts answers that name an item, or a value of an item, that the catalogue does not have.

The templates were written after the reader's rules and by the same people, so they are no independent sample of how
people ask. ``development`` was looked at while rules were corrected. ``second`` was written at the same time and scored
once, unseen (the figures are in benchmarks/README.md); rules were then corrected after it too. ``held-out`` was written
after that and before it was scored; features were added since, and its figures did not move. Intervals: Wilson, 95%.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from frugalrec.config import DataSection
from frugalrec.data.dataset import Dataset
from frugalrec.datasets import load_data
from frugalrec.machine import describe
from frugalrec.tasks.conversation import Answer, Conversation

Check = Callable[[Conversation, Answer], bool]


@dataclass(frozen=True)
class Question:
    """A question, the kind of it, and what its answer must be like."""

    kind: str
    text: str
    check: Check


@dataclass(frozen=True)
class Facts:
    """What the raw columns say: values of each kind an item, its year, its title as people write it."""

    values: dict[str, list[frozenset[str]]]
    years: list[int | None]
    titles: list[str]
    ids: list[str]


# {a}, {b}, {c}: values of the main kind; {x}, {y}: years with x < y; {t}: a title; {d}: a decade. A rule says which
# items are meant; it is given the values of an item and its year.
RULES: dict[str, Callable[..., bool]] = {
    "a": lambda v, y, q: q["a"] in v,
    "a and b": lambda v, y, q: q["a"] in v and q["b"] in v,
    "a or b": lambda v, y, q: q["a"] in v or q["b"] in v,
    "a not b": lambda v, y, q: q["a"] in v and q["b"] not in v,
    "a not b or c": lambda v, y, q: q["a"] in v and q["b"] not in v and q["c"] not in v,
    "a before": lambda v, y, q: q["a"] in v and y is not None and y < q["x"],
    "a until": lambda v, y, q: q["a"] in v and y is not None and y <= q["x"],
    "a after": lambda v, y, q: q["a"] in v and y is not None and y > q["x"],
    "a since": lambda v, y, q: q["a"] in v and y is not None and y >= q["x"],
    "a between": lambda v, y, q: q["a"] in v and y is not None and q["x"] <= y <= q["y"],
    "a in": lambda v, y, q: q["a"] in v and y == q["x"],
    "a decade": lambda v, y, q: q["a"] in v and y is not None and q["d"] <= y < q["d"] + 10,
    "a not b before": lambda v, y, q: q["a"] in v and q["b"] not in v and y is not None and y < q["x"],
    "a or b not c since": lambda v, y, q: (
        bool({q["a"], q["b"]} & v) and q["c"] not in v and y is not None and y >= q["x"]
    ),
    "a not decade": lambda v, y, q: q["a"] in v and y is not None and not q["d"] <= y < q["d"] + 10,
}  # fmt: skip

ENGLISH: dict[str, dict[str, list[str]]] = {
    "development": {
        "a": ["Show me some {a} movies", "I'm in the mood for {a}", "any good {a} films?"],
        "a and b": ["a {a} {b}", "something that is both {a} and {b}", "a {a} film that is also {b}"],
        "a or b": ["{a} or {b}, please", "I want either {a} or {b}", "a {a} or a {b} movie"],
        "a not b": ["{a} but not {b}", "a {a} movie without {b}", "{a}, no {b}", "some {a} that isn't {b}"],
        "a not b or c": ["{a} without {b} or {c}", "{a}, but no {b} and no {c}", "a {a} that is neither {b} nor {c}"],
        "a before": ["{a} from before {x}", "a {a} movie older than {x}", "{a} released prior to {x}"],
        "a until": ["{a} up to {x}", "{a} no later than {x}", "a {a} film from {x} or earlier"],
        "a after": ["{a} after {x}", "{a} newer than {x}", "a {a} movie made after {x}"],
        "a since": ["{a} since {x}", "{a} from {x} on", "a {a} from {x} or later"],
        "a between": ["{a} from {x} to {y}", "a {a} between {x} and {y}", "{a} made between {x} and {y}"],
        "a in": ["{a} from {x}", "{a} movies released in {x}", "what {a} came out in {x}?"],
        "a decade": ["{a} from the {d}s", "a {d}s {a} movie", "{a} films of the {d}s"],
        "a not b before": ["a {a} from before {x}, not with {b}", "{a} without {b} before {x}"],
        "a or b not c since": ["{a} or {b} but no {c}, since {x}", "{a} or {b} from {x} on, without {c}"],
        "a not decade": ["{a}, but not from the {d}s", "a {a} that is not from the {d}s"],
        "count": ["how many {a} movies are there?", "How many {a} films came out in {x}?"],
        "year": ["When was {t} released?", "what year is {t} from?"],
        "kind": ["What genre is {t}?", "Which genres does {t} have?"],
        "check": ["Is {t} a {a} movie?", "is {t} {a}?"],
        "absent": ["a {a} movie with {n}", "something by {n}", "{a} starring {n}"],
    },
    "second": {
        "a": ["Could you find me something in the {a} line?", "We feel like watching {a} tonight", "{a}"],
        "a and b": ["I'd love a mix of {a} and {b}", "a movie filed under {a} as well as {b}"],
        "a or b": ["Suggest a couple of titles, {a} or else {b}", "My kids want {a} or {b} - what have you got?"],
        "a not b": [
            "I like {a} but I can't stand {b}", "Recommend {a}; leave out anything {b}", "{a} other than {b}",
            "{a}, excluding {b}",
        ],
        "a not b or c": ["Give me {a}, just skip {b} and {c}", "{a} please, nothing that counts as {b} or {c}"],
        "a before": ["What {a} did they make before {x}?", "pre-{x} {a}", "old {a}, meaning earlier than {x}"],
        "a until": ["{a} that came out by {x}", "{a}, {x} at the latest", "I want {a} not newer than {x}"],
        "a after": ["Do you have any {a} more recent than {x}?", "post-{x} {a}", "{a} dating from later than {x}"],
        "a since": ["{a}, {x} onwards", "{a} starting from {x}", "{a} no older than {x}"],
        "a between": ["{a} shot anywhere from {x} through {y}", "{a}, {x}-{y}", "{a} of the years {x} to {y}"],
        "a in": ["I remember {a} of {x}, show me", "{x} {a}", "the year was {x}; which {a} were new then?"],
        "a decade": ["Take me back to the {d}s with some {a}", "{a} in the {d}s"],
        "a not b before": ["Is there {a} earlier than {x} which has no {b} in it?", "pre-{x} {a} minus {b}"],
        "a or b not c since": ["Either {a} or {b} will do, from {x} onwards, only please no {c}"],
        "a not decade": ["{a} from any time except the {d}s", "{a} excluding the {d}s"],
        "count": ["What is the number of {a} titles in the catalogue?", "Count the {a} movies from {x}"],
        "year": ["In which year did {t} come out?", "How old is {t}?"],
        "kind": ["Tell me what kind of movie {t} is", "{t}: what genre?"],
        "check": ["Would you call {t} {a}?", "Does {t} count as {a}?"],
        "absent": ["I want to see {n} in a {a}", "{n} movies, please", "anything directed by {n}?"],
    },
    "held-out": {
        "a": ["Which {a} would you put on?", "one of your {a} titles"],
        "a and b": ["{a} crossed with {b}", "{a} and {b} at the same time"],
        "a or b": ["whatever, as long as it is {a} or {b}", "{a}; alternatively {b}"],
        "a not b": ["{a} with no trace of {b}", "I enjoy {a} although I dislike {b}", "{a}. Not {b}."],
        "a not b or c": ["{a} apart from {b} and {c}", "{a} avoiding {b} as well as {c}"],
        "a before": ["{a} that predates {x}", "{a} made any time before {x}"],
        "a until": ["{a} until {x}", "{a} from on or before {x}"],
        "a after": ["{a} beyond {x}", "{a}, strictly after {x}"],
        "a since": ["{a} of {x} and later", "{a} from no earlier than {x}"],
        "a between": ["{a} in the period {x} to {y}", "{a} from somewhere between {x} and {y}"],
        "a in": ["{a} dated {x}", "something {a} that premiered in {x}"],
        "a decade": ["{d}s {a}", "{a} made during the {d}s"],
        "a not b before": ["{a} without any {b}, before {x} if possible", "something {a}, not {b}, and older than {x}"],
        "a or b not c since": ["since {x}: {a} or {b}, never {c}"],
        "a not decade": ["{a} that was not made in the {d}s"],
        "count": ["How many titles are {a}?", "how many {a} do you have from {x}?"],
        "year": ["What year did {t} come out?", "When did {t} come out?"],
        "kind": ["What kind of film is {t}?", "Which genre does {t} belong to?"],
        "check": ["Is {t} considered {a}?", "Was {t} a {a}?"],
        "absent": ["a {a} featuring {n}", "has {n} made a {a}?"],
    },
}  # fmt: skip
CHINESE: dict[str, dict[str, list[str]]] = {
    "development": {
        "a": ["推荐几部{a}片", "我想看{a}电影", "有什么好看的{a}片？"],
        "a and b": ["又是{a}又是{b}的电影", "{a}{b}片"],
        "a or b": ["{a}或者{b}", "{a}片或{b}片都可以"],
        "a not b": ["{a}片，不要{b}", "不是{b}的{a}片", "想看{a}，没有{b}"],
        "a not b or c": ["{a}，不要{b}和{c}", "{a}片，不要{b}，不要{c}"],
        "a before": ["{x}年以前的{a}片", "{x}年之前上映的{a}"],
        "a after": ["{x}年以后的{a}片", "{x}年之后的{a}电影"],
        "a since": ["{x}年以来的{a}片"],
        "a between": ["{x}年到{y}年的{a}片", "{x}到{y}年之间的{a}"],
        "a in": ["{x}年的{a}片", "{x}年上映的{a}电影"],
        "a decade": ["{z}年代的{a}片"],
        "a not b before": ["{x}年以前的{a}片，不要{b}"],
        "count": ["有多少部{a}片？", "{x}年的{a}片有多少？"],
        "year": ["《{t}》是哪年的？", "《{t}》是什么时候上映的？"],
        "kind": ["《{t}》是什么类型？"],
        "check": ["《{t}》是{a}片吗？", "《{t}》是不是{a}片？"],
        "absent": ["有没有{n}主演的{a}片？", "由{n}导演的电影"],
    },
    "second": {
        "a": ["今晚想来一部{a}", "给我找一些{a}类的影片", "{a}"],
        "a and b": ["同时属于{a}和{b}的影片", "兼有{a}与{b}的片子"],
        "a or b": ["要么{a}要么{b}", "{a}、{b}都行，随便"],
        "a not b": ["除了{b}以外的{a}片", "喜欢{a}，讨厌{b}", "别给我{b}，我要{a}"],
        "a not b or c": ["不含{b}或{c}的{a}片"],
        "a before": ["早于{x}年的{a}片", "{x}年前拍的{a}"],
        "a after": ["晚于{x}年的{a}片", "比{x}年新的{a}"],
        "a since": ["从{x}年开始的{a}片", "{x}年起的{a}"],
        "a between": ["{a}，年份在{x}至{y}年", "从{x}年到{y}年间的{a}片"],
        "a in": ["哪些{a}是{x}年出的？"],
        "a decade": ["上世纪{z}年代的{a}"],
        "a not b before": ["{x}年之前、不带{b}的{a}片"],
        "count": ["目录里一共有几部{a}片？"],
        "year": ["请问《{t}》哪一年上映？"],
        "kind": ["《{t}》属于哪种类型？"],
        "check": ["《{t}》算{a}片吗？"],
        "absent": ["想看{n}的{a}片"],
    },
    "held-out": {
        "a": ["来点{a}", "{a}片有推荐吗"],
        "a and b": ["{a}加{b}的片子"],
        "a or b": ["{a}或{b}，哪个都可以", "想看{a}或者是{b}"],
        "a not b": ["{a}，但是不想看{b}", "要{a}，排除{b}"],
        "a not b or c": ["{a}，不想要{b}、{c}"],
        "a before": ["{x}年前的{a}", "拍摄于{x}年以前的{a}片"],
        "a after": ["在{x}年以后拍的{a}片"],
        "a since": ["{x}年至今的{a}片"],
        "a between": ["介于{x}年和{y}年之间的{a}片", "{x}-{y}年的{a}"],
        "a in": ["{x}年拍的{a}"],
        "a decade": ["{z}年代拍的{a}电影"],
        "a not b before": ["不要{b}的{a}，{x}年以前的"],
        "count": ["{a}片有几部？"],
        "year": ["《{t}》什么时候拍的？"],
        "kind": ["《{t}》是哪一类电影？"],
        "check": ["《{t}》是一部{a}片吗？"],
        "absent": ["有{n}演的片子吗"],
    },
}  # fmt: skip
DOUBAN = DataSection(
    interactions="interactions.csv.gz", items="movies.csv.gz", item="movie_id", text=("电影名称", "类型", "剧情简介")
)
ABSENT = (
    "Ottoline Vandermeer", "Baxter Quillfeather", "Ignatz Przybylo", "Marguerite Zuckerbrot", "Tarquin Ollerenshaw",
)  # fmt: skip
ABSENT_CHINESE = ("欧阳翠翘", "慕容铁蛋", "司徒锦鲤", "端木喵喵")
NOUNS = {"Children's": "children's", "Film-Noir": "film noir", "Sci-Fi": "sci-fi", "Documentary": "documentary"}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("name", choices=["movielens-100k", "movielens-1m", "douban"])
    arguments.add_argument("--data", type=Path, help="folder of the files, for data that cannot be fetched by name")
    arguments.add_argument("--each", type=int, default=4, help="questions a template")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--set", choices=["development", "second", "held-out", "all"], default="all")
    arguments.add_argument("--show", action="store_true", help="print the questions that were not answered exactly")
    given = arguments.parse_args()
    dataset = read(given.name, given.data)
    facts = facts_of(dataset)
    talk = Conversation(dataset)
    talk.ask("warm up")
    for part in ["development", "second", "held-out"] if given.set == "all" else [given.set]:
        dice = random.Random(given.seed)
        chinese = given.name == "douban"
        questions = list(generated(facts, (CHINESE if chinese else ENGLISH)[part], given.each, dice, chinese))
        report(given.name, part, questions, talk, given.show)
    print(json.dumps({"machine": describe(), "fingerprint": dataset.fingerprint(), "seed": given.seed}))


def report(name: str, part: str, questions: list[Question], talk: Conversation, show: bool) -> None:
    """Ask every question afresh and print how many answers are exact, by kind, and how many name what is not there."""
    right, asked = Counter[str](), Counter[str]()
    invented = 0
    started = time.process_time()
    for question in questions:
        talk.ask("start over")
        answer = talk.ask(question.text)
        invented += not grounded(talk, answer)
        exact = question.check(talk, answer)
        asked[question.kind] += 1
        right[question.kind] += exact
        if show and not exact:
            print(f"  [{question.kind}] {question.text}\n      {answer.kind}: {answer.text}")
    seconds = time.process_time() - started
    constraint = [kind for kind in asked if kind in RULES]
    print(f"{name}, {part}: {sum(asked.values())} questions, {1000 * seconds / sum(asked.values()):.1f} CPU ms each")
    for label, kinds in (("attribute constraints", constraint), ("all", list(asked))):
        n, k = sum(asked[kind] for kind in kinds), sum(right[kind] for kind in kinds)
        low, high = wilson(k, n)
        print(f"  {label}: {k} of {n} exact, {k / n:.3f} [{low:.3f}, {high:.3f}]")
    print(f"  invented items or values: {invented}")
    print("  by kind: " + ", ".join(f"{kind} {right[kind]}/{asked[kind]}" for kind in asked))


def read(name: str, folder: Path | None) -> Dataset:
    section = DataSection(dataset=name) if name != "douban" else DOUBAN
    return load_data(section, folder or Path())[0]


def facts_of(dataset: Dataset) -> Facts:
    """Read the raw columns anew: the main kind (genres), years, and titles without what the catalogue adds to them."""
    fields = dataset.catalog.fields
    if "类型" in fields:
        kinds = [frozenset(part.strip() for part in cell.split("/") if part.strip()) for cell in fields["类型"]]
        years = [int(float(cell)) if cell else None for cell in fields["上映年份"]]
        titles = [title.split(" ")[0] for title in fields["电影名称"]]
    elif "class" in fields:
        kinds = [frozenset(cell.split()) for cell in fields["class"]]
        years = [int(cell) if cell.isdigit() else None for cell in fields["release_year"]]
        titles = [plain(title) for title in fields["movie_title"]]
    else:
        column = "genres" if "genres" in fields else "genre"
        kinds = [frozenset(part.strip() for part in cell.split(",") if part.strip()) for cell in fields[column]]
        if not any("," in cell for cell in fields[column]):
            kinds = [frozenset(cell.split()) for cell in fields[column]]
        if "release_year" in fields:
            years = [int(cell) if cell.isdigit() else None for cell in fields["release_year"]]
            titles = [plain(title) for title in next(fields[name] for name in fields if "title" in name)]
        else:
            found = [re.search(r"\((\d{4})\)\s*$", title) for title in fields["title"]]
            years = [int(match[1]) if match else None for match in found]
            titles = [plain(re.sub(r"\s*\(\d{4}\)\s*$", "", title)) for title in fields["title"]]
    ids = [str(i) for i in dataset.catalog.items.ids]
    return Facts({"kind": kinds}, years, titles, ids)


def plain(title: str) -> str:
    """Return a title as people say it: "Usual Suspects, The" is "The Usual Suspects"."""
    title = re.sub(r"\s*\([^)]*\)", "", title)
    return re.sub(r"^(.*), (The|A|An)$", r"\2 \1", title.strip())


def generated(
    facts: Facts, templates: dict[str, list[str]], each: int, dice: random.Random, chinese: bool
) -> Iterator[Question]:
    kinds = facts.values["kind"]
    often = Counter(value for row in kinds for value in sorted(row)).most_common()
    common = [value for value, n in often if n >= 10 and value.lower() != "unknown"]
    known = [y for y in facts.years if y is not None]
    by_title: dict[str, list[int]] = defaultdict(list)
    for code, title in enumerate(facts.titles):
        by_title[title.casefold()].append(code)
    alone = [codes[0] for title, codes in by_title.items() if len(codes) == 1 and len(title) > 1]
    for kind, texts in templates.items():
        for text in texts:
            for _ in range(each):
                values = dict(zip("abc", dice.sample(common, 3), strict=True))
                x, y = sorted(dice.sample(sorted(set(known))[1:-1], 2))
                decade = dice.choice(known) // 10 * 10
                code = dice.choice([c for c in alone if facts.years[c] is not None and kinds[c]])
                title = facts.titles[code]
                name = dice.choice(ABSENT_CHINESE if chinese else ABSENT)
                said = {k: (v if chinese else NOUNS.get(v, v.lower())) for k, v in values.items()}
                filled = text.format(**said, x=x, y=y, d=decade, z=decade % 100 or "", t=title, n=name)
                if "{z}" in text and not 1910 <= decade < 2000:
                    continue
                asked = {**values, "x": x, "y": y, "d": decade}
                yield Question(kind, filled, checked(facts, kind, text, asked, code))


def checked(facts: Facts, kind: str, text: str, asked: dict[str, object], code: int) -> Check:
    kinds = facts.values["kind"]

    def meant(rule: str) -> list[bool]:
        return [RULES[rule](values, year, asked) for values, year in zip(kinds, facts.years, strict=True)]

    if kind in RULES:
        true = meant(kind)

        def exact(talk: Conversation, answer: Answer) -> bool:
            if not any(true):
                return answer.kind == "question" and answer.count == 0 and talk.constraints.filters
            return answer.kind == "items" and talk.shortlist.matching(talk.constraints).tolist() == true

        return exact
    if kind == "count":
        number = sum(meant("a in" if "{x}" in text else "a"))
        return lambda talk, answer: answer.kind == "count" and answer.count == number
    if kind == "year":
        return lambda talk, answer: is_about(facts, code, answer) and str(facts.years[code]) in answer.text
    if kind == "kind":
        return lambda talk, answer: is_about(facts, code, answer) and all(v in answer.text for v in kinds[code])
    if kind == "check":
        expected = "yes" if asked["a"] in kinds[code] else "no"
        return lambda talk, answer: answer.kind == expected and is_about(facts, code, answer)
    assert kind == "absent"
    return lambda talk, answer: not answer.items and bool(answer.not_understood)


def is_about(facts: Facts, code: int, answer: Answer) -> bool:
    return [item.item for item in answer.items] == [facts.ids[code]]


def grounded(talk: Conversation, answer: Answer) -> bool:
    """Whether every item named is in the catalogue under its own title, and has every value that is said of it."""
    catalog = talk.catalog
    for item in answer.items:
        if item.item not in catalog.items:
            return False
        code = catalog.items.code(item.item)
        cells = " ".join(str(column[code]) for column in catalog.fields.values()).casefold().replace(" ", "")
        if item.title != catalog.title(code):
            return False
        if not all(
            value.casefold().replace(" ", "") in cells for values in item.attributes.values() for value in values
        ):
            return False
    return True


def wilson(k: int, n: int) -> tuple[float, float]:
    z = 1.96
    centre, spread = k + z * z / 2, z * math.sqrt(k * (n - k) / n + z * z / 4)
    return (centre - spread) / (n + z * z), (centre + spread) / (n + z * z)


if __name__ == "__main__":
    main()
