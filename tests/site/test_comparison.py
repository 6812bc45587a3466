"""comparison: which verdicts are other ones than the reference run's."""

import pytest

from remem import paths
from remem.site import claims, comparison
from remem.site.files import Files

HEAD = "claim,section,text,verdict\n"


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "REFERENCE", tmp_path / "reference")
    lines = "gd-utility,§7.3,GD,in the tiny world: holds\nnpo-utility,§7.3,NPO,not run\n"
    paths.write(
        paths.REFERENCE / "tables" / "scorecard.csv", HEAD + lines + "trade-off,§7.3,T,reversed\n"
    )


def ours(folders, **words: str) -> list[claims.Claim]:
    lines = [f"{name.replace('_', '-')},§7.3,x,{word}\n" for name, word in words.items()]
    paths.write(folders.verdicts / "07_stage2.csv", HEAD + "".join(lines))
    return claims.listed(Files(folders), None)[0]


def test_what_both_put_to_the_test_is_compared_by_its_word(folders, there):
    mine = ours(
        folders,
        gd_utility="in the smoke world: reversed",
        npo_utility="holds",
        trade_off="reversed",
    )
    found = comparison.compare(folders, mine)
    assert found is not None
    assert found.both == 2 and [claim.id for claim in found.others] == ["gd-utility"]
    assert found.there == {"gd-utility": "holds", "trade-off": "reversed"}


def test_the_reference_is_not_compared_with_itself(folders, there, monkeypatch):
    mine = ours(folders, gd_utility="reversed")
    monkeypatch.setattr(paths, "REFERENCE", folders.root)
    assert folders.is_reference and comparison.compare(folders, mine) is None


def test_without_a_reference_or_verdicts_there_is_nothing_to_compare(
    folders, there, tmp_path, monkeypatch
):
    assert comparison.compare(folders, []) is None
    monkeypatch.setattr(paths, "REFERENCE", tmp_path / "none")
    assert comparison.compare(folders, ours(folders, gd_utility="holds")) is None
