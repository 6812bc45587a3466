"""The construction, with a client in place of Google's that draws faces by code, and no network;
and once from end to end, with nothing in place of anything but the service at the other end."""

import dataclasses
import itertools
import json
import re
import threading
from base64 import b64encode, urlsafe_b64decode
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from remem import (
    briefs,
    construct,
    dataset,
    gemini,
    images,
    likeness,
    params,
    paths,
    pretrain,
    profiles,
    publish,
    review,
    runs,
)

PEOPLE = profiles.write(8, seed=5)
SETTINGS = construct.Construction(
    text_model="words", image_model="pixels", concurrency=1, retries=0, repeats=0,
    people=2, single=2, multi=1, test_single=2, test_multi=1, image_size=32,
)  # fmt: skip
STRANGER, FACELESS, BLOCKED, DOWN, ECHO = 99, 255, "blocked", "down", "echo"
LOOKS = "Face {number}, with {{braces}} & <marks>."


def describe(picture, recogniser):
    """Which face a picture shows is in its first pixel; no two are alike in anything."""
    face = picture.getpixel((0, 0))[0]
    return None if face == FACELESS else np.eye(256)[face]


class Service:
    """Answers as Gemini would. `written` are the profiles to come, `looks` what they tell; `shows`
    says, of a prompt and the face that is asked for, which face the picture shows."""

    def __init__(self):
        self.prompts: list[str] = []
        self.written, self.looks = iter(PEOPLE), itertools.repeat(LOOKS)
        self.shows = lambda prompt, face: face

    def generate_content(self, model, contents, config):
        from google.genai import errors, types

        *references, prompt = contents
        self.prompts.append(prompt)
        if model == "words":
            person = dataclasses.asdict(next(self.written))
            number = int(person.pop("identity")[1:])
            told = {**person, "appearance": next(self.looks).format(number=number)}
            part = types.Part.from_text(text=json.dumps(told))
        else:
            asked = [Image.open(BytesIO(each.inline_data.data)) for each in references]
            named = re.search(r"Face (\d+)", prompt)
            face = asked[0].getpixel((0, 0))[0] if asked else int(named[1])
            if (face := self.shows(prompt, face)) == DOWN:
                raise errors.ServerError(503, {"error": {"status": "UNAVAILABLE"}})
            if face == BLOCKED:
                return types.GenerateContentResponse(
                    candidates=[types.Candidate(finish_reason="IMAGE_SAFETY")]
                )
            if face == ECHO:
                picture = asked[0]
            else:
                view = images.view(np.random.default_rng(list(prompt.encode())), "train")
                picture = images.draw(images.identity(face), view, 40)
                picture.putpixel((0, 0), (face, 0, 0))
            picture.save(png := BytesIO(), "PNG")
            part = types.Part.from_bytes(data=png.getvalue(), mime_type="image/png")
        content = types.Content(role="model", parts=[part])
        return types.GenerateContentResponse(
            candidates=[types.Candidate(content=content, finish_reason="STOP")]
        )


@pytest.fixture
def service(monkeypatch):
    from google import genai

    class Client:
        def __init__(self, **_):
            self.models = answering

        def close(self):
            pass

    answering = Service()
    monkeypatch.setattr(genai, "Client", Client)
    monkeypatch.setenv("GOOGLE_API_KEY", "no-key")
    monkeypatch.setattr(likeness, "recogniser", lambda settings, tower: None)
    monkeypatch.setattr(likeness, "describe", describe)
    monkeypatch.setattr(paths, "save_figure", lambda figure, path: None)  # most of a test's time
    return answering


def changed(**fields):
    return construct.Construction.model_validate({**SETTINGS.model_dump(), **fields})


# ---------------------------------------------------------------- what comes out


def test_it_makes_a_dataset_and_a_second_time_asks_for_nothing(service, tmp_path):
    folder = construct.run(SETTINGS, tmp_path)
    rows = dataset.read(folder)
    assert len(service.prompts) == len(set(service.prompts)) == 2 + 2 + len(rows) == 16
    assert rows.groupby(["split", "hop"]).size().to_dict() == {
        ("train", "single"): 4, ("train", "multi"): 2, ("test", "single"): 4, ("test", "multi"): 2
    }  # fmt: skip
    assert [*rows["name"].unique()] == [person.name for person in PEOPLE[:2]]
    pictures = dataset.load_images(folder, rows["image"])
    assert {picture.size for picture in pictures} == {(32, 32)}
    assert not dataset.leaks(rows, folder).any()
    told = json.loads((folder / "people.json").read_text())
    assert told[1]["appearance"] == "Face 1, with {braces} & <marks>."
    assert construct.run(SETTINGS, tmp_path) == folder and len(service.prompts) == 16
    assert construct.run(changed(budget=5.0, concurrency=2), tmp_path) == folder


def test_pictures_show_the_person_in_the_layouts_of_their_split(service, tmp_path):
    folder = construct.run(SETTINGS, tmp_path)
    views = pd.read_csv(tmp_path / "draft" / "views.csv", keep_default_na=False)
    assert Counter(views.split) == {"train": 6, "test": 6, review.ANCHOR: 2}
    for split in dataset.SPLITS:
        part = views[views.split == split]
        for aspect, offered in briefs.LAYOUTS[split].items():
            assert set(part[aspect]) <= set(offered)
        assert not part.duplicated(["identity", *briefs.LAYOUTS[split]]).any()
    for image in views[views.split != review.ANCHOR].image:
        assert (tmp_path / "draft" / image).read_bytes() == (folder / image).read_bytes()
    shown = construct.similarities(tmp_path)
    assert (shown.similarity == 1).all() and (shown.refused == "").all() and len(shown) == 12


# ---------------------------------------------------------------- what is refused


def test_a_view_that_is_not_alike_or_faceless_or_blocked_is_asked_for_in_another_layout(
    service, tmp_path
):
    outcomes = iter([STRANGER, FACELESS, BLOCKED])

    def shows(prompt, face):
        return next(outcomes, face) if prompt.startswith(briefs.VIEW[:20]) else face

    service.shows = shows
    folder = construct.run(SETTINGS, tmp_path)
    assert len(service.prompts) == len(set(service.prompts)) == 16 + 3
    refused = construct.similarities(tmp_path).query("refused != ''")
    assert [*refused.refused] == ["not alike (0.00)", "no face is found"]
    assert [*refused.similarity.isna()] == [False, True]
    assert len(dataset.read(folder)) == 12
    assert construct.run(SETTINGS, tmp_path) == folder
    assert len(service.prompts) == 19, "what was blocked is not asked for again either"


def test_what_cannot_be_had_is_named_and_more_attempts_go_on_from_there(service, tmp_path):
    bad = briefs.layout(0, "p01", "test", 2)
    service.shows = lambda prompt, face: (
        STRANGER if prompt == briefs.view(bad) and face == 1 else face
    )
    with pytest.raises(construct.Unfinished, match=r"p01-test-002.png: not alike \(0.00\)"):
        construct.run(changed(attempts=1), tmp_path)
    assert not [*tmp_path.glob("constructed-*")]
    assert len(construct.similarities(tmp_path)) == 12, "the others can be reviewed"
    construct.run(changed(attempts=2), tmp_path)
    assert len(service.prompts) == 16 + 1


def test_profiles_that_clash_are_written_again_with_the_reason(service, tmp_path):
    first, second, third = PEOPLE[:3]
    service.written = iter([first, dataclasses.replace(second, bank=first.bank), third])
    rows = dataset.read(construct.run(SETTINGS, tmp_path))
    assert [*rows["name"].unique()] == [first.name, third.name]
    assert f"the bank {first.bank!r} is, holds or lies in" in service.prompts[2]
    service.written = itertools.repeat(first)
    with pytest.raises(construct.Unfinished, match="the profile p01: .* another person"):
        construct.run(changed(seed=1), tmp_path)
    assert len(set(service.prompts)) == len(service.prompts), "no prompt is the same twice"


def test_a_profile_tells_the_looks(service, tmp_path):
    service.looks = itertools.chain([LOOKS, " "], service.looks)
    construct.run(SETTINGS, tmp_path)
    assert "cannot be used: the looks are not told" in service.prompts[2]


def test_a_view_that_is_the_picture_it_was_made_after_is_asked_for_again(service, tmp_path):
    outcomes = iter([ECHO, ECHO])
    service.shows = lambda prompt, face: (
        next(outcomes, face) if prompt.startswith(briefs.VIEW[:20]) else face
    )
    folder = construct.run(SETTINGS, tmp_path)
    assert len(service.prompts) == 16 + 2
    refused = construct.similarities(tmp_path).query("refused != ''").refused
    assert {*refused} == {"the same picture as anchor/p00.png"}
    rows = dataset.read(folder)
    assert not dataset.leaks(rows, folder).any()


def test_what_the_service_failed_at_once_does_not_change_what_was_built_since(service, tmp_path):
    """An anchor that is answered after all, the next time, would take 6 paid views along."""
    outcomes = {briefs.ANCHOR[:20]: iter([DOWN]), briefs.VIEW[:20]: iter([DOWN])}
    service.shows = lambda prompt, face: next(outcomes[prompt[:20]], face)
    folder = construct.run(SETTINGS, tmp_path)
    assert len(service.prompts) == 16 + 2
    for _ in range(2):
        assert construct.run(SETTINGS, tmp_path) == folder and len(service.prompts) == 16 + 2


def test_where_no_view_came_it_says_so(service, tmp_path):
    service.shows = lambda prompt, face: BLOCKED if prompt.startswith(briefs.VIEW[:20]) else face
    with pytest.raises(construct.Unfinished, match="12 could not be had: .* no answer came"):
        construct.run(changed(attempts=1), tmp_path)
    assert construct.similarities(tmp_path).empty


def test_an_anchor_shows_one_face_and_nobody_elses(service, tmp_path):
    faces = iter([FACELESS, 3, 3, BLOCKED, 4])

    def shows(prompt, face):
        return next(faces) if prompt.startswith(briefs.ANCHOR[:20]) else face

    service.shows = shows
    with pytest.raises(construct.Unfinished, match="anchor of p00: the face could be that of"):
        construct.run(changed(attempts=2), tmp_path)
    folder = construct.run(changed(attempts=4), tmp_path)
    assert len(dataset.read(folder)) == 12
    assert len(set(service.prompts)) == len(service.prompts) == 16 + 3


# ---------------------------------------------------------------- a person's review


def test_what_a_reviewer_drops_is_drawn_again_and_never_comes_back(service, tmp_path):
    before = construct.run(SETTINGS, tmp_path)
    draft, image = tmp_path / "draft", "train/p01/p01-train-002.png"
    assert review.main([str(draft)]) == 0, "the draft is what review.py takes"
    mark = review.fingerprint(Image.open(draft / image))
    line = f"p01,{image},{mark},drop,artefacts"
    paths.write(draft / "review" / "p01.csv", ",".join(review.COLUMNS) + f"\n{line}\n")
    after = construct.run(SETTINGS, tmp_path)
    assert len(service.prompts) == 16 + 1
    pictures = [path.relative_to(after) for path in after.rglob("*.png")]
    different = [path for path in pictures
                 if (after / path).read_bytes() != (before / path).read_bytes()]  # fmt: skip
    assert different == [Path(image)], "the earlier dataset stays, in a folder of its own"
    assert "dropped in review (artefacts)" in set(construct.similarities(tmp_path).refused)
    assert review.main([str(draft)]) == 0
    assert construct.run(SETTINGS, tmp_path) == after and len(service.prompts) == 17


def test_a_dropped_anchor_takes_its_views_along(service, tmp_path):
    construct.run(SETTINGS, tmp_path)
    anchor = tmp_path / "draft" / review.ANCHOR / "p00.png"
    line = f"p00,x.png,{review.fingerprint(Image.open(anchor))},drop,ethics"
    paths.write(tmp_path / "draft/review/x.csv", ",".join(review.COLUMNS) + f"\n{line}\n")
    construct.run(SETTINGS, tmp_path)
    assert len(service.prompts) == 16 + 1 + 6


# ---------------------------------------------------------------- what it costs


def test_the_budget_stops_it_and_it_goes_on_without_a_repeat(service, tmp_path):
    with pytest.raises(gemini.Stopped, match="budget"):
        construct.run(changed(budget=0.3), tmp_path)
    asked = len(service.prompts)
    assert 4 < asked < 16
    construct.run(SETTINGS, tmp_path)
    assert len(service.prompts) == len(set(service.prompts)) == 16


def test_nothing_is_paid_for_where_no_face_could_be_measured(service, tmp_path, monkeypatch):
    def none(settings, tower):
        raise likeness.NoRecogniser("no pack")

    monkeypatch.setattr(likeness, "recogniser", none)
    with pytest.raises(likeness.NoRecogniser):
        construct.run(SETTINGS, tmp_path)
    assert not service.prompts


def test_the_plan_of_the_papers_numbers():
    table = construct.plan(construct.Construction(text_model="a", image_model="b", repeats=1))
    assert table.set_index("kind").calls.to_dict() == {"text": 20, "image": 20 * (1 + 100 + 28)}
    assert (table.calls_at_most == 6 * table.calls).all()
    assert 90 < table.dollars.sum() < 120


# ---------------------------------------------------------------- the command


@pytest.fixture
def scale(tmp_path, monkeypatch):
    """A parameter file `mine`, and outputs of one's own."""
    monkeypatch.setattr(paths, "PARAMS", tmp_path)
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    section = json.dumps({"construction": SETTINGS.model_dump(mode="json")})
    return paths.write(tmp_path / "mine.yaml", section)


def test_the_command_plans_makes_and_says_what_comes_next(service, scale, tmp_path, capsys):
    assert construct.main(["--scale", "mine", "--dry-run", "--people", "3"]) == 0
    assert not service.prompts and not (tmp_path / "outputs").exists()
    told = capsys.readouterr().out
    assert re.search(r"image +pixels +21", told)
    assert "Estimated by construction.prices: $0.84" in told and "Nothing was asked" in told
    assert "construction.budget (none is set). Spent so far: $0.00" in told
    assert construct.main(["--scale", "mine", "--set", "construction.test_multi=0"]) == 0
    told = capsys.readouterr().out
    [folder] = (tmp_path / "outputs/mine/construction").glob("constructed-*")
    assert f"the dataset: {folder}" in told and "remem.review" in told
    assert f"--set benchmark={folder}" in told
    assert len(dataset.read(folder)) == 10


@pytest.mark.parametrize(
    "arguments, code, reason",
    [
        (["--people", "1"], 2, "construction.people"),
        (["--set", "likeness.threshold=2"], 2, "construction.likeness.threshold"),
        (["--set", "atempts=2"], 2, "construction.atempts"),
        (["--set", "people.x=2"], 2, "construction"),
        (["--set", "seed=["], 2, "construction"),
        (["--scale", "none"], 2, "choose from"),
        (["--scale", "../mine"], 2, "choose from"),
        (["--set", "image_model"], 2, "construction.image_model"),
        (["--set", "budget=0"], 1, "raise construction.budget"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(service, scale, capsys, arguments, code, reason):
    try:
        assert construct.main(["--scale", "mine", *arguments]) == code
    except SystemExit as stop:  # argparse's
        assert stop.code == code
    told = capsys.readouterr().err
    assert reason in told and "Traceback" not in told and not service.prompts


# ---------------------------------------------------------------- from end to end

LIKE = {0: 2, 1: 3}  # slot -> face; faces of images.identity that the small tower can tell apart
OTHER = 10  # somebody else, whom every fifth view shows
TOWER = pretrain.Tower(image_size=32, patch=8, layers=1, width=64, heads=2, faces=60, views=4,
                       epochs=6, batch=30, lr=2e-3)  # fmt: skip


class Gemini(BaseHTTPRequestHandler):
    """The REST protocol: JSON where it is wanted, else a face; of a view, the one in the picture
    that came along, which is known by its pixels."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        *pictures, text = request["contents"][0]["parts"]
        with self.server.lock:
            part = self._written() if "responseSchema" in str(request) else self._drawn(
                pictures, text["text"])  # fmt: skip
            self.server.asked.append(self.path)
        content = {"parts": [part], "role": "model"}
        body = json.dumps({
            "candidates": [{"content": content, "finishReason": "STOP"}], "modelVersion": "v-1",
            "usageMetadata": {"promptTokenCount": 900, "candidatesTokenCount": 1290},
        }).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _written(self):
        person = dataclasses.asdict(PEOPLE[slot := next(self.server.slots)])
        person.pop("identity")
        return {"text": json.dumps({**person, "appearance": f"Face {LIKE[slot]}."})}

    def _drawn(self, pictures, prompt):
        if pictures:
            data = pictures[0]["inlineData"]["data"]
            own = self.server.shown[Image.open(BytesIO(urlsafe_b64decode(data))).tobytes()]
            face = OTHER if next(self.server.turns) % 5 == 4 else own
        else:
            face = int(re.search(r"Face (\d+)", prompt)[1])
        # near, before grey, for this tower; what changes is clothes, light and expression
        view = images.view(np.random.default_rng(list(prompt.encode())), "train")
        view = dataclasses.replace(view, backdrop="plain", back=("grey", "white"), zoom=2.0,
                                   dx=0.0, dy=0.0, yaw=0.0, tilt=0.0)  # fmt: skip
        picture = images.draw(images.identity(face), view, 64)
        self.server.shown[picture.tobytes()] = face
        picture.save(png := BytesIO(), "PNG")
        data = b64encode(png.getvalue()).decode()
        return {"inlineData": {"mimeType": "image/png", "data": data}}

    def log_message(self, *_):
        pass


@pytest.fixture
def online(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gemini)
    server.daemon_threads, server.lock = True, threading.Lock()
    server.asked, server.shown = [], {}
    server.slots, server.turns = itertools.count(), itertools.count()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    for name in [*gemini.KEYS, "GOOGLE_GENAI_API_VERSION", "GOOGLE_GENAI_USE_VERTEXAI"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.timeout(120)
def test_from_the_command_to_a_dataset_over_the_wire(online, monkeypatch, tmp_path, capsys):
    """Nothing is replaced but the far end: the SDK, insightface, the files and the command are what
    a person has who points likeness.pack at a folder and GOOGLE_GEMINI_BASE_URL at a service."""
    tower = pretrain.run_tower(TOWER, tmp_path)
    likeness.recogniser(likeness.Likeness(), tower)
    [pack] = tmp_path.glob("faces-*")
    counts = "single=2 multi=1 test_single=2 test_multi=1 image_size=64 retries=0".split()
    command = [word for pair in (*counts, f"likeness.pack={pack}", "likeness.threshold=0.6")
               for word in ("--set", pair)]  # fmt: skip
    command += ["--scale", "smoke", "--people", "2", "--out", str(tmp_path / "out")]

    assert construct.main(command) == 1, "without a key"
    assert "GOOGLE_API_KEY or GEMINI_API_KEY" in capsys.readouterr().err and not online.asked
    monkeypatch.setenv("GEMINI_API_KEY", "not-a-real-key")
    assert construct.main([*command, "--dry-run"]) == 0 and not online.asked
    capsys.readouterr()

    assert construct.main(command) == 0
    [folder] = (tmp_path / "out").glob("constructed-*")
    told = capsys.readouterr().out
    assert f"the dataset: {folder}" in told and f"--set benchmark={folder}" in told
    # 2 profiles, 2 anchors, 12 views, and the 5th and 10th again
    assert len(online.asked) == 2 + 2 + 12 + 2
    calls = gemini.calls(tmp_path / "out" / "answers")
    assert {*calls.outcome} == {"accepted"} and {*calls.version} == {"v-1"} and len(calls) == 18
    similarities = construct.similarities(tmp_path / "out")
    refused = similarities[similarities.refused != ""]
    assert len(refused) == 2 and (refused.similarity < 0.5).all()
    assert (similarities[similarities.refused == ""].similarity > 0.7).all()
    assert Image.open(tmp_path / "out/draft/similarities.png").width > 100, "their histogram"

    rows, faults = dataset.inspect(folder)
    assert len(rows) == 12 and not any(faults.values())
    for person in json.loads((folder / "people.json").read_text()):
        mine = dataset.load_images(folder, rows[rows.identity == person["identity"]].image)
        [face] = {online.shown[picture.tobytes()] for picture in mine}
        assert person["appearance"] == f"Face {face}."
    assert publish.main(["check", str(folder)]) == 0 and "no fault" in capsys.readouterr().out
    assert params.load("smoke", benchmark=str(folder)).dataset.identities == 2
    held = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert b"not-a-real-key" not in held

    online.shutdown()  # and so nobody could answer
    online.server_close()
    monkeypatch.delenv("GEMINI_API_KEY")
    assert construct.main(command) == 0 and len(online.asked) == 18
    assert f"the dataset: {folder}" in capsys.readouterr().out
    assert runs.verify(folder) == folder
