import base64
import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from remem import benchmarks, crowd, images, params, runs, tables, unlearn
from remem.benchmarks import COLUMNS, LETTERS
from remem.dataset import BadData

ABILITY = benchmarks.Ability(questions=7, image_size=32, seed=0, batch=4, max_new_tokens=4)


def encoded(size=(24, 18), kind="PNG") -> str:
    Image.new("RGB", size, "red").save(content := io.BytesIO(), kind)
    return base64.b64encode(content.getvalue()).decode()


def row(index="1", **changes) -> dict[str, str]:
    return {**dict.fromkeys(COLUMNS, ""), "index": index, "question": "What?", "A": "red",
            "B": "blue", "answer": "B", "category": "colour", "image": encoded(), "split": "dev",
            **changes}  # fmt: skip


@pytest.fixture
def tsv(tmp_path):
    def write(*rows: dict, **options):
        path = tmp_path / "mmbench.tsv"
        pd.DataFrame(rows).to_csv(path, sep="\t", index=False, **options)
        return path

    return write


# ---------------------------------------------------------------- the questions


def test_drawn_questions_come_back_as_they_were_written(tmp_path):
    table = benchmarks.questions(ABILITY, tmp_path)
    assert list(table.columns) == list(COLUMNS) and list(table["index"]) == [*"0123456"]
    assert list(table["category"]) == [*crowd.VISUAL, "hair"]
    for found in table.to_dict("records"):
        values = crowd.VISUAL[found["category"]][2]
        assert {found[letter] for letter in LETTERS} - {""} <= set(values)
        assert found["question"] in crowd.VISUAL[found["category"]][0]
        assert benchmarks.picture(found["image"]).size == (32, 32)
    [folder] = tmp_path.glob("mmbench-*")
    again = benchmarks.questions(ABILITY.model_copy(update={"instruction": "x"}), tmp_path)
    assert again.equals(table) and list(tmp_path.glob("mmbench-*")) == [folder]


def test_the_right_answer_is_what_the_picture_shows(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(images, "draw", lambda look, view, size: shown.append(
        {**look.facts(), **view.facts()}) or Image.new("RGB", (size, size)))  # fmt: skip
    many = ABILITY.model_copy(update={"questions": 360})
    table = benchmarks.questions(many, tmp_path)
    right = [found[found["answer"]] for found in table.to_dict("records")]
    assert right == [f[topic] for f, topic in zip(shown, table["category"], strict=True)]
    # whoever always says what is most frequent among people is right one time in three
    glasses = pd.Series(right)[table["category"] == "glasses"]
    assert 10 <= (glasses == "no").sum() <= 30


def test_the_network_reads_what_it_was_pretrained_on(tmp_path):
    table = benchmarks.questions(ABILITY, tmp_path)
    question, *options = benchmarks.rotations(table)["question"][0].split("\n")
    assert question in crowd.VISUAL["hair"][0]
    letters, values = zip(*(option.split(". ") for option in options), strict=True)
    _, pretrained, _ = crowd.choice("hair", values[0], np.random.default_rng(0))
    assert list(letters) == [option[0] for option in pretrained]
    assert set(values) < set(crowd.VISUAL["hair"][2])


def test_a_file_as_mmbench_writes_it_is_read(tsv):
    path = tsv(
        row("241", hint="One line.\nAnother.", C="NA", answer="C", source="web", image=encoded()),
        row("7", image="241", D="", C="None "),
        row("1000241", A="blue", B="NA", C="red", image="241"),  # a rotation of the file's own
        row("1000300", image=encoded(kind="JPEG")),  # no rotation: there is no question 300
    )
    table = benchmarks.read_mmbench(path)
    assert list(table["index"]) == ["241", "7", "1000300"]
    assert list(table["C"]) == ["NA", "None", ""] and table["hint"][0] == "One line.\nAnother."
    assert table["image"][1] == encoded()
    assert [benchmarks.picture(cell).mode for cell in table["image"]] == ["RGB"] * 3
    asked = benchmarks.rotations(table, "Answer with a letter.")
    assert asked["question"][0] == (
        "One line.\nAnother.\nWhat?\nA. red\nB. blue\nC. NA\nAnswer with a letter."
    )


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row("x"), "index 'x': the index should be a whole number"),
        (row("1"), "index '1': the same index as in a row before"),
        (row("2", question=" "), "index '2': question is empty"),
        (row("2", category=""), "category is empty"),
        (row("2", answer=""), "answer is empty; MMBench's test split has none"),
        (row("2", answer="C"), "the answer 'C' is not among the options A, B"),
        (row("2", answer="AB"), "the answer 'AB' is not among"),
        (row("2", B=""), "options are filled from A on, at least two; here A"),
        (row("2", D="green"), "options are filled from A on, at least two; here ABD"),
        (row("2", image=""), r"the picture cannot be decoded \(it is neither PNG nor JPEG\)"),
        (row("2", image="99"), "the picture is not in base64"),
        (row("2", image=encoded(kind="GIF")), "neither PNG nor JPEG"),
        (row("2", image=encoded((64, 64))[:160]), "the picture cannot be decoded"),
        (row("2", image=encoded((4097, 4096))), "4097 x 4096 pixels are more than is safe"),
    ],
)
def test_a_row_that_is_not_in_order_is_named(tsv, bad, reason):
    with pytest.raises(BadData, match=rf"mmbench.tsv, .*{reason}"):
        benchmarks.read_mmbench(tsv(row("1"), bad))


def test_a_file_that_is_no_table_is_refused(tsv, tmp_path):
    for content, reason in (
        (b"", "cannot be read as tab-separated text"),
        (b"\xff\xfe\x00", "cannot be read as tab-separated text"),
        (b"index\tquestion\n", r"column\(s\) hint, A, B, C, D, answer, category, image, split"),
        ("\t".join(COLUMNS).encode(), "holds no row"),
        (("\t".join(COLUMNS) + "\n" + "\t" * 20).encode(), "more cells than the first line"),
    ):
        (path := tmp_path / "m.tsv").write_bytes(content)
        with pytest.raises(BadData, match=f"m.tsv: .*{reason}"):
            benchmarks.read_mmbench(path)
    with pytest.raises(BadData, match="experiments.ability.source: .*none.tsv.*MMBench_DEV_EN.tsv"):
        benchmarks.questions(
            ABILITY.model_copy(update={"source": str(tmp_path / "none.tsv")}), tmp_path
        )


# ---------------------------------------------------------------- asking, and reading the answers


def test_rotated_options_keep_the_right_letter():
    table = pd.DataFrame([row("1", C="green", D="pink"), row("2", answer="A")])
    asked = benchmarks.rotations(table)
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
        ("B", "B"), ("B.", "B"), ("(B)", "B"), (" B) because", "B"), ("B: red", "B"),
        ("B. no beard", "B"), ("Answer: B", "B"), ("The answer is B.", "B"), ("Option C", "C"),
        ("the correct answer is (A)", "A"), ("B\nthe beard is red", "B"),
        ("The person has a full beard.", "C"), ("A BEARD", "A"), ("a beard", "A"),
        ("A person with no beard.", "B"), ("no  beard", "B"),
        ("D", ""), ("E.", ""), ("U.S. no beard", "B"), ("", ""), ("b", ""),
        ("The person is sad.", ""),
        ("no beard or a full beard", ""), ("a bearded man", ""), ("I do not know.", ""),
    ],
)  # fmt: skip
def test_what_an_answer_chooses(given, letter):
    assert benchmarks.chosen(given, ["a beard", "no beard", "a full beard"]) == letter


def test_of_options_inside_each_other_the_longer_is_chosen():
    assert benchmarks.chosen("It is dark red.", ["red", "dark red", "blue"]) == "B"
    assert benchmarks.chosen("It is red.", ["red", "dark red", "blue"]) == "A"
    assert benchmarks.chosen("It is red.", ["red", "Red"]) == ""  # twice the same: not one


def test_right_once_of_four_rotations_is_not_right():
    predictions = pd.DataFrame(
        [("5", "hair", 1, False), ("5", "hair", 0, True), ("5", "hair", 2, False),
         ("5", "hair", 3, False), ("12", "back", 0, True), ("12", "back", 1, True),
         ("3", "back", 0, False), ("3", "back", 1, True)],
        columns=["index", "category", "rotation", "right"],
    )  # fmt: skip
    table = benchmarks.scored(predictions)
    assert table.to_dict("list") == {
        "identity": ["5", "12", "3"], "category": ["hair", "back", "back"],
        "plain": [1, 1, 0], "circular": [0, 1, 0],
    }  # fmt: skip
    guess = benchmarks.chance(predictions)
    assert list(guess["identity"]) == ["5", "12", "3"]
    assert list(guess["plain"]) == [1 / 4, 1 / 2, 1 / 2]
    assert list(guess["circular"]) == [1 / 4**4, 1 / 2**2, 1 / 2**2]


# ---------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def done(small):
    """predictions by network: the base, taught, and taught to forget."""
    start = small.stage1
    forgets = unlearn.UnlearnSpec(start=start, method="GA", forget=("p01",), seed=1,
                                  evaluate=start.evaluate, **small.settings)  # fmt: skip
    specs = {
        name: benchmarks.AbilitySpec(base=start.base, taught=taught, ability=ABILITY)
        for name, taught in (("base", None), ("stage 1", start), ("GA", forgets))
    }
    folders = runs.sweep([("remem.benchmarks:run", s) for s in specs.values()], small.runs, 1, "")
    return dict(zip(specs, folders, strict=True))


def test_a_run_answers_every_rotation(done):
    for folder in done.values():
        predictions = pd.read_parquet(folder / "predictions.parquet")
        assert {"index", "category", "rotation", "answer_given", "chosen", "right"} <= set(
            predictions
        )
        assert (predictions["right"] == (predictions["chosen"] == predictions["answer"])).all()
        table = benchmarks.scored(predictions)
        assert len(table) == 7 and list(table["identity"]) == [*"0123456"]
        told = runs.read_json(folder / "scores.json")
        assert told["right"]["plain"] == pytest.approx(100 * table["plain"].mean())
        assert 25 < told["chance"]["plain"] < 100 / 3 and told["chance"]["circular"] < 100 / 27


def test_each_network_answers_for_itself(done):
    given = {name: tuple(pd.read_parquet(f / "predictions.parquet")["answer_given"])
             for name, f in done.items()}  # fmt: skip
    assert len(set(given.values())) == 3
    assert all(len(set(answers)) > 3 for answers in given.values())  # it looks at the picture


def test_a_network_that_knows_is_right_in_every_rotation(small, tmp_path, monkeypatch):
    def knows(model, processor, rows, features, batch, max_new_tokens):
        assert features[list(rows["image"])].shape[0] == len(rows)
        return list("The answer is " + rows["answer"] + ".")

    monkeypatch.setattr(benchmarks.predict, "answers", knows)
    spec = benchmarks.AbilitySpec(base=small.stage1.base, ability=ABILITY)
    told = runs.read_json(benchmarks.run(spec, tmp_path) / "scores.json")
    assert told["right"] == {"plain": 100, "circular": 100}


def test_the_cells_are_those_of_table_2(tsv):
    p = params.load("smoke", seeds=[1, 2])
    rows = pd.DataFrame({"identity": [f"p{k:02d}" for k in range(10)]})
    table2 = unlearn.cells(p, rows)

    def cells(ability):
        return benchmarks.cells(
            SimpleNamespace(seeds=p.seeds, stage2=p.stage2, base=p.base,
                            experiments=SimpleNamespace(ability=ability)), table2
        )  # fmt: skip

    found = cells(ABILITY)
    first = [cell for cell in table2 if cell.seed == 1 and "positions" not in cell.method]
    assert [cell[:3] for cell in found] == [(c.model, c.method, 1) for c in first]
    for (_, method, _, spec), cell in zip(found, first, strict=True):
        assert spec.base == p.base.spec(cell.model)
        assert spec.taught == (None if method == tables.BASE else cell.spec)
    assert len({runs.digest(cell[3]) for cell in found}) == len(found)
    assert [runs.digest(c[3]) for c in cells(ABILITY)] == [runs.digest(c[3]) for c in found]

    def named(**changes):
        path = tsv(row(**changes))
        return runs.digest(cells(ABILITY.model_copy(update={"source": str(path)}))[0][3])

    assert named() == named() != named(question="Which?")  # a result follows the file's content
    with pytest.raises(BadData, match="nothing is downloaded"):
        cells(ABILITY.model_copy(update={"source": "none.tsv"}))


# ---------------------------------------------------------------- other benchmarks


def test_the_survey_counts_what_is_there_and_quotes_the_rest(small):
    one = small.rows[small.rows["split"] == "train"].copy()
    one["image"] = "train/" + one["identity"] + ".png"
    again = pd.concat([one, one.assign(split="test")])
    table = benchmarks.survey({"ours": small.rows, "shaped": one, "copied": again})
    table = table.set_index(["benchmark", "source"])
    ours = table.loc[("ours", "computed")]
    assert list(ours[["people", "pictures per person", "QA per person"]]) == [4, 17, 17]
    assert ours["single-hop"] == pytest.approx(100 * 7 / 17)
    unseen = ["unseen test questions", "unseen test pictures"]
    assert list(ours[unseen]) == ["yes", "yes"]
    for name in ("shaped", "copied"):
        other = table.loc[(name, "computed")]
        assert other["pictures per person"] == 1 and list(other[unseen]) == ["no", "no"]
    paper = table.xs("quoted from the paper's Table 1", level="source")
    assert list(paper.index) == ["FIUBench", "MLLMU-Bench", "CLEAR", "ReMem"]
    assert list(paper["pictures per person"]) == [1, 1, 20, 100]
    assert list(paper["QA per person"]) == [20, 1, 20, 100]
    assert list(paper["column 3"]) == [0, 0, 0, 1] and list(paper["column 5"]) == [1, 1, 1, 1]
    assert paper[["people", "single-hop", *unseen]].isna().all(axis=None)
    assert table.loc[("FIUBench", "quoted from the benchmark"), "people"] == 400
