"""data.decoding: a picture is decoded as it is meant, and a bomb costs little."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from remem.data import decoding
from remem.data.decoding import BadPicture

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 32, 3), dtype=np.uint8))


def saved(kind: str, picture=PHOTO, **options) -> bytes:
    picture.save(content := io.BytesIO(), kind, **options)
    return content.getvalue()


JPEG, PNG = saved("JPEG", progressive=True), saved("PNG")


def segment(kind: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, kind, len(data) + 2) + data


def after_start(*segments: bytes, jpeg: bytes = JPEG) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def after_head(*chunks: bytes) -> bytes:
    return PNG[:33] + b"".join(chunks) + PNG[33:]  # signature and IHDR


def notes(entries: int, of: int, order: str = "<") -> bytes:
    """EXIF data each of whose entries points at `of` bytes, all the same."""
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8)
    kinds = (struct.pack(f"{order}HHII", 0x1000 + k, 7, of, 8) for k in range(entries))
    return head + struct.pack(f"{order}H", entries) + b"".join(kinds) + b"\0" * of


def empty_scans(number: int, picture=PHOTO) -> bytes:
    """A JPEG whose last scan, which refines nothing, comes again and again."""
    whole = saved("JPEG", picture, progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * number + b"\xff\xd9"


def spoken(kind: str) -> bytes:
    """Notes in a PNG's text, as ImageMagick writes them."""
    data = notes(600, 8)
    text = f"\nexif\n{len(data):8}\n{data.hex()}\n".encode()
    return chunk(b"tEXt", kind.encode() + b"\0" + text)


BOMBS = {
    "scans": (empty_scans(2_000), "more than 64 scans"),
    "scans of a large picture": (
        empty_scans(2_000, Image.new("RGB", (4096, 4096))),
        "more than 64 scans",
    ),
    "segments": (after_start(*[segment(0xE5, b"")] * 20_000), "more than 16,384 parts"),
    "segments behind a scan": (JPEG[:-2] + segment(0xFE, b"") * 20_000, "more than 16,384 parts"),
    "chunks": (after_head(*[chunk(b"tEXt", b"a\0")] * 20_000), "more than 16,384 parts"),
    "empty data": (PNG[:-12] + chunk(b"IDAT") * 20_000 + PNG[-12:], "more than 16,384 parts"),
    "bytes": (PNG + bytes(2**26), "more than 67,108,864 bytes"),
    "pixels": (
        PNG[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 8_000, 8_000, 8, 2, 0, 0, 0)) + PNG[33:],
        "8000 x 8000 pixels are more than is safe",
    ),
    "EXIF": (after_start(segment(0xE1, b"Exif\0\0" + notes(4_000, 60_000)[:65_000])), "its EXIF"),
    "EXIF in several segments": (
        after_start(*[segment(0xE1, b"Exif\0\0" + notes(9, 60_000)[:60_000])] * 4),
        "its EXIF",
    ),
    "EXIF behind a second head": (
        after_start(segment(0xE1, b"Exif\0\0Exif\0\0" + notes(4_000, 60_000)[:65_000])),
        "its EXIF",
    ),
    "EXIF of another order": (
        after_start(segment(0xE1, b"Exif\0\0" + notes(4_000, 60_000, ">")[:65_000])),
        "its EXIF",
    ),
    "EXIF as BigTIFF": (
        after_start(segment(0xE1, b"Exif\0\0II+\0\x08\0\0\0" + bytes(90))),
        "its EXIF",
    ),
    "notes on frames": (
        after_start(segment(0xE2, b"MPF\0" + notes(4_000, 60_000)[:65_000])),
        "its EXIF",
    ),
    "EXIF of a PNG": (after_head(chunk(b"eXIf", notes(60_000, 10**6))), "its EXIF"),
    "EXIF in a PNG's text": (after_head(chunk(b"tEXt", b"exif\0" + notes(600, 8))), "its EXIF"),
    "EXIF in hexadecimal": (after_head(spoken("Raw profile type exif")), "its EXIF"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(kind):
    data, told = BOMBS[kind]
    began = time.process_time()
    with pytest.raises(BadPicture, match=f"cannot be used: .*{told}"):
        decoding.decode(io.BytesIO(data))
    assert time.process_time() - began < 2
    with pytest.raises(BadPicture):
        decoding.has_exif(data + b"exif")


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decoding.decode(io.BytesIO(data)))


def test_what_is_not_too_much_is_decoded():
    plain = np.asarray(Image.open(io.BytesIO(JPEG)))
    colours = [segment(0xE2, b"ICC_PROFILE\0" + bytes([k, 255]) + bytes(100)) for k in range(255)]
    assert (pixels(after_start(*colours)) == plain).all()
    many = empty_scans(50)
    assert (pixels(many) == np.asarray(Image.open(io.BytesIO(many)))).all()
    assert (pixels(JPEG[:-2] + b"\xff" * 10_000 + b"\xff\xd9") == plain).all()
    assert (pixels(JPEG + empty_scans(2_000)) == plain).all()  # behind its end nothing is read
    # A thumbnail among the notes has a scan of its own.
    small = [segment(0xE1, b"Exif\0\0" + notes(3, 9) + JPEG)] * 3
    assert (pixels(after_start(*small)) == plain).all()
    assert (pixels(PNG) == np.asarray(PHOTO)).all()
    most = Image.fromarray(np.zeros((4096, 4096), np.uint8))
    assert decoding.decode(io.BytesIO(saved("PNG", most))).size == (4096, 4096)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_a_picture_is_turned_upright(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(kind, exif=exif)
    with Image.open(io.BytesIO(data)) as picture:
        upright = ImageOps.exif_transpose(picture)
    assert (pixels(data) == np.asarray(upright)).all() and decoding.has_exif(data)
    assert not decoding.has_exif(JPEG) and not decoding.has_exif(PNG)


def test_a_bomb_in_a_file_is_refused_as_well(tmp_path):
    (tmp_path / "a.jpg").write_bytes(BOMBS["scans"][0])
    with pytest.raises(BadPicture, match="scans"):
        decoding.decode(tmp_path / "a.jpg")
    with pytest.raises(BadPicture, match=r"cannot be decoded .*No such file"):
        decoding.decode(tmp_path / "b.jpg")
