"""Sound files made unsound by chance: some of their bytes, or some of what they say.

Every choice is that of the generator that is given, so that a seed gives the same file again.
"""

import contextlib
import copy
import csv
import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

# What stands where something else should: in JSON, in YAML, in a column.
VALUES = (
    *(None, True, 0, -1, 1.5, 10**30, -0.0, "", " ", "\0", "\u202e", "a\nb", "x" * 11_000),
    *("..", "../x", "/etc/passwd", "C:\\x", "a\\b", "~", "<image>", "</s>", "(", "1e999", "nan"),
    *("٣", "e\u0301", "日本", "[]", "{}", "[{}]", "null", "[" * 2_000, '{"a": [1]}'),
    *([], ["a"], [None], [[["a"]]], {}, {"a": 1}, {"": {"b": []}}),
)
PIECES = (
    *(b'"', b"\\", b"{", b"[", b"null", b": ", b"- ", b"&a ", b"*a ", b"!!", b"? ", b"\t", b"\n"),
    *(b"\0", b"\xff", b"\xff\xd8", b"../", b"\\ud800", b"1e999", b"\xef\xbb\xbf", b"#", b"%"),
)

# More of either, by which numbers and texts are at their ends.
NUMBERS = (float("nan"), float("inf"), -float("inf"), 10**400, 2**63, -(2**63), 1e308, 5e-324)
TEXTS = (
    *("\ud800", "🙂", "👩‍👩‍👧", "\u0000\u0007", "a\u0301" * 500, "</script><b>", "=1+1", "{{7*7}}"),
    *("9" * 5_000, "1_000", "0x10", "010", "1:30", "-nan", "Infinity", "1e-999", "NaT", "True"),
    *("2024-02-31", "%s", "\x1b[31m", "\r", ",,,,", '"', "a" * 300 + "/b", "file:///etc", "CON"),
)
ODD = (*VALUES, *NUMBERS, *TEXTS)

# What YAML makes of what stands behind a colon.
YAMLS = (
    *("[", "{", "*a", "&a [*a]", "&a {b: *a}", "!!python/object:x {}", "!!binary xx", "!!set {a}"),
    *("!!timestamp 2020", "!!float x", "!!int '1'", "!!bool yes", "!!str 1", "!!null x", "!x y"),
    *("yes", "on", "010", "0o17", "0b1", "1_000", "1:30", "12:30:45", "2024-02-31", ".inf", ".nan"),
    *("~", "null", "Null", "'", '"\\', "a: b: c", "? x", "|", "> \n  x", "%YAML 1.1", "@", "`"),
    *("{a: 1, a: 2}", "<<: *x", "[" * 500, "{a: " * 200, "[" * 99 + "]" * 99, "[{" * 60, "---"),
    *("- 1", "1e5", "-1", "1e999", "9" * 5_000, "''", "[1, [2]]", "&a [&b [*a, *a]]", "\u2028x"),
)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, taken out, put in or repeated, a quoted text replaced, or the rest cut
    off."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        if not changed:
            break
        at, length = rng.randrange(len(changed)), rng.randint(1, 12)
        match rng.randrange(6):
            case 0:
                changed[at] = rng.randrange(256)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = rng.choice(PIECES)
            case 3:
                changed[at:at] = changed[at : at + length]
            case 4:
                if quoted := [*re.finditer(rb'"[^"\\]{0,40}"', changed)]:
                    where = rng.choice(quoted)
                    changed[where.start() : where.end()] = json.dumps(rng.choice(VALUES)).encode()
            case _:
                del changed[at:]
    return bytes(changed)


def unsound(data: bytes, suffix: str, rng: random.Random) -> bytes:
    """The bytes of a file with this suffix, changed as bytes, as numbers, or by what they say."""
    way = rng.random()
    if way < 0.1:
        return _numbers(data, rng)
    if way < 0.7 and suffix in SAID:
        with contextlib.suppress(Exception):  # no file can be written with what was drawn
            return SAID[suffix](data, rng)
    return mutated(data, rng)


def _numbers(data: bytes, rng: random.Random) -> bytes:
    """A number, as it stands in a text, at one of its ends; or an odd text put in."""
    found = [*re.finditer(rb"-?\d+(\.\d+)?", data[:100_000])]
    at, end = rng.choice(found).span() if found else (len(data), len(data))
    odd = str(rng.choice((*NUMBERS, *TEXTS))).encode(errors="surrogatepass")
    return data[:at] + odd + data[end:]


# ---------------------------------------------------------------- what has a structure


def restructured(value: Any, rng: random.Random) -> Any:
    """Dictionaries and lists, with some of their values of another type, taken out, repeated, one
    inside another, or under another key."""
    whole = [copy.deepcopy(value)]
    for _ in range(rng.randint(1, 3)):
        places = [*_places(whole)]
        (inside, key), (other, its) = rng.choice(places), rng.choice(places)
        match rng.randrange(7):
            case 0 | 1:
                inside[key] = rng.choice(ODD)
            case 2 if inside is not whole:
                del inside[key]
            case 3:
                inside[key] = rng.choice(([inside[key]], {"a": inside[key]}))
            case 4:
                inside[key] = [inside[key]] * rng.choice((2, 100))
            case 5 if isinstance(inside, dict):
                inside[str(rng.choice(ODD))] = inside.pop(key)
            case _:
                inside[key] = copy.deepcopy(other[its])
    return whole[0]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(what holds it, under which key) of everything inside a dictionary or a list."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _json(data: bytes, rng: random.Random) -> bytes:
    return json.dumps(restructured(json.loads(data), rng), ensure_ascii=rng.random() < 0.5).encode(
        errors="surrogatepass"
    )


def _lines(data: bytes, rng: random.Random) -> bytes:
    """Of JSON lines one is changed, repeated or empty."""
    lines = data.splitlines()
    at = rng.randrange(len(lines))
    lines[at : at + 1] = rng.choice(
        (lambda one: [_json(one, rng)], lambda one: [one] * 2, lambda one: [b"", b" ", one])
    )(lines[at])
    return b"\n".join(lines) + b"\n"


def _yaml(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        found = restructured(yaml.safe_load(data), rng)
        flow = rng.choice((True, False))
        return yaml.safe_dump(found, allow_unicode=True, default_flow_style=flow).encode(
            errors="surrogatepass"
        )
    lines = data.decode().splitlines()
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(lines))
        key, mark, _ = re.match(r"([^:=]*)([:=]?)(.*)", lines[at], re.DOTALL).groups()
        lines[at : at + 1] = rng.choice(
            (
                [f"{key}{mark} {rng.choice(YAMLS)}"] * 6
                + [f"{key}{mark} {json.dumps(rng.choice(ODD))}", f" {lines[at]}", f"\t{lines[at]}"]
            ),
        ).splitlines() or [""]
        if rng.random() < 0.1:
            lines.insert(at, lines[at])
    return "\n".join(lines).encode(errors="surrogatepass")


def _table(mark: str) -> Callable[[bytes, random.Random], bytes]:
    def changed(data: bytes, rng: random.Random) -> bytes:
        rows = [*csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=mark)]
        for _ in range(rng.randint(1, 3)):
            row, column = rng.randrange(len(rows)), rng.randrange(len(rows[0]))
            match rng.randrange(10):
                case 0 | 1 | 2 if column < len(rows[row]):
                    rows[row][column] = str(rng.choice(ODD))
                case 3:
                    rows = [each[:column] + each[column + 1 :] for each in rows]
                case 4:
                    rows = [[*each, each[min(column, len(each) - 1)]] for each in rows]
                case 5:
                    odd = str(rng.choice(ODD))
                    rows[1:] = [[*each[:column], odd, *each[column + 1 :]] for each in rows[1:]]
                case 6:
                    rows[row:row] = [rows[row]] * rng.choice((1, 1_000))
                case 7:
                    rows[row] = rows[row] + ["x"] * rng.choice((1, 2, 300))
                case 8:
                    del rows[row]
                case _:
                    rng.shuffle(rows[row])
            rows = [each for each in rows if each] or [[""]]
        csv.writer(text := io.StringIO(newline=""), delimiter=mark).writerows(rows)
        return text.getvalue().encode(errors="surrogatepass")

    return changed


def _parquet(data: bytes, rng: random.Random) -> bytes:
    rows = pq.read_table(io.BytesIO(data)).to_pylist()
    if rng.random() < 0.5:  # a whole column of another type
        column, odd = rng.choice([*rows[0]]), rng.choice((*ODD, b"raw", {"bytes": b"x"}))
        rows = [{**row, column: odd} for row in rows]
    else:
        rows = restructured(rows, rng)
    pq.write_table(pa.Table.from_pylist(rows), content := io.BytesIO())
    return content.getvalue()


def _zip(data: bytes, rng: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        inside = [(name, file.read(name)) for name in file.namelist()]
    at = rng.randrange(len(inside))
    name, content = inside[at]
    inside[at : at + 1] = rng.choice(
        (
            [],
            [("../" + name, content)],
            [(name, b"")],
            [(name, content[:50])],
            [(name, bytes(2**27))],
            [(name, content), ("x/" + name, content)],
        )
    )
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))) as to:
        for each in inside:
            to.writestr(*each)
    return written.getvalue()


def _tensors(data: bytes, rng: random.Random) -> bytes:
    """Of safetensors the head."""
    length = struct.unpack("<Q", data[:8])[0]
    head = _json(data[8 : 8 + length], rng)
    return struct.pack("<Q", len(head)) + head + data[8 + length :]


# ---------------------------------------------------------------- pictures


def _picture(data: bytes, rng: random.Random) -> bytes:
    """The picture in another format, mode or size; or of a head that claims what is not there."""
    picture = Image.open(io.BytesIO(data))
    match rng.randrange(6):
        case 0:
            form = rng.choice(("WEBP", "GIF", "BMP", "TIFF", "PNG", "JPEG", "JPEG2000", "ICO"))
            return _saved(picture, form)
        case 1:
            mode = rng.choice(("1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr"))
            return _saved(picture.convert(mode), rng.choice(("PNG", "JPEG", "TIFF")))
        case 2:
            size = rng.choice(((1, 1), (15, 400), (16, 1), (3_000, 3_000), (400, 30)))
            return _saved(picture.resize(size), rng.choice(("PNG", "JPEG", "BMP", "GIF")))
        case 3:
            exif = Image.Exif()
            exif[rng.choice((0x0112, 0x010E, 0x8769))] = rng.choice((0, 3, 9, 2**16 - 1))
            plain = _saved(picture, rng.choice(("PNG", "JPEG")), exif=exif)
            return mutated(plain, rng) if rng.random() < 0.5 else plain
        case 4:
            frames = [picture.rotate(k) for k in range(1, rng.choice((2, 50)))]
            form = rng.choice(("PNG", "GIF", "WEBP", "TIFF"))
            return _saved(picture, form, save_all=True, append_images=frames)
    if data.startswith(b"\x89PNG"):
        return _chunk(data, rng)
    return _segment(data, rng)


def _saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    picture.save(content := io.BytesIO(), form, **options)
    return content.getvalue()


def _chunk(data: bytes, rng: random.Random) -> bytes:
    """A PNG of another size than its head says, or with chunks that swell, all with true checks."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = bytearray(data[16:29])
    if rng.random() < 0.5:
        sides = (0, 1, 17, 4_096, 4_097, 65_535, 2**31 - 1, 2**32 - 1)
        head[:8] = struct.pack(">II", rng.choice(sides), rng.choice(sides))
        head[8:10] = rng.choice((head[8:10], b"\x10\x00", b"\x01\x03", b"\xff\xff"))
        return data[:8] + chunk(b"IHDR", bytes(head)) + data[33:]
    bomb = zlib.compress(bytes(2**26))
    more = rng.choice(
        (
            [chunk(b"zTXt", b"a\0\0" + bomb)],
            [chunk(b"iCCP", b"a\0\0" + bomb)],
            [chunk(b"iTXt", b"a\0\1\0\0\0" + bomb)],
            [chunk(b"IDAT", bomb)],
            [chunk(b"tEXt", b"a\0b")] * 20_000,
            [chunk(b"eXIf", b"MM\0*" + b"\xff" * 60)],
            [chunk(b"tEXt", b"Raw profile type exif\0\nexif\n9\nzz")],
        )
    )
    return data[:33] + b"".join(more) + data[33:]


def _segment(data: bytes, rng: random.Random) -> bytes:
    """A JPEG whose head says another size, with its scans many times over, or a mass of segments"""
    frame = re.search(rb"\xff[\xc0-\xc2]\0.", data, re.DOTALL)
    scan = data.index(b"\xff\xda")
    assert frame
    match rng.randrange(4):
        case 0:
            size = struct.pack(">HH", *rng.choices((0, 1, 17, 4_097, 65_535), k=2))
            return data[: frame.start() + 5] + size + data[frame.start() + 9 :]
        case 1:
            length = 2 + int.from_bytes(data[scan + 2 : scan + 4])
            return data[:scan] + data[scan : scan + length] * rng.choice((5, 70, 3_000))
        case 2:
            return data[:2] + b"\xff\xfe\0\3x" * rng.choice((2, 20_000)) + data[2:]
        case _:
            return data[:2] + b"\xff\xe1\xff\xffExif\0\0MM\0*" + rng.randbytes(40) + data[2:]


SAID: dict[str, Callable[[bytes, random.Random], bytes]] = {
    ".json": _json,
    ".ipynb": _json,
    ".jsonl": _lines,
    ".yaml": _yaml,
    ".set": _yaml,
    ".csv": _table(","),
    ".tsv": _table("\t"),
    ".parquet": _parquet,
    ".zip": _zip,
    ".safetensors": _tensors,
    ".png": _picture,
    ".jpg": _picture,
}


def shortened(data: bytes, most: int = 300) -> str:
    """For a message: its repr, not without end."""
    said: Sequence[str] = repr(data[:most])
    return f"{said} ({len(data):,} bytes)"
