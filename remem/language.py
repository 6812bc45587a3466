"""Text in any script: its words, and where a value stands whole.

A word is a run of letters, marks and digits. Where a script writes no spaces (Chinese, Japanese,
Thai, Khmer ...) each character with its marks is one, as in scores of translations; Katakana is
the exception, whose runs are names and loan words. A Korean particle is a word of its own.
"""

# ruff: noqa: RUF001 - characters that look alike are the point

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache

import regex

# ---------------------------------------------------------------- what a text is made of

# LB=SA and LB=AK: the scripts of South East Asia whose lines break where no space is.
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{LB=SA}\p{LB=AK}]"
_KATAKANA = r"[\p{Katakana}ー]"
_HANGUL = r"\p{Hangul}"
_LETTER = rf"[\w\p{{N}}--[{_UNSPACED}{_KATAKANA}{_HANGUL}]]"  # or mark, digit, _: of the others

# What stands behind a Korean noun in one word with it: plural or title, case, topic, copula.
_PARTICLE = r"""(?:들|씨|님|(?<=일)생)?(?:
    [은는이가을를의과와도만랑뿐]
    | (?:이랑|하고|까지|부터|처럼|보다|마다|조차|밖에)[는도만의]?
    | (?:에게|께|한테|에|으?로)서?[는도만의]?
    | 입니[다까] | 이[다고며자] | 이지만? | 이?예요 | 이에요 | 이?[었였]\p{Hangul}+ | 이?[야죠]
    | 이?라[고는며서]? | 이?란 | 이?래요? | 이?랍니다 | 이신 | 이기\p{Hangul}*
    | 인데?요? | 일 | 임 | (?<=[들씨님생])
)"""

# What is hyphened to a value in English and leaves it what it is: a Kyiv-based nurse, Tanaka-san.
_SUFFIX = r"""(?:area|based|born|bred|certified|educated|led|like|made|native|old|only|owned|raised
    |related|resident|speaking|style|themed|trained|type|wide|year|month|week|day
    |san|sama|kun|chan|sensei|ssi|nim)\b"""

# What French and Italian put before a vowel. Whatever else stands before an apostrophe is half of
# a name or of a word: O'Brien.
_ELISION = r"\b(?:[cdjlmnst]|qu|un|(?:a|da|de|ne|su|que|be)ll)"

# Between digits; but the year of a date stands by itself.
_BETWEEN = r"""(?!
    (?<=(?<!\d)\d{4})[-./]\d{1,2}[-./]\d{1,2}(?!\d)
    | (?<=(?<!\d)\d{1,2}[-./]\d{1,2})[-./]\d{4}(?!\d)
)[-–.,:/'٫٬]\p{Sc}?"""

_LOCAL = rf"(?:[.+%&'-]|{_LETTER})"  # of an e-mail address, before the @
_LINKED = rf"{_LETTER}(?:(?:[.@/?\#=&%+~-]|{_LETTER})*{_LETTER})?"  # an address of any kind


def _pattern(text: str) -> regex.Pattern:
    """V1: sets may stand in sets."""
    return regex.compile(text, regex.VERSION1 | regex.VERBOSE | regex.IGNORECASE)


_WORD = _pattern(rf"""
    {_UNSPACED}[\p{{M}}ー]*
    | {_KATAKANA}+
    | {_HANGUL}+?(?={_PARTICLE}?(?!{_HANGUL}))
    | {_LETTER}+
""")

_HYPHENED = _pattern(rf"""
    (?<!{_LETTER}){_LETTER}++
    (?:(?:(?<!\d)-|-(?!\d|\p{{L}}{{2}}))(?!{_SUFFIX}){_LETTER}++)+  # neither 25-year nor 12-13
""")

_NUMBER = _pattern(rf"(?:(?<!\w)[-–]\p{{Sc}}?)?\d+(?:{_BETWEEN}\d+)*")  # signed; a range too

_E_MAIL = _pattern(rf"""
    (?<!{_LOCAL})[.+%&'-]*+\K{_LETTER}{_LOCAL}*+@{_LETTER}+(?:[.-]{_LETTER}+)*
""")

# In groups: by thousands, or a telephone number, of seven digits or more.
_GROUPED = _pattern(r"""
    (?<!\d)\d{1,3}(?:\ \d{3})+(?!\d)
    | (?=\d(?:[\ ().-]{0,3}\d){6})(?=[\d.-]{0,20}[\ ()])\d(?:(?!\.\ )[\d\ ().-])*\d
""")

# What no value begins or ends within; they overlap.
_WHOLES = (
    _WORD,
    _HYPHENED,
    _pattern(rf"(?<={_LETTER})(?<!{_ELISION})'{_LETTER}+"),
    _pattern(rf"{_LETTER}[+\#]+(?!{_LETTER})"),  # A+, C#
    _NUMBER,
    _pattern(r"[〇零一二三四五六七八九十百千万萬亿億兆]+"),
    _E_MAIL,
    _pattern(rf"(?:https?://(?:www\.)?|www\.)\K{_LINKED}"),
)

_ADDRESS = _pattern(rf"(?:www\.)?\K{_LINKED}")
_IS_ADDRESS = _pattern(rf"@\S* | \S*{_LETTER}[.@/]{_LETTER}\S*")
_HAS_LETTER = _pattern(r"\p{L}")
_GLUED = _pattern(rf"(?<={_LETTER})[^\w\s]"), _pattern(rf"(?<=[^\w\s]){_LETTER}")  # US$5, C++11

# ---------------------------------------------------------------- words

_ALIKE = str.maketrans("‘’ʼ‐‑−", "'''---")
_NO_SPACE = _pattern(rf"(?<={_UNSPACED}\p{{M}}*)\ (?=[{_UNSPACED}--\p{{M}}])")
_UNSEEN = _pattern(r"\p{Default_Ignorable_Code_Point}")


@lru_cache(maxsize=1 << 16)  # questions and answers come back in every run
def normalise(text: str) -> str:
    """What is compared: Unicode NFKC, case folded, white space collapsed to single spaces, and
    none between characters of scripts that write none; one apostrophe, one hyphen; no characters
    that nobody sees."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.replace("№", "№ ")).casefold()  # else No12
        text = unicodedata.normalize("NFKC", _UNSEEN.sub("", text)).translate(_ALIKE)
        return _NO_SPACE.sub("", " ".join(text.split()))
    return " ".join(text.lower().split())


def words(text: str) -> list[str]:
    """The words of a text, in order and as they are written, without punctuation."""
    return _WORD.findall(text)


# ---------------------------------------------------------------- values


def holds(text: str, value: str, longer: Iterable[str] = ()) -> bool:
    """Whether `value` stands whole in `text`, and not only in one of the `longer` values there;
    all normalised."""
    found = [*_places(value, text)]
    taken = [place for each in longer for place in _places(each, text)] if found else []
    return any(all(s < first or last < e for first, last in taken) for s, e in found)


def without(text: str, values: Iterable[str]) -> str:
    """The text with blanks in place of those of the values that stand whole in it; all
    normalised."""
    taken = {k for each in values for place in _places(each, text) for k in range(*place)}
    return "".join(" " if k in taken else letter for k, letter in enumerate(text))


def whole(text: str, start: int, end: int) -> bool:
    """Whether text[start:end] is no part of something longer: of a word (Ann in Anna), of what a
    hyphen or an apostrophe makes one (Anna-Maria, O'Brien; but Anna's), of a number with its sign
    and separators (12 in -12, 12,300 and 0.12), of a longer telephone number, of an e-mail address
    or a link (ann@x.org in mary.ann@x.org)."""
    behind = text[end : end + 2].removeprefix(".")[:1]
    if {text[start - 1 : start], behind} <= {"", " "} and _HAS_LETTER.search(text, start, end):
        return True  # the usual case, and much faster: only numbers go on over a space
    if _GLUED[0].match(text, start) or _GLUED[1].match(text, end):
        return False
    borders = {start, end}
    return all(borders.isdisjoint(_inner(kind, text)) for kind in _kinds(text[start:end]))


def nested(values: Iterable[str]) -> dict[str, list[str]]:
    """Which of these values stand in others, on the borders of words: value -> those others.

    So ann@x.org and Ann stand in mary.ann@x.org, 12 in -12, and Ann not in Anna. It takes a second
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
        held = {
            longer[k : k + length]
            for k in range(len(longer))
            if k not in inner
            for size in (1, 2, 3)
            for length in lengths.get(longer[k : k + size], ())
            if k + length not in inner and length < len(longer)
        }
        for value in held & written.keys():
            for each in written[value]:
                found[each] += written[longer]
    return dict(found)


def _places(value: str, text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each place where `value` stands whole in `text`."""
    start = text.find(value)
    while start >= 0:
        if whole(text, start, start + len(value)):
            yield start, start + len(value)
        start = text.find(value, start + 1)


@lru_cache(maxsize=1 << 12)
def _kinds(value: str) -> tuple[regex.Pattern, ...]:
    """What a value may be a part of: without letters, of a number in groups too; an address, of
    all that is written on without a space."""
    if not _HAS_LETTER.search(value):
        return *_WHOLES, _GROUPED
    return (*_WHOLES, _ADDRESS) if _IS_ADDRESS.fullmatch(value) else _WHOLES


@lru_cache(maxsize=1 << 12)
def _inner(pattern: regex.Pattern, text: str) -> frozenset[int]:
    """The places within what the pattern finds."""
    found = (match.span() for match in pattern.finditer(text))
    return frozenset(k for start, end in found for k in range(start + 1, end))
