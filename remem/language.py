"""Text in any script: its words, and where a value stands whole.

A word is a run of letters, marks and digits. Where a script writes no spaces (Chinese, Japanese,
Thai, Khmer ...) each character with its marks is one, as in scores of translations; Katakana is
the exception, whose runs are names and loan words. A Korean particle is a word of its own.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache

import regex

# LB=SA and LB=AK: the scripts of South East Asia whose lines break where no space is.
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{LB=SA}\p{LB=AK}]"
_KATAKANA = r"[\p{Katakana}ー]"
_HANGUL = r"\p{Hangul}"
_LETTER = rf"[\w--[{_UNSPACED}{_KATAKANA}{_HANGUL}]]"  # or mark, digit, underscore: of the others

# What stands behind a Korean noun in one word with it: plural or title, case, topic, copula.
_PARTICLE = r"""(?:들|씨|님)?(?:
    [은는이가을를의과와도만랑뿐] | 이랑 | 하고 | 까지 | 부터 | 처럼 | 보다 | 마다 | 조차 | 밖에
    | (?:에게|께|한테|에|으?로)서?[는도만의]?
    | 입니[다까] | 이[다고며] | 이?예요 | 이에요 | 이?[었였]\p{Hangul}+ | 이?라[고는며서]? | 이?란 | 인데? | 일 | 임
    | (?<=[들씨님])
)"""

# What is hyphened to a value in English and leaves it what it is: a Kyiv-based nurse, Tanaka-san.
_SUFFIX = r"""(?:area|based|born|bred|certified|educated|led|like|made|native|old|only|owned|raised
    |related|resident|speaking|style|themed|trained|type|wide|san|sama|kun|chan|sensei|ssi|nim)\b"""

# What French and Italian put before a vowel. Whatever else stands before an apostrophe is half of
# a name or of a word: O'Brien.
_ELISION = r"\b(?:[cdjlmnst]|qu|un|(?:a|da|de|ne|su|que|be)ll)"

# Between digits; but the year of a date stands for itself.
_BETWEEN = r"""(?!
    (?<=(?<!\d)\d{4})[-./]\d{1,2}[-./]\d{1,2}(?!\d)
    | (?<=(?<!\d)\d{1,2}[-./]\d{1,2})[-./]\d{4}(?!\d)
)[-–.,:/']\p{Sc}?"""

_LOCAL = rf"(?:[.+%&'-]|{_LETTER})"  # of an e-mail address, before the @
_IN_ADDRESS = rf"(?:[.@/?\#=&%+~-]|{_LETTER})"


def _pattern(text: str) -> regex.Pattern:
    """V1 knows sets in sets."""
    return regex.compile(text, regex.VERSION1 | regex.VERBOSE | regex.IGNORECASE)


_WORD = _pattern(rf"""
    {_UNSPACED}[\p{{M}}ー]*
    | {_KATAKANA}+
    | {_HANGUL}+?(?={_PARTICLE}?(?!{_HANGUL}))
    | {_LETTER}+
""")

# What no value begins or ends within, each kind by itself: they overlap. Of the hyphens, 25-year
# has none that binds, and those between digits are a number's.
_WHOLES = (
    _WORD,
    _pattern(rf"(?<!{_LETTER}){_LETTER}++(?:(?:(?<!\d)-|-(?!\d|\p{{L}}{{2}}))(?!{_SUFFIX}){_LETTER}++)+"),
    _pattern(rf"(?<={_LETTER})(?<!{_ELISION})'{_LETTER}+"),
    _pattern(rf"(?:(?<!\w)[-–]\p{{Sc}}?)?\d+(?:{_BETWEEN}\d+)*"),  # with sign, separators, a range
    _pattern(r"[〇零一二三四五六七八九十百千万萬亿億兆]+"),
    _pattern(rf"(?<!{_LOCAL})[.+%&'-]*+\K{_LETTER}{_LOCAL}*+@{_LETTER}+(?:[.-]{_LETTER}+)*"),
    _pattern(rf"(?:https?://(?:www\.)?|www\.)\K{_LETTER}(?:{_IN_ADDRESS}*{_LETTER})?"),
)

# And of a value without letters: numbers in groups, of telephones (seven digits or more) too.
_GROUPED = _pattern(r"""
    (?<!\d)\d{1,3}(?:\ \d{3})+(?!\d)
    | (?=\d(?:[\ ().-]{0,3}\d){6})(?=[\d.-]{0,20}[\ ()])\d(?:(?!\.\ )[\d\ ().-])*\d
""")

# And of an address, of whatever kind: all that is written without a space.
_ADDRESS = _pattern(rf"(?:www\.)?\K{_LETTER}(?:{_IN_ADDRESS}*{_LETTER})?")
_HAS_LETTER = _pattern(r"\p{L}")
_IS_ADDRESS = _pattern(rf"@\S* | \S*{_LETTER}[.@/]{_LETTER}\S*")

_GLUED = _pattern(rf"(?<={_LETTER})[^\w\s]"), _pattern(rf"(?<=[^\w\s]){_LETTER}")  # US$5, C++11

_ALIKE = str.maketrans("‘’ʼ‐‑−", "'''---")
_SPACE = _pattern(rf"(?<={_UNSPACED}\p{{M}}*)\ (?={_UNSPACED})")  # says nothing there
_IGNORABLE = _pattern(r"\p{Default_Ignorable_Code_Point}")


@lru_cache(maxsize=1 << 16)  # questions and answers come back in every run
def normalise(text: str) -> str:
    """What is compared: Unicode NFKC, case folded, white space collapsed to single spaces, and
    none between characters of scripts that write none; one apostrophe, one hyphen; no characters
    that nobody sees."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        text = _IGNORABLE.sub("", text).translate(_ALIKE)
        return _SPACE.sub("", " ".join(text.split()))
    return " ".join(text.lower().split())


def words(text: str) -> list[str]:
    """The words of a text, in order and as they are written, without punctuation."""
    return _WORD.findall(text)


def places(value: str, text: str) -> Iterator[tuple[int, int]]:
    """Where `value` stands whole in `text`, begin and end; both normalised."""
    start = text.find(value)
    while start >= 0:
        if whole(text, start, start + len(value)):
            yield start, start + len(value)
        start = text.find(value, start + 1)


def holds(text: str, value: str, longer: Iterable[str] = ()) -> bool:
    """Whether `value` stands whole in `text`, and not only in one of the `longer` values there;
    all normalised."""
    found = [*places(value, text)]
    taken = [place for each in longer for place in places(each, text)] if found else []
    return any(all(s < first or last < e for first, last in taken) for s, e in found)


def whole(text: str, start: int, end: int) -> bool:
    """Whether text[start:end] is no part of something longer: of a word (Ann in Anna), of what a
    hyphen or an apostrophe makes one (Anna-Maria, O'Brien; but Anna's), of a number with its sign
    and separators (12 in -12, 12,300 and 0.12), of a longer telephone number, of an e-mail address
    or a link (ann@x.org in mary.ann@x.org)."""
    spaced = text[start - 1 : start] in ("", " ") and text[end:].lstrip(".")[:1] in ("", " ")
    if spaced and _HAS_LETTER.search(text, start, end):
        return True  # the usual case, and much faster: nothing with letters goes on over a space
    if _GLUED[0].match(text, start) or _GLUED[1].match(text, end):
        return False
    borders = {start, end}
    return all(borders.isdisjoint(_inner(kind, text)) for kind in _kinds(text[start:end]))


@lru_cache(maxsize=1 << 12)
def _kinds(value: str) -> tuple[regex.Pattern, ...]:
    """The patterns of what a value may be a part of."""
    if not _HAS_LETTER.search(value):
        return *_WHOLES, _GROUPED
    return (*_WHOLES, _ADDRESS) if _IS_ADDRESS.fullmatch(value) else _WHOLES


@lru_cache(maxsize=1 << 12)
def _inner(pattern: regex.Pattern, text: str) -> frozenset[int]:
    """The places within what the pattern finds."""
    found = (match.span() for match in pattern.finditer(text))
    return frozenset(k for start, end in found for k in range(start + 1, end))


def nested(values: Iterable[str]) -> dict[str, list[str]]:
    """Which of these values stand in others, on the borders of words: value -> those others.

    So ann@x.org and Ann stand in mary.ann@x.org, 12 in -12, and Ann not in Anna. It takes seconds
    for ten thousand, for which to compare all pairs takes hours.
    """
    written = defaultdict(list)
    for value in dict.fromkeys(values):
        written[normalise(value)].append(value)
    lengths = defaultdict(set)  # of those that begin alike
    for value in written:
        lengths[value[:3]].add(len(value))
    found = defaultdict(list)
    for longer in written:
        inner = _inner.__wrapped__(_WORD, longer)
        starts = (k for k in range(len(longer)) if k not in inner)
        held = {
            longer[k : k + length]
            for k in starts
            for size in (1, 2, 3)
            for length in lengths.get(longer[k : k + size], ())
            if k + length not in inner and length < len(longer)
        }
        for value in held & written.keys():
            for each in written[value]:
                found[each] += written[longer]
    return dict(found)
