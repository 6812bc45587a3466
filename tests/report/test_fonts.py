"""Letters that the house's font lacks, with fonts that are made here."""

import matplotlib

matplotlib.use("Agg")

import warnings

import matplotlib.pyplot as plt
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from remem import paths
from remem.report import fonts


def font(path, family: str, letters: str) -> str:
    """Make a font in which each of these letters is a black square."""
    names = [".notdef", *(f"u{ord(c):04X}" for c in letters)]
    pen = TTGlyphPen(None)
    for move, point in ((pen.moveTo, (100, 0)), (pen.lineTo, (100, 800)), (pen.lineTo, (900, 800))):
        move(point)
    pen.lineTo((900, 0))
    pen.closePath()
    square = pen.glyph()
    made = FontBuilder(1000, isTTF=True)
    made.setupGlyphOrder(names)
    made.setupCharacterMap({ord(c): name for c, name in zip(letters, names[1:], strict=True)})
    made.setupGlyf(dict.fromkeys(names, square))
    made.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
    made.setupHorizontalHeader(ascent=900, descent=-100)
    made.setupNameTable({"familyName": family, "styleName": "Regular"})
    made.setupOS2(sTypoAscender=900, sTypoDescender=-100, usWeightClass=400)
    made.setupPost()
    made.save(path)
    return str(path)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A function: the fonts that the system has are these."""
    known = list(font_manager.fontManager.ttflist)

    def clear():
        for cached in (fonts._others, fonts._installed):
            cached.cache_clear()

    def install(**families):
        made = [font(tmp_path / f"{name}.ttf", name, text) for name, text in families.items()]
        (tmp_path / "broken.ttf").write_bytes(b"no font")
        found = [*made, str(tmp_path / "broken.ttf"), str(tmp_path / "gone.ttf")]
        monkeypatch.setattr(font_manager, "findSystemFonts", lambda: found)
        clear()

    monkeypatch.setattr(fonts, "_told", set())
    with warnings.catch_warnings():
        yield install
    font_manager.fontManager.ttflist[:] = known
    clear()


def drawn(title: str, ticks=("a", "b")):
    figure, panel = plt.subplots()
    plt.close(figure)
    panel.set_title(title)
    panel.set_yticks([0, 1], ticks)
    return figure, panel


def family(text) -> list[str]:
    return text.get_fontfamily()


def test_letters_come_from_an_installed_font(installed, capsys, tmp_path):
    installed(Tamil="தம", Han="山田花", Kana="のさ")
    figure, panel = drawn("Name: 山田", ticks=("花のさ", "plain"))
    fonts.complete(figure)
    first, second = panel.get_yticklabels()
    assert family(panel.title) == [fonts.HOUSE, "Han"]
    assert family(first) in ([fonts.HOUSE, "Han", "Kana"], [fonts.HOUSE, "Kana", "Han"])
    assert family(second) == family(panel.xaxis.label) == plt.rcParams["font.family"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no glyph is missing, when it is saved either
        paths.save_figure(figure, tmp_path / "figure")
    assert capsys.readouterr().err == ""


def test_one_font_that_has_all_is_taken_before_several(installed):
    installed(Some="山", Most="山田", All="山田花")
    figure, panel = drawn("山田花")
    fonts.complete(figure)
    assert family(panel.title) == [fonts.HOUSE, "All"]


def test_one_line_says_what_to_install(installed, capsys, tmp_path):
    installed(Tamil="தம")
    for _ in range(2):  # once is enough
        figure, panel = drawn("山田 花子 தம हि", ticks=("山", "b"))
        fonts.complete(figure)
    assert family(panel.title) == [fonts.HOUSE, "Tamil"]
    [line] = capsys.readouterr().err.splitlines()
    assert "no installed font has" in line and "山" in line and "apt install fonts-noto-cjk" in line
    with warnings.catch_warnings(record=True) as caught:  # each glyph is not told again
        paths.save_figure(figure, tmp_path / "figure")
    assert not caught
    figure, _ = drawn("हि")
    fonts.complete(figure)
    assert "apt install fonts-noto-core" in capsys.readouterr().err


def test_what_the_house_has_is_left_as_it_is(installed, monkeypatch):
    monkeypatch.setattr(font_manager, "findSystemFonts", None)  # nobody asks
    figure, panel = drawn("Åsa Жук, ζ, نور: 5 \u2212 3 ≤ 2\n\t…", ticks=("a\u200b", "b\ufe0f"))
    fonts.complete(figure)
    assert family(panel.title) == plt.rcParams["font.family"]
