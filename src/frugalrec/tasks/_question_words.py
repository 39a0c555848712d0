"""Words and patterns that questions are made of, in English and Chinese."""

from __future__ import annotations

import re

from frugalrec.tasks._forms import tokens


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "dozen": 12, "couple": 2,
}  # fmt: skip
CHINESE_NUMBERS = {c: n for n, c in enumerate("一二三四五六七八九十", start=1)} | {"两": 2}
ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": -1}
NOUNS = _set(
    """
    movie film flick picture title item thing show one something anything stuff pic cinema feature product book game
    story stories novel tale volume movy sery song video recommendation suggestion option choice work release
    电 影 片 部 些 个 东 西 作 品 点 子
    """
)
NEGATORS = _set(
    """
    no not without except excluding exclude excluded nor neither never non nothing none avoid avoiding minus skip
    isn't aren't doesn't don't didn't won't can't hate dislike unlike lacking sans wouldn't shouldn't cannot nobody
    instead-of
    """
)
NEGATING_PHRASES = (
    "other than", "apart from", "aside from", "anything but", "everything but", "all but", "leave out", "free of",
    "tired of", "sick of", "rather than", "instead of", "not any", "no more", "devoid of", "ruling out", "rule out",
    "keep out", "hold the", "nothing like",
)  # fmt: skip
CHINESE_NEGATORS = (
    "不想看", "不想要", "不喜欢", "不包括", "不包含", "不需要", "不要", "不是", "不含", "不带", "不看", "没有", "除了",
    "排除", "除开", "讨厌", "非", "别", "无",
)  # fmt: skip
NEGATED_BEFORE = re.compile(
    r"\b(?:not|no|nothing|none|never|without|except|excluding|n't)\s+(?:any(?:thing)?\s+)?"
    r"(?:with|by|from|in|about|called|of)\s+"
    r"(?:the |a |an |any )?$",
    re.IGNORECASE,
)
RESETS = _set(
    """
    but with that from please show give want like only which made released starring directed featuring by need
    prefer though however rather who where i you 但 但是 的
    """
) | {".", ";", "!", "?", "。", "；"}
OR_WORDS = frozenset({"or", "/", "或", "者", "还", "么", "else", "alternatively"})
CONNECTORS = (
    frozenset(
        {",", "and", "a", "an", "the", "some", "both", "also", "either", "any", "as", "well", "&", "+", "-", "和", "与"}
    )
    | {
        "、",
        "，",
        "又",
        "是",
        "maybe",
        "perhaps",
        "even",
        "of",
        "with",
        "plus",
        "else",
        "alternatively",
        "片",
        "的",
        "要",
        "类",
    }
    | OR_WORDS
    | NOUNS
)
MUST_CUES = frozenset({"with", "starring", "by", "featuring", "without", "from", "directed", "由", "演", "导"})
FILLER = _set(
    """
    i i'd i'm i've i'll me my mine we us our you your it it's its is are was were be been being am do does did done
    can could would will shall should may might must have has had having a an the this that these those there here
    and or but so if then than as of in on at to for from by with about into out up off over under again also just
    only very really quite too some any all each every few many much more most other such own same both either what
    which who whom whose when where why how please show give get find list recommend suggest name tell want wanted
    like liked love need looking look search searching watch watching see seeing pick picks prefer preferably enjoy
    mood something anything good great nice best top new old recent classic interesting decent fun evening tonight
    weekend today kind kinds sort type types genre genres category made make released release come came out year
    years year's era time times decade decades before after since between until till through during later earlier
    prior newer older early late within starring directed featuring director actor titled called named classified
    tagged labelled labeled listed filed set know think feel got go going let let's try help hi hello hey thanks
    thank ok okay yes well maybe perhaps actually now next first don't isn't aren't doesn't not no without except
    that's what's there's whose count number total contain contains containing include includes including feature
    features belong belongs belonging fall falls count counts counting qualify qualifies catalogue catalog
    collection library database available offer offers stock sell sells carry carries date dates dated back anywhere
    anytime strictly exactly shot filmed premiered premiere produced appeared appearing considered falling element
    elements stuff mix combine combines combining combination at-least least one two three four five six seven eight
    nine ten thing things also else stand bear tolerate enough whatever kid's please feel line mean meaning
    """
)
FILLER_STEMS = FILLER | {t.word for word in FILLER for t in tokens(word)}
CHINESE_FILLER = re.compile(
    rf"{'|'.join(CHINESE_NEGATORS)}|请问|属于|哪种|哪一种|哪个|"
    "都行|都可以|均可|都好|随便|要么|开始|喜欢|今晚|目录|一共|年份|年间|"
    "其中|任何|千万|任意|全部|所有|左右|有关|那种|这种|种|请|给我|推荐|想看|我想|想要|我要|找|一些|一部|几部|几个|有什么|有哪些|有没有|有|哪些|什么|好看|的|电影|片子|片|影片|部|个|些|"
    "看|我|你|要|吗|呢|吧|啊|了|是|和|或者|或|还是|并且|而且|但是|但|也|都|在|上映|出品|拍摄|年代|年|之间|到|至|多少|"
    "以前|之前|以后|之后|以来|前|后|类型|类|题材|帮|能|可以|来|点|一|之|以|外|作品|主演|导演|演|拍|出|语|国家|不|想|别|再|"
    "换|还|那|呢|为|由|与|带|含|含有|包含|关于|像|类似|样|老|新|早|晚|期|时候|推|荐"
)
LIKE = re.compile(
    r"\b(?:similar to|in the (?:style|vein|spirit) of|reminiscent of|comparable to|(?:just |much |a lot |more )?like|"
    r"such as|fans? of|resembl\w+|(?:i|we) (?:really )?(?:liked|loved|enjoyed))\b|类似于?|像|喜欢",
    re.IGNORECASE,
)
ASKS_COUNT = re.compile(r"\bhow many\b|\bnumber of\b|\bcount (?:of|the|all)\b|^\s*count\b|多少|有几", re.IGNORECASE)
ASKS_FACTS = re.compile(
    r"(?:\b(?:what|which) (?:year|genres?|kinds?|types?|sort|country|language|brand|category|attributes?)\b|"
    r"\bwhen (?:was|did|were)\b|\btell me (?:more )?about\b|\bwho (?:directed|stars? in|made|"
    r"wrote|acted in|plays? in)\b|\bwhat (?:do you know )?about\b|\bwhat is\b|\bwhat's\b|\bhow old is\b|"
    r"\b(?:details?|facts?|information|info) (?:of|on|about|for)\b|\bdescribe\b)",
    re.IGNORECASE,
)
CHINESE_FACTS = re.compile(
    "是(?:什么|哪)|哪(?:一)?年|什么(?:类型|时候)|谁(?:导演|主演|演|拍)|属于(?:哪|什么)|哪(?:种|个|一种|一类)类型|介绍"
)
ASKS_WHETHER = re.compile(r"^\s*(?:is|was|are|were|does|did|would you call)\b", re.IGNORECASE)
CHINESE_QUESTION = re.compile("有没有|是不是|算不算|有没|是否")  # "not" in them rules nothing out
CHINESE_CUE = re.compile("(?:主|导|参|出)演|执导|编剧|演的|拍的")
CHINESE_WHETHER = re.compile("是不是|是.*[吗么嘛]|算.*[吗么嘛]|算不算|是否|属于.*吗")
PRONOUN = re.compile(
    r"^\s*(?:is|was|does|did|has) (?:it|this|that|this one|that one)\b|^\s*(?:它|这部|这个)", re.IGNORECASE
)
ASKS_MORE = re.compile(
    r"^\s*(?:show (?:me )?|give me |any |some )?(?:more|next|others?|another(?: one)?|what else|anything else|else)"
    r"(?: please| of (?:these|those|them))?\s*[.!?]*\s*$|^\s*(?:还有(?:吗|呢|别的)?|更多|下一页|换一批)\s*[？?。]*\s*$",
    re.IGNORECASE,
)
STARTS_OVER = re.compile(
    r"^\s*(?:start (?:over|again)|reset|forget (?:it|that|everything|all that)|new (?:question|search)|clear)\b|"
    r"^\s*(?:重新开始|重来|重置)",
    re.IGNORECASE,
)
REFINES = re.compile(
    r"^\s*(?:and|but|also|only|just|now|ok(?:ay)?,?|without|not|no\b|none|except|excluding|with|before|after|since|"
    r"from|older|newer|more recent|earlier|later|instead|rather|what about|how about|make (?:it|that|them)|"
    r"(?:some|any)thing (?:else|older|newer|earlier|later|more|less|not|without|with no)\b|preferably|ideally|"
    r"which of|(?:those|these|ones?)\b|in the|between|"
    r"(?:不要|不|要|再|只|更|那|还|换|没有|除))",
    re.IGNORECASE,
)
INSTEAD = re.compile(
    r"\binstead\b(?! of)|what about|how about|^\s*(?:make (?:it|that)|rather)\b|换成|改成", re.IGNORECASE
)
SEEN = re.compile(
    r"\b(?:have|had|did) i (?:already |ever )?"
    r"(?:seen?|watched?|rated?|bought|buy|read|liked?|chosen?|choose|had|have)\b|"
    r"\bi(?:'ve| have)? (?:already |ever )?(?:seen|watched|rated|bought|read)\b|\bmy history\b|我(?:看|买|读|评)过",
    re.IGNORECASE,
)
UNSEEN = re.compile(
    r"\bi (?:haven't|have not|have never|never|did not|didn't) (?:yet )?(?:seen|watched|rated|see|watch|read|bought)\b|"
    r"\bnew to me\b|没(?:有)?看过|没(?:有)?买过",
    re.IGNORECASE,
)
NEWEST = re.compile(r"\b(?:newest|latest|most recent)\b|最新", re.IGNORECASE)
OLDEST = re.compile(r"\b(?:oldest|earliest)\b|最早|最老", re.IGNORECASE)
NUMBER = r"(-?\d+(?:[.,]\d+)?)"
OPERATORS = {
    ">=": r"at least|no less than|not (?:below|under)|minimum(?: of)?|>=|from|不低于|至少|不少于",
    "<=": r"at most|no more than|not (?:above|over)|maximum(?: of)?|<=|up to|within|不超过|至多|最多|不高于",
    ">": r"over|above|more than|greater than|higher than|longer than|exceeding|>|大于|高于|超过",
    "<": r"under|below|less than|lower than|shorter than|cheaper than|<|小于|低于|少于",
    "=": r"of exactly|exactly|equal to|=|is|of|为|是",
}
