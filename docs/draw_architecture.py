"""Draws docs/architecture.png from the imports of the package: `python docs/draw_architecture.py`.

The picture's PNG holds what it shows (its "Comment"), so that a test can tell when it is old.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "architecture.png"

# From the ground up. Each package, or module, may import those before it, and no other.
LAYERS = (
    ("paths", "language", "metrics", "synthetic", "runs", "paper", "config"),
    ("jobs", "services", "data", "arguments"),
    ("model",),
    ("training",),
    ("evaluation", "checks"),
    ("experiments", "report"),
    ("construction", "preflight", "bench", "outside", "site"),
    ("reference",),
    ("reproduce", "__main__", "notebooks"),
)
GROUND = LAYERS[0]  # used nearly everywhere
TOP = LAYERS[-1]  # use nearly everything

WHAT = {
    "paths": "where files lie",
    "language": "words of any script",
    "metrics": "EM, ROUGE, Exposure",
    "synthetic": "people drawn by code",
    "runs": "a spec names a folder",
    "paper": "names and numbers",
    "config": "the YAML's schema",
    "jobs": "sweep, collect",
    "services": "Gemini, its ledger",
    "arguments": "of the command line",
    "data": "folders, readers",
    "model": "network, adapters",
    "checks": "before hours are spent",
    "report": "tables, figures",
    "training": "methods, both stages",
    "evaluation": "answers, judge, traces",
    "construction": "new people, review",
    "site": "the pages of a run",
    "reference": "the run that is kept",
    "bench": "time and memory",
    "outside": "others' adapters",
    "experiments": "from a config to jobs",
    "preflight": "what it will take",
    "reproduce": "runs the notebooks",
    "__main__": "the command line",
    "notebooks": "00 to 12",
}
PLACES = {  # x of each box's middle; y is its layer's
    "jobs": 1.87,
    "data": 5.82,
    "services": 8.22,
    "arguments": 12.1,
    "model": 3.92,
    "training": 3.12,
    "evaluation": 5.52,
    "checks": 8.92,
    "experiments": 2.82,
    "report": 10.82,
    "construction": 9.3,
    "site": 11.5,
    "reference": 11.5,
    "bench": 1.62,
    "preflight": 3.82,
    "outside": 6.02,
    "reproduce": 6.47,
    "__main__": 10.84,
    "notebooks": 2.1,
} | {name: 0.95 + 1.84 * number for number, name in enumerate(GROUND)}
WIDTH, WIDE, HEIGHT, RISE = 1.76, 4.1, 0.64, 1.3
ROOF = RISE * (len(LAYERS) - 1)  # y of the top

NAME = r"remem(\.\w+)+(:\w+)?"  # a module, or something in it, written as text

Point = tuple[float, float]


def imports(path: Path) -> Iterator[str]:
    """The full names that a file imports, wherever in it: inside functions, under TYPE_CHECKING,
    and where a text names a module, as import_module("remem.data") does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and re.fullmatch(NAME, str(node.value)):
            yield str(node.value).replace(":", ".")


def arrows() -> dict[str, int]:
    """ "training -> model": how many modules (or notebooks) of the first import the second."""
    found: Counter[str] = Counter()
    files = [*(ROOT / "remem").rglob("*.py"), *(ROOT / "notebooks").glob("*.py")]
    for path in sorted(files):
        above, first, *_ = path.relative_to(ROOT).parts
        name = first.removesuffix(".py") if above == "remem" else above
        if name != "__init__":  # the public names, which are loaded when they are used
            parts = [each.split(".") for each in imports(path)]
            used = {each[1] for each in parts if each[0] == "remem" and len(each) > 1}
            found.update(f"{name} -> {other}" for other in used - {name})
    return dict(sorted(found.items()))


def draw() -> Figure:
    """The packages as boxes, in their layers; an arrow from each to those that it imports. What
    the top imports, and who imports the ground, is told in words."""
    figure = Figure(figsize=(13.3, ROOF + 1.8))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.1, 13.05), ylim=(-0.55, ROOF + 0.95))
    axes.axis("off")
    for low, high in ((-0.45, 0.58), (ROOF - 0.55, ROOF + 0.9)):
        axes.axhspan(low, high, color="#eef1f4", zorder=0)
    found = arrows()
    pairs = {tuple(arrow.split(" -> ")): count for arrow, count in found.items()}
    for name in [name for layer in LAYERS for name in layer]:
        used = {below: count for (above, below), count in pairs.items() if above == name}
        _box(axes, name, sum(below == name for _, below in pairs), used)
    drawn = [pair for pair in pairs if pair[0] not in TOP and pair[1] not in GROUND]
    for above, below in drawn:
        start = _end(above, [other for one, other in drawn if one == above], below, -1)
        end = _end(below, [one for one, other in drawn if other == below], above, 1)
        _arrow(axes, start, end, pairs[above, below], {above, below})
    return figure


def _place(name: str) -> Point:
    row = next(row for row, layer in enumerate(LAYERS) if name in layer)
    return PLACES[name], RISE * row + 0.1 * (name in TOP)


def _end(name: str, others: list[str], other: str, side: int) -> Point:
    """Where on a box's lower (-1) or upper (1) edge an arrow ends: beside the others, no two in
    one place, in the order in which they come."""
    order = sorted(others, key=lambda each: PLACES[each])
    x, y = _place(name)
    apart = min(0.36, WIDTH / len(order))
    return x + (order.index(other) - (len(order) - 1) / 2) * apart, y + side * HEIGHT / 2


def _box(axes: Axes, name: str, users: int, used: dict[str, int]) -> None:
    (x, y), ground, top = _place(name), name in GROUND, name in TOP
    width, height = (WIDE, 1.0) if top else (WIDTH, HEIGHT)
    color = "#dbe7f3" if ground else "#fff4d6" if top else "#ffffff"
    style = {"boxstyle": "round,pad=0.02,rounding_size=0.08", "ec": "#333333", "lw": 1.3}
    corner = (x - width / 2, y - height / 2)
    axes.add_patch(FancyBboxPatch(corner, width, height, fc=color, zorder=4, **style))
    middle = {"ha": "center", "va": "center", "zorder": 5}
    lift = 0.18 if top else 0
    axes.text(x, y + 0.13 + lift, name, fontsize=16, weight="bold", **middle)
    axes.text(x, y - 0.15 + lift, WHAT[name], fontsize=11, **middle)
    if ground:
        axes.text(x, y + 0.43, f"used by {users}", fontsize=12, color="#555555", **middle)
    if top:
        many = sorted(used, key=lambda each: (-used[each], each))
        shown = [f"{each}\u00a0{used[each]}" for each in many if each not in GROUND]
        axes.text(x, y - 0.3, "\n".join(wrap(", ".join(shown), 70)), fontsize=8.5, **middle)


def _arrow(axes: Axes, start: Point, end: Point, count: int, ends: set[str]) -> None:
    """A line, bent as little as keeps it clear of all other boxes, with its count on it."""
    steps = np.linspace(0, 1, 60)[:, None]
    for bend in (0, 0.1, -0.1, 0.2, -0.2, 0.3, -0.3, 0.45, -0.45):
        a, b = np.array(start), np.array(end)
        control = (a + b) / 2 + bend * np.array([(b - a)[1], -(b - a)[0]])  # as arc3 has it
        line = (1 - steps) ** 2 * a + 2 * steps * (1 - steps) * control + steps**2 * b
        if not any(_inside(line, name) for name in PLACES if name not in ends):
            break
    width = {"arrowstyle": "-|>", "color": "#7a8794", "lw": 0.9 + 0.25 * count}
    curve = {"shrinkA": 0, "shrinkB": 1, "connectionstyle": f"arc3,rad={bend}"}
    axes.annotate("", end, start, arrowprops=width | curve, zorder=2)
    x, y = line[np.argmin(np.abs(line[:, 1] - (start[1] - 0.24)))]
    box = {"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none"}
    axes.text(x, y, str(count), fontsize=13, ha="center", va="center", zorder=3, bbox=box)


def _inside(line: np.ndarray, name: str) -> bool:
    away = np.abs(line - np.array(_place(name)))
    return bool(((away[:, 0] < WIDTH / 2 + 0.06) & (away[:, 1] < HEIGHT / 2 + 0.06)).any())


def main() -> None:
    """Write the picture."""
    shown = json.dumps({"layers": LAYERS, "arrows": arrows()})
    draw().savefig(PICTURE, dpi=110, metadata={"Software": None, "Comment": shown})


if __name__ == "__main__":
    main()
