"""claims: a sentence whole, its numbers with as many digits as it needs, its verdict and why."""

import os

import pytest

from remem import paths
from remem.report import preconditions
from remem.site import claims
from remem.site.files import Files

HEAD = (
    "claim,section,text,verdict,paper,paper bears out,paper cells,ours,lo,hi,p,rule,margin,unit,"
    "units,people,runs,comparison,measured,cells,every cell,needs,remark,note\n"
)


def verdict(
    name: str, word: str, ours: str = "1.0,0.5,1.5,0.01", rest: str = "", **changed: str
) -> str:
    """A line of a notebook's verdicts on a claim."""
    asked = changed.get("asked", "above,5.0,points")
    tail = changed.get("tail", f"10,10,1,A - B (EM),1 of 1,1 of 1,holds,{rest},,")
    section = '"ours, §5"' if name.endswith("equal") else "§1"
    return f"{name},{section},text of {name},{word},0.5,yes,1 of 1,{ours},{asked},{tail}\n"


def listed(folders) -> tuple[list[claims.Claim], str]:
    file = folders.tables / "preconditions.csv"
    return claims.listed(Files(folders), preconditions.read(file) if file.exists() else None)


def marks(folders) -> set[str]:
    return {claim.mark for claim in listed(folders)[0]}


@pytest.fixture
def found(folders):
    lines = [
        verdict("fig1-fails", "in the tiny world: holds", rest="P2 P5"),
        verdict("samples-grow-equal", "in the tiny world: reversed", ours="-9.0,-12.0,-6.0,0.01"),
        verdict("signatures-apart", "in the tiny world: cannot be told", rest="P2"),
        verdict(
            "perplexity-spikes",
            "in the tiny world: smaller than the margin",
            ours="0.0018,-0.001,0.0041,0.4",
            asked="above,0.05,perplexity",
        ),
    ]
    paths.write(folders.verdicts / "01_diagnosis.csv", HEAD + "".join(lines))
    line = preconditions.line("picture-swap", "tiny-7b", preconditions.Measured(81.2))
    table = preconditions.join(folders.tables, "06_stage1", [line])
    paths.write(folders.tables / "preconditions.csv", table.to_csv(index=False))
    found, wrong = listed(folders)
    assert not wrong
    return {claim.id: claim for claim in found}


def test_every_claim_is_there_in_the_papers_order_run_or_not(found):
    assert [*found][:2] == ["fig1-fails", "fig1-fails-heldout"] and len(found) > 70
    assert found["gd-utility"].mark == "idle" and not found["gd-utility"].measured
    counted = claims.tally([*found.values()])
    assert counted["fails"] == 1 and counted["small"] == 1 and counted["untold"] == 2
    assert counted["idle"] == len(found) - 4


def test_a_sentence_that_goes_on_has_the_one_before_it(found):
    assert found["fig1-judge"].text.startswith("Both are under-memorised")
    assert found["trace-real-facts"].text.count("...") == 2
    assert found["gd-utility"].text == "GD retains most (ROUGE and EM_r)"


def test_a_verdict_in_words(found):
    equal = found["samples-grow-equal"]
    assert (equal.where, equal.word, equal.mark) == ("In the tiny world", "reversed", "fails")
    assert (equal.number("ours"), equal.interval) == ("-9.0", "[-12.0, -6.0]")
    assert "above 0" in equal.rule and "5 points" in equal.rule and equal.why == ""
    assert (found["gd-utility"].where, found["gd-utility"].number("ours")) == ("", "")
    assert not equal.papers and equal.section == "§5" and found["gd-utility"].papers
    small = found["perplexity-spikes"]
    assert (small.number("ours"), small.interval) == ("0.002", "[-0.001, 0.004]")


def test_a_missed_precondition_is_the_reason_and_is_named_with_its_number(found):
    claim = found["fig1-fails"]  # which would hold
    assert claim.mark == "untold" and claim.why.startswith("P2 ")
    assert claim.line["without_preconditions"] == "in the tiny world: holds"
    reasons = dict(claims.why_untold([*found.values()]))
    assert reasons == {"a precondition is missed: P2, the face is used": 2}


def test_what_a_claim_needs_is_listed_the_missed_first(folders, found):
    table = preconditions.read(folders.tables / "preconditions.csv")
    first, second = claims.needed(found["fig1-fails"], table)
    assert (first["name"], first["state"]) == ("P2, the face is used", "no") and first["lines"][0][
        "value"
    ] == 81.2
    assert (second["state"], second["lines"]) == ("not measured", [])
    assert [each["state"] for each in claims.needed(found["fig1-fails"], None)] == [
        "not measured"
    ] * 2
    assert claims.needed(found["perplexity-spikes"], table)[0]["name"].startswith("P5, ")


def test_a_verdict_that_is_none_speaks_of_nothing(folders):
    file = folders.verdicts / "01_diagnosis.csv"
    paths.write(file, HEAD + verdict("fig1-fails", "in the tiny world: perhaps"))
    [claim] = [each for each in listed(folders)[0] if each.id == "fig1-fails"]
    assert (claim.where, claim.word, claim.mark) == ("", "", "")


def test_the_picture_of_an_interval(found):
    scale = found["samples-grow-equal"].scale
    assert scale is not None and scale.interval is not None and scale.ours is not None
    assert (
        scale.interval[0]
        < scale.ours
        < scale.interval[1]
        < scale.band[0]
        < scale.zero
        < scale.band[1]
    )
    assert scale.paper is not None and scale.zero < scale.paper < scale.band[1]
    every = [*scale.interval, *scale.band, scale.zero, scale.ours, scale.paper]
    assert min(every) == 8 and max(every) == 92
    assert found["gd-utility"].scale is None


def test_what_notebook_9_left_is_taken_until_another_has_judged(folders, found):
    conditions = preconditions.read(folders.tables / "preconditions.csv")
    kept = claims.scorecard(Files(folders), conditions)
    assert kept is not None
    file = paths.write(
        folders.tables / "scorecard.csv", kept.assign(verdict="not run").to_csv(index=False)
    )
    assert marks(folders) == {"idle"}
    os.utime(file, (100, 100))
    assert marks(folders) > {"idle", "fails"}
    os.utime(folders.verdicts / "01_diagnosis.csv", (50, 50))
    os.utime(folders.tables / "preconditions.csv", (50, 50))
    paths.write(file, "claim,verdict\nfig1-fails,holds\n")  # of an earlier version
    assert marks(folders) > {"idle", "fails"}
    whole = kept.assign(rule=["", *kept["rule"][1:]])
    paths.write(file, whole.to_csv(index=False))
    assert marks(folders) > {"idle", "fails"}


def test_nothing_put_to_the_test_and_a_claim_with_two_verdicts(folders):
    paths.write(
        folders.verdicts / "04_dataset.csv", "claim,paper,ours,verdict\nsamples,1,1,holds\n"
    )
    assert listed(folders) == ([], "")
    for name in ("06_stage1", "07_stage2"):
        paths.write(folders.verdicts / f"{name}.csv", HEAD + verdict("gd-utility", "holds"))
    found, wrong = listed(folders)
    assert not found and "gd-utility" in wrong and "06_stage1" in wrong


@pytest.mark.parametrize(
    "changed",
    [
        {"ours": "inf,0.5,1.5,0.01"},
        {"ours": "much,0.5,1.5,0.01"},
        {"asked": "sometimes,5.0,points"},
        {"asked": "above,five,points"},
        {"tail": "ten,10,1,A - B (EM),1 of 1,1 of 1,holds,,,"},
    ],
)
def test_verdicts_that_are_none_are_left_out_and_told(folders, changed):
    odd = paths.write(
        folders.verdicts / "06_stage1.csv", HEAD + verdict("gd-utility", "x", **changed)
    )
    paths.write(folders.verdicts / "07_stage2.csv", HEAD + verdict("npo-utility", "holds"))
    kept = Files(folders)
    found, wrong = claims.listed(kept, None)
    words = {claim.id: claim.word for claim in found}
    assert not wrong and words["npo-utility"] == "holds" and words["gd-utility"] == "not run"
    assert [*kept.broken] == [odd]
