import itertools
import random
import time

import pandas as pd
import pytest
from PIL import Image

from remem.data import leakage, validation
from remem.data.dataset import SyntheticData, folder_of

SMALL = SyntheticData(identities=2, single=7, multi=10, test_single=7, test_multi=7)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return folder_of(SMALL, tmp_path_factory.mktemp("runs"))


def test_a_drawn_dataset_has_no_leak_and_each_kind_of_leak_is_counted(drawn):
    rows = validation.read(drawn)
    assert set(leakage.leaks(rows, drawn)) == {0}

    def leak(row, column, text, **more):
        spoilt = rows.copy()
        spoilt.loc[row, [column, *more]] = [text, *more.values()]
        counts = leakage.leaks(spoilt, drawn)
        return set(counts[counts > 0].index)

    [job] = rows.index[
        (rows["attribute"] == "job")
        & (rows["hop"] == "multi")
        & (rows["identity"] == "p00")
        & (rows["split"] == "test")
    ]
    value, name = rows.loc[job, ["target", "name"]]
    own = "questions that hold their own answer"
    assert leak(job, "question", f"Is it {value.upper()}?") == {own}
    assert leak(job, "question", f"Where does {name} work?") == {
        "multi-hop questions that name the person"
    }
    assert leak(job, "answer", f"{name} is a {value}.") == {
        "multi-hop answers that give the name unasked"
    }
    asked = rows.loc[(rows["hop"] == "multi") & (rows["split"] == "train"), "question"].iloc[0]
    assert leak(job, "question", asked) == {"test questions that training asks too (names aside)"}

    theirs = rows.loc[(rows["identity"] == "p01") & (rows["attribute"] == "job"), "target"].iloc[0]
    shared, inside = rows.copy(), rows.copy()
    ours = (rows["identity"] == "p00") & (rows["attribute"] == "job")
    shared.loc[ours, "target"], inside.loc[ours, "target"] = theirs, f"assistant {theirs}"
    assert leakage.leaks(shared, drawn)["facts that two people share"] == 1
    assert leakage.leaks(inside, drawn)["pairs of values of which one lies in the other"] == 1
    rows.loc[1, "image"] = rows.loc[0, "image"]
    assert leakage.leaks(rows, drawn)["pictures that occur twice"] == 1


def test_leaks_count_each_pair_of_values_once_and_for_ten_thousand_people(tmp_path):
    rng = random.Random(0)
    for size in range(30):
        values = {"".join(rng.choices("ab é", k=rng.randint(1, 6))) for _ in range(size)}
        pairs = itertools.combinations(values, 2)
        assert leakage._nested(values) == sum(a in b or b in a for a, b in pairs)
    count = 10_000
    text = [f"{rng.randrange(10**9)} Street {n % 977}, Town" for n in range(count)]
    text[7:10] = ["Street", "street 5, town", "STREET"]
    rows = pd.DataFrame(
        {
            "identity": [f"p{n}" for n in range(count)],
            "name": [f"N{n}" for n in range(count)],
            "attribute": "address",
            "hop": "multi",
            "split": "train",
            "target": text,
            "question": "Where?",
            "answer": text,
            "image": "a.png",
        }
    )
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    started = time.process_time()
    found = leakage.leaks(rows, tmp_path)
    assert time.process_time() - started < 10
    held = sum("street 5, town" in each.casefold() for each in text) - 1
    assert found["pairs of values of which one lies in the other"] == count - 3 + held + 1
    assert found["facts that two people share"] == 1 and held > 5
