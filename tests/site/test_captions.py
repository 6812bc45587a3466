"""captions: one entry for whatever a notebook writes, none for what none does, all of it said."""

import re

import pytest

from remem import experiments, paths
from remem.site import captions

CAPTIONS = captions.captions()
# Names that a notebook puts together while it runs, as text cannot show.
MADE = {"02_scaling_law": {"fig3a", "fig3b"}, "08_forget_ratio": {"fig6", "fig7"}}


def written() -> dict[str, set[str]]:
    """Notebook -> the tables and figures that it says it writes."""
    found = {}
    for path in sorted(paths.NOTEBOOKS.glob("*.py")):
        names = set(re.findall(r'\bout\.(?:table|figure)\(\s*"([^"]+)"', path.read_text("utf-8")))
        found[path.stem] = names | MADE.get(path.stem, set())
    found["00_base_model"].add("preconditions")  # Output.preconditions writes it
    return found


def test_whatever_a_notebook_writes_has_a_caption_that_names_it_and_no_other_has():
    makers = {name: notebook for notebook, names in written().items() for name in names}
    assert len(makers) > 50
    assert {name: each.notebook for name, each in CAPTIONS.items()} == makers


def test_the_papers_order():
    main = [
        name for name, each in CAPTIONS.items() if each.group == captions.PAPER and "_" not in name
    ]
    figures = ["fig1", "fig2a", "fig2b", "fig3a", "fig3b", "fig3c"]
    assert main == [*figures, *(f"table{k}" for k in range(1, 6)), "fig5", "fig6", "fig7"]
    others = [name.split("_")[0] for name, each in CAPTIONS.items() if each.group == captions.PAPER]
    assert others == sorted(others, key=main.index), "a further cut stands beside its figure"


@pytest.mark.parametrize("name", CAPTIONS)
def test_a_caption_says_what_is_seen_and_how_it_was_measured(name):
    caption = CAPTIONS[name]
    assert 8 < len(caption.title) < 80 and caption.title[-1] not in ".:"
    for text in (caption.shows, caption.measured):
        assert text.endswith((".", ")")) and "  " not in text and len(text) < 800, text


def test_what_has_marks_of_the_papers_says_so():
    for name in ("fig1", "fig2a", "table2", "table3", "table4", "fig6", "fig7", "exposure"):
        assert "ollow" in CAPTIONS[name].shows and "paper" in CAPTIONS[name].shows, name


def test_the_experiments_behind_a_table_are_there():
    named = {name for caption in CAPTIONS.values() for name in caption.runs}
    assert len(named) > 10
    for name in named:
        assert callable(getattr(experiments, name))


def test_words_are_explained_in_words():
    words = captions.words()
    assert {"Exposure", "held out", "NPO"} <= {*words}
    assert all(len(meaning) > 20 and meaning[-1] != "." for meaning in words.values())
