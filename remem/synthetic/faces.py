"""Pictures of people who do not exist, drawn by code (the offline stand-in for section 6.1).

A picture has two halves. An `Appearance` is what stays when the person turns up elsewhere: skin,
hair, face, eyes, nose, mouth, brows, glasses, beard, a mole. A `Scene` is what does not: backdrop,
clothes, pose, light, expression. "Multi-view synthesis" is then one appearance in many scenes, and
a "novel visual layout" is a scene from a pool that training never draws from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

OVERSAMPLE = 3  # drawn larger and reduced, so that a mole survives as a shade and edges are smooth

# Faces are numbered; each purpose has a range of its own, so that nobody occurs in two of them.
TOWER_FACES, PUBLIC_FACES, STRANGER_FACES, HELD_OUT_FACES = 10**6, 2 * 10**6, 3 * 10**6, 4 * 10**6

SKIN = ["#f6d7c3", "#eec1a0", "#d9a47b", "#c68642", "#a9714b", "#8d5524", "#6b4423", "#4a2f1d"]

HAIR = {
    "black": "#1d1a1a",
    "brown": "#6b3f1f",
    "blond": "#e8c95c",
    "red": "#c0421c",
    "grey": "#9a9a9a",
    "white": "#f4f2ec",
    "blue": "#2f5fd0",
    "green": "#2f9a4e",
}

STYLES = ["bald", "short", "long", "curly", "bun", "mohawk", "bob", "cap"]

EYES = ["#3b2414", "#2a62b8", "#2f8f4e", "#7a7a7a", "#c08a1e", "#6a3fa0"]

LIPS = ["#b5545a", "#8c3b3b", "#d9798a", "#6e2f3f"]

GLASSES = ["no", "no", "no", "round", "square"]

FRAMES = ["#111111", "#8a1c1c", "#1c3f8a"]

BEARDS = ["no beard", "no beard", "no beard", "a moustache", "a goatee", "a full beard"]

EXPRESSIONS = ["smiling", "serious", "sad"]

COLOURS = {
    "red": "#cc2b2b",
    "orange": "#f08a24",
    "yellow": "#f2d43d",
    "green": "#3f9e4d",
    "blue": "#2f62c9",
    "purple": "#7d3fb0",
    "pink": "#f09ac0",
    "white": "#f5f5f5",
    "black": "#222222",
    "brown": "#7a5230",
    "grey": "#9b9b9b",
    "teal": "#2aa39a",
}

# What a pool may draw. Nothing in "test" occurs in "train"; "pretrain" is what the vision tower
# and the base model see: training's pool and half of the test layouts, so that the other half
# ("zigzag", "rings"; teal and purple clothes) is new to every part of the network.
POOLS = {
    "train": {
        "backdrop": ["plain", "gradient", "stripes", "horizon"],
        "back": ["white", "grey", "blue", "green", "yellow", "pink"],
        "garment": ["shirt", "jumper", "stripes"],
        "cloth": ["red", "blue", "green", "black", "white", "yellow"],
    },
    "test": {
        "backdrop": ["checks", "dots", "zigzag", "rings"],
        "back": ["orange", "brown", "red", "teal"],
        "garment": ["jacket", "spots"],
        "cloth": ["orange", "pink", "teal", "purple"],
    },
    "pretrain": {
        "backdrop": ["plain", "gradient", "stripes", "horizon", "checks", "dots"],
        "back": ["white", "grey", "blue", "green", "yellow", "pink", "orange", "brown"],
        "garment": ["shirt", "jumper", "stripes", "jacket"],
        "cloth": ["red", "blue", "green", "black", "white", "yellow", "orange", "pink"],
    },
}


@dataclass(frozen=True)
class Appearance:
    """What identifies a person. Lengths are shares of the picture's side, angles in degrees."""

    skin: int
    width: float  # half width of the face
    height: float  # half height of the face
    jaw: float  # 0 pointed ... 1 square
    hair: str
    style: str
    eye: int
    eye_gap: float
    eye_size: float
    brow: float  # thickness
    brow_tilt: float
    nose: int
    nose_size: float
    mouth: float
    lips: int
    glasses: str
    frame: int
    beard: str
    mole: int  # 0 none, else where
    blush: bool
    earrings: bool

    def facts(self) -> dict[str, str]:
        """What can be asked about the person in any picture of them."""
        return {
            "hair": self.hair,
            "style": self.style,
            "glasses": self.glasses,
            "beard": self.beard,
        }


@dataclass(frozen=True)
class Scene:
    """What changes from picture to picture. Offsets are shares of the side, `tilt` is in degrees,
    `light` a factor; `yaw` and `warmth` go from -1 to 1, `phase` (where a pattern begins) to 1."""

    backdrop: str
    back: tuple[str, str]
    garment: str
    cloth: tuple[str, str]
    dx: float
    dy: float
    yaw: float
    tilt: float
    zoom: float
    light: float
    warmth: float
    expression: str
    phase: float

    def facts(self) -> dict[str, str]:
        """What can be asked about this one picture."""
        return {"cloth": self.cloth[0], "back": self.back[0], "expression": self.expression}


def sample_appearance(seed: int) -> Appearance:
    """The appearance that belongs to `seed`: the same number is the same person everywhere."""
    rng = np.random.default_rng([77, seed])

    def pick(options: list[str]) -> str:
        return options[int(rng.integers(len(options)))]

    return Appearance(
        skin=int(rng.integers(len(SKIN))),
        width=rng.uniform(0.17, 0.25),
        height=rng.uniform(0.23, 0.30),
        jaw=rng.uniform(0, 1),
        hair=pick(list(HAIR)),
        style=pick(STYLES),
        eye=int(rng.integers(len(EYES))),
        eye_gap=rng.uniform(0.07, 0.115),
        eye_size=rng.uniform(0.026, 0.048),
        brow=rng.uniform(0.010, 0.032),
        brow_tilt=rng.uniform(-22, 22),
        nose=int(rng.integers(3)),
        nose_size=rng.uniform(0.03, 0.07),
        mouth=rng.uniform(0.07, 0.12),
        lips=int(rng.integers(len(LIPS))),
        glasses=pick(GLASSES),
        frame=int(rng.integers(len(FRAMES))),
        beard=pick(BEARDS),
        mole=int(rng.integers(5)),
        blush=bool(rng.random() < 0.3),
        earrings=bool(rng.random() < 0.3),
    )


def sample_scene(rng: np.random.Generator, pool: str) -> Scene:
    """A random scene from `pool` ("train", "test" or "pretrain"; KeyError otherwise)."""
    options = POOLS[pool]

    def two(names: list[str]) -> tuple[str, str]:
        first, second = rng.choice(len(names), size=2, replace=False)
        return names[first], names[second]

    return Scene(
        backdrop=options["backdrop"][int(rng.integers(len(options["backdrop"])))],
        back=two(options["back"]),
        garment=options["garment"][int(rng.integers(len(options["garment"])))],
        cloth=two(options["cloth"]),
        dx=rng.uniform(-0.05, 0.05),
        dy=rng.uniform(-0.03, 0.03),
        yaw=rng.uniform(-1, 1),
        tilt=rng.uniform(-9, 9),
        zoom=rng.uniform(0.92, 1.1),
        light=rng.uniform(0.85, 1.15),
        warmth=rng.uniform(-1, 1),
        expression=EXPRESSIONS[int(rng.integers(len(EXPRESSIONS)))],
        phase=rng.random(),
    )


def draw(appearance: Appearance, scene: Scene, size: int = 64) -> Image.Image:
    """The picture of `appearance` in `scene`: an RGB image of `size` x `size` pixels."""
    side = size * OVERSAMPLE
    canvas = _backdrop(scene, side)
    _body(ImageDraw.Draw(canvas), appearance, scene, side)
    head = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    _head(ImageDraw.Draw(head), appearance, scene, side)
    middle = (side * (0.5 + scene.dx), side * (0.46 + scene.dy))
    head = head.rotate(scene.tilt, resample=Image.Resampling.BILINEAR, center=middle)
    canvas.paste(head, (0, 0), head)
    picture = canvas.resize((size, size), Image.Resampling.BOX)
    picture = ImageEnhance.Brightness(picture).enhance(scene.light)
    red, green, blue = picture.split()
    red = red.point(lambda v: v * (1 + 0.05 * scene.warmth))
    blue = blue.point(lambda v: v * (1 - 0.05 * scene.warmth))
    return Image.merge("RGB", (red, green, blue))


def _backdrop(scene: Scene, side: int) -> Image.Image:
    first, second = (COLOURS[name] for name in scene.back)
    # The second colour is drawn half-way to the first: "the background is blue" stays true.
    mixed = tuple(int(0.55 * a + 0.45 * b) for a, b in zip(_rgb(first), _rgb(second), strict=True))
    canvas = Image.new("RGB", (side, side), first)
    pen = ImageDraw.Draw(canvas)
    step = side // 6
    shift = int(scene.phase * step)
    if scene.backdrop == "gradient":
        ramp = Image.linear_gradient("L").resize((side, side))
        canvas = Image.composite(Image.new("RGB", (side, side), mixed), canvas, ramp)
    elif scene.backdrop == "stripes":
        for x in range(-step + shift, side, 2 * step):
            pen.rectangle([x, 0, x + step, side], fill=mixed)
    elif scene.backdrop == "horizon":
        pen.rectangle([0, int(side * (0.4 + 0.3 * scene.phase)), side, side], fill=mixed)
    elif scene.backdrop == "checks":
        for row in range(7):
            for column in range(row % 2, 8, 2):
                x, y = column * step - shift, row * step
                pen.rectangle([x, y, x + step, y + step], fill=mixed)
    elif scene.backdrop == "dots":
        for row in range(7):
            for column in range(7):
                x, y = column * step - shift, row * step
                pen.ellipse([x, y, x + step * 0.6, y + step * 0.6], fill=mixed)
    elif scene.backdrop == "zigzag":
        for y in range(-step, side + step, 2 * step):
            points = [(k * step - shift, y + (k % 2) * step) for k in range(9)]
            pen.line(points, fill=mixed, width=step // 2)
    elif scene.backdrop == "rings":
        for radius in range(step, 2 * side, 2 * step):
            box = [side * scene.phase - radius, -radius, side * scene.phase + radius, radius]
            pen.ellipse(box, outline=mixed, width=step // 2)
    return canvas


def _body(pen: ImageDraw.ImageDraw, appearance: Appearance, scene: Scene, side: int) -> None:
    first, second = (COLOURS[name] for name in scene.cloth)
    x, top = side * (0.5 + scene.dx * 0.5), side * 0.76
    neck = [x - side * 0.07, side * 0.62, x + side * 0.07, top + side * 0.06]
    pen.rectangle(neck, fill=_shade(SKIN[appearance.skin], 0.85))
    pen.ellipse([x - side * 0.36, top, x + side * 0.36, side * 1.3], fill=first)
    if scene.garment == "stripes":
        for k in range(3):
            y = side * (0.84 + 0.07 * k)
            pen.rectangle([x - side * 0.25, y, x + side * 0.25, y + side * 0.025], fill=second)
    elif scene.garment == "shirt":
        pen.polygon([(x - side * 0.07, top), (x + side * 0.07, top), (x, side * 0.88)], fill=second)
    elif scene.garment == "jacket":
        pen.rectangle([x - side * 0.04, top, x + side * 0.04, side], fill=second)
    elif scene.garment == "spots":
        for k in range(-2, 3):
            for y in (0.84, 0.93):
                cx, r = x + side * (0.11 * k + (0.05 if y > 0.9 else 0)), side * 0.02
                pen.ellipse([cx - r, side * (y - 0.02), cx + r, side * (y + 0.02)], fill=second)


def _head(pen: ImageDraw.ImageDraw, appearance: Appearance, scene: Scene, side: int) -> None:
    """The head, upright; the caller tilts it. `yaw` slides the features over the face."""
    cx, cy = 0.5 + scene.dx, 0.46 + scene.dy
    w, h = appearance.width * scene.zoom, appearance.height * scene.zoom
    fx = cx + 0.025 * scene.yaw  # the features' own middle
    skin, hair, style = SKIN[appearance.skin], HAIR[appearance.hair], appearance.style

    def at(*shares: float) -> list[float]:
        return [side * share for share in shares]

    def box(x: float, y: float, rx: float, ry: float) -> list[float]:
        return at(x - rx, y - ry, x + rx, y + ry)

    def oval(x: float, y: float, rx: float, ry: float, fill: str | tuple[int, int, int]) -> None:
        pen.ellipse(box(x, y, rx, ry), fill=fill)

    def block(*shares: float, radius: float, fill: str) -> None:
        pen.rounded_rectangle(at(*shares), radius=side * radius, fill=fill)

    if style == "long":
        block(cx - w * 1.25, cy - h, cx + w * 1.25, cy + h * 1.3, radius=0.12, fill=hair)
    elif style == "bob":
        block(cx - w * 1.3, cy - h, cx + w * 1.3, cy + h * 0.55, radius=0.1, fill=hair)
    elif style == "bun":
        oval(cx, cy - h * 1.15, 0.085, 0.085, hair)
    elif style == "curly":
        for k in range(9):
            angle = math.pi * (1 + k / 8)
            x, y = cx + w * 1.05 * math.cos(angle), cy - h * 0.15 + h * math.sin(angle)
            oval(x, y, 0.075, 0.075, hair)
    for sign in (-1, 1):
        oval(cx + sign * w, cy, 0.03, 0.05, _shade(skin, 0.92))
        if appearance.earrings:
            oval(cx + sign * w * 1.03, cy + 0.065, 0.018, 0.018, "#ffd700")
    oval(cx, cy, w, h, skin)
    chin = 0.45 + 0.5 * appearance.jaw
    block(cx - w * chin, cy, cx + w * chin, cy + h * 0.98, radius=0.06, fill=skin)
    if appearance.beard == "a full beard":
        pen.pieslice(box(cx, cy + 0.01, w * 0.98, h * 1.04), 15, 165, fill=hair)
        oval(fx, cy + h * 0.15, w * 0.62, h * 0.32, skin)
    elif appearance.beard == "a goatee":
        oval(fx, cy + h * 0.88, 0.07, 0.055, hair)
    if style in ("short", "long", "bob", "bun"):
        pen.chord(box(cx, cy - h * 0.25, w * 1.08, h * 0.85), 195, 345, fill=hair)
    elif style == "curly":
        pen.chord(box(cx, cy - h * 0.2, w, h * 0.9), 200, 340, fill=hair)
    elif style == "mohawk":
        pen.rectangle(box(cx, cy - h * 1.0, 0.045, 0.11), fill=hair)
    elif style == "cap":
        pen.chord(box(cx, cy - h * 0.3, w * 1.12, h * 0.85), 180, 360, fill=hair)
        peak = at(cx - w * 0.2, cy - h * 0.38, cx + w * 1.5, cy - h * 0.24)
        pen.rectangle(peak, fill=_shade(hair, 0.7))
    if appearance.blush:
        for sign in (-1, 1):
            oval(fx + sign * w * 0.6, cy + h * 0.28, 0.03, 0.02, "#e08585")
    for sign in (-1, 1):
        ex, ey, size = fx + sign * appearance.eye_gap, cy - h * 0.08, appearance.eye_size
        oval(ex, ey, size * 1.15, size * 0.85, "#ffffff")
        oval(ex + 0.008 * scene.yaw, ey, size * 0.62, size * 0.62, EYES[appearance.eye])
        oval(ex + 0.008 * scene.yaw, ey, size * 0.28, size * 0.28, "#000000")
        slope = math.tan(math.radians(appearance.brow_tilt)) * sign
        by = ey - size - 0.025
        brow = at(ex - 0.04, by + 0.04 * slope, ex + 0.04, by - 0.04 * slope)
        pen.line(brow, fill=_shade(hair, 0.6), width=max(1, int(side * appearance.brow)))
    ny, size, dark = cy + h * 0.18, appearance.nose_size, _shade(skin, 0.72)
    if appearance.nose == 0:
        ridge = at(fx, ny - size, fx + size * 0.5, ny, fx, ny)
        pen.line(ridge, fill=dark, width=max(1, side // 70))
    elif appearance.nose == 1:
        oval(fx, ny, size * 0.7, size * 0.45, dark)
    else:
        pen.polygon(at(fx, ny - size * 1.2, fx - size * 0.5, ny, fx + size * 0.5, ny), fill=dark)
    my = cy + h * 0.52
    lips, m, thick = LIPS[appearance.lips], appearance.mouth, max(2, side // 36)
    if scene.expression == "smiling":
        pen.chord(box(fx, my - 0.03, m, 0.085), 0, 180, fill="#ffffff", outline=lips, width=thick)
    elif scene.expression == "sad":
        pen.arc(box(fx, my + 0.06, m, 0.08), 185, 355, fill=lips, width=thick + 2)
    else:
        pen.line(at(fx - m, my, fx + m, my), fill=lips, width=thick + 2)
    if appearance.beard in ("a moustache", "a full beard"):
        oval(fx, my - 0.05, m, 0.026, hair)
    if appearance.mole:
        sign, row = (-1, 1)[appearance.mole % 2], (0.3, 0.62)[appearance.mole // 3]
        oval(fx + sign * w * 0.5, cy + h * row, 0.014, 0.014, "#2b1510")
    if appearance.glasses != "no":
        rim, frame, y = 0.06, FRAMES[appearance.frame], cy - h * 0.08
        for sign in (-1, 1):
            shape = pen.ellipse if appearance.glasses == "round" else pen.rectangle
            lens = box(fx + sign * max(appearance.eye_gap, 0.07), y, rim, rim * 0.9)
            shape(lens, outline=frame, width=max(2, side // 36))
        pen.line(at(fx - 0.025, y, fx + 0.025, y), fill=frame, width=max(2, side // 50))


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def _shade(colour: str, factor: float) -> tuple[int, int, int]:
    red, green, blue = (int(v * factor) for v in _rgb(colour))
    return red, green, blue
