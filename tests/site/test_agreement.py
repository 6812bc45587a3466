"""agreement: equal tables, cells inside and outside their intervals, and the conclusions."""

import pytest

from remem import paths
from remem.report import machine
from remem.site import agreement

HEAD = "model,method,hop,EM_f,EM_f_lo,EM_f_hi,n\n"
CLAIMS = "claim,section,text,verdict\n"


@pytest.fixture
def both(tmp_path):
    """A run and the reference, equal in all."""
    found = [paths.Folders(tmp_path / name, tmp_path / "runs") for name in ("tiny", "reference")]
    for folders in found:
        rows = "m,GA,single,50.0,40.0,60.0,3\nm,NPO,single,20.0,,,3\n"
        paths.write(folders.tables / "table2.csv", HEAD + rows)
        words = "gd-utility,§7.3,GD,in the tiny world: holds\nnpo-utility,§7.3,N,reversed\n"
        paths.write(folders.verdicts / "07_stage2.csv", CLAIMS + words)
        machine.keep(folders)
    return found


def told(both) -> tuple[agreement.Agreement, str]:
    found = agreement.compare(*both)
    return found, "\n".join(agreement.sentences(found))


def test_what_is_equal_is_the_same(both):
    found, said = told(both)
    assert found.same and found.claims == 2 and [each.equal for each in found.tables] == [True]
    assert "1 of 1 are equal" in said and "alike, in processor" in said
    assert said.endswith("The conclusions are the same.")


def test_other_digits_with_the_same_conclusions_are_no_other_conclusion(both):
    rows = "m,GA,single,51.5,41.0,61.0,3\nm,NPO,single,20.5,,,3\n"
    paths.write(both[0].tables / "table2.csv", HEAD + rows)
    found, said = told(both)
    [table] = found.tables
    assert (table.cells, table.other, table.outside, table.unbounded) == (10, 2, 0, 1)
    assert table.most == "EM_f, m GA single: 51.5 (reference: 50 [40, 60])"
    assert found.same and "2 of 10 cells differ, 0 outside" in said


def test_a_cell_outside_its_interval_is_counted_and_named(both):
    paths.write(both[0].tables / "table2.csv", HEAD + "m,GA,single,75,1,2,3\nm,NPO,single,20,,,3\n")
    [table] = told(both)[0].tables
    assert (table.other, table.outside, table.unbounded) == (1, 1, 0)
    assert "75 (reference: 50 [40, 60])" in table.most


def test_a_number_that_only_one_has_differs(both):
    paths.write(both[0].tables / "table2.csv", HEAD + "m,GA,single,,,,3\nm,NPO,single,20,,,3\n")
    [table] = told(both)[0].tables
    assert (table.other, table.outside, table.unbounded) == (1, 0, 1)


@pytest.mark.parametrize(
    "text, why",
    [
        (HEAD, "0 rows here, 2 in the reference"),
        ("a\n1\n2\n", "no column in common"),
        ("\xff", "1"),
        (HEAD.replace(",n", "") + "m,GA,single,50,40,60\nm,NPO,single,20,,\n", "without n"),
        (
            HEAD.replace(",n", ",n,x") + "m,GA,single,50,40,60,3,1\nm,NPO,single,20,,,3,1\n",
            "with x",
        ),
    ],
)
def test_tables_of_another_shape_say_why(both, text, why):
    paths.write(both[0].tables / "table2.csv", text.encode("latin-1"))
    found, said = told(both)
    assert not found.tables[0].equal and why in said


def test_a_table_that_only_one_has(both):
    paths.write(both[0].tables / "mine.csv", "a\n1\n")
    (both[0].tables / "table2.csv").unlink()
    said = told(both)[1]
    assert "mine: here, but not in the reference" in said
    assert "table2: not here, but in the reference" in said


def test_another_verdict_is_another_conclusion(both):
    words = "gd-utility,§7.3,GD,reversed\nnpo-utility,§7.3,N,in my world: reversed\n"
    paths.write(both[0].verdicts / "07_stage2.csv", CLAIMS + words)
    found, said = told(both)
    assert not found.same and [claim.id for claim, _ in found.other] == ["gd-utility"]
    assert "gd-utility: reversed (reference: holds)" in said and said.endswith("not all the same.")


def test_what_was_not_put_to_the_test_leaves_it_open(both):
    paths.write(both[0].verdicts / "07_stage2.csv", CLAIMS + "gd-utility,§7.3,GD,holds\n")
    found, said = told(both)
    assert not found.same and found.claims == 1 and not found.other
    assert "Not put to the test here: 1 (npo-utility)" in said
    found, said = told([both[1], both[0]])
    assert found.same and "Not put to the test in the reference: 1" in said


def test_nothing_in_common_and_no_machine(both):
    (both[0].verdicts / "07_stage2.csv").unlink()
    both[0].machine.unlink()
    found, said = told(both)
    assert not found.same and "no conclusion that both have" in said and "not known" in said


def test_what_differs_between_the_machines_is_said(both):
    other = machine.here().model_copy(update={"processor": "an abacus"})
    paths.write(both[0].machine, other.model_dump_json())
    assert "Machines: processor an abacus (reference: " in told(both)[1]


def test_another_scale_or_other_data_is_said_first(both):
    for folders, scale in zip(both, ("quick", "tiny"), strict=True):
        paths.write(folders.layout, f'{{"scale": "{scale}", "data": "tiny 0123"}}')
    assert told(both)[1].startswith("Of another scale: quick (reference: tiny).\nTables: ")
