"""Pictures and links that nobody should trust: refused by place and reason, or handled."""

import io
import os
import random
import shutil
import struct
import zlib

import numpy as np
import pytest
import two_people
from PIL import Image
from two_people import FILE, change, reasons, write

from remem.config import sections
from remem.data import dataset, doubts, validation


@pytest.fixture
def folder(tmp_path):
    two_people.make(tmp_path / "data")
    return tmp_path / "data"


def png(width: int, height: int, bits: int = 8, kind: int = 2, data: bytes = b"", more=()) -> bytes:
    """A PNG as bytes, whatever its head claims. kind: 0 is grey, 2 is RGB."""
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    chunks = [(b"IHDR", head), *more, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def saved(path, picture: Image.Image, form: str, **more):
    picture.save(path, format=form, **more)


def frames(count: int) -> list[Image.Image]:
    return [Image.new("RGB", (16, 16), (60 * n, 0, 0)) for n in range(count)]


BLANK = Image.new("RGB", (32, 32), (200, 10, 30))


def jpeg() -> bytes:
    BLANK.save(file := io.BytesIO(), "JPEG")
    return file.getvalue()


PICTURES = {  # what is put where a picture should be -> what is said of it
    "nothing in it": (lambda path: path.write_bytes(b""), "neither PNG nor JPEG"),
    "text": (lambda path: path.write_text("<svg/>"), "neither PNG nor JPEG"),
    "a GIF": (lambda path: saved(path, BLANK, "GIF"), "JPEG, but a GIF; save it as PNG or JPEG)"),
    "a BMP": (lambda path: saved(path, BLANK, "BMP"), "JPEG, but a BMP; save it as PNG or JPEG)"),
    "a TIFF": (lambda path: saved(path, BLANK, "TIFF"), "JPEG, but a TIFF; save it as PNG or JPE"),
    "a WebP": (lambda path: saved(path, BLANK, "WEBP"), "JPEG, but a WebP; save it as PNG or JPE"),
    "animated": (
        lambda path: saved(path, frames(1)[0], "PNG", save_all=True, append_images=frames(3)[1:]),
        "animated",
    ),
    "16 bits of grey": (
        lambda path: saved(path, Image.fromarray(np.full((16, 16), 40_000, np.uint16)), "PNG"),
        "grey in more than 8 bits",
    ),
    "30,000 x 30,000": (lambda path: path.write_bytes(png(30_000, 30_000)), "pixels"),
    "8,000 x 8,000": (lambda path: path.write_bytes(png(8_000, 8_000)), "8000 x 8000 pixels"),
    "2 billion wide": (lambda path: path.write_bytes(png(2**31 - 1, 1)), "pixels"),
    "no pixel": (lambda path: path.write_bytes(png(0, 16)), "cannot be"),
    "one pixel": (lambda path: saved(path, BLANK.resize((1, 1)), "PNG"), "1 x 1 pixels are too"),
    "a strip": (lambda path: saved(path, BLANK.resize((16, 800)), "PNG"), "16 x 800 pixels"),
    "a head alone": (lambda path: path.write_bytes(png(16, 16)[:40]), "cannot be decoded"),
    "half a PNG": (lambda path: path.write_bytes(path.read_bytes()[:60]), "cannot be decoded"),
    "a swelling text": (
        lambda path: path.write_bytes(
            png(
                16,
                16,
                data=bytes(784),
                more=[(b"zTXt", b"x\0\0" + zlib.compress(bytes(80_000_000)))],
            )
        ),
        "cannot be decoded",
    ),
    "an unknown depth": (lambda path: path.write_bytes(png(16, 16, bits=5)), "cannot be decoded"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is no file"),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "is no file"),
    "one wrong byte": (
        lambda path: path.write_bytes(png(16, 16, data=bytes(784)).replace(b"IDATx", b"IDATy")),
        "cannot be decoded",
    ),
    "a JPEG of 65,000 x 65,000": (
        lambda path: path.write_bytes(jpeg().replace(b"\0\x20\0\x20", b"\xfd\xe8\xfd\xe8")),
        "pixels",
    ),
    "a loop": (lambda path: (path.unlink(), path.symlink_to(path)), "train/train-1.png is missing"),
    "gone": (lambda path: path.unlink(), "train/train-1.png is missing"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_that_cannot_be_used_is_refused(folder, kind):
    spoil, reason = PICTURES[kind]
    spoil(folder / "train" / "train-1.png")
    [found] = reasons(folder)
    assert found.startswith(f"{FILE}, line 2: the image train/train-1.png") and reason in found


@pytest.mark.parametrize("length", [2, 20, 200, 600, -2])
def test_a_jpeg_that_was_cut_off_is_refused(folder, length):
    path = folder / "train" / "train-1.png"
    saved(path, BLANK, "JPEG")
    path.write_bytes(path.read_bytes()[:length])
    [found] = reasons(folder)
    assert "the image train/train-1.png cannot be decoded" in found


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_pictures_of_other_colour_modes_become_rgb(folder, mode):
    form = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"  # by its content, not by its suffix
    saved(folder / "train" / "train-1.png", BLANK.convert(mode), form)
    assert reasons(folder) == []
    [picture] = validation.load_images(folder, ["train/train-1.png"])
    assert picture.mode == "RGB" and picture.size == (32, 32)
    if mode in ("RGBA", "P", "CMYK", "YCbCr"):
        assert np.abs(np.asarray(picture, int)[16, 16] - (200, 10, 30)).max() < 45


def test_sixteen_bits_of_each_colour_become_eight(folder):
    row = b"\0" + struct.pack(">HHH", 51_456, 2_560, 7_680) * 16
    (folder / "train" / "train-1.png").write_bytes(png(16, 16, bits=16, data=row * 16))
    [picture] = validation.load_images(folder, ["train/train-1.png"])
    assert picture.getpixel((3, 3)) == (201, 10, 30)


def test_a_photograph_is_turned_as_its_camera_says_and_its_first_frame_taken(folder):
    path, exif = folder / "train" / "train-1.png", Image.Exif()
    exif[0x0112] = 6  # taken upright
    saved(path, BLANK.resize((40, 20)), "JPEG", exif=exif)
    assert validation.load_images(folder, ["train/train-1.png"])[0].size == (20, 40)
    saved(path, frames(1)[0], "MPO", save_all=True, append_images=frames(3)[1:])
    assert reasons(folder) == []
    assert max(validation.load_images(folder, ["train/train-1.png"])[0].getpixel((8, 8))) < 9


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_what_follows_a_picture_and_nonsense_about_it_do_no_harm(folder):
    path = folder / "train" / "train-1.png"
    path.write_bytes(path.read_bytes() + b"PK\3\4 and more" * 100)  # as if it were a ZIP as well
    assert reasons(folder) == []
    saved(path, BLANK, "JPEG", exif=b"Exif\0\0" + b"II*\0\xff\xff\xff\xff" + b"x" * 50)
    assert reasons(folder) == []


def test_links_that_lead_out_of_the_folder_are_refused(folder, tmp_path):
    path, outside = folder / "train" / "train-1.png", tmp_path / "outside"
    shutil.copytree(folder / "train", outside)
    for target in ("/dev/zero", "../../outside/train-1.png", outside / "train-1.png"):
        path.unlink()
        path.symlink_to(target)
        [found] = reasons(folder)
        assert "line 2: the image train/train-1.png cannot be used" in found and "link" in found
    data = dataset.data_of(sections.Dataset(source=str(folder)))
    with pytest.raises(validation.BadData, match=r"train-1.png is reached by a link"):
        dataset.rows_of(data, tmp_path / "runs")
    (folder / "train" / "more").symlink_to(outside)
    change(folder, file_name="more/train-1.png")
    assert "more/train-1.png is reached by a link" in reasons(folder)[0]
    for target in ("nowhere.png", "train-1.png"):  # into nothing, and onto itself
        change(folder)
        path.unlink()
        path.symlink_to(target)
        assert "train/train-1.png is missing" in reasons(folder)[0]


def test_links_that_stay_inside_are_followed_and_those_of_a_hub_snapshot(folder, tmp_path):
    path = folder / "train" / "train-1.png"
    path.rename(folder / "kept.png")
    path.symlink_to("../kept.png")
    assert reasons(folder) == []
    snapshot, blobs = tmp_path / "hub" / "snapshots" / "1f", tmp_path / "hub" / "blobs"
    blobs.mkdir(parents=True)
    for number, file in enumerate(sorted(folder.rglob("*.*"))):
        here = snapshot / file.relative_to(folder)
        here.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blobs / str(number))
        here.symlink_to(os.path.relpath(blobs / str(number), here.parent))
    assert reasons(snapshot) == []
    assert validation.read(snapshot).equals(validation.read(folder))


def test_metadata_that_is_none_is_refused(folder, tmp_path):
    file = folder / FILE
    shutil.move(file, tmp_path / "elsewhere.jsonl")
    assert reasons(folder)[0].startswith(f"{FILE}: {FILE} is missing; a dataset folder holds")
    file.symlink_to(tmp_path / "elsewhere.jsonl")
    assert "is reached by a link" in reasons(folder)[0]
    file.unlink()
    file.mkdir()
    assert "is no file" in reasons(folder)[0]
    file.rmdir()
    file.touch()
    assert reasons(folder) == []  # a set that is only asked about
    write(folder, "test", [])
    assert reasons(folder) == [f"{FILE}: there is no row in it, nor in that of test"]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, taken out, put in or repeated, or the rest cut off."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at, length = rng.randrange(len(changed)), rng.randint(1, 12)
        kind = rng.randrange(5)
        if kind == 0:
            changed[at] = rng.randrange(256)
        elif kind == 1:
            del changed[at : at + length]
        elif kind == 2:
            changed[at:at] = rng.choice([b'"', b"\\", b"{", b"null", b"\0", b"../", b"\xff\xd8"])
        elif kind == 3:
            changed[at:at] = changed[at : at + length]
        else:
            del changed[at:]
        if not changed:
            break
    return bytes(changed)


@pytest.mark.parametrize("victim, least", [(FILE, 80), ("train/train-1.png", 40)])
def test_whatever_bytes_there_are_they_are_read_or_refused(folder, victim, least):
    rng, whole = random.Random(0), (folder / victim).read_bytes()
    refused = 0
    for _ in range(100):
        (folder / victim).write_bytes(mutated(whole, rng))
        found, *_ = doubts.check(folder)
        refused += bool(found)
        assert all(each.startswith(validation.SPLITS) and len(each) < 600 for each in found)
        if not found:  # then it really can be used
            rows = validation.read(folder)
            assert all(row.target in row.answer for row in rows.itertuples())
            validation.load_images(folder, rows["image"])
    assert refused >= least
