import shutil

import numpy as np
import pandas as pd
import pytest
from mmbench_file import encoded, row
from PIL import Image

from remem import runs
from remem.config.sections import Ability
from remem.data.readers import mmbench as reader
from remem.data.readers.mmbench import COLUMNS, LETTERS, picture
from remem.data.validation import BadData
from remem.evaluation import mmbench
from remem.evaluation.mmbench import AbilityRun, QuestionsRun
from remem.model import inference, loading
from remem.model.features import Features, image_features
from remem.synthetic import faces
from remem.training import corpus
from remem.training.methods import GA
from remem.training.stage1 import Untrained
from remem.training.stage2 import Stage2Run

SECTION = Ability(
    questions=7, generated=7, image_size=32, seed=0, instruction="x", batch=4, max_new_tokens=4
)
QUESTIONS = QuestionsRun(questions=7, image_size=32, seed=0)


def test_drawn_questions_come_back_as_they_were_written(tmp_path):
    table = mmbench.read_questions(QUESTIONS, tmp_path)
    assert list(table.columns) == list(COLUMNS) and list(table["index"]) == [*"0123456"]
    assert list(table["category"]) == [*corpus.VISUAL, "hair"]
    for found in table.to_dict("records"):
        values = corpus.VISUAL[found["category"]][2]
        assert {*reader.options(found)} <= set(values)
        assert found["question"] in corpus.VISUAL[found["category"]][0]
        assert picture(found["image"]).size == (32, 32)
    [folder] = tmp_path.glob("mmbench-*")
    again = mmbench.read_questions(mmbench.questions_of(SECTION), tmp_path)
    assert again.equals(table) and list(tmp_path.glob("mmbench-*")) == [folder]


def test_no_value_that_is_drawn_would_be_read_as_nothing(tsv):
    """As "none" would be."""
    values = sorted({value for topic in corpus.VISUAL.values() for value in topic[2]})
    table = reader.read_mmbench(tsv(*(row(str(k), A=v) for k, v in enumerate(values))))
    assert list(table["A"]) == values


def test_the_right_answer_is_what_the_picture_shows(tmp_path, monkeypatch):
    shown = []

    def draw(appearance, scene, size):
        shown.append({**appearance.facts(), **scene.facts()})
        return Image.new("RGB", (size, size))

    monkeypatch.setattr(faces, "draw", draw)
    many = QUESTIONS.model_copy(update={"questions": 360})
    table = mmbench.read_questions(many, tmp_path)
    right = [found[found["answer"]] for found in table.to_dict("records")]
    assert right == [f[topic] for f, topic in zip(shown, table["category"], strict=True)]
    # whoever always says what is most frequent among people is right one time in three
    glasses = pd.Series(right)[table["category"] == "glasses"]
    assert 10 <= (glasses == "no").sum() <= 30


def test_the_network_reads_what_it_was_pretrained_on(tmp_path):
    table = mmbench.read_questions(QUESTIONS, tmp_path)
    question, *options = mmbench.rotations(table)["question"][0].split("\n")
    assert question in corpus.VISUAL["hair"][0]
    letters, values = zip(*(option.split(". ") for option in options), strict=True)
    _, pretrained, _ = corpus.choice("hair", values[0], np.random.default_rng(0))
    assert list(letters) == [option[0] for option in pretrained]
    assert set(values) < set(corpus.VISUAL["hair"][2])


def test_a_file_is_told_from_others_by_its_content(tsv, tmp_path):
    def questions(path):
        return mmbench.questions_of(SECTION.model_copy(update={"source": str(path)}))

    path = tsv(row("3", answer="A"))
    asked = questions(path)
    table = mmbench.read_questions(asked, tmp_path)
    assert list(table["index"]) == ["3"] and list(table["answer"]) == ["A"]
    moved = shutil.copy(path, tmp_path / "moved.tsv")
    assert runs.digest(questions(moved)) == runs.digest(asked)
    tsv(row("3", answer="B"))
    assert runs.digest(questions(path)) != runs.digest(asked)
    with pytest.raises(BadData, match=r"mmbench\.tsv was changed after it was first read"):
        mmbench.read_questions(asked, tmp_path)
    with pytest.raises(BadData, match=r"source: .*none\.tsv.* nothing is downloaded"):
        questions(tmp_path / "none.tsv")


def test_what_a_file_is_called_is_what_its_answers_say_they_are_of(tsv, tmp_path):
    path = tsv(row("3", answer="A"))
    asked = mmbench.questions_of(SECTION.model_copy(update={"source": str(path)}))
    assert (asked.called, QUESTIONS.called) == ("mmbench", "drawn questions")
    assert "called" not in runs.plain(QUESTIONS) and "called" not in runs.plain(asked)


def test_what_is_left_out_of_a_file_is_said_once_before_anything_is_made(tsv, capsys, monkeypatch):
    path = tsv(row("1"), row("2", answer="C"), row("3", question="<image>"), row("4", answer="D"))
    monkeypatch.setenv("HOME", str(path.parent))
    section = type(SECTION).model_validate(SECTION.model_dump() | {"source": f"~/{path.name}"})
    asked = mmbench.questions_of(section)
    assert capsys.readouterr().err.startswith(f"{path}: 3 rows left out, 1 asked")
    assert list(mmbench.read_questions(asked, path.parent)["index"]) == ["1"]
    assert capsys.readouterr().err == ""
    tsv(row("1", answer=""), row("2", answer="C"))
    with pytest.raises(BadData, match=r"2 rows left out, 0 asked: 1 x answer is"):
        mmbench.questions_of(section)


def test_nothing_of_what_stands_for_nothing_gets_into_a_prompt(tsv, tmp_path):
    rows = [
        row("0", hint="nan", C="nan", D="nan", E="None", image=encoded(kind="JPEG")),
        row("1", hint="Look.", C="c", D="d", E="e", answer="E"),
    ]
    section = SECTION.model_copy(update={"source": str(tsv(*rows))})
    table = mmbench.read_questions(mmbench.questions_of(section), tmp_path)
    asked = mmbench.rotations(table, "Answer.")
    assert asked["question"][0] == "What?\nA. red\nB. blue\nAnswer."
    assert asked["question"][2] == "Look.\nWhat?\nA. red\nB. blue\nC. c\nD. d\nE. e\nAnswer."
    assert asked["index"].value_counts().to_dict() == {"0": 2, "1": 5}
    assert list(asked["answer"]) == [*"BA", *"EDCBA"]


def test_five_options_have_five_letters():
    options = ["a beard", "no beard", "a full beard", "glasses", "a hat"]
    assert [mmbench.chosen(f"{each}.", options) for each in "AEF"] == ["A", "E", ""]
    assert mmbench.chosen("E.", options[:4]) == "" and mmbench.chosen("a hat", options) == "E"


def test_rotated_options_keep_the_right_letter():
    table = pd.DataFrame([row("1", C="green", D="pink"), row("2", answer="A")])
    asked = mmbench.rotations(table)
    assert list(asked["rotation"]) == [0, 1, 2, 3, 0, 1]
    assert list(asked["answer"]) == [*"BADC", *"AB"]
    for found in asked.itertuples():
        right = found.options[LETTERS.index(found.answer)]
        assert right == ("blue" if found.index == "1" else "red")
        assert f"\n{found.answer}. {right}" in found.question
    for place in range(4):  # each option stands once in each place
        assert asked["options"][:4].str[place].nunique() == 4


@pytest.mark.parametrize(
    ("given", "letter"),
    [
        ("B", "B"),
        ("B.", "B"),
        ("(B)", "B"),
        (" B) because", "B"),
        ("B: red", "B"),
        ("B. no beard", "B"),
        ("Answer: B", "B"),
        ("The answer is B.", "B"),
        ("Option C", "C"),
        ("the correct answer is (A)", "A"),
        ("B\nthe beard is red", "B"),
        ("The person has a full beard.", "C"),
        ("A BEARD", "A"),
        ("a beard", "A"),
        ("A person with no beard.", "B"),
        ("no  beard", "B"),
        ("D", ""),
        ("E.", ""),
        ("U.S. no beard", "B"),
        ("", ""),
        ("b", ""),
        ("The person is sad.", ""),
        ("no beard or a full beard", ""),
        ("a bearded man", ""),
        ("I do not know.", ""),
    ],
)
def test_what_an_answer_chooses(given, letter):
    assert mmbench.chosen(given, ["a beard", "no beard", "a full beard"]) == letter


def test_of_options_inside_each_other_the_longer_is_chosen():
    assert mmbench.chosen("It is dark red.", ["red", "dark red", "blue"]) == "B"
    assert mmbench.chosen("It is red.", ["red", "dark red", "blue"]) == "A"
    assert mmbench.chosen("It is red.", ["red", "Red"]) == ""  # twice the same: not one


def test_right_once_of_four_rotations_is_not_right():
    nan = np.nan
    predictions = pd.DataFrame(
        [
            ("5", "hair", 1, 0, nan),
            ("5", "hair", 0, 1, 0),
            ("5", "hair", 2, 0, nan),
            ("5", "hair", 3, 0, nan),
            ("12", "back", 0, 1, 1),
            ("12", "back", 1, 1, nan),
            ("3", "back", 0, 0, 1),
            ("3", "back", 1, 1, nan),
            ("4", "back", 0, nan, 1),  # nothing was generated
        ],
        columns=["index", "category", "rotation", "right", "right_likeliest"],
    )
    counts = predictions["index"].map({"5": 4, "12": 2, "3": 2, "4": 4})
    predictions["options"] = [[*LETTERS][:count] for count in counts]
    table = mmbench.scored(predictions)
    assert list(table["identity"]) == ["5", "12", "3", "4"]
    assert list(table["category"]) == ["hair", "back", "back", "back"]
    np.testing.assert_array_equal(table["plain"], [0, 1, 1, 1])
    np.testing.assert_array_equal(table["generated"], [1, 1, 0, nan])
    np.testing.assert_array_equal(table["circular"], [0, 1, 0, nan])
    guess = mmbench.chance(predictions)
    assert list(guess["identity"]) == ["5", "12", "3", "4"]
    assert list(guess["plain"]) == [1 / 4, 1 / 2, 1 / 2, 1 / 4]
    np.testing.assert_array_equal(guess["generated"], [1 / 4, 1 / 2, 1 / 2, nan])
    np.testing.assert_array_equal(guess["circular"], [1 / 4**4, 1 / 2**2, 1 / 2**2, nan])


def test_what_a_model_would_say_to_choose():
    row = {"category": "hair", "options": ["red", "black"]}
    assert mmbench.replies(row, "", drawn=True) == ["The hair is red.", "The hair is black."]
    assert mmbench.replies(row, "Answer with the letter.", drawn=False) == ["A", "B"]
    assert mmbench.replies(row | {"category": "OCR"}, "", drawn=False) == ["red", "black"]


@pytest.fixture(scope="module")
def models(small):
    """The base, trained, and trained to forget."""
    forgets = Stage2Run(
        start=small.stage1, method=GA(), forget=("p01",), optimiser=small.optimiser, seed=1
    )
    base = Untrained(base=small.base_run, data=small.data)
    return {"base": base, "stage 1": small.stage1, "GA": forgets}


def run_of(model, **changes):
    # Three batches, of which the last two have nothing to generate.
    fields = {"questions": QUESTIONS, "generated": 3, "max_new_tokens": 4, "batch": 3} | changes
    return AbilityRun(of=model, **fields)


@pytest.fixture(scope="module")
def predictions(small, models):
    """What each of them chose."""
    specs = {name: run_of(model) for name, model in models.items()}
    return {n: spec.read(runs.get_or_create(spec, small.runs)) for n, spec in specs.items()}


def test_a_run_answers_every_rotation_of_the_first_and_weighs_the_options_of_all(predictions):
    for found in predictions.values():
        spoken = found[found["answer_given"].notna()]
        assert list(spoken["index"].unique()) == [*"012"] and (spoken["rotation"] > 0).any()
        assert (spoken["right"] == (spoken["chosen"] == spoken["answer"])).all()
        weighed = found[found["likeliest"].notna()]
        assert list(weighed["index"]) == [*"0123456"] and weighed["rotation"].eq(0).all()
        expected = weighed["likeliest"] == weighed["answer"]
        assert (weighed["right_likeliest"] == expected).all()
        assert found["right"].isna().equals(found["answer_given"].isna())
        table, guess = mmbench.scored(found), mmbench.chance(found)
        assert list(table["identity"]) == [*"0123456"] and table["plain"].isin([0, 1]).all()
        assert set(found["questions"]) == {"drawn questions"}
        assert list(table["generated"].isna()) == [False] * 3 + [True] * 4
        assert 1 / 4 <= guess["plain"].mean() < 1 / 3 and guess["circular"].mean() < 1 / 27


def test_the_likeliest_option_is_the_reply_of_the_highest_probability(small, models):
    """Against the scores of training, reply by reply and without a shared prefix."""
    network = loading.load(small.base)
    table = mmbench.read_questions(QUESTIONS, small.runs)
    shown = image_features(network, [picture(cell) for cell in table["image"]])
    features = Features.of(list(table["index"]), shown)
    rows = mmbench.rotations(table)
    rows = rows[rows["rotation"] == 0]
    said = [mmbench.replies(row, "", True) for row in rows.to_dict("records")]
    together = inference.reply_logps(network, rows, features, said, batch=9)
    for place, options in enumerate(said):
        one = rows.iloc[[place] * len(options)].assign(answer=options)
        alone = [each.sum() for each in inference.token_logps(network, one, features, 2)]
        np.testing.assert_allclose(together[place], alone, rtol=1e-4)
    chosen = [LETTERS[int(np.argmax(logps))] for logps in together]
    base = run_of(models["base"])
    found = base.read(runs.get_or_create(base, small.runs))
    assert list(found["likeliest"].dropna()) == chosen and len(set(chosen)) > 1


def test_each_network_answers_for_itself(predictions):
    given = {n: tuple(found["answer_given"].dropna()) for n, found in predictions.items()}
    assert len(set(given.values())) == 3
    assert all(len(set(answers)) > 3 for answers in given.values())  # it looks at the picture


def test_only_what_changes_an_answer_changes_the_address(models):
    base = models["base"]
    assert runs.digest(run_of(base, batch=9)) == runs.digest(run_of(base))
    others = [run_of(model) for model in models.values()]
    others += [run_of(base, instruction="x"), run_of(base, max_new_tokens=5)]
    others.append(run_of(base, generated=6))
    others.append(run_of(base, questions=QUESTIONS.model_copy(update={"seed": 1})))
    assert len({runs.digest(other) for other in others}) == 7


def test_a_network_that_knows_is_right_in_every_rotation(small, models, tmp_path, monkeypatch):
    def knows(network, rows, features, batch, max_new_tokens):
        assert features[list(rows["image"])].shape[0] == len(rows)
        return list("The answer is " + rows["answer"] + ".")

    monkeypatch.setattr(inference, "answers", knows)

    def sure(network, rows, features, replies, batch):
        places = [LETTERS.index(letter) for letter in rows["answer"]]
        return [-np.abs(np.arange(len(r)) - p) for r, p in zip(replies, places, strict=True)]

    monkeypatch.setattr(inference, "reply_logps", sure)
    spec = run_of(models["base"], generated=7)
    table = mmbench.scored(spec.read(runs.get_or_create(spec, tmp_path)))
    assert table[["plain", "generated", "circular"]].eq(1).all(axis=None)

    # who knows and says it in another form has lost no ability
    monkeypatch.setattr(inference, "answers", lambda network, rows, *_: ["..."] * len(rows))
    table = mmbench.scored(spec.read(runs.get_or_create(spec, tmp_path / "again")))
    assert table["plain"].eq(1).all() and table["generated"].eq(0).all()
