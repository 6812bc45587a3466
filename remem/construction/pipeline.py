"""A dataset of invented people, made with the services of section 6.1.

Profiles with a description of the looks; of each person an anchor picture, and pictures made after
it in layouts of two disjoint pools; a filter by face similarity; a person's review. What either
refuses is asked for again. Each answer that was paid for is kept (services.ledger), so the same
call goes on where it was. The result is a dataset folder. It needs insightface's model pack
(`construction.face_similarity.pack`), and a key for Gemini where something is still to be asked.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd
from PIL import Image, ImageOps
from tqdm import tqdm

from remem import paths, runs
from remem.config.services import Account, Construction
from remem.construction import face_similarity, prompts
from remem.data import review_marks, validation
from remem.report import writers
from remem.services import gemini, ledger
from remem.synthetic import questions
from remem.synthetic.people import ATTRIBUTES, Profile


class Unfinished(RuntimeError):
    """Too little was accepted for a dataset; the message says what is missing and why."""

    exit_status: ClassVar[int] = 1


class Built(runs.Spec):
    """A dataset by what it holds: another answer, or another review, is another dataset."""

    kind: ClassVar[str] = "constructed"
    content: str


class Person(NamedTuple):
    """A profile, and what the person looks like, in words."""

    profile: Profile
    appearance: str

    def facts(self) -> dict[str, str]:
        """Identity, attributes and appearance, as people.json has them."""
        return {**dataclasses.asdict(self.profile), "appearance": self.appearance}


class Picture(NamedTuple):
    """A picture that came back: as it is stored, its cosine similarity, and what was asked for."""

    image: Image.Image
    similarity: float
    layout: dict[str, str]


Slot = tuple[str, str, int]  # identity, split, number

MEASURED = ("identity", "split", "similarity", *prompts.LAYOUTS["train"], "version", "refused")


def construct(settings: Construction, out: Path, account: Account) -> Path:
    """The folder of the dataset, made below `out`; what was answered before costs nothing again.

    out: `draft/` (what review.write_pages shows; a reviewer's `draft/review/*.csv` is honoured;
    the histogram of similarities) and the dataset. account: what services answer, for all outputs.
    Raises Unfinished, writers.InUse, and what gemini, face_similarity and review_marks raise.
    """
    with writers.alone(Path(out)):
        for folder in Path(out, "draft").rglob("*/"):
            paths.clear(folder)
        return _constructed(settings, Path(out), account)


def _constructed(settings: Construction, out: Path, account: Account) -> Path:
    from remem.report import figures  # and matplotlib, for which a plan need not wait

    studio = _Studio(settings, out, account)
    people = studio.people()
    missing: dict[str, str] = {}
    pairs = list(zip(people, studio.anchors(people), strict=True))
    for person, anchor in tqdm(pairs, desc="people", unit="person", file=sys.stderr):
        why = studio.pictures(person.profile.identity, anchor)
        missing |= {_file(slot): reason for slot, reason in why.items()}
    if len(measured := similarities(studio.out)):
        threshold = settings.face_similarity.threshold
        histogram = figures.face_similarity(measured.assign(of="pictures"), threshold)
        paths.save_figure(histogram, studio.draft / "similarities")
    _complete(missing)
    return _build(settings, people, studio.draft, studio.out)


def plan(settings: Construction) -> pd.DataFrame:
    """What it would cost, without a call: kind, model, calls, dollars (ledger.plan), and the most
    that it can come to (calls_at_most, dollars_at_most): every attempt used up, and every answer
    refused as often as it is paid for."""
    pictures = 1 + sum(settings.pictures.values())
    table = ledger.plan(settings, texts=settings.people, images=settings.people * pictures)
    most = settings.attempts * (1 + settings.repeats)
    return table.assign(calls_at_most=most * table.calls, dollars_at_most=most * table.dollars)


def similarities(out: Path) -> pd.DataFrame:
    """The table behind the histogram: a row for each picture that came back, with identity, split,
    layout, similarity (NaN: no face is found) and refused (why; "" where it was accepted)."""
    table = pd.read_csv(Path(out) / "draft" / "similarities.csv", keep_default_na=False)
    return table.assign(similarity=pd.to_numeric(table.similarity, errors="coerce"))


class _Studio:
    """What the steps share: settings, draft, recogniser, and what a reviewer dropped."""

    def __init__(self, settings: Construction, out: Path, account: Account) -> None:
        self.settings, self.out, self.draft, self.account = settings, out, out / "draft", account
        # before anything else: without one nothing should be paid for
        self.recogniser = face_similarity.recogniser(settings.face_similarity)
        marks, self.dropped = self.draft / "review", {}
        if marks.is_dir():
            for row in review_marks.decisions(marks).query("decision == 'drop'").itertuples():
                self.dropped[row.identity, row.fingerprint] = f"dropped in review ({row.reason})"
        self.passed = self.draft / "passed.json"  # attempts that _taken leaves out
        self.drafted: list[dict] = []  # pictures.csv: the pictures of the draft
        self.measured: list[dict] = []  # similarities.csv: every picture that came back

    def people(self) -> list[Person]:
        """All people, no two of whom share a fact."""

        def ask(slots: list[int], attempt: int, why: dict[int, str]) -> list[Person | None]:
            texts = [
                prompts.profile(self.settings.seed, slot, attempt, why.get(slot, ""))
                for slot in slots
            ]
            answers = gemini.ask_text(texts, self.settings, self.account, prompts.Written)
            return [
                None if answer is None else _person(slot, answer)
                for slot, answer in zip(slots, answers, strict=True)
            ]

        def refuse(_: int, person: Person, taken: dict[int, Person]) -> str:
            if not person.appearance:
                return "the looks are not told"  # this and objections go into the next prompt
            return prompts.objection(person.profile, [other.profile for other in taken.values()])

        slots = range(self.settings.people)
        taken, why = self._taken("profile", slots, ask, refuse)
        _complete({f"the profile p{slot:02d}": why[slot] for slot in why})
        people = [taken[slot] for slot in slots]
        paths.write(self.draft / "people.json", runs.as_json([person.facts() for person in people]))
        return people

    def anchors(self, people: list[Person]) -> list[Image.Image]:
        """One for each person, at the service's size: it shows a face, and nobody else's."""
        names, faces = [person.profile.identity for person in people], {}

        def ask(slots: list[int], attempt: int, _: dict) -> list[Image.Image | None]:
            return self._draw(
                (prompts.anchor(people[slot].appearance, attempt), ()) for slot in slots
            )

        def refuse(slot: int, picture: Image.Image, _: dict) -> str:
            face = face_similarity.describe(picture, self.recogniser)
            if face is None:
                return "no face is found"
            for other, known in faces.items():
                if (similarity := known @ face) >= self.settings.face_similarity.threshold:
                    return f"the face could be that of {names[other]} ({similarity:.2f})"
            about = {"identity": names[slot], "split": review_marks.ANCHOR, "similarity": 1.0}
            image, picture = f"{review_marks.ANCHOR}/{names[slot]}.png", _stored(picture, size)
            if not (reason := self._keep(about, image, picture)):
                faces[slot] = face
            return reason

        slots, size = range(len(people)), self.settings.image_size
        taken, why = self._taken("anchor", slots, ask, refuse)
        _complete({f"the anchor of {names[slot]}": why[slot] for slot in why})
        return [taken[slot] for slot in slots]

    def pictures(self, identity: str, anchor: Image.Image) -> dict[Slot, str]:
        """Fill the draft with one person's pictures; which are missing, and why.

        The draft's tables are written too: a review may begin while the next person is drawn.
        """
        seed, wanted = self.settings.seed, self.settings.pictures

        def ask(slots: list[Slot], attempt: int, _: dict) -> list[Picture | None]:
            layouts = [
                prompts.layout(seed, identity, split, k + attempt * wanted[split])
                for _, split, k in slots
            ]
            images = self._draw((prompts.picture(layout), (anchor,)) for layout in layouts)
            came = [image for image in images if image is not None]
            measured = iter(face_similarity.similarities(anchor, came, self.recogniser))
            return [
                None
                if image is None
                else Picture(
                    _stored(image, self.settings.image_size), float(next(measured)), layout
                )
                for image, layout in zip(images, layouts, strict=True)
            ]

        def refuse(slot: Slot, picture: Picture, _: dict) -> str:
            about = dict(zip(("identity", "split"), slot, strict=False))
            about |= {"similarity": picture.similarity, **picture.layout}
            if math.isnan(picture.similarity):
                reason = "no face is found"
            elif picture.similarity < self.settings.face_similarity.threshold:
                reason = f"not alike ({picture.similarity:.2f})"
            else:
                reason = self._keep(about, _file(slot), picture.image)
            self.measured.append(about | {"refused": reason})
            return reason

        slots = [(identity, split, k) for split in validation.SPLITS for k in range(wanted[split])]
        # "view", as in the passed.json of earlier constructions, which are paid for
        _, why = self._taken("view", slots, ask, refuse)
        measured = pd.DataFrame(self.measured, columns=[*MEASURED])
        for name, table in (("pictures", pd.DataFrame(self.drafted)), ("similarities", measured)):
            paths.write(self.draft / f"{name}.csv", table.to_csv(index=False))
        return why

    def _draw(self, requests: Iterable[tuple[str, tuple]]) -> list[Image.Image | None]:
        return gemini.ask_image(list(requests), self.settings, self.account)

    def _keep(self, about: dict, image: str, picture: Image.Image) -> str:
        """Put a picture into the draft, unless a reviewer dropped the very same, or it is there
        already (some services hand back the picture that they were given): then why."""
        mark = about["identity"], review_marks.fingerprint(picture)
        if mark in self.dropped:
            return self.dropped[mark]
        self.dropped[mark] = f"the same picture as {image}"
        png = io.BytesIO()
        picture.save(png, "PNG")
        paths.write(self.draft / image, png.getvalue())
        self.drafted.append({"image": image, **about})
        return ""

    def _taken(
        self,
        step: str,
        slots: Sequence,
        ask: Callable[[list, int, dict], list],
        refuse: Callable[[Any, Any, dict], str],
    ) -> tuple[dict, dict[Any, str]]:
        """(slot -> its first answer that is not refused, slot -> why the last of the others was).

        All slots that are still empty are asked for at once: `ask(slots, attempt, reasons so far)`.
        Where a later attempt is taken, one that had no answer is left out from then on: answered
        the next time, it would be another anchor, and all pictures after it would be paid again.
        """
        passed = set(runs.read_json(self.passed)) if self.passed.is_file() else set()
        taken: dict = {}
        why: dict = dict.fromkeys(slots, "no answer came")
        silent: dict[str, Any] = {}
        for attempt in range(self.settings.attempts):
            names = {slot: f"{step} {slot} {attempt}" for slot in slots if slot not in taken}
            empty = [slot for slot, name in names.items() if name not in passed]
            for slot, answer in zip(empty, ask(empty, attempt, why) if empty else (), strict=True):
                why[slot] = "no answer came" if answer is None else refuse(slot, answer, taken)
                if answer is None:
                    silent[names[slot]] = slot
                elif not why[slot]:
                    taken[slot] = answer
        if late := {name for name, slot in silent.items() if slot in taken}:
            paths.write(self.passed, runs.as_json(sorted(passed | late)))
        return taken, {slot: why[slot] for slot in slots if slot not in taken}


def _complete(missing: dict[str, str]) -> None:
    if missing:
        lines = [f"{what}: {reason}" for what, reason in missing.items()]
        raise Unfinished(
            f"{len(lines)} could not be had: {'; '.join(lines[:10])}{' ...' * (len(lines) > 10)}. "
            "Raise construction.attempts, or change construction.face_similarity.threshold where "
            "it was the face, and start again: what was answered is not asked for twice"
        )


def _person(index: int, written: Any) -> Person:  # prompts.Written
    facts = {attribute: getattr(written, attribute).strip() for attribute in ATTRIBUTES}
    return Person(Profile(f"p{index:02d}", **facts), written.appearance.strip())


def _stored(picture: Image.Image, size: int) -> Image.Image:
    return ImageOps.fit(picture.convert("RGB"), (size, size), Image.Resampling.LANCZOS)


def _file(slot: Slot) -> str:
    identity, split, k = slot
    return f"{split}/{identity}/{identity}-{split}-{k:03d}.png"


def _build(settings: Construction, people: list[Person], draft: Path, out: Path) -> Path:
    """The draft's pictures and the questions, as a dataset folder has them, and read back once."""
    texts, pictures = {"people.json": runs.as_json([person.facts() for person in people])}, []
    for split, hops in settings.questions.items():
        lines = []
        for profile, _ in people:
            for k, item in enumerate(questions.build(profile, *hops, split, settings.seed)):
                file = _file((profile.identity, split, k))
                row = {
                    "file_name": file.removeprefix(f"{split}/"),
                    "id": Path(file).stem,
                    "identity": profile.identity,
                    "name": profile.name,
                    "split": split,
                    **dataclasses.asdict(item),
                }
                lines.append(json.dumps(row, ensure_ascii=False) + "\n")
                pictures.append(file)
        texts[f"{split}/metadata.jsonl"] = "".join(lines)

    def make(folder: Path) -> None:
        for name, text in texts.items():
            paths.write(folder / name, text, sync=False)
        for name in pictures:
            paths.write(folder / name, (draft / name).read_bytes(), sync=False)
        # how it came about, but not what it is: prices and retries are in it
        how = runs.as_json(settings.model_dump(mode="json"))
        paths.write(folder / "construction.json", how, sync=False)
        validation.read(folder)

    content = hashlib.sha256(json.dumps(texts).encode())
    for name in pictures:
        content.update(hashlib.sha256((draft / name).read_bytes()).digest())
    runs.clear(out)
    return runs.create(Built(content=content.hexdigest()), make, out)
