"""The construction, with a client in place of Google's that draws faces by code, and no network."""

import dataclasses
import itertools
import json
import math
import re
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from remem import briefs, construct, dataset, gemini, images, likeness, paths, profiles, review

PEOPLE = profiles.write(8, seed=5)
SETTINGS = construct.Construction(
    text_model="words", image_model="pixels", concurrency=1, retries=0, repeats=0,
    people=2, single=2, multi=1, test_single=2, test_multi=1, image_size=32,
)  # fmt: skip
STRANGER, FACELESS, BLOCKED = 99, 255, None


def alike(anchor, views, recogniser):
    """Which face a picture shows is in its first pixel: the same face 0.9, another 0.1."""
    faces = [picture.getpixel((0, 0))[0] for picture in (anchor, *views)]
    if faces[0] == FACELESS:
        raise likeness.NoFace("none")
    return np.array([math.nan if face == FACELESS else 0.9 if face == faces[0] else 0.1
                     for face in faces[1:]])  # fmt: skip


class Service:
    """Answers as Gemini would. `written` are the profiles to come; `shows` says, of a prompt and
    the face that is asked for, which face the picture shows."""

    def __init__(self):
        self.prompts: list[str] = []
        self.written = iter(PEOPLE)
        self.shows = lambda prompt, face: face

    def generate_content(self, model, contents, config):
        from google.genai import types

        *references, prompt = contents
        self.prompts.append(prompt)
        if model == "words":
            person = dataclasses.asdict(next(self.written))
            number = int(person.pop("identity")[1:])
            told = {**person, "appearance": f"Face {number}, with {{braces}} & <marks>."}
            part = types.Part.from_text(text=json.dumps(told))
        else:
            asked = [Image.open(BytesIO(each.inline_data.data)) for each in references]
            named = re.search(r"Face (\d+)", prompt)
            face = asked[0].getpixel((0, 0))[0] if asked else int(named[1])
            if (face := self.shows(prompt, face)) is BLOCKED:
                return types.GenerateContentResponse(
                    candidates=[types.Candidate(finish_reason="IMAGE_SAFETY")]
                )
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
    monkeypatch.setattr(likeness, "similarities", alike)
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
    assert not dataset.leaks(rows, pictures).any()
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
    assert (shown.similarity == 0.9).all() and (shown.refused == "").all() and len(shown) == 12


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
    assert [*refused.refused] == ["not alike (0.10)", "no face is found"]
    assert [*refused.similarity.isna()] == [False, True]
    assert len(dataset.read(folder)) == 12
    assert construct.run(SETTINGS, tmp_path) == folder
    assert len(service.prompts) == 19, "what was blocked is not asked for again either"


def test_what_cannot_be_had_is_named_and_more_attempts_go_on_from_there(service, tmp_path):
    bad = briefs.layout(0, "p01", "test", 2)
    service.shows = lambda prompt, face: (
        STRANGER if prompt == briefs.view(bad) and face == 1 else face
    )
    with pytest.raises(construct.Unfinished, match=r"p01-test-002.png: not alike \(0.10\)"):
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
    assert re.search(r"image +pixels +21", capsys.readouterr().out)
    assert construct.main(["--scale", "mine", "--set", "construction.test_multi=0"]) == 0
    told = capsys.readouterr().out
    [folder] = (tmp_path / "outputs/mine/construction").glob("constructed-*")
    assert f"the dataset: {folder}" in told and "remem.review" in told
    assert len(dataset.read(folder)) == 10


@pytest.mark.parametrize(
    "arguments, code, reason",
    [
        (["--people", "1"], 2, "construction.people"),
        (["--set", "likeness.threshold=2"], 2, "construction.likeness.threshold"),
        (["--set", "atempts=2"], 2, "construction.atempts"),
        (["--set", "people.x=2"], 2, "construction"),
        (["--set", "seed=["], 2, "construction"),
        (["--scale", "none"], 2, "none.yaml"),
        (["--set", "budget=0"], 1, "raise construction.budget"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(service, scale, capsys, arguments, code, reason):
    assert construct.main(["--scale", "mine", *arguments]) == code
    told = capsys.readouterr().err
    assert reason in told and "Traceback" not in told and not service.prompts
