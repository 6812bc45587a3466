"""Decoding a picture that may be anybody's, within bounds of size and of time.

A few bytes can claim billions of pixels, thousands of scans of an image, each of which a decoder
goes through in full, or thousands of notes that each repeat the whole file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, UnidentifiedImageError

from remem.data import instead

FORMATS = ("PNG", "JPEG")

# A picture of more pixels is refused before it is decoded. So is a strip: processors scale the
# shorter side up to 336, and the other with it.
MAX_PIXELS, MIN_SIDE, MAX_RATIO = 4096 * 4096, 16, 10

MAX_BYTES = 2**26  # MAX_PIXELS of noise take 50 million

MAX_OTHER = 2**20  # of a picture in another format than those, whose parts are not counted here

MAX_SCANS = 64  # of a JPEG; encoders write 1 to 15

MAX_PARTS = 2**14  # segments of a JPEG, chunks of a PNG: MAX_PIXELS of noise take some 6,000

MAX_EXIF, MAX_TAGS = 2**17, 500  # bytes, and entries, each of which Pillow copies what it points at

THREADS = 4  # that decode: enough for two cores, and few enough for 1 GiB with the largest pictures

# A camera's orientation -> what turns the picture upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Of a JPEG: a marker other than those inside a scan. What stands before it is passed over.
MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")

SCAN, END, WITHOUT_LENGTH = 0xDA, 0xD9, (0x01, 0xD8)

EXIF, FURTHER = b"Exif\0\0", b"MPF\0"  # how a segment with notes begins: a camera's, or on frames


class BadPicture(ValueError):
    """Bytes that are no picture to be used; the message is the end of a sentence about them."""


def decode(file: Path | BinaryIO, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """A picture (known by its content, not by its suffix) as RGB, decoded in full and upright.
    Where other `formats` than PNG and JPEG may be, one of those is small, and its first frame is
    taken.

    Whatever the bytes are, it raises BadPicture and nothing else.
    """
    data = b""
    try:
        data = _bytes(file)
        if len(data) > MAX_OTHER:
            formats = FORMATS
        with _opened(data, formats) as picture:
            turn = TURNS.get(_exif(picture).get(ExifTags.Base.Orientation, 1))
            found = picture.convert("RGB")
            return found if turn is None else found.transpose(turn)
    except BadPicture as error:
        raise BadPicture(f"cannot be used: {error}") from error
    except UnidentifiedImageError as error:
        what = instead.of_picture(data[:64])
        raise BadPicture(
            f"cannot be decoded (it is neither {' nor '.join(formats)}{what})"
        ) from error
    except Exception as error:  # what a decoder raises when it is given anybody's bytes is anything
        raise BadPicture(f"cannot be decoded ({error})") from error


def has_exif(data: bytes) -> bool:
    """Whether a PNG or JPEG holds a camera's notes. Raises what Pillow does where it is none."""
    if b"exif" not in data.lower():  # of a PNG it may stand at the end: all is decoded
        return False
    with _opened(data) as picture:
        return bool(_exif(picture))


@contextmanager
def _opened(data: bytes, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """The picture, decoded in full. Raises BadPicture, before it is, and what Pillow does."""
    _check(data)
    with Image.open(BytesIO(data), formats=formats) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise BadPicture(f"{width} x {height} pixels are more than is safe ({MAX_PIXELS:,})")
        if min(width, height) < MIN_SIDE or max(width, height) > MAX_RATIO * min(width, height):
            raise BadPicture(
                f"{width} x {height} pixels are too few, or too long a strip; at least "
                f"{MIN_SIDE} a side, and one not more than {MAX_RATIO} times the other"
            )
        if picture.mode.startswith(("I", "F")):
            raise BadPicture("grey in more than 8 bits, which would be cut off; save it in 8 bits")
        # Some cameras save a JPEG with a second picture behind it; the first is what is meant.
        if picture.format == "PNG" and getattr(picture, "is_animated", False):
            raise BadPicture("it is animated; save one frame of it")
        picture.load()
        yield picture


def _bytes(file: Path | BinaryIO) -> bytes:
    if isinstance(file, Path):
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    else:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise BadPicture(f"more than {MAX_BYTES:,} bytes, which no picture takes that is read here")
    return data


def _check(data: bytes) -> None:
    """Raise BadPicture for what a decoder would spend too much on."""
    scans, notes, found = 0, bytearray(), ()
    if data.startswith(b"\xff\xd8"):
        found = _segments(data)
    elif data.startswith(b"\x89PNG"):
        found = _chunks(data)
    for parts, (kind, begin, end) in enumerate(found, 1):
        scans += kind == SCAN
        if data.startswith(EXIF, begin):
            notes += data[begin + len(EXIF) : end]  # Pillow joins them
        if data.startswith(FURTHER, begin):
            _check_notes(data[begin + len(FURTHER) : end])
        if parts > MAX_PARTS:
            raise BadPicture(f"it has more than {MAX_PARTS:,} parts; save it again")
        if scans > MAX_SCANS:
            raise BadPicture(f"it has more than {MAX_SCANS} scans; save it again, not progressive")
    _check_notes(bytes(notes[: 2 * MAX_EXIF]))


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(kind, begin, end) of the segments of a JPEG, as libjpeg goes through them."""
    at = 2
    while found := MARKER.search(data, at):
        kind, at = found[1][0], found.end()
        if kind == END:
            return
        length = 0 if kind in WITHOUT_LENGTH else int.from_bytes(data[at : at + 2])
        yield kind, at + 2, at + length
        at += length


def _chunks(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The same of a PNG, whose chunks have no kind here: each but counts."""
    at = 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        yield 0, at + 8, at + 8 + length
        at += 12 + length


def _exif(picture: Image.Image) -> Image.Exif:
    """A camera's notes, where it is safe to read them. A PNG has them in one of several places."""
    plain, written = (picture.info.get(key) for key in ("exif", "Raw profile type exif"))
    if isinstance(written, str):  # in hexadecimal digits, below three lines
        written = bytes.fromhex("".join(written[: 4 * MAX_EXIF].split("\n")[3:]))
    for notes in (plain, written):
        if isinstance(notes, bytes):
            _check_notes(notes)
    return picture.getexif()


def _check_notes(notes: bytes) -> None:
    while notes.startswith(EXIF):
        notes = notes[len(EXIF) :]
    order = "little" if notes.startswith(b"II") else "big"
    at = int.from_bytes(notes[4:8], order)
    tags = int.from_bytes(notes[at : at + 2], order)
    big = notes[2:4] in (b"+\0", b"\0+")  # BigTIFF counts otherwise, and no camera writes it
    if big or len(notes) > MAX_EXIF or tags > MAX_TAGS:
        raise BadPicture(
            f"its EXIF data has more than {MAX_EXIF:,} bytes or {MAX_TAGS} entries; save it without"
        )
