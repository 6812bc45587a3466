"""Face similarity: the cosine of a picture's face to that of its anchor (section 6.1).

The paper keeps a drawn picture only if ArcFace (Deng et al. 2019) finds it close to the anchor. It
names neither network nor threshold: here it is insightface's `FaceAnalysis`, which finds the face,
aligns it by five points and describes it, with a model pack that you bring. Without one, the vision
tower of the tiny networks does the describing. It is written as such a pack, so that the very same
code runs: exported to ONNX, beside a detector that takes the whole picture for the face.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
from PIL import Image

from remem import paths, runs
from remem.config.networks import VisionTower
from remem.config.services import FaceSimilarity

if TYPE_CHECKING:
    from insightface.app import FaceAnalysis

STRIDES = (8, 16, 32)  # of SCRFD, insightface's detector: each has a grid with two boxes a cell

MIDDLE = 200  # people over whom the tower's features are centred

# insightface aligns by a name that scikit-image 2.2 drops; nothing here depends on it.
warnings.filterwarnings("ignore", "`estimate` is deprecated", FutureWarning)

HOW_TO = (
    "Get the pack buffalo_l (about 300 MB) from the model zoo of the insightface project, unpack "
    f"it into {paths.DATA / 'buffalo_l'}, where det_10g.onnx and w600k_r50.onnx are looked for, "
    f"and set construction.face_similarity.pack to {paths.DATA.name}/buffalo_l. Its licence allows "
    "non-commercial research only."
)


class NoRecogniser(ValueError):
    """Faces cannot be compared; the message says what is missing and where it belongs."""


class NoFace(ValueError):
    """No face is found in an anchor, so there is nothing to compare with."""


class TowerPack(runs.Run):
    """The model pack made of a vision tower: `detection.onnx` and `recognition.onnx`."""

    kind: ClassVar[str] = "faces"
    tower: runs.Run  # a TowerRun: its module imports torch, which a review need not wait for

    def needs(self) -> tuple[runs.Run, ...]:
        """The tower."""
        return (self.tower,)

    def make(self, out: Path, runs_root: Path) -> None:
        """Export the tower, and write the detector that fits it."""
        from remem.training.vision_tower import TowerRun

        assert isinstance(self.tower, TowerRun)
        _make_pack(self.tower.tower, runs.folder(self.tower, runs_root), out)


def recogniser(
    settings: FaceSimilarity, tower: VisionTower | None = None, runs_root: Path | None = None
) -> FaceAnalysis:
    """insightface's FaceAnalysis, ready to ask, on the CPU: of `settings.pack`, or else of `tower`,
    whose pack is made in `runs_root` where it is not there yet. The tower knows drawn faces, and no
    photographs.

    Nothing is downloaded. Raises NoRecogniser, and what runs.get_or_create raises.
    """
    try:
        from insightface.app import FaceAnalysis
    except ImportError as error:  # most often OpenCV's
        raise NoRecogniser(
            f"insightface cannot be imported: {error}. OpenCV needs two libraries of the system; "
            "on Debian: apt-get install libgl1 libglib2.0-0"
        ) from error
    key = "construction.face_similarity.pack"
    if settings.pack is not None:
        folder = paths.ROOT / settings.pack
        if not os.path.isdir(folder):  # insightface would go and download it
            raise NoRecogniser(f"{key}: there is no folder {folder}. {HOW_TO}")
        places = sorted({file.parent for file in folder.rglob("*.onnx")})
        if places and folder not in places:  # a ZIP is often unpacked into a folder of its name
            raise NoRecogniser(f"{key}: {folder} holds no model, but {places[0]} does; name that")
    elif tower is None or runs_root is None:
        raise NoRecogniser(f"{key} names no model pack, so faces cannot be compared. {HOW_TO}")
    else:
        from remem.training.vision_tower import TowerRun

        folder = runs.get_or_create(TowerPack(tower=TowerRun(tower=tower)), runs_root)
    try:
        found = FaceAnalysis(
            str(folder),
            allowed_modules=["detection", "recognition"],
            providers=["CPUExecutionProvider"],
        )
        if "recognition" not in found.models:  # without a detector, it raises by itself
            raise ValueError("there is no recogniser among its files")
        found.prepare(ctx_id=-1, det_size=[(side, side) for side in settings.det_sizes])
    except Exception as error:  # a bare AssertionError, protobuf's, each of onnxruntime's own
        raise NoRecogniser(
            f"{folder}: no model pack with a detector and a recogniser that insightface can read "
            f"({type(error).__name__}: {error}). {HOW_TO}"
        ) from error
    return found


def describe(picture: Image.Image, recogniser: FaceAnalysis) -> np.ndarray | None:
    """The embedding (float32, of length 1) of a picture's chief face, None where no face is found:
    of several that which is largest and most in the middle. Products are cosine similarities."""
    bgr = np.ascontiguousarray(np.asarray(picture.convert("RGB"))[:, :, ::-1])
    faces = recogniser.get(bgr, max_num=1)
    return faces[0].normed_embedding if faces else None


def similarities(
    anchor: Image.Image, pictures: Sequence[Image.Image], recogniser: FaceAnalysis
) -> np.ndarray:
    """Cosine similarity, -1 to 1, to the anchor's face of the face in each picture: (pictures,).

    NaN where no face is found, which is below every threshold. Raises NoFace when the anchor shows
    none.
    """
    own = describe(anchor, recogniser)
    if own is None:
        raise NoFace("no face is found in the anchor image: draw it again, or choose another")
    found = (describe(picture, recogniser) for picture in pictures)
    return np.array([np.nan if face is None else own @ face for face in found], dtype=np.float64)


def survey(
    rows: pd.DataFrame, pictures: Sequence[Image.Image], recogniser: FaceAnalysis
) -> pd.DataFrame:
    """Whether a dataset's faces can be told apart: identity, split, of, similarity (cosine).

    rows and their `pictures`, in one order; the anchor of a person is their first picture. Every
    other picture is compared with its own person's anchor (`of` is "the same person") and with that
    of the person who comes next ("another person"). NaN where no face is found.
    """
    people = list(dict.fromkeys(rows["identity"]))
    faces = [describe(picture, recogniser) for picture in pictures]
    first = dict(zip(rows["identity"][::-1], faces[::-1], strict=True))
    after = dict(zip(people, people[1:] + people[:1], strict=True))
    lines, met = [], set()
    for identity, split, face in zip(rows["identity"], rows["split"], faces, strict=True):
        if identity in met:
            for of, other in (("the same person", identity), ("another person", after[identity])):
                anchor = first[other]
                similarity = np.nan if face is None or anchor is None else anchor @ face
                lines.append((identity, split, of, similarity))
        met.add(identity)
    return pd.DataFrame(lines, columns=["identity", "split", "of", "similarity"])


# ---------------------------------------------------------------- the tower as a pack


def _make_pack(spec: VisionTower, tower_folder: Path, out: Path) -> None:
    """Write the two networks. The recogniser's description of a picture is the mean of the tower's
    patch features less that of many people, without which all faces would be much alike."""
    import torch
    from insightface.utils.face_align import arcface_dst
    from safetensors.torch import load_file

    from remem.synthetic import faces
    from remem.training.vision_tower import vision_model

    tower = vision_model(spec).requires_grad_(False).eval()
    tower.load_state_dict(load_file(tower_folder / "tower.safetensors"))

    # insightface aligns to squares of a multiple of 112 or of 128 pixels only. One that is also a
    # multiple of the tower's side holds the picture's own pixels, unmixed, `step` apart.
    side = min(math.lcm(spec.image_size, base) for base in (112, 128))
    step = side // spec.image_size

    class Described(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tower, self.middle = tower, 0.0

        def forward(self, crop):  # (B, 3, side, side) in [-1, 1], as the tower was trained
            hidden = self.tower(pixel_values=crop[:, :, ::step, ::step]).last_hidden_state
            return hidden[:, 1:].mean(1) - self.middle

    described = Described()
    drawn = [
        faces.draw(
            faces.sample_appearance(faces.TOWER_FACES + face),
            faces.sample_scene(np.random.default_rng([10, face]), "pretrain"),
            spec.image_size,
        ).resize((side, side), Image.Resampling.NEAREST)
        for face in range(MIDDLE)
    ]
    crops = torch.from_numpy(np.stack([np.asarray(picture) for picture in drawn]))
    crops = crops.permute(0, 3, 1, 2) / 127.5 - 1
    described.middle = described(crops).mean(0)

    with warnings.catch_warnings():
        # The exporter that replaces this one needs two packages more, to write the same network;
        # and what the tracer takes for constant (the picture's size) is.
        tracer = torch.jit.TracerWarning  # pyright: ignore[reportPrivateImportUsage]
        for category in (DeprecationWarning, tracer):
            warnings.simplefilter("ignore", category)
        torch.onnx.export(
            described,
            (crops[:2],),
            str(out / "recognition.onnx"),
            dynamo=False,
            input_names=["crop"],
            output_names=["features"],
            dynamic_axes={"crop": {0: "batch"}, "features": {0: "batch"}},
        )

    # The points at which an aligned face has its eyes, nose and mouth, as shares of the square:
    # a "face" found there is aligned by doing nothing, and the square is the whole picture.
    ratio, margin = (side / 112, 0) if side % 112 == 0 else (side / 128, 8 * side / 128)
    _write_detector((arcface_dst * ratio + [margin, 0]) / side, out / "detection.onnx")


def _write_detector(points: np.ndarray, file: Path) -> None:
    """A network with SCRFD's inputs and outputs that always finds one face, the whole picture, with
    eyes, nose and mouth at `points` (5, 2), shares of its side. The tower needs no closer look:
    in the pictures that it was trained on the faces are where they are."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    side = max(STRIDES)
    found = {"score": [1.0], "box": [0, 0, side, side], "points": side * points.ravel()}
    nodes, outputs = [], []
    for kind, values in found.items():
        for stride in STRIDES:
            grid = np.zeros((2 * (side // stride) ** 2, len(values)), dtype=np.float32)
            if stride == STRIDES[0]:  # the first box of the finest grid; lengths are in strides
                grid[0] = values if kind == "score" else np.divide(values, stride)
            name = f"{kind}{stride}"
            constant = numpy_helper.from_array(grid)
            nodes.append(helper.make_node("Constant", [], [name], value=constant))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, grid.shape))
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, side, side])
    graph = helper.make_graph(nodes, "whole picture", [picture], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(file))
