"""A dataset of people and photographs that the services of Section 6.1 make.

    python -m remem.construct --dry-run                     what it would cost, without a call
    python -m remem.construct [--people N] [--out FOLDER] [--scale S] [--set key=value ...]

Profiles with a description of the looks; of each person an anchor picture, and pictures made after
it in layouts of two disjoint pools; a filter by the likeness of the face; somebody's review. What
either refuses is asked for again. Each answer that was paid for is kept (gemini.py), so the same
command goes on where it was. The result is a folder as dataset.py reads it. It needs a key for
Gemini in GOOGLE_API_KEY or GEMINI_API_KEY, and insightface's model pack (`likeness.pack`).
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import json
import math
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd
import yaml
from PIL import Image, ImageOps
from pydantic import BaseModel, Field, ValidationError
from tqdm import tqdm

from remem import briefs, dataset, gemini, likeness, paths, profiles, qa, review, runs
from remem.likeness import Likeness


class BadSetting(ValueError):
    """A parameter of the construction that cannot be used; the message names file and key."""


class Unfinished(RuntimeError):
    """Too little was accepted for a dataset; the message says of whom, why, and what to change."""


class Construction(gemini.Service):
    """The `construction` section: the services, and how much of what is made with them. The counts'
    defaults are the paper's 20 x (70 + 30 + 14 + 14)."""

    people: int = Field(20, ge=2, lt=10_000)
    seed: int = Field(0, ge=0)
    single: int = Field(70, ge=0)  # training questions per person, by hop; each has a picture
    multi: int = Field(30, ge=0)
    test_single: int = Field(14, ge=0)
    test_multi: int = Field(14, ge=0)
    attempts: int = Field(3, ge=1)  # at a profile, an anchor or a view, until one is accepted
    image_size: int = Field(336, ge=16)  # pixels, square, as stored; LLaVA-1.5 sees 336
    likeness: Likeness = Likeness()

    @property
    def questions(self) -> dict[str, tuple[int, int]]:
        """Single-hop and multi-hop questions about each person, by split."""
        return {"train": (self.single, self.multi), "test": (self.test_single, self.test_multi)}

    @property
    def views(self) -> dict[str, int]:
        """Pictures of each person beside the anchor, by split: one for each question."""
        return {split: sum(hops) for split, hops in self.questions.items()}


class Built(runs.Spec):
    """A dataset by what it holds: another answer, or another review, is another dataset."""

    kind: ClassVar[str] = "constructed"
    content: str


class Person(NamedTuple):
    profile: profiles.Profile
    appearance: str

    @property
    def told(self) -> dict[str, str]:
        return {**dataclasses.asdict(self.profile), "appearance": self.appearance}


class View(NamedTuple):
    """A view that came back: as it is stored, its cosine similarity, and what was asked for."""

    picture: Image.Image
    similarity: float
    layout: dict[str, str]


Slot = tuple[str, str, int]  # identity, split, number
SEEN = ("identity", "split", "similarity", *briefs.LAYOUTS["train"], "version", "refused")


def run(settings: Construction, out: Path, tower: Path | None = None) -> Path:
    """The folder of the dataset, made below `out`; what was answered before costs nothing again.

    out: `answers/` (all that the services said), `draft/` (what remem.review shows; a reviewer's
    `draft/review/*.csv` is honoured; the histogram of similarities) and the dataset. tower:
    likeness.recogniser's, where there is no pack: it knows drawn faces, and no photographs.
    Raises Unfinished, and what gemini, likeness and review raise.
    """
    from remem import figures  # and matplotlib, for which params, which imports this, need not wait

    studio = _Studio(settings, Path(out), tower)
    people = studio.people()
    missing: dict[str, str] = {}
    pairs = list(zip(people, studio.anchors(people), strict=True))
    for person, anchor in tqdm(pairs, desc="people", unit="person", file=sys.stderr):
        why = studio.views(person.profile.identity, anchor)
        missing |= {_file(slot): reason for slot, reason in why.items()}
    if len(alike := similarities(studio.out)):
        histogram = figures.likeness(alike.assign(of="views"), settings.likeness.threshold)
        paths.save_figure(histogram, studio.draft / "similarities")
    _complete(missing)
    return _build(settings, people, studio.draft, studio.out)


def plan(settings: Construction) -> pd.DataFrame:
    """gemini.plan's table, and beside it the most that it can come to: every attempt used up, and
    every answer refused as often as it is paid for."""
    pictures = 1 + sum(settings.views.values())
    table = gemini.plan(settings, texts=settings.people, images=settings.people * pictures)
    most = settings.attempts * (1 + settings.repeats)
    return table.assign(calls_at_most=most * table.calls, dollars_at_most=most * table.dollars)


def similarities(out: Path) -> pd.DataFrame:
    """The table behind the histogram: a row for each view that came back, with identity, split,
    layout, similarity (NaN: no face is found) and refused (why; "" where it was accepted)."""
    table = pd.read_csv(Path(out) / "draft" / "similarities.csv", keep_default_na=False)
    return table.assign(similarity=pd.to_numeric(table.similarity, errors="coerce"))


class _Studio:
    """What the steps share: settings, draft, recogniser, and what a reviewer dropped."""

    def __init__(self, settings: Construction, out: Path, tower: Path | None) -> None:
        self.settings, self.out, self.draft = settings, out, out / "draft"
        # before anything else: without one nothing should be paid for
        self.recogniser = likeness.recogniser(settings.likeness, tower)
        marks, self.dropped = self.draft / "review", {}
        if marks.is_dir():
            for row in review.decisions(marks).query("decision == 'drop'").itertuples():
                self.dropped[row.identity, row.fingerprint] = f"dropped in review ({row.reason})"
        self.passed = self.draft / "passed.json"  # attempts that _taken leaves out
        self.shown: list[dict] = []  # views.csv: the pictures of the draft
        self.seen: list[dict] = []  # similarities.csv: every view that came back

    def people(self) -> list[Person]:
        """Everybody, told apart by every fact."""

        def ask(slots: list[int], attempt: int, why: dict[int, str]) -> list[Person | None]:
            prompts = [briefs.profile(self.settings.seed, slot, attempt, why.get(slot, ""))
                       for slot in slots]  # fmt: skip
            answers = gemini.ask_text(prompts, self.settings, self.out / "answers", briefs.Written)
            return [None if answer is None else _person(slot, answer)
                    for slot, answer in zip(slots, answers, strict=True)]  # fmt: skip

        def refuse(_: int, person: Person, taken: dict[int, Person]) -> str:
            if not person.appearance:
                return "the looks are not told"
            return briefs.objection(person.profile, [other.profile for other in taken.values()])

        slots = range(self.settings.people)
        taken, why = self._taken("profile", slots, ask, refuse)
        _complete({f"the profile p{slot:02d}": why[slot] for slot in why})
        people = [taken[slot] for slot in slots]
        paths.write(self.draft / "people.json", _json([person.told for person in people]))
        return people

    def anchors(self, people: list[Person]) -> list[Image.Image]:
        """One for each person, at the service's size: it shows a face, and nobody else's."""
        names, faces = [person.profile.identity for person in people], {}

        def ask(slots: list[int], attempt: int, _: dict) -> list[Image.Image | None]:
            return self._draw(
                (briefs.anchor(people[slot].appearance, attempt), ()) for slot in slots
            )

        def refuse(slot: int, picture: Image.Image, _: dict) -> str:
            face = likeness.describe(picture, self.recogniser)
            if face is None:
                return "no face is found"
            for other, known in faces.items():
                if (similarity := known @ face) >= self.settings.likeness.threshold:
                    return f"the face could be that of {names[other]} ({similarity:.2f})"
            about = {"identity": names[slot], "split": review.ANCHOR, "similarity": 1.0}
            image, picture = f"{review.ANCHOR}/{names[slot]}.png", _stored(picture, size)
            if not (reason := self._keep(about, image, picture)):
                faces[slot] = face
            return reason

        slots, size = range(len(people)), self.settings.image_size
        taken, why = self._taken("anchor", slots, ask, refuse)
        _complete({f"the anchor of {names[slot]}": why[slot] for slot in why})
        return [taken[slot] for slot in slots]

    def views(self, identity: str, anchor: Image.Image) -> dict[Slot, str]:
        """Fill the draft with one person's views; which are missing, and why.

        The draft's tables are written too: a review may begin while the next person is drawn.
        """
        seed, wanted = self.settings.seed, self.settings.views

        def ask(slots: list[Slot], attempt: int, _: dict) -> list[View | None]:
            layouts = [briefs.layout(seed, identity, split, k + attempt * wanted[split])
                       for _, split, k in slots]  # fmt: skip
            pictures = self._draw((briefs.view(layout), (anchor,)) for layout in layouts)
            came = [picture for picture in pictures if picture is not None]
            alike = iter(likeness.similarities(anchor, came, self.recogniser))
            return [
                None if picture is None
                else View(_stored(picture, self.settings.image_size), float(next(alike)), layout)
                for picture, layout in zip(pictures, layouts, strict=True)
            ]  # fmt: skip

        def refuse(slot: Slot, view: View, _: dict) -> str:
            about = dict(zip(("identity", "split"), slot, strict=False))
            about |= {"similarity": view.similarity, **view.layout}
            if math.isnan(view.similarity):
                reason = "no face is found"
            elif view.similarity < self.settings.likeness.threshold:
                reason = f"not alike ({view.similarity:.2f})"
            else:
                reason = self._keep(about, _file(slot), view.picture)
            self.seen.append(about | {"refused": reason})
            return reason

        slots = [(identity, split, k) for split in dataset.SPLITS for k in range(wanted[split])]
        _, why = self._taken("view", slots, ask, refuse)
        seen = pd.DataFrame(self.seen, columns=[*SEEN])
        for name, table in (("views", pd.DataFrame(self.shown)), ("similarities", seen)):
            paths.write(self.draft / f"{name}.csv", table.to_csv(index=False))
        return why

    def _draw(self, requests: Iterable[tuple[str, tuple]]) -> list[Image.Image | None]:
        return gemini.ask_image(list(requests), self.settings, self.out / "answers")

    def _keep(self, about: dict, image: str, picture: Image.Image) -> str:
        """Put a picture into the draft, unless a reviewer dropped the very same, or it is there
        already (some services hand back the picture that they were given): then why."""
        mark = about["identity"], review.fingerprint(picture)
        if mark in self.dropped:
            return self.dropped[mark]
        self.dropped[mark] = f"the same picture as {image}"
        png = io.BytesIO()
        picture.save(png, "PNG")
        paths.write(self.draft / image, png.getvalue())
        self.shown.append({"image": image, **about})
        return ""

    def _taken(
        self, step: str, slots: Sequence,
        ask: Callable[[list, int, dict], list], refuse: Callable[[Any, Any, dict], str],
    ) -> tuple[dict, dict[Any, str]]:  # fmt: skip
        """(slot -> its first answer that is not refused, slot -> why the last of the others was).

        All slots that are still empty are asked for at once: `ask(slots, attempt, reasons so far)`.
        Where a later attempt is taken, one that had no answer is left out from then on: answered
        the next time, it would be another anchor, and all views of it would be paid for again.
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
            paths.write(self.passed, _json(sorted(passed | late)))
        return taken, {slot: why[slot] for slot in slots if slot not in taken}


def _complete(missing: dict[str, str]) -> None:
    if missing:
        told = [f"{what}: {reason}" for what, reason in missing.items()]
        raise Unfinished(
            f"{len(told)} could not be had: {'; '.join(told[:10])}{' ...' * (len(told) > 10)}. "
            "Raise construction.attempts, or change construction.likeness.threshold where it was "
            "the face, and start again: what was answered is not asked for twice"
        )


def _person(index: int, written: BaseModel) -> Person:
    facts = {attribute: getattr(written, attribute).strip() for attribute in profiles.ATTRIBUTES}
    return Person(profiles.Profile(f"p{index:02d}", **facts), written.appearance.strip())


def _stored(picture: Image.Image, size: int) -> Image.Image:
    return ImageOps.fit(picture.convert("RGB"), (size, size), Image.Resampling.LANCZOS)


def _file(slot: Slot) -> str:
    identity, split, k = slot
    return f"{split}/{identity}/{identity}-{split}-{k:03d}.png"


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _build(settings: Construction, people: list[Person], draft: Path, out: Path) -> Path:
    """The draft's pictures and the questions, as remem/dataset.py has them, and read back once."""
    texts, pictures = {"people.json": _json([person.told for person in people])}, []
    for split, hops in settings.questions.items():
        lines = []
        for profile, _ in people:
            for k, item in enumerate(qa.build(profile, *hops, split, settings.seed)):
                file = _file((profile.identity, split, k))
                row = {"file_name": file.removeprefix(f"{split}/"), "id": Path(file).stem,
                       "identity": profile.identity, "name": profile.name, "split": split,
                       **dataclasses.asdict(item)}  # fmt: skip
                lines.append(json.dumps(row, ensure_ascii=False) + "\n")
                pictures.append(file)
        texts[f"{split}/metadata.jsonl"] = "".join(lines)

    def make(folder: Path) -> None:
        for name, text in texts.items():
            paths.write(folder / name, text)
        for name in pictures:
            paths.write(folder / name, (draft / name).read_bytes())
        # how it came about, but not what it is: the budget is in it
        paths.write(folder / "construction.json", _json(settings.model_dump(mode="json")))
        dataset.read(folder)

    content = hashlib.sha256(json.dumps(texts).encode())
    for name in pictures:
        content.update(hashlib.sha256((draft / name).read_bytes()).digest())
    return runs.ensure(Built(content=content.hexdigest()), make, out)


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m remem.construct`. 0: the dataset is there, 1: it is not, 2: a wrong parameter."""
    parser = argparse.ArgumentParser(
        prog="python -m remem.construct",
        description="Make a dataset of invented people with the services of Section 6.1.",
    )
    parser.add_argument("--dry-run", action="store_true", help="calls and prices, without a call")
    parser.add_argument("--people", type=int, metavar="N", help="construction.people")
    parser.add_argument("--out", type=Path, help="default: construction/ in the outputs of SCALE")
    scales = sorted(file.stem for file in paths.PARAMS.glob("*.yaml"))
    parser.add_argument("--scale", default="paper", choices=scales, help="default: paper")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="a key of `construction`: --set likeness.threshold=0.4")  # fmt: skip
    given = parser.parse_args(argv)
    try:
        people = [] if given.people is None else [f"people={given.people}"]
        settings = _settings(given.scale, given.set + people)
        out = (given.out or paths.outputs(given.scale).root / "construction").absolute()
        table, spent = plan(settings), gemini.calls(out / "answers").dollars.sum()
        print(table.round(2).to_string(index=False))
        end = "none is set" if settings.budget is None else f"${settings.budget:.2f}"
        print(f"Estimated by construction.prices: ${table.dollars.sum():.2f} where each first "
              f"answer is good, ${table.dollars_at_most.sum():.2f} where every attempt is used "
              f"up. It stops at construction.budget ({end}). Spent so far: ${spent:.2f}, for "
              f"what is in {out}.")  # fmt: skip
        if given.dry_run:
            print("Nothing was asked.")
            return 0
        folder = run(settings, out)
    except BadSetting as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (Unfinished, gemini.Stopped, likeness.NoRecogniser, review.BadReview, dataset.BadData,
            runs.DamagedRun, paths.CannotWrite) as error:  # fmt: skip
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        return 130
    draft, made = shlex.quote(str(out / "draft")), shlex.quote(f"benchmark={folder}")
    print(f"the dataset: {folder}\nto review it: python -m remem.review {draft}, then the "
          "same command again\nto teach and unlearn it: python -m remem.reproduce "
          f"--scale {given.scale} --set {made}")  # fmt: skip
    return 0


def _settings(scale: str, assignments: Sequence[str]) -> Construction:
    """The section `construction` of a scale's file, with `key=value` (YAML) laid over it."""
    file = paths.PARAMS / f"{scale}.yaml"
    try:
        section = yaml.safe_load(file.read_text(encoding="utf-8"))["construction"]
        for assignment in assignments:
            key, _, value = assignment.removeprefix("construction.").partition("=")
            *above, last = key.split(".")
            place = section
            for each in above:
                place = place.setdefault(each, {})
            place[last] = yaml.safe_load(value)
        return Construction.model_validate_json(json.dumps(section))
    except ValidationError as error:
        told = [f"construction.{'.'.join(map(str, each['loc']))}: {each['msg']}"
                for each in error.errors()]  # fmt: skip
        raise BadSetting(f"{file} and --set: {'; '.join(told)}") from None
    except (OSError, yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadSetting(f"{file} and --set {assignments}: no section `construction` can be read "
                         f"from them ({type(error).__name__}: {error})") from error  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
