"""What is taken for the picture of a response; tests of gemini have the real SDK's responses."""

import io
from types import SimpleNamespace

import pytest
from PIL import Image

from remem.services import pictures
from remem.services.ledger import Unusable


def data(form: str, colour: str = "red", **options) -> bytes:
    Image.new("RGB", (20, 20), colour).save(content := io.BytesIO(), form, **options)
    return content.getvalue()


def response(*parts: tuple[bytes | None, bool]) -> SimpleNamespace:
    blobs = [SimpleNamespace(inline_data=SimpleNamespace(data=d), thought=t) for d, t in parts]
    return SimpleNamespace(parts=[SimpleNamespace(inline_data=None, thought=None), *blobs])


@pytest.mark.parametrize(
    ("form", "suffix"),
    [
        ("PNG", ".png"),
        ("JPEG", ".jpg"),
        ("WEBP", ".webp"),
        ("GIF", ".gif"),
        ("BMP", ".bmp"),
        ("TIFF", ".tiff"),
    ],
)
def test_each_format_is_known_by_its_data(form, suffix):
    assert pictures.drawing(response((data(form), False))) == (data(form), suffix)
    assert pictures.read(data(form)).mode == "RGB"


def test_a_jpeg_with_a_second_one_behind_it_is_a_jpeg():
    both = data("MPO", save_all=True, append_images=[Image.new("RGB", (20, 20), "blue")])
    assert pictures.drawing(response((both, False)))[1] == ".jpg"
    assert pictures.read(both).getpixel((3, 3))[0] > 200


def test_a_thought_is_the_picture_only_where_no_other_came():
    draft, other, last = (data("PNG", colour) for colour in ("red", "green", "blue"))
    assert pictures.drawn(response((draft, True), (last, False), (other, True))) == [last]
    assert pictures.drawn(response((draft, True), (other, True))) == [other]
    assert pictures.drawing(response((draft, True)))[0] == draft
    assert pictures.drawn(SimpleNamespace(parts=None)) == []


@pytest.mark.parametrize("bad", [b"%PDF-1.7", b"<svg/>", b"GIF89a"])
def test_what_is_no_picture_is_handed_on_and_unusable(bad):
    assert pictures.drawing(response((b"?", False), (bad, False))) == (bad, ".bin")
    with pytest.raises(Unusable, match="not a whole picture in any of PNG, JPEG"):
        pictures.read(bad)
    good = data("PNG")
    assert pictures.drawing(response((bad, False), (good, False))) == (good, ".png")


@pytest.mark.parametrize("none", [(), ((None, False),), ((b"", False),)])
def test_where_nothing_came_there_is_nothing(none):
    assert pictures.drawing(response(*none))[0] == b""
    with pytest.raises(Unusable, match="no picture in the answer"):
        pictures.read(b"")


def test_half_a_picture_is_none():
    for form in pictures.FORMATS:
        with pytest.raises(Unusable):
            pictures.read(data(form)[: len(data(form)) // 2])
