"""written: what notebooks wrote is read back as pandas does it, and what is no table is told."""

import pandas as pd
import pytest

from remem import paths
from remem.report import written


def test_a_table_is_read_as_pandas_reads_it(tmp_path):
    file = paths.write(tmp_path / "a.csv", 'name,EM\n"Grün, A",0.1\nNone,\n')
    assert written.read(file).equals(pd.read_csv(file))
    assert written.read(file, dtype=str, keep_default_na=False)["name"].tolist() == [
        "Grün, A",
        "None",
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "No columns"),
        (b"\xff", "codec"),
        (b"a,b\n1,2,3\n", "a row has more cells than the first line"),
        (b"a,b\n1,2\n1,2,3\n", r"Expected 2 fields in line 3, saw 3"),
        (b"a," * 10**5 + b"\n", "it has 100,001 columns"),  # minutes, if pandas read it
        (b"a,b\n1" + b",2" * 10**5 + b"\n", "it has 100,001 columns"),
        (b"a\n" + b"1\n" * 2**24, "it has 33,554,434 bytes"),
        (b"a\n" + b"x" * 10**6 + b"\n", "field larger than"),
    ],
)
def test_what_is_no_table_is_told(tmp_path, content, reason):
    file = paths.write(tmp_path / "table2.csv", content)
    with pytest.raises(written.BadTable, match=reason) as told:
        written.read(file)
    assert str(file) in str(told.value) and str(file) not in told.value.reason
    assert told.value.exit_status == 1


def test_what_is_no_file_of_ours_is_passed_over(tmp_path):
    mine = paths.write(tmp_path / "b.csv", "a\n"), paths.write(tmp_path / "c.csv", "a\n")
    for name in (".b.csv", "._b.csv", "~$b.csv", "b.txt"):
        paths.write(tmp_path / name, "a\n")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "link.csv").symlink_to("nowhere")
    assert written.files(tmp_path) == [*mine]
    assert written.files(tmp_path / "nowhere") == []
