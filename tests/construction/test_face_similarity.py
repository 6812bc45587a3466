"""Every face here goes through insightface's own FaceAnalysis, SCRFD and ArcFaceONNX."""

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from insightface.utils.face_align import arcface_dst
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file

from remem import paths, runs
from remem.config.networks import VisionTower
from remem.config.services import FaceSimilarity
from remem.construction import face_similarity
from remem.synthetic import faces as drawings
from remem.training import vision_tower

SIDE = 128  # of the detector made here, in pixels
# Where it finds eyes, nose and mouth: the aligned crop is then the picture's top left quarter.
POINTS = arcface_dst * (SIDE / 2 / 112)
TOWER = VisionTower(
    image_size=32,
    patch=8,
    layers=1,
    width=64,
    heads=2,
    faces=200,
    views=4,
    epochs=10,
    batch=20,
    lr=2e-3,
)


def save(file, nodes, shape, outputs, initial=()):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "made",
        [value("picture", TensorProto.FLOAT, shape)],
        [value(name, TensorProto.FLOAT, size) for name, size in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in initial],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(file))


def detector(file):
    """An SCRFD for pictures of any size, which finds a face at POINTS where any pixel is bright."""
    nodes = [helper.make_node("ReduceMax", ["picture"], ["brightest"], keepdims=0)]
    outputs, initial = {}, []
    for kind, values in (("score", [1]), ("box", [0, 0, 64, 64]), ("points", POINTS.ravel())):
        for stride in (8, 16, 32):
            name, grid = f"{kind}{stride}", np.zeros((2 * (SIDE // stride) ** 2, len(values)), "f4")
            if stride == 8:
                grid[0] = np.divide(values, 1 if kind == "score" else stride)
            initial.append((f"{name}-grid", grid))
            scaled = kind == "score"
            nodes.append(
                helper.make_node("Mul", [f"{name}-grid", "brightest"], [name])
                if scaled
                else helper.make_node("Identity", [f"{name}-grid"], [name])
            )
            outputs[name] = grid.shape
    save(file, nodes, [1, 3, "height", "width"], outputs, initial)


def recognition(file):
    """An ArcFace of the usual shape, which describes a crop by 4 x 4 mean colours."""
    nodes = [
        helper.make_node(
            "AveragePool", ["picture"], ["pooled"], kernel_shape=[28, 28], strides=[28, 28]
        ),
        helper.make_node("Flatten", ["pooled"], ["features"]),
    ]
    save(file, nodes, ["batch", 3, 112, 112], {"features": ["batch", 48]})


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pack")
    detector(folder / "det.onnx")
    recognition(folder / "rec.onnx")
    return folder


@pytest.fixture(scope="module")
def faces(pack):
    settings = FaceSimilarity(pack=str(pack), det_sizes=(SIDE,))
    return face_similarity.recogniser(settings)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def tower(root):
    return runs.get_or_create(vision_tower.TowerRun(tower=TOWER), root)


@pytest.fixture(scope="module")
def offline(root):
    return face_similarity.recogniser(FaceSimilarity(), TOWER, root)


def drawn(person, number, size=32):
    appearance = drawings.sample_appearance(drawings.HELD_OUT_FACES + 500_000 + person)
    scene = drawings.sample_scene(np.random.default_rng([person, number]), "train")
    return drawings.draw(appearance, scene, size)


def noise(seed, size=256):
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((size, size), Image.Resampling.NEAREST)


# ---------------------------------------------------------------- a pack


def test_a_pack_goes_through_detection_alignment_and_recognition(faces):
    anchor = noise(1)
    outside, inside = anchor.copy(), anchor.copy()
    outside.paste("green", (140, 140, 256, 256))
    inside.paste("green", (20, 20, 100, 100))
    same, beside, changed, other = face_similarity.similarities(
        anchor, [anchor, outside, inside, noise(2)], faces
    )
    assert same == pytest.approx(1) and beside == pytest.approx(1)  # only the crop counts
    assert changed < 0.99 and other < 0.9

    a, b = (
        np.asarray(picture.crop((0, 0, 128, 128)).resize((112, 112)))[:, :, ::-1]
        for picture in (anchor, noise(2))
    )
    arcface = faces.models["recognition"]
    assert type(arcface).__name__ == "ArcFaceONNX" and type(faces.det_model).__name__ == "SCRFD"
    features = arcface.get_feat([a, b])
    assert arcface.compute_sim(*features) == pytest.approx(other, abs=0.05)  # cosine, not product


def test_no_face_is_nan_in_a_view_and_an_error_in_the_anchor(faces):
    black = Image.new("RGB", (64, 64))
    found = face_similarity.similarities(noise(1), [black, noise(1)], faces)
    assert np.isnan(found[0]) and found[1] == pytest.approx(1)
    assert list(found >= FaceSimilarity().threshold) == [False, True]
    with pytest.raises(face_similarity.NoFace, match="anchor"):
        face_similarity.similarities(black, [noise(1)], faces)
    assert face_similarity.similarities(noise(1), [], faces).shape == (0,)


def test_other_modes_and_sizes_are_seen_in_colour(faces):
    anchor = noise(1)
    views = [
        anchor.convert("RGBA"),
        anchor.quantize(64),
        anchor.resize((900, 900)),
        anchor.convert("L"),
    ]
    found = face_similarity.similarities(anchor, views, faces)
    assert found[:3].min() > 0.99 and found[3] < 0.99


def test_the_detector_looks_at_the_sizes_that_it_is_told(pack, faces):
    assert faces.det_model.input_sizes == [(SIDE, SIDE)]
    both = face_similarity.recogniser(FaceSimilarity(pack=str(pack)))
    assert both.det_model.input_sizes == [(128, 128), (640, 640)]
    for wrong in ((), (100,), (0,)):
        with pytest.raises(ValidationError):
            FaceSimilarity(det_sizes=wrong)


# ---------------------------------------------------------------- no pack


def refused(pack):
    with pytest.raises(face_similarity.NoRecogniser) as caught:
        face_similarity.recogniser(FaceSimilarity(pack=pack))
    message = str(caught.value)
    assert "construction.face_similarity.pack" in message and "w600k_r50.onnx" in message
    assert "non-commercial" in message and str(paths.DATA / "buffalo_l") in message
    return message


def test_without_a_pack_the_error_says_where_to_put_it_and_its_licence(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "names no model pack" in refused(None)
    assert "no folder" in refused("buffalo_l")  # a name that insightface would go and download
    assert str(tmp_path / "packs") in refused("~/packs")
    assert not list(tmp_path.iterdir())


def test_a_pack_one_folder_too_deep_is_found(tmp_path):
    deeper = tmp_path / "buffalo_l" / "buffalo_l"
    deeper.mkdir(parents=True)
    detector(deeper / "det.onnx")
    with pytest.raises(face_similarity.NoRecogniser, match=f"but {deeper} does; name that"):
        face_similarity.recogniser(FaceSimilarity(pack=str(deeper.parent)))
    assert "no recogniser" in refused(str(deeper))


def test_a_pack_that_is_not_whole_is_refused_by_name(tmp_path):
    assert str(tmp_path) in refused(str(tmp_path))
    detector(tmp_path / "det.onnx")
    assert "no recogniser" in refused(str(tmp_path))
    recognition(tmp_path / "rec.onnx")
    (tmp_path / "det.onnx").unlink()
    assert "detector" in refused(str(tmp_path))
    (tmp_path / "det.onnx").write_bytes((tmp_path / "rec.onnx").read_bytes()[:100])
    assert str(tmp_path) in refused(str(tmp_path))


# ---------------------------------------------------------------- the tower as a pack


def test_the_exported_tower_says_what_the_tower_says(tower, offline):
    """From the picture on: its detector and alignment leave every pixel where it was."""
    pictures = [drawn(person, 0) for person in range(3)]
    torchs = vision_tower.vision_model(TOWER).eval()
    torchs.load_state_dict(load_file(tower / "tower.safetensors"))
    pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
    with torch.no_grad():
        expected = torchs(pixel_values=vision_tower.normalise(pixels.permute(0, 3, 1, 2)))
    expected = expected.last_hidden_state[:, 1:].mean(1).numpy()
    bgr = [np.ascontiguousarray(np.asarray(picture)[:, :, ::-1]) for picture in pictures]
    said = np.stack([offline.get(picture)[0].embedding for picture in bgr])
    # but for the middle that is taken off, the same for all
    assert np.allclose(said - said[0], expected - expected[0], atol=1e-4)
    assert np.abs(expected - expected[0]).max() > 0.01
    arcface = offline.models["recognition"]
    assert type(arcface).__name__ == "ArcFaceONNX" and arcface.input_mean == 127.5
    crops = [
        np.asarray(picture.resize((128, 128), Image.Resampling.NEAREST))[:, :, ::-1]
        for picture in pictures
    ]
    assert np.allclose(arcface.get_feat(crops), said, atol=1e-4)  # a batch as well


def test_views_of_one_person_are_more_alike_than_of_two(offline):
    views = [[drawn(person, number) for number in range(1, 6)] for person in range(10)]
    flat = [view for person in views for view in person]
    found = np.stack([face_similarity.similarities(drawn(k, 0), flat, offline) for k in range(10)])
    found = found.reshape(10, 10, 5)
    own = found[np.arange(10), np.arange(10)]
    others = found[~np.eye(10, dtype=bool)]
    # This tower has seen 200 faces; the tiny base's, with 3,000, reaches 0.6 against 0.1.
    assert own.mean() > others.mean() + 0.1
    assert (own.ravel()[:, None] > others.ravel()).mean() > 0.6  # chance: 0.5


def test_the_pack_of_a_tower_is_made_once_and_belongs_to_it(root, tower, offline):
    [made] = root.glob("faces-*")
    assert runs.read_json(made / "spec.json")["spec"]["tower"]["tower"]["layers"] == 1
    before = (made / "recognition.onnx").stat().st_mtime_ns
    face_similarity.recogniser(FaceSimilarity(), TOWER, root)
    assert (made / "recognition.onnx").stat().st_mtime_ns == before
    other = face_similarity.TowerPack(
        tower=vision_tower.TowerRun(tower=TOWER.model_copy(update={"seed": 1}))
    )
    assert runs.folder(other, root) != made and tower.is_dir()
    assert sorted(file.name for file in made.iterdir()) == [
        "DONE",
        "detection.onnx",
        "recognition.onnx",
        "spec.json",
    ]


def test_a_survey_compares_with_ones_own_anchor_and_anothers(offline):
    rows = pd.DataFrame(
        {"identity": ["p00"] * 3 + ["p01"] * 3, "split": ["train", "train", "test"] * 2}
    )
    pictures = [drawn(person, number) for person in (0, 1) for number in range(3)]
    found = face_similarity.survey(rows, pictures, offline)
    assert list(found.columns) == ["identity", "split", "of", "similarity"]
    assert len(found) == 2 * 2 * 2  # the anchors themselves are not compared
    own = found[found.of == "the same person"].similarity.to_numpy()
    expected = [
        face_similarity.similarities(pictures[3 * k], pictures[3 * k + 1 : 3 * k + 3], offline)
        for k in (0, 1)
    ]
    np.testing.assert_allclose(own, np.concatenate(expected), atol=1e-6)
    others = found[found.of == "another person"].similarity.to_numpy()
    crossed = [
        face_similarity.similarities(pictures[3 - 3 * k], pictures[3 * k + 1 : 3 * k + 3], offline)
        for k in (0, 1)
    ]
    np.testing.assert_allclose(others, np.concatenate(crossed), atol=1e-6)
