# ruff: noqa: RUF001 - characters that look alike are the point
import random
import re
import time
import unicodedata

import pytest

from remem import language
from remem.synthetic import people, questions

WORDS = [
    ("Відомо таке: кухарка 12.", ["відомо", "таке", "кухарка", "12"]),
    ("cafe\u0301, CAFÉ", ["café", "café"]),  # composed or not
    ("वह नर्स है।", ["वह", "नर्स", "है"]),  # vowel signs and the virama are marks, no borders
    ("هو طَبيب في القاهرة؟", ["هو", "طَبيب", "في", "القاهرة"]),
    ("彼のjobは看護師です。", ["彼", "の", "job", "は", "看", "護", "師", "で", "す"]),
    ("他叫李小龙", ["他", "叫", "李", "小", "龙"]),
    ("アンナさん、ﾊﾝｻﾑ", ["アンナ", "さ", "ん", "ハンサム"]),  # half-width too
    ("ที่กรุงเทพ 25ปี", ["ที่", "ก", "รุ", "ง", "เ", "ท", "พ", "25", "ปี"]),
    ("ភ្នំពេញ", ["ភ្", "នំ", "ពេ", "ញ"]),
    ("그는 서울에서 간호사입니다.", ["그", "는", "서울", "에서", "간호사", "입니다"]),
    ("１２歳", ["12", "歳"]),
    ("می\u200cروم", ["میروم"]),  # a joiner that nobody sees
    ("don't snake_case", ["don", "t", "snake_case"]),
    ("—…、", []),
]


@pytest.mark.parametrize("text, words", WORDS)
def test_words_of_every_script(text, words):
    assert language.words(language.normalise(text)) == words


@pytest.mark.parametrize(
    "one, other",
    [
        ("Cafe\u0301", "CAFÉ"),
        ("Ａｎｎａ　１２", "anna 12"),
        ("O’Brien", "o'brien"),
        ("Anna‑Maria", "anna-maria"),
        ("−12", "-12"),
        ("田中 太郎", "田中太郎"),  # a space that says nothing
        ("สมชาย ใจดี", "สมชายใจดี"),
        ("An\u00adna\ufeff", "anna"),
        ("a \n b", "a b"),
    ],
)
def test_what_is_written_in_two_ways_is_one(one, other):
    assert language.normalise(one) == language.normalise(other)


FOUND = [
    # words, titles, possessives, plurals
    ("Her name is Anna's.", "Anna"),
    ("It is Anna’s job", "Anna"),
    ("the Lees' house", "Lees"),
    ("Dr. Anna Lee", "Anna"),
    ("Dr. Anna Lee", "Dr. Anna Lee"),
    ("She said 'Anna'.", "Anna"),
    ("1.Anna 2.Bob", "Anna"),
    ("He is Bob.Ann is not", "Ann"),
    ("a nurse—midwife", "nurse"),
    ("nurse/doctor", "nurse"),
    ("Anna–Maria", "Anna"),  # a dash is no hyphen
    ("Anna -Maria", "Anna"),
    ("L'adresse d'Anna", "Anna"),
    ("vive all'Avana", "Avana"),
    ("Ankara'da yaşıyor", "Ankara"),
    ("O’Brien", "O'Brien"),
    ("Anna-Maria Lee", "Anna-Maria"),
    ("a Kyiv-based nurse", "Kyiv"),
    ("Tanaka-san", "Tanaka"),
    # numbers, signs, money, dates
    ("a 25-year-old", "25"),
    ("a five-year-old", "five"),
    ("It is -12.", "-12"),
    ("It is −12.", "-12"),
    ("It is +12.", "12"),
    ("12%", "12"),
    ("12 %", "12 %"),
    ("$83,400", "83,400"),
    ("$83,400.", "$83,400"),
    ("from $83,400 to $90,000", "$83,400"),
    ("March 14 1990", "March 14"),
    ("March 14 1990", "1990"),
    ("12/05/1990", "1990"),
    ("12.05.1990", "1990"),
    ("1990-05-12", "1990"),
    ("12/05/1990", "12/05/1990"),
    ("Flat 12 482 Maple Street", "482 Maple Street"),
    ("12, 14 or 15", "14"),
    ("№12", "12"),
    # telephones
    ("call 555-1234.", "555-1234"),
    ("call (555) 123-4567 now", "(555) 123-4567"),
    ("555-1234, 555-9999", "555-1234"),
    ("555-1234 ext. 5", "555-1234"),
    ("+1 555 1234", "1 555 1234"),
    # addresses
    ("Write to ann@x.org.", "ann@x.org"),
    ("<ann@x.org>, 'ann@x.org'", "ann@x.org"),
    ("mailto:ann@x.org", "ann@x.org"),
    ("It is ann@x.org's.", "ann@x.org"),
    ("@ann says", "@ann"),
    ("see x.org.", "x.org"),
    ("https://www.x.org/", "x.org"),
    ("https://x.org/ann/ or", "https://x.org/ann"),
    ("(https://x.org/ann)", "https://x.org/ann"),
    # scripts without spaces, and between scripts
    ("彼のjobは看護師です。", "看護師"),
    ("彼の名前はAnnaです", "Anna"),
    ("彼のjobは간호사です。", "간호사"),
    ("田中 太郎です", "田中太郎"),
    ("アンナさん", "アンナ"),
    ("年収は$83,400です", "$83,400"),
    ("25歳です", "25"),
    ("１２歳です", "12"),
    ("メールはann@x.orgです。", "ann@x.org"),
    ("她是医生吗", "医生"),
    ("ชื่อของเขาคือสมชายครับ", "สมชาย"),
    ("ពេលនេះនៅភ្នំពេញ", "ភ្នំពេញ"),
    ("직업은 간호사입니다.", "간호사"),
    ("김민수는 서울에서 삽니다", "서울"),
    ("학생들은", "학생"),
    ("김가은은 의사예요", "김가은"),
    ("이름은 Anna입니다", "Anna"),
    ("25살", "25"),
    ("वह नर्स है।", "नर्स"),
    ("هو طبيب.", "طبيب"),
    ("C++ developer", "C++"),
    ("A+", "A+"),
    ("Anna+Bob", "Anna"),
    ("변호사이자 작가", "변호사"),
    ("의사야", "의사"),
    ("의사랍니다", "의사"),
    ("변호사이기도 합니다", "변호사"),
    ("변호사인데요", "변호사"),
    ("서울까지는", "서울"),
    ("1990년 5월 12일생입니다", "1990년 5월 12일"),
]


@pytest.mark.parametrize("text, value", FOUND)
def test_a_value_that_stands_whole_is_found(text, value):
    assert language.holds(language.normalise(text), language.normalise(value))


PARTS = [
    ("Annas", "Anna"),
    ("Anna-Maria", "Anna"),
    ("Anna-Maria", "Maria"),
    ("Anna‑Maria", "Maria"),  # the hyphen at which no line breaks
    ("Іванов-Петров", "Петров"),
    ("O'Brien", "Brien"),
    ("Мар'яна", "яна"),
    ("nurse-midwife", "nurse"),
    ("COVID-19", "19"),
    ("12-B", "12"),
    ("-12", "12"),
    ("−12", "12"),
    ("(-12)", "12"),
    ("5-12", "12"),
    ("10–12", "12"),
    ("10-12", "10"),
    ("-12%", "12%"),
    ("112%", "12%"),
    ("12.5%", "5%"),
    ("-$83,400", "$83,400"),
    ("$-83,400", "83,400"),
    ("$83,400-$90,000", "$83,400"),
    ("US$83,400", "$83,400"),
    ("$83,400.50", "$83,400"),
    ("12'300", "12"),
    ("12 300", "12"),
    ("83 400 грн", "400"),
    ("1/12", "12"),
    ("at 10:30", "10"),
    ("12 May 1990", "2 May 1990"),
    ("12/05/1990", "2/05/1990"),
    ("1990-05-12", "12"),
    ("May 12-14", "May 12"),
    ("800-555-1234", "555-1234"),
    ("(800) 555-1234", "555-1234"),
    ("800 555 1234", "555 1234"),
    ("+1 555 1234", "555 1234"),
    ("+380 44 123 45 67", "+380 44 123 45"),
    ("555-1234-9", "555-1234"),
    ("555-12345", "555-1234"),
    ("380441234567", "0441234567"),
    ("mary.ann@x.org", "ann@x.org"),
    ("mary-ann@x.org", "ann@x.org"),
    ("mary+ann@x.org", "ann@x.org"),
    ("ann@x.org.ua", "ann@x.org"),
    ("ann@x.org-foo.com", "ann@x.org"),
    ("mary.ann@x.org", "Ann"),
    ("ann@x.org", "x.org"),
    ("ann.x.org", "x.org"),
    ("x.org.ua", "x.org"),
    ("@ann.lee", "@ann"),
    ("https://x.org/nurse", "nurse"),
    ("https://x.org/anna", "https://x.org/ann"),
    ("https://x.org/ann/photos", "https://x.org/ann"),
    ("https://x.org/ann?x=1", "https://x.org/ann"),
    ("アンナさん", "アン"),
    ("125歳", "25"),
    ("二十二歳", "十二歳"),
    ("김민수는", "김민"),
    ("수간호사입니다", "간호사"),
    ("नर्स है", "नर"),
    ("रामा", "राम"),
    ("ที่", "ท"),
    ("هي طبيبة", "طبيب"),
    ("C++11", "C++"),
    ("C++", "C"),
    ("the C# language", "C"),
    ("A+ or B", "A"),
    ("12+", "12"),
    ("AB+ is rare", "AB"),
    ("학생", "학"),
    ("이야기", "이"),
]


@pytest.mark.parametrize("text, value", PARTS)
def test_a_part_of_something_longer_is_not(text, value):
    text, value = language.normalise(text), language.normalise(value)
    assert value in text and not language.holds(text, value)
    assert language.holds(f"{text}; {value}", value)  # but it is where it stands too


def test_a_value_in_a_longer_one_is_not_meant():
    kinds = ["type 2 diabetes", "gestational diabetes"]
    assert not language.holds("she has type 2 diabetes.", "diabetes", kinds)
    assert language.holds("she has type 1 diabetes.", "diabetes", kinds)
    assert language.holds("type 2 diabetes, or diabetes", "diabetes", kinds)
    assert language.holds("he lives in 東京都", "京都") and not language.holds(
        "he lives in 東京都", "京都", ["東京都"]
    )
    assert language.holds("ann leeson", "ann", ["ann lee"])  # which does not stand whole there


def test_a_text_without_values_has_blanks_where_they_stand_whole():
    text = "mary.ann@x.org and joann@x.org"
    assert language.without(text, ["mary.ann@x.org", "ann@x.org"]) == f"{'and':>18} joann@x.org"
    assert language.without(text, []) == text
    assert language.without("東京都", ["東京", "京都"]) == "   "


def test_nested_names_the_values_that_stand_in_others():
    values = ["Ann", "Anna", "ann@x.org", "mary.ann@x.org", "12", "-12", "112", "京都", "東京都"]
    assert language.nested([*values, "ANN"]) == {
        "Ann": ["ann@x.org", "mary.ann@x.org"],
        "ANN": ["ann@x.org", "mary.ann@x.org"],
        "ann@x.org": ["mary.ann@x.org"],
        "12": ["-12"],
        "京都": ["東京都"],
    }
    assert language.nested([]) == language.nested(["a"]) == language.nested(["a", "A"]) == {}


def test_nested_agrees_with_all_pairs_compared():
    rng = random.Random(0)
    for size in range(40):
        values = {"".join(rng.choices("ab -京1", k=rng.randint(1, 7))).strip() for _ in range(size)}
        forms = {language.normalise(value) for value in values} - {""}
        borders = {
            text: {k for word in re.finditer(r"[ab1]+", text) for k in range(*word.span())}
            - {word.start() for word in re.finditer(r"[ab1]+", text)}
            for text in forms
        }
        expected = {
            (value, longer)
            for value in forms
            for longer in forms - {value}
            for place in re.finditer(f"(?={re.escape(value)})", longer)
            if not borders[longer] & {place.start(), place.start() + len(value)}
        }
        found = language.nested(sorted(forms))
        assert {(value, each) for value, others in found.items() for each in others} == expected


def test_nested_takes_seconds_for_ten_thousand_values():
    rng = random.Random(0)
    values = [f"{rng.randrange(10**9)} Street {n % 977}, Town" for n in range(10_000)]
    started = time.process_time()
    assert set(language.nested([*values, "street 5, town"])) == {"street 5, town"}
    assert time.process_time() - started < 5


def before(text, value):
    """The rule as it was: on the borders of words alone."""
    text, value = (
        " ".join(unicodedata.normalize("NFKC", each).casefold().split()) for each in (text, value)
    )
    return bool(re.search(rf"(?<!\w)(?<!\d[.,]){re.escape(value)}(?!\w)(?![.,]\d)", text))


def test_every_value_is_found_in_the_drawn_answers_that_held_it_before():
    drawn = [*people.write(40, seed=1), *people.public_figures()]
    values = {getattr(person, attribute) for person in drawn for attribute in people.ATTRIBUTES}
    answers = {
        pair.answer
        for person in drawn
        for split, single, multi in (("train", 70, 30), ("test", 14, 14))
        for pair in questions.build(person, single, multi, split, 1)
    }
    assert len(values) > 400 and len(answers) > 800
    told = 0
    for answer in answers:
        for end in ("", " I think.", ", or so", "!"):
            said = language.normalise(answer + end)
            for value in map(language.normalise, values):
                if value in said:
                    assert language.holds(said, value) == before(said, value), (said, value)
                    told += 1
    assert told > 4 * len(answers) * 0.9


def test_words_of_ascii_are_what_they_were():
    rng = random.Random(0)
    every = "".join(map(chr, range(128)))
    for k in range(2_000):
        text = "".join(rng.choices("ab_A1 ,.'-" + every * (k % 2), k=rng.randint(0, 40)))
        folded = language.normalise(text)
        assert folded == " ".join(unicodedata.normalize("NFKC", text).casefold().split())
        assert language.words(folded) == re.findall(r"\w+", folded)


SORTS = (
    "ab Ann12 -–.,@/:'+()$% ",
    "дїМ'я",
    "漢字かなカナー々",
    "가은입니다서울",
    "नर्स",
    "ท ที่",
    "طب\u0640\u064b",
    "\u200b\u200d\ufeff\u3164\u0301\ud83d",
    "①½²ﷺİßſ٢๒",
)


def test_no_text_is_too_odd():
    rng = random.Random(0)
    anything = [chr(rng.randrange(1, 0x110000)) for _ in range(3_000)]
    for k in range(600):
        sorts = [*"".join(rng.choices(SORTS, k=2)), *(anything if k % 3 == 0 else "")]
        text, value = (
            language.normalise("".join(rng.choices(sorts, k=rng.randint(1, size))))
            for size in (30, 4)
        )
        assert language.normalise(text) == text  # once is enough
        assert {*"".join(language.words(text))} <= {*text}
        if value:
            inside = language.holds(text, value)
            assert inside <= (value in text)
            assert language.holds(value, value)
            assert language.holds(f"{text}. {value}", value)
        assert language.nested([text, value, f"{value} {text}"]) is not None


@pytest.mark.parametrize(
    "piece",
    [
        *("x", "x.", "x-", "x'", "x@", "x@x.", "a ", "https://", "www."),
        *("1", "1 ", "1.1-", "1(1)", "0 000", "-", "- ", "%", "."),
        *("가", "이다", "가은", "漢", "ा"),
    ],
)
def test_no_text_takes_long(piece):
    text = language.normalise(piece * (10_000 // len(piece)))
    started = time.process_time()
    for value in (text[:3].strip(), text[-2:].strip(), "ann@x.org"):
        language.holds(text, value)
    language.words(text), language.nested([text, "x"])
    assert time.process_time() - started < 2
