"""The construction, with a client in place of Google's that draws faces by code, and no network;
and once from end to end, with nothing in place of anything but the service at the other end."""

import dataclasses
import itertools
import json
import re
from base64 import b64encode, urlsafe_b64decode
from collections import Counter
from io import BytesIO
from pathlib import Path

import loopback
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from remem import __main__, paths, runs
from remem.config import load_config
from remem.config.loading import read_yaml
from remem.config.networks import VisionTower
from remem.config.services import Account, Construction, FaceSimilarity
from remem.construction import face_similarity, pipeline, prompts, review
from remem.data import leakage, review_marks, validation
from remem.report import writers
from remem.services import gemini, ledger
from remem.synthetic import faces, people

# A service is asked for addresses that do not give the name away.
PEOPLE = [
    dataclasses.replace(person, email=f"amber.otter{number}7@example.com")
    for number, person in enumerate(people.write(8, seed=5))
]
SETTINGS = Construction(
    text_model="words",
    image_model="pixels",
    concurrency=1,
    retries=0,
    repeats=0,
    people=2,
    single=2,
    multi=1,
    test_single=2,
    test_multi=1,
    image_size=32,
)
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
            written = {**person, "appearance": next(self.looks).format(number=number)}
            part = types.Part.from_text(text=json.dumps(written))
        else:
            given = [Image.open(BytesIO(each.inline_data.data)) for each in references]
            named = re.search(r"Face (\d+)", prompt)
            face = given[0].getpixel((0, 0))[0] if given else int(named[1])
            if (face := self.shows(prompt, face)) == DOWN:
                raise errors.ServerError(503, {"error": {"status": "UNAVAILABLE"}})
            if face == BLOCKED:
                return types.GenerateContentResponse(
                    candidates=[types.Candidate(finish_reason="IMAGE_SAFETY")]
                )
            if face == ECHO:
                picture = given[0]
            else:
                scene = faces.sample_scene(np.random.default_rng(list(prompt.encode())), "train")
                picture = faces.draw(faces.sample_appearance(face), scene, 40)
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
    monkeypatch.setattr(face_similarity, "recogniser", lambda settings: None)
    monkeypatch.setattr(face_similarity, "describe", describe)
    monkeypatch.setattr(paths, "save_figure", lambda figure, path: None)  # most of a test's time
    return answering


def changed(**fields):
    return Construction.model_validate({**SETTINGS.model_dump(), **fields})


def construct(settings, out, budget=None):
    return pipeline.construct(settings, out, Account(out / "services", budget))


# ---------------------------------------------------------------- what comes out


def test_it_makes_a_dataset_and_a_second_time_asks_for_nothing(service, tmp_path):
    folder = construct(SETTINGS, tmp_path)
    rows = validation.read(folder)
    assert len(service.prompts) == len(set(service.prompts)) == 2 + 2 + len(rows) == 16
    assert rows.groupby(["split", "hop"]).size().to_dict() == {
        ("train", "single"): 4,
        ("train", "multi"): 2,
        ("test", "single"): 4,
        ("test", "multi"): 2,
    }
    assert [*rows["name"].unique()] == [person.name for person in PEOPLE[:2]]
    pictures = validation.load_images(folder, rows["image"])
    assert {picture.size for picture in pictures} == {(32, 32)}
    assert not leakage.leaks(rows, folder).any()
    metadata = json.loads((folder / "people.json").read_text())
    assert metadata[1]["appearance"] == "Face 1, with {braces} & <marks>."
    assert construct(SETTINGS, tmp_path) == folder and len(service.prompts) == 16
    assert construct(changed(concurrency=2), tmp_path, budget=5.0) == folder


def test_pictures_show_the_person_in_the_layouts_of_their_split(service, tmp_path):
    folder = construct(SETTINGS, tmp_path)
    pictures = pd.read_csv(tmp_path / "draft" / "pictures.csv", keep_default_na=False)
    assert Counter(pictures.split) == {"train": 6, "test": 6, review_marks.ANCHOR: 2}
    for split in validation.SPLITS:
        part = pictures[pictures.split == split]
        for aspect, offered in prompts.LAYOUTS[split].items():
            assert set(part[aspect]) <= set(offered)
        assert not part.duplicated(["identity", *prompts.LAYOUTS[split]]).any()
    for image in pictures[pictures.split != review_marks.ANCHOR].image:
        assert (tmp_path / "draft" / image).read_bytes() == (folder / image).read_bytes()
    shown = pipeline.similarities(tmp_path)
    assert (shown.similarity == 1).all() and (shown.refused == "").all() and len(shown) == 12


# ---------------------------------------------------------------- what is refused


def test_a_picture_that_is_not_alike_or_faceless_or_blocked_is_asked_for_in_another_layout(
    service, tmp_path
):
    outcomes = iter([STRANGER, FACELESS, BLOCKED])

    def shows(prompt, face):
        return next(outcomes, face) if prompt.startswith(prompts.PICTURE[:20]) else face

    service.shows = shows
    folder = construct(SETTINGS, tmp_path)
    assert len(service.prompts) == len(set(service.prompts)) == 16 + 3
    refused = pipeline.similarities(tmp_path).query("refused != ''")
    assert [*refused.refused] == ["not alike (0.00)", "no face is found"]
    assert [*refused.similarity.isna()] == [False, True]
    assert len(validation.read(folder)) == 12
    assert construct(SETTINGS, tmp_path) == folder
    assert len(service.prompts) == 19, "what was blocked is not asked for again either"


def test_what_cannot_be_had_is_named_and_more_attempts_go_on_from_there(service, tmp_path):
    bad = prompts.layout(0, "p01", "test", 2)
    service.shows = lambda prompt, face: (
        STRANGER if prompt == prompts.picture(bad) and face == 1 else face
    )
    with pytest.raises(pipeline.Unfinished, match=r"p01-test-002.png: not alike \(0.00\)"):
        construct(changed(attempts=1), tmp_path)
    assert not [*tmp_path.glob("constructed-*")]
    assert len(pipeline.similarities(tmp_path)) == 12, "the others can be reviewed"
    construct(changed(attempts=2), tmp_path)
    assert len(service.prompts) == 16 + 1


def test_profiles_that_clash_are_written_again_with_the_reason(service, tmp_path):
    first, second, third = PEOPLE[:3]
    service.written = iter([first, dataclasses.replace(second, bank=first.bank), third])
    rows = validation.read(construct(SETTINGS, tmp_path))
    assert [*rows["name"].unique()] == [first.name, third.name]
    assert f"the bank {first.bank!r} is, holds or lies in" in service.prompts[2]
    service.written = itertools.repeat(first)
    with pytest.raises(pipeline.Unfinished, match=r"the profile p01: .* another person"):
        construct(changed(seed=1), tmp_path)
    assert len(set(service.prompts)) == len(service.prompts), "no prompt is the same twice"


def test_a_profile_tells_the_looks(service, tmp_path):
    service.looks = itertools.chain([LOOKS, " "], service.looks)
    construct(SETTINGS, tmp_path)
    assert "cannot be used: the looks are not told" in service.prompts[2]


def test_a_picture_that_is_the_one_it_was_made_after_is_asked_for_again(service, tmp_path):
    outcomes = iter([ECHO, ECHO])
    service.shows = lambda prompt, face: (
        next(outcomes, face) if prompt.startswith(prompts.PICTURE[:20]) else face
    )
    folder = construct(SETTINGS, tmp_path)
    assert len(service.prompts) == 16 + 2
    refused = pipeline.similarities(tmp_path).query("refused != ''").refused
    assert {*refused} == {"the same picture as anchor/p00.png"}
    rows = validation.read(folder)
    assert not leakage.leaks(rows, folder).any()


def test_what_the_service_failed_at_once_does_not_change_what_was_built_since(service, tmp_path):
    """An anchor that is answered after all, the next time, would take 6 paid views along."""
    outcomes = {prompts.ANCHOR[:20]: iter([DOWN]), prompts.PICTURE[:20]: iter([DOWN])}
    service.shows = lambda prompt, face: next(outcomes[prompt[:20]], face)
    folder = construct(SETTINGS, tmp_path)
    assert len(service.prompts) == 16 + 2
    for _ in range(2):
        assert construct(SETTINGS, tmp_path) == folder and len(service.prompts) == 16 + 2


def test_two_constructions_in_one_folder_do_not_meet_and_what_a_killed_one_left_goes(
    service, tmp_path, monkeypatch
):
    monkeypatch.setattr(writers, "PATIENCE", 0.0)
    half = paths.write(tmp_path / "draft" / "train" / "p00" / f".{'0a' * 8}.part", "x")
    built = tmp_path / f".{runs.name(pipeline.Built(content='x'))}.part"
    built.mkdir()
    paths.write(tmp_path / ".locks" / built.name[1:-5], "")
    with writers.alone(tmp_path):
        held = writers._held.pop(tmp_path)  # as if another process had it
        with pytest.raises(writers.InUse, match="is running and writes into"):
            construct(SETTINGS, tmp_path)
        assert half.exists() and not service.prompts
        writers._held[tmp_path] = held
    construct(SETTINGS, tmp_path)
    assert not half.exists() and not built.exists()


def test_where_no_picture_came_it_says_so(service, tmp_path):
    service.shows = lambda prompt, face: (
        BLOCKED if prompt.startswith(prompts.PICTURE[:20]) else face
    )
    with pytest.raises(pipeline.Unfinished, match=r"12 could not be had: .* no answer came"):
        construct(changed(attempts=1), tmp_path)
    assert pipeline.similarities(tmp_path).empty


def test_an_anchor_shows_one_face_and_nobody_elses(service, tmp_path):
    faces = iter([FACELESS, 3, 3, BLOCKED, 4])

    def shows(prompt, face):
        return next(faces) if prompt.startswith(prompts.ANCHOR[:20]) else face

    service.shows = shows
    with pytest.raises(pipeline.Unfinished, match="anchor of p00: the face could be that of"):
        construct(changed(attempts=2), tmp_path)
    folder = construct(changed(attempts=4), tmp_path)
    assert len(validation.read(folder)) == 12
    assert len(set(service.prompts)) == len(service.prompts) == 16 + 3


# ---------------------------------------------------------------- a person's review


def test_what_a_reviewer_drops_is_drawn_again_and_never_comes_back(service, tmp_path):
    before = construct(SETTINGS, tmp_path)
    draft, image = tmp_path / "draft", "train/p01/p01-train-002.png"
    assert review.write_pages(draft), "the draft is what a review takes"
    mark = review_marks.fingerprint(Image.open(draft / image))
    line = f"p01,{image},{mark},drop,artefacts"
    paths.write(draft / "review" / "p01.csv", ",".join(review_marks.COLUMNS) + f"\n{line}\n")
    after = construct(SETTINGS, tmp_path)
    assert len(service.prompts) == 16 + 1
    pictures = [path.relative_to(after) for path in after.rglob("*.png")]
    different = [
        path for path in pictures if (after / path).read_bytes() != (before / path).read_bytes()
    ]
    assert different == [Path(image)], "the earlier dataset stays, in a folder of its own"
    assert "dropped in review (artefacts)" in set(pipeline.similarities(tmp_path).refused)
    assert review.write_pages(draft)
    assert construct(SETTINGS, tmp_path) == after and len(service.prompts) == 17


def test_a_dropped_anchor_takes_its_pictures_along(service, tmp_path):
    construct(SETTINGS, tmp_path)
    anchor = tmp_path / "draft" / review_marks.ANCHOR / "p00.png"
    line = f"p00,x.png,{review_marks.fingerprint(Image.open(anchor))},drop,ethics"
    paths.write(tmp_path / "draft/review/x.csv", ",".join(review_marks.COLUMNS) + f"\n{line}\n")
    construct(SETTINGS, tmp_path)
    assert len(service.prompts) == 16 + 1 + 6


# ---------------------------------------------------------------- what it costs


def test_the_budget_stops_it_and_it_goes_on_without_a_repeat(service, tmp_path):
    with pytest.raises(gemini.Stopped, match="budget"):
        construct(SETTINGS, tmp_path, budget=0.3)
    asked = len(service.prompts)
    assert 4 < asked < 16
    construct(SETTINGS, tmp_path)
    assert len(service.prompts) == len(set(service.prompts)) == 16


def test_nothing_is_paid_for_where_no_face_could_be_measured(service, tmp_path, monkeypatch):
    def none(settings):
        raise face_similarity.NoRecogniser("no pack")

    monkeypatch.setattr(face_similarity, "recogniser", none)
    with pytest.raises(face_similarity.NoRecogniser):
        construct(SETTINGS, tmp_path)
    assert not service.prompts


def test_the_plan_of_the_papers_numbers():
    table = pipeline.plan(Construction(text_model="a", image_model="b", repeats=1))
    assert table.set_index("kind").calls.to_dict() == {"text": 20, "image": 20 * (1 + 100 + 28)}
    assert (table.calls_at_most == 6 * table.calls).all()
    assert 90 < table.dollars.sum() < 120


def test_what_an_earlier_version_kept_beside_its_draft_is_not_paid_again(service, tmp_path):
    folder = construct(SETTINGS, tmp_path)
    (tmp_path / "services").rename(tmp_path / "answers")
    account = Account(tmp_path / "new", None, (tmp_path / "answers",))
    assert pipeline.construct(SETTINGS, tmp_path, account) == folder
    assert len(service.prompts) == 16


# ---------------------------------------------------------------- the command


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs `remem construct` with SETTINGS, and outputs of its own; gives the exit status."""
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    file = tmp_path / "mine.yaml"
    changes = {"construction": SETTINGS.model_dump(mode="json")}
    paths.write(file, json.dumps(read_yaml(paths.PARAMS / "smoke.yaml") | changes))
    return lambda *arguments: __main__.main(["construct", "--params", str(file), *arguments])


def test_the_command_plans_makes_and_says_what_comes_next(service, command, tmp_path, capsys):
    assert command("--dry-run", "--set", "people=3") == 0
    assert not service.prompts and not (tmp_path / "outputs").exists()
    said = capsys.readouterr().out
    assert re.search(r"image +pixels +21", said)
    assert "Estimated by construction.prices: $0.84" in said and "Nothing was asked" in said
    assert "services.budget ($150.00). Spent so far: $0.00, for what is in " in said
    assert command("--set", "construction.test_multi=0") == 0
    said = capsys.readouterr().out
    [folder] = (tmp_path / "outputs/smoke/construction").glob("constructed-*")
    assert f"the dataset: {folder}" in said and "remem review" in said
    assert f"--set benchmark={folder}" in said
    assert len(validation.read(folder)) == 10


@pytest.mark.parametrize(
    "assignment, reason",
    [
        ("people=1", "construction.people"),
        ("face_similarity.threshold=2", "construction.face_similarity.threshold"),
        ("atempts=2", "construction.atempts"),
        ("people.x=2", "construction.people"),
        ("seed=[", "construction.seed"),
        ("image_model", "construction.image_model"),
        ("budget=0", "raise services.budget"),
        ("services.budget=0", "raise services.budget"),
        ("construction.budget=0", "construction.budget: unknown key; it is services.budget now"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(service, command, capsys, assignment, reason):
    assert command("--set", assignment) == 2
    said = capsys.readouterr().err
    assert reason in said and "Traceback" not in said and not service.prompts


# ---------------------------------------------------------------- from end to end

LIKE = {
    0: 2,
    1: 3,
}  # slot -> face; faces of faces.sample_appearance that the small tower can tell apart
OTHER = 10  # somebody else, whom every fifth view shows
TOWER = VisionTower(
    image_size=32,
    patch=8,
    layers=1,
    width=64,
    heads=2,
    faces=60,
    views=4,
    epochs=6,
    batch=30,
    lr=2e-3,
)


class Gemini:
    """JSON where it is wanted, else a face: that in the picture that came along, which is known by
    its pixels."""

    def __init__(self):
        self.shown, self.slots, self.turns = {}, itertools.count(), itertools.count()

    def reply(self, request, times):
        *pictures, text = json.loads(request)["contents"][0]["parts"]
        part = self.drawn(pictures, text["text"]) if "IMAGE" in request else self.written()
        return loopback.answered(
            part, usageMetadata={"promptTokenCount": 900, "candidatesTokenCount": 1290}
        )

    def written(self):
        person = dataclasses.asdict(PEOPLE[slot := next(self.slots)])
        person.pop("identity")
        return {"text": json.dumps({**person, "appearance": f"Face {LIKE[slot]}."})}

    def drawn(self, pictures, prompt):
        if pictures:
            data = pictures[0]["inlineData"]["data"]
            own = self.shown[Image.open(BytesIO(urlsafe_b64decode(data))).tobytes()]
            face = OTHER if next(self.turns) % 5 == 4 else own
        else:
            face = int(re.search(r"Face (\d+)", prompt)[1])
        # near, before grey, for this tower; what changes is clothes, light and expression
        scene = dataclasses.replace(
            faces.sample_scene(np.random.default_rng(list(prompt.encode())), "train"),
            backdrop="plain",
            back=("grey", "white"),
            zoom=2.0,
            dx=0.0,
            dy=0.0,
            yaw=0.0,
            tilt=0.0,
        )
        picture = faces.draw(faces.sample_appearance(face), scene, 64)
        self.shown[picture.tobytes()] = face
        picture.save(png := BytesIO(), "PNG")
        data = b64encode(png.getvalue()).decode()
        return {"inlineData": {"mimeType": "image/png", "data": data}}


@pytest.fixture
def online(monkeypatch, tmp_path):
    monkeypatch.setenv("REMEM_OUTPUTS", str(tmp_path / "outputs"))
    with loopback.serving(monkeypatch, None, json.dumps) as server:
        server.gemini = Gemini()
        server.reply = server.gemini.reply
        yield server


@pytest.mark.timeout(120)
def test_from_the_command_to_a_dataset_over_the_wire(online, monkeypatch, tmp_path, capsys):
    """Nothing is replaced but the far end: the SDK, insightface, the files and the command are what
    a person has who points face_similarity.pack at a folder and GOOGLE_GEMINI_BASE_URL at a
    service."""
    face_similarity.recogniser(FaceSimilarity(), TOWER, tmp_path)
    [pack] = tmp_path.glob("faces-*")
    counts = ("people=2", "single=2", "multi=1", "test_single=2", "test_multi=1")
    counts += ("image_size=64", "retries=0")
    similar = (f"face_similarity.pack={pack}", "face_similarity.threshold=0.6")
    command = ["construct", "--scale", "smoke", "--out", str(tmp_path / "out")]
    command += [word for pair in (*counts, *similar) for word in ("--set", pair)]

    assert __main__.main(command) == 2, "without a key"
    assert "GOOGLE_API_KEY or GEMINI_API_KEY" in capsys.readouterr().err and not online.requests
    monkeypatch.setenv("GEMINI_API_KEY", "not-a-real-key")
    assert __main__.main([*command, "--dry-run"]) == 0 and not online.requests
    capsys.readouterr()

    assert __main__.main(command) == 0
    [folder] = (tmp_path / "out").glob("constructed-*")
    said = capsys.readouterr().out
    assert f"the dataset: {folder}" in said and f"--set benchmark={folder}" in said
    # 2 profiles, 2 anchors, 12 views, and the 5th and 10th again
    assert len(online.requests) == 2 + 2 + 12 + 2
    calls = ledger.calls(load_config("smoke").account)
    assert {*calls.outcome} == {"accepted"} and {*calls.version} == {"v-007"} and len(calls) == 18
    assert {*calls.section} == {"construction"}
    similarities = pipeline.similarities(tmp_path / "out")
    refused = similarities[similarities.refused != ""]
    assert len(refused) == 2 and (refused.similarity < 0.5).all()
    assert (similarities[similarities.refused == ""].similarity > 0.7).all()
    assert Image.open(tmp_path / "out/draft/similarities.png").width > 100, "their histogram"

    rows, faults = validation.inspect(folder)
    assert len(rows) == 12 and not any(faults.values())
    for person in json.loads((folder / "people.json").read_text()):
        mine = validation.load_images(folder, rows[rows.identity == person["identity"]].image)
        [face] = {online.gemini.shown[picture.tobytes()] for picture in mine}
        assert person["appearance"] == f"Face {face}."
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert b"not-a-real-key" not in b"".join(path.read_bytes() for path in files)

    online.shutdown()  # and so nobody could answer
    online.server_close()
    monkeypatch.delenv("GEMINI_API_KEY")
    assert __main__.main(command) == 0 and len(online.requests) == 18
    assert f"the dataset: {folder}" in capsys.readouterr().out
    assert runs.verify(folder) == folder
    command[command.index(str(tmp_path / "out"))] = str(tmp_path / "other")  # nor elsewhere
    assert __main__.main(command) == 0 and len(online.requests) == 18
    assert (tmp_path / "other" / folder.name).is_dir()
