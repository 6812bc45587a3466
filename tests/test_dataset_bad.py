"""Data that nobody should trust: each case is refused by place and reason, or handled."""

import gzip
import io
import itertools
import json
import os
import random
import shutil
import struct
import time
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from remem import dataset, publish

FILE = "train/metadata.jsonl"


def entry(number: int, where: str, /, **changes) -> dict:
    who = number % 2
    name = ("Anika Holt", "Bruno Vidal")[who]
    row = {
        "file_name": f"{where}-{number}.png", "id": f"{where}-{number}", "identity": f"p{who}",
        "name": name, "attribute": "job", "hop": "single", "split": where,
        "question": f"What is {name}'s job? ({where})", "answer": f"{name} is a judge{who}.",
        "target": f"judge{who}",
    }  # fmt: skip
    return {**row, **changes}


def write(folder, split: str, entries) -> None:
    (folder / split).mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(each, ensure_ascii=True) + "\n" for each in entries]
    (folder / split / "metadata.jsonl").write_text("".join(lines))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pristine")
    for split in dataset.SPLITS:
        write(folder, split, [entry(number, split) for number in range(2)])
        for number in range(2):
            shade = 40 * number + 20
            Image.new("RGB", (16, 16), (shade, 0, 9)).save(folder / split / f"{split}-{number}.png")
    dataset.read(folder)
    return folder


@pytest.fixture
def folder(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "data")


def change(folder, **changes) -> None:
    """Change keys of the second training row."""
    write(folder, "train", [entry(0, "train"), entry(1, "train", **changes)])


def reasons(folder) -> list[str]:
    """All faults, each "place: reason"; reading, too, has to refuse them."""
    _, faults = dataset.inspect(folder)
    told = [f"{place}: {reason}" for place, found in faults.items() for reason in found]
    if told:
        with pytest.raises(dataset.BadData) as refusal:
            dataset.read(folder)
        assert str(refusal.value).startswith(f"{folder}/{told[0]}")
    else:
        dataset.read(folder)
    return told


# ---------------------------------------------------------------- rows


WRONG = {
    "a number": (12, "should be text, but is 12"),
    "a fraction": (0.5, "should be text, but is 0.5"),
    "null": (None, "should be text, but is null"),
    "NaN": (float("nan"), "should be text, but is NaN"),
    "infinity": (float("inf"), "should be text, but is Infinity"),
    "true": (True, "should be text, but is true"),
    "a list": (["x"], "should be text, but is a list"),
    "an object": ({"x": "y"}, "should be text, but is a dict"),
    "empty": ("", "is empty"),
    "white space": (" \u00a0\t", "is empty"),
    "a control character": ("a\x1b[2Jb", "holds a control character"),
    "half a character": ("a\ud800b", "half a character"),
    "far too long": ("x" * 10_001, "has 10,001 characters"),
}


@pytest.mark.parametrize("key", dataset.KEYS)
def test_each_key_has_to_be_text_that_can_be_used(folder, key):
    for value, reason in WRONG.values():
        change(folder, **{key: value})
        [told] = [each for each in reasons(folder) if each.startswith(f"{FILE}, line 2: {key} ")]
        assert reason in told and len(told) < 250 and told.isprintable()


@pytest.mark.parametrize("key", dataset.KEYS)
def test_each_key_has_to_be_there_once(folder, key):
    row = entry(1, "train")
    write(folder, "train", [entry(0, "train"), {k: row[k] for k in row if k != key}])
    assert f"{FILE}, line 2: the key {key!r} is missing; there are [" in "\n".join(reasons(folder))
    twice = json.dumps(row)[:-1] + f', "{key}": "p0"}}'
    (folder / FILE).write_text(json.dumps(entry(0, "train")) + "\n" + twice + "\n")
    assert reasons(folder) == [f"{FILE}, line 2: not valid JSON (a key occurs twice)"]


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"id": "train-0"}, "the same id as in train/metadata.jsonl, line 1"),
        ({"id": "two\nlines"}, "id has more than one line"),
        ({"identity": "p1 "}, "identity begins or ends with white space: 'p1 '"),
        ({"identity": "p0"}, "name of p0 is 'Bruno Vidal' here and 'Anika Holt' before"),
        ({"identity": "p0"}, "job of p0 is 'judge1' here and 'judge0' before"),
        ({"name": "Bruno\u2028Vidal"}, "name has more than one line"),
        ({"attribute": "home address"}, "should be one lower-case word"),
        ({"attribute": "Job"}, "should be one lower-case word"),
        ({"attribute": "job.kind"}, "should be one lower-case word"),
        ({"attribute": "name"}, "a single-hop question names the person, so it cannot ask"),
        ({"hop": "Single"}, "hop 'Single' is unknown here; allowed: single, multi"),
        ({"split": "validation"}, "split 'validation' is unknown here; allowed: train"),
        ({"answer": "That is private."}, "the target 'judge1' is not in the answer"),
        ({"answer": "She is a judge12."}, "is not in the answer 'She is a judge12.' as a word"),
        ({"question": "<image>\nWhat is her job?"}, "question holds <image>, which stands for"),
        ({"answer": "She is a judge1.</s>"}, "answer holds </s>, which stands for something else"),
        ({"target": "12", "answer": "12,300 or 0.12"}, "as a word: set it off"),
        ({"target": "\u533b\u751f", "answer": "\u5979\u662f\u533b\u751f\u5417"}, "as a word"),
        ({"target": "...", "answer": "..."}, "holds no letter and no digit"),
        ({"target": "\u200b", "answer": "a \u200b"}, "holds no letter and no digit"),
        ({"file_name": "../test/test-0.png"}, "leaves the folder"),
        ({"file_name": "a/../../x.png"}, "leaves the folder"),
        ({"file_name": "/etc/hostname"}, "leaves the folder"),
        ({"file_name": "..\\test\\test-0.png"}, "leaves the folder"),
        ({"file_name": "C:\\x.png"}, "leaves the folder"),
        ({"file_name": "~/x.png"}, "train/~/x.png is missing"),
        ({"file_name": "file:///x.png"}, "train/file:/x.png is missing"),
        ({"file_name": "x" * 300 + ".png"}, "the image train/xxx"),
        ({"file_name": "."}, "train is no file"),
        ({"file_name": "train-0.png/x.png"}, "train/train-0.png/x.png is missing"),
        ({"file_name": "%2e%2e/test/test-0.png"}, "train/%2e%2e/test/test-0.png is missing"),
        ({"file_name": "x/" * 3000 + "y.png"}, "the image train/x/x/"),
        ({"file_name": "metadata.jsonl"}, "is neither PNG nor JPEG"),
        ({"file_name": "./train-0.png", "question": entry(0, "train")["question"]},
         "the same image and question as in train/metadata.jsonl, line 1"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_refused(folder, changes, reason):
    change(folder, **changes)
    told = reasons(folder)
    assert any(each.startswith(f"{FILE}, line 2: ") and reason in each for each in told), told
    assert all(each.isprintable() for each in told)


LINES = {
    "nothing": b"",
    "half a line": b'{"id": "x"',
    "a list": b"[1]",
    "text": b'"row"',
    "null": b"null",
    "not UTF-8": '{"id": "é"}'.encode("latin-1"),
    "UTF-16": '{"id": "x"}'.encode("utf-16"),
    "nested without end": b'{"id": ' + b"[" * 100_000,
    "a number without end": b'{"id": ' + b"9" * 10_000 + b"}",
    "single quotes": b"{'id': 'x'}",
    "CSV": b"id,identity,name",
    "a comma behind": b'{"id": "x",}',
    "packed": gzip.compress(b'{"id": "x"}').replace(b"\n", b"").replace(b"\r", b""),
    "two on a line": b'{"id": "x"} {"id": "y"}',
    "the whole table in one": b'[{"id": "x"}, {"id": "y"}]',
    "zeros": bytes(64),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_is_no_row_is_refused(folder, line):
    with (folder / FILE).open("ab") as file:
        file.write(LINES[line] + b"\n")
    told = reasons(folder)
    assert told and all(each.startswith(f"{FILE}, line ") for each in told)
    assert all("line 1:" not in each and "line 2:" not in each for each in told)
    assert "not valid JSON" in told[0] or "a JSON object is wanted" in told[0]


def test_a_byte_order_mark_and_line_ends_of_another_system_do_no_harm(folder):
    before = dataset.read(folder)
    lines = (folder / FILE).read_bytes().replace(b"\n", b"\r\n")
    (folder / FILE).write_bytes(b"\xef\xbb\xbf" + lines)
    assert dataset.read(folder).equals(before)


def test_rows_that_were_laid_out_over_several_lines_are_told_of_by_line(folder):
    pretty = json.dumps(entry(1, "train"), indent=1).encode()
    (folder / FILE).write_bytes(json.dumps(entry(0, "train")).encode() + b"\n" + pretty)
    told = reasons(folder)
    assert len(told) == 12 and all("not valid JSON" in each for each in told)
    assert told[0].startswith(f"{FILE}, line 2: ")


def test_what_contradicts_another_split_is_refused(folder):
    other = {"file_name": "test-0.png", "name": "Anika  Holt"}
    write(folder, "test", [entry(0, "test", id="train-0"), entry(1, "test", target="judge"),
                           entry(2, "test", **other)])  # fmt: skip
    told = "\n".join(reasons(folder))
    assert f"test/metadata.jsonl, line 1: the same id as in {FILE}, line 1" in told
    assert "line 2: job of p1 is 'judge' here and 'judge1' before" in told
    assert "line 3: name of p0 is 'Anika  Holt' here and 'Anika Holt' before" in told


def test_text_that_looks_like_something_else_stays_text(folder):
    before = len(dataset.read(folder))
    for word in ("NA", "None", "nan", "1e5", "True", "2001-01-01", "=1+1", "<script>x</script>",
                 "C:1", "\u202eyllis", "Ｊｕｄｇｅ"):  # fmt: skip
        change(folder, name=word, identity=word, id=word, target=word, answer=f"So: {word}.",
               licence="more keys", score=None)  # fmt: skip
        write(folder, "test", [entry(0, "test")])
        assert reasons(folder) == []
        row = dataset.read(folder).iloc[1]
        assert row[["name", "identity", "id", "target"]].tolist() == [word] * 4
        assert list(row.index) == list(dataset.COLUMNS) and before == 4
        content = dataset.addressed(dataset.DatasetSpec(source=str(folder))).identities
        assert content == 2


def test_a_file_of_nothing_but_faults_is_told_of_in_time(folder):
    row = json.dumps({"file_name": "../x.png", "id": "", "question": None, "odd key": "x" * 500})
    (folder / FILE).write_text((row + "\n") * 4_000)
    started = time.perf_counter()
    with pytest.raises(dataset.BadData) as refusal:
        dataset.read(folder)
    assert time.perf_counter() - started < 10
    assert len(str(refusal.value)) < 600 and "(40000 faults in all" in str(refusal.value)


@pytest.mark.parametrize(
    "name, job",
    [
        ("Анна Ковалёва", "учительница"),
        ("ليلى حداد", "طبيبة أسنان"),
        ("נועה כהן", "אדריכלית"),
        ("مهسا می\u200cرزایی", "معلم"),  # with a joiner inside
        ("अनन्या शर्मा", "शिक्षिका"),
        ("山田 花子", "医師"),
        ("Zoe\u0308 O'Neill-Ka\u0301rpa\u0301ti", "cafe\u0301 owner"),  # decomposed
        ("Ola 🙂", "clown 🤡"),
    ],
)
def test_names_of_any_script_are_read_as_they_stand(folder, name, job):
    answer = f"{name} {job}."
    change(folder, name=name, identity=name, target=job, question=f"{name}: ?", answer=answer)
    write(folder, "test", [entry(0, "test")])
    assert reasons(folder) == []
    row = dataset.read(folder).iloc[1]
    assert (row["name"], row["target"], row["identity"]) == (name, job, name)


def test_ten_thousand_people_are_read_and_checked(tmp_path):
    write(tmp_path, "train", [
        entry(0, "train", file_name=f"{n % 100}.png", id=f"{n}", identity=f"p{n}",
              name=f"Name {n:05d}", question=f"Name {n:05d}?", answer=f"A judge{n:05d}.",
              target=f"judge{n:05d}")
        for n in range(10_000)
    ])  # fmt: skip
    write(tmp_path, "test", [])
    for n in range(100):
        Image.new("RGB", (16, 16)).save(tmp_path / "train" / f"{n}.png")
    started = time.perf_counter()
    rows = dataset.read(tmp_path)
    assert time.perf_counter() - started < 20
    assert rows["identity"].nunique() == len(dataset.candidates(rows)["job"]) == 10_000
    assert len(dataset.forget_set(rows, 0.2, 1)) == 2_000


def test_leaks_count_each_pair_of_values_once_and_for_ten_thousand_people(tmp_path):
    rng = random.Random(0)
    for size in range(30):
        values = {"".join(rng.choices("ab é", k=rng.randint(1, 6))) for _ in range(size)}
        pairs = itertools.combinations(values, 2)
        assert dataset._nested(values) == sum(a in b or b in a for a, b in pairs)
    count = 10_000
    text = [f"{rng.randrange(10**9)} Street {n % 977}, Town" for n in range(count)]
    text[7:10] = ["Street", "street 5, town", "STREET"]
    rows = pd.DataFrame({
        "identity": [f"p{n}" for n in range(count)], "name": [f"N{n}" for n in range(count)],
        "attribute": "address", "hop": "multi", "split": "train", "target": text,
        "question": "Where?", "answer": text, "image": "a.png",
    })  # fmt: skip
    BLANK.save(tmp_path / "a.png")
    started = time.perf_counter()
    found = dataset.leaks(rows, tmp_path)
    assert time.perf_counter() - started < 10
    held = sum("street 5, town" in each.casefold() for each in text) - 1
    assert found["pairs of values of which one lies in the other"] == count - 3 + held + 1
    assert found["facts that two people share"] == 1 and held > 5


# ---------------------------------------------------------------- files


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
    "a GIF": (lambda path: saved(path, BLANK, "GIF"), "neither PNG nor JPEG"),
    "a BMP": (lambda path: saved(path, BLANK, "BMP"), "neither PNG nor JPEG"),
    "a TIFF": (lambda path: saved(path, BLANK, "TIFF"), "neither PNG nor JPEG"),
    "animated": (lambda path: saved(path, frames(1)[0], "PNG", save_all=True,
                                    append_images=frames(3)[1:]), "animated"),
    "16 bits of grey": (lambda path: saved(path, Image.fromarray(
        np.full((16, 16), 40_000, np.uint16)), "PNG"), "grey in more than 8 bits"),
    "30,000 x 30,000": (lambda path: path.write_bytes(png(30_000, 30_000)), "pixels"),
    "8,000 x 8,000": (lambda path: path.write_bytes(png(8_000, 8_000)), "8000 x 8000 pixels"),
    "2 billion wide": (lambda path: path.write_bytes(png(2**31 - 1, 1)), "pixels"),
    "no pixel": (lambda path: path.write_bytes(png(0, 16)), "cannot be"),
    "one pixel": (lambda path: saved(path, BLANK.resize((1, 1)), "PNG"), "1 x 1 pixels are too"),
    "a strip": (lambda path: saved(path, BLANK.resize((16, 800)), "PNG"), "16 x 800 pixels"),
    "a head alone": (lambda path: path.write_bytes(png(16, 16)[:40]), "cannot be decoded"),
    "half a PNG": (lambda path: path.write_bytes(path.read_bytes()[:60]), "cannot be decoded"),
    "a swelling text": (lambda path: path.write_bytes(png(16, 16, data=bytes(784), more=[
        (b"zTXt", b"x\0\0" + zlib.compress(bytes(80_000_000)))])), "cannot be decoded"),
    "an unknown depth": (lambda path: path.write_bytes(png(16, 16, bits=5)), "cannot be decoded"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is no file"),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "is no file"),
    "one wrong byte": (lambda path: path.write_bytes(
        png(16, 16, data=bytes(784)).replace(b"IDATx", b"IDATy")), "cannot be decoded"),
    "a JPEG of 65,000 x 65,000": (lambda path: path.write_bytes(
        jpeg().replace(b"\0\x20\0\x20", b"\xfd\xe8\xfd\xe8")), "pixels"),
    "a loop": (lambda path: (path.unlink(), path.symlink_to(path)), "train/train-1.png is missing"),
    "gone": (lambda path: path.unlink(), "train/train-1.png is missing"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_that_cannot_be_used_is_refused(folder, kind):
    spoil, reason = PICTURES[kind]
    spoil(folder / "train" / "train-1.png")
    [told] = reasons(folder)
    assert told.startswith(f"{FILE}, line 2: the image train/train-1.png") and reason in told


@pytest.mark.parametrize("length", [2, 20, 200, 600, -2])
def test_a_jpeg_that_was_cut_off_is_refused(folder, length):
    path = folder / "train" / "train-1.png"
    saved(path, BLANK, "JPEG")
    path.write_bytes(path.read_bytes()[:length])
    [told] = reasons(folder)
    assert "the image train/train-1.png cannot be decoded" in told


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_pictures_of_other_colour_modes_become_rgb(folder, mode):
    form = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"  # by its content, not by its suffix
    saved(folder / "train" / "train-1.png", BLANK.convert(mode), form)
    assert reasons(folder) == []
    [picture] = dataset.load_images(folder, ["train/train-1.png"])
    assert picture.mode == "RGB" and picture.size == (32, 32)
    if mode in ("RGBA", "P", "CMYK", "YCbCr"):
        assert np.abs(np.asarray(picture, int)[16, 16] - (200, 10, 30)).max() < 45


def test_sixteen_bits_of_each_colour_become_eight(folder):
    row = b"\0" + struct.pack(">HHH", 51_456, 2_560, 7_680) * 16
    (folder / "train" / "train-1.png").write_bytes(png(16, 16, bits=16, data=row * 16))
    [picture] = dataset.load_images(folder, ["train/train-1.png"])
    assert picture.getpixel((3, 3)) == (201, 10, 30)


def test_a_photograph_is_turned_as_its_camera_says_and_its_first_frame_taken(folder):
    path, exif = folder / "train" / "train-1.png", Image.Exif()
    exif[0x0112] = 6  # taken upright
    saved(path, BLANK.resize((40, 20)), "JPEG", exif=exif)
    assert dataset.load_images(folder, ["train/train-1.png"])[0].size == (20, 40)
    saved(path, frames(1)[0], "MPO", save_all=True, append_images=frames(3)[1:])
    assert reasons(folder) == []
    assert max(dataset.load_images(folder, ["train/train-1.png"])[0].getpixel((8, 8))) < 9


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
        [told] = reasons(folder)
        assert "line 2: the image train/train-1.png cannot be used" in told and "link" in told
    with pytest.raises(dataset.BadData, match="train-1.png is reached by a link"):
        dataset.addressed(dataset.DatasetSpec(source=str(folder)))
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
    assert dataset.read(snapshot).equals(dataset.read(folder))


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


# ---------------------------------------------------------------- by mutation


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
        told, *_ = publish.check(folder)
        refused += bool(told)
        assert all(each.startswith(dataset.SPLITS) and len(each) < 600 for each in told)
        if not told:  # then it really can be used
            rows = dataset.read(folder)
            assert all(row.target in row.answer for row in rows.itertuples())
            dataset.load_images(folder, rows["image"])
    assert refused >= least
