"""The picture in a response of Gemini, whatever it is called there."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image

from remem.services.ledger import Unusable

# A picture is known by its data, never by the media type beside it: that may be "image/jpg", or
# say PNG of a JPEG.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

NO_PICTURE = f"not a whole picture in any of {', '.join(FORMATS)}"

PIXELS = 2**26  # 8192 x 8192; nothing larger is decoded


def drawn(response: Any) -> list[bytes]:
    """What a response holds in place of words. A model that thinks shows its drafts too, flagged as
    thoughts; the last of them is the picture where no other came."""
    parts = [part for part in response.parts or () if part.inline_data]
    found = [part for part in parts if not part.thought] or parts[-1:]
    return [part.inline_data.data or b"" for part in found]


def drawing(response: Any) -> tuple[bytes, str]:
    """The first picture of a response, as it came, and the suffix of its file; where there is none,
    what came in its place (b"" where nothing did), which `read` finds Unusable."""
    came = drawn(response)
    for data in came:
        try:
            form = str(_opened(data).format)
        except Unusable:
            continue
        # MPO: a JPEG with a second one behind it
        return data, ".jpg" if form in ("JPEG", "MPO") else f".{form.lower()}"
    return (came[-1] if came else b""), ".bin"


def read(data: bytes) -> Image.Image:
    """The picture as RGB, decoded in full. Raises Unusable."""
    if not data:
        raise Unusable("no picture in the answer")
    picture = _opened(data)
    if picture.width * picture.height > PIXELS:
        raise Unusable(f"a picture of {picture.width} x {picture.height} pixels")
    try:
        return picture.convert("RGB")
    except Exception:  # a decoder may fail in any way on what came from elsewhere
        raise Unusable(NO_PICTURE) from None


def _opened(data: bytes) -> Image.Image:
    """The picture, of which no more than the head is read."""
    try:
        return Image.open(BytesIO(data), formats=FORMATS)
    except Exception:
        raise Unusable(NO_PICTURE) from None
