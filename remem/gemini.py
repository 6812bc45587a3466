"""Gemini, which writes the profiles and draws the pictures (Section 6.1), and what it costs.

Each answer is kept the moment that it arrives, under a hash of what was asked, and is never paid
for twice. `calls.jsonl` beside the answers has a line for each call, accepted, refused or failed,
with its tokens, seconds and price. Nothing here knows what is asked for. How to ask many things at
once, and to tell what went wrong, is the judge's business too.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, TypeVar

import pandas as pd
from PIL import Image
from pydantic import BaseModel, Field, ValidationError
from tqdm import tqdm

from remem import paths, runs

if TYPE_CHECKING:
    from google import genai

KEYS = ("GOOGLE_API_KEY", "GEMINI_API_KEY")  # in the environment; the SDK prefers the first too
CALLS = "calls.jsonl"
COLUMNS = ["at", "key", "kind", "model", "version", "prompt", "references", "outcome", "reason",
           "seconds", "input_tokens", "output_tokens", "dollars"]  # fmt: skip
TIMEOUT = 180.0  # seconds for one answer; a picture takes about ten
BACK_OFF = 1.0  # seconds before the first retry, doubled each time up to a minute, and a bit more
GIVE_UP = 12  # requests in a row that the service could not take, each after its retries
PLANNED = {"text": (500, 2000, 0), "image": (1500, 0, 1)}  # a call's tokens in, out, and pictures
PICTURES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
PIXELS = 2**26  # 8192 x 8192; nothing larger is decoded
PROMPT_BLOCKED = "prompt blocked"  # it would be blocked again

Answer = TypeVar("Answer", bound=BaseModel)


class Stopped(RuntimeError):
    """The asking ended early; the message says why, and the way out. No answer is lost."""

    def __str__(self) -> str:
        return f"{super().__str__()}. What was answered is kept; start again to go on from there"


class WrongKey(Stopped):
    """The service does not accept the key; the message names the variable that holds it."""


class Prices(runs.Spec):
    """US dollars, for a million tokens and for a picture: the list prices of the 2.5 models."""

    input: float = Field(0.30, ge=0)
    output: float = Field(2.50, ge=0)
    image: float = Field(0.039, ge=0)


class Service(runs.Spec):
    """Who is asked, how hard, and for how much. The models are the paper's; when their service ends
    others take their place here. Where they are reached is the SDK's own business
    (GOOGLE_GEMINI_BASE_URL, GOOGLE_GENAI_API_VERSION).

    A call begins only where the budget has room for it and for all that are under way, each
    reckoned as planned, or as the dearest of its kind so far. It is exceeded only by as much as
    those under way, `concurrency` at most, cost more than that. A call cut off by a kill is in no
    sum."""

    text_model: str = Field("gemini-2.5-flash", min_length=1)
    image_model: str = Field("gemini-2.5-flash-image", min_length=1)  # "Nano Banana"
    concurrency: int = Field(4, ge=1)  # calls at once
    retries: int = Field(6, ge=0)  # of a call that the service could not take (429, 5xx, time, net)
    repeats: int = Field(1, ge=0)  # of one whose answer was blocked, empty or unusable: paid for
    on_blocked: Literal["skip", "stop"] = "skip"  # when the repeats are used up
    budget: float | None = Field(None, ge=0)  # US dollars for a folder, over all runs; None: no end
    prices: Prices = Prices()


class _Unusable(ValueError):
    """An answer came that cannot be used; the message says why."""


Request = tuple[str, Sequence[Image.Image]]  # a text, and the pictures that it speaks of


def ask_text(
    prompts: Sequence[str], service: Service, folder: Path, schema: type[Answer]
) -> list[Answer | None]:
    """An answer of the form `schema` for each prompt, in order; None where there is none. The same
    prompt has the same answer: one that should be tried again has to be worded otherwise.

    `folder` keeps the answers and calls.jsonl. What it holds is not asked again, nor is what the
    service refused (blocked, empty, unusable) 1 + `repeats` times. What it could not take after all
    retries is None too, but is asked again the next time. Raises Stopped: no key or a wrong one, an
    unknown model, a request that is not understood, the budget, a refusal where on_blocked is
    "stop", a service that fails without end; and CannotWrite.
    """

    def read(data: bytes) -> Answer:
        try:
            return schema.model_validate_json(data)
        except ValidationError as error:
            wrong = error.errors()[0]
            place = ".".join(map(str, wrong["loc"])) or "all"
            raise _Unusable(f"not the JSON asked for: {place}: {wrong['msg']}") from None

    config = {"response_mime_type": "application/json", "response_schema": schema}
    kind = _Kind("text", json.dumps(schema.model_json_schema()), config, _words, read)
    return _answers(kind, [(prompt, ()) for prompt in prompts], service, folder)


def ask_image(
    requests: Sequence[Request], service: Service, folder: Path
) -> list[Image.Image | None]:
    """A square picture (RGB, of the service's size) for each text and pictures; else as ask_text.

    One of 1,024 x 1,024 takes 3 MB of memory: ask for one person's at a time.
    """
    config = {"response_modalities": ["IMAGE"], "image_config": {"aspect_ratio": "1:1"}}
    kind = _Kind("image", "1:1", config, _drawing, _picture)
    return _answers(kind, requests, service, folder)


def plan(service: Service, texts: int, images: int) -> pd.DataFrame:
    """What so many answers would cost, without a call: kind, model, calls, dollars.

    An estimate, with PLANNED for each call and none that is refused or drawn again.
    """
    rows = [
        (kind, getattr(service, f"{kind}_model"), n, n * _dollars(service.prices, *PLANNED[kind]))
        for kind, n in (("text", texts), ("image", images))
    ]
    return pd.DataFrame(rows, columns=["kind", "model", "calls", "dollars"])


def calls(folder: Path) -> pd.DataFrame:
    """Every call that `folder` knows of, in the order in which they ended, with COLUMNS. outcome is
    accepted, refused (an answer, but none to use) or failed (no answer); dollars go by `prices`.
    Calls that were under way when a run was killed are not among them."""
    return pd.DataFrame(_lines(Path(folder) / CALLS), columns=COLUMNS)


class _Kind(NamedTuple):
    name: str  # "text" or "image", as in the names of parameters
    form: str  # of the answer; a part of the key
    config: dict[str, Any]
    content: Callable[[Any], tuple[bytes, str]]  # of a response: what is kept, and its suffix
    read: Callable[[bytes], Any]  # what is kept, as it is handed out; both raise _Unusable


def _words(response: Any) -> tuple[bytes, str]:
    return (response.text or "").encode(), ".json"


def _drawn(response: Any) -> list:
    """The pictures of a response; a model that thinks may show its drafts too, which are none."""
    parts = [part for part in response.parts or () if not part.thought]
    return [part.inline_data for part in parts if part.inline_data]


def _drawing(response: Any) -> tuple[bytes, str]:
    for picture in _drawn(response):
        if picture.mime_type in PICTURES:
            return picture.data or b"", PICTURES[picture.mime_type]
    raise _Unusable("no picture in the answer")


def _picture(data: bytes) -> Image.Image:
    try:
        picture = Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
        if picture.width * picture.height <= PIXELS:
            return picture.convert("RGB")
    except Exception:  # a decoder may fail in any way on what came from elsewhere
        raise _Unusable("not a whole PNG, JPEG or WebP picture") from None
    raise _Unusable(f"a picture of {picture.width} x {picture.height} pixels")


def _answers(kind: _Kind, requests: Sequence[Request], service: Service, folder: Path) -> list:
    model, folder = getattr(service, f"{kind.name}_model"), Path(folder)
    keys = [_key(kind, model, request) for request in requests]
    found = _kept(kind, set(keys), folder)
    if not found.keys() >= set(keys):
        with held(folder / CALLS) as file:
            ledger = _Ledger(file, _lines(folder / CALLS), service)
            # again: whoever held it may have asked the same
            found |= _kept(kind, set(keys) - found.keys(), folder)
            waiting = {
                key: request for key, request in zip(keys, requests, strict=True)
                if key not in found and (service.on_blocked == "stop" or not ledger.over(key))
            }  # fmt: skip
            found |= _ask(kind, model, waiting, service, folder, ledger) if waiting else {}
    return [found.get(key) for key in keys]


def _key(kind: _Kind, model: str, request: Request) -> str:
    prompt, references = request
    key = hashlib.sha256(json.dumps([kind.name, kind.form, model, prompt]).encode())
    for picture in references:  # pixels, since an encoder's bytes change with its version
        picture = picture.convert("RGB")  # as it is sent: an index into a palette says nothing
        key.update(f"{picture.mode} {picture.size}".encode() + picture.tobytes())
    return key.hexdigest()


def _kept(kind: _Kind, keys: Collection[str], folder: Path) -> dict[str, Any]:
    """The answers that are there. One that was damaged since is none, and is asked for again."""
    found = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.stem in keys:
            try:
                found[path.stem] = kind.read(path.read_bytes())
            except _Unusable:
                continue
    return found


class _Ledger:
    """calls.jsonl in the hands of one process: what was paid and refused, and what may yet be."""

    def __init__(self, file: BinaryIO, lines: list[dict], service: Service) -> None:
        self.file, self.service, self.lock = file, service, threading.Lock()
        self.spent, self.under_way = 0.0, 0  # dollars, calls
        self.dearest = {kind: _dollars(service.prices, *each) for kind, each in PLANNED.items()}
        self.refused: dict[str, list[str]] = defaultdict(list)  # the reasons, by key
        for line in lines:
            self._count(line)

    def _count(self, line: dict[str, Any]) -> None:
        self.spent += line["dollars"]
        self.dearest[line["kind"]] = max(self.dearest[line["kind"]], line["dollars"])
        if line["outcome"] == "refused":
            self.refused[line["key"]].append(line["reason"])

    def over(self, key: str) -> bool:
        """Whether the request has been refused for good."""
        reasons = self.refused.get(key, ())
        in_vain = any(reason.startswith(PROMPT_BLOCKED) for reason in reasons)
        return in_vain or len(reasons) > self.service.repeats

    def begin(self, kind: str) -> float:
        """A call is under way; what it may cost. Raises Stopped: the budget has no room for it."""
        with self.lock:
            budget, dollars = self.service.budget, self.dearest[kind]
            if budget is not None and self.spent + (self.under_way + 1) * dollars > budget:
                so_far = f"${self.spent:.2f} spent, {self.under_way} under way"
                raise Stopped(f"the budget of ${budget:.2f} does not allow another call ({so_far}):"
                              " raise construction.budget")  # fmt: skip
            self.under_way += 1
            return dollars

    def end(self, line: dict[str, Any], started: float) -> None:
        line["seconds"] = round(time.monotonic() - started, 3)
        with self.lock:
            self.under_way -= 1
            self._count(line)
        append(self.file, line)


def _ask(
    kind: _Kind, model: str, waiting: Mapping[str, Request], service: Service, folder: Path,
    ledger: _Ledger,
) -> dict[str, Any]:  # fmt: skip
    """Answers by key; each is in `folder`, and then in the ledger, before the next is asked for."""
    from google.genai import types

    variable = key_variable()
    if variable is None:
        raise Stopped(f"no key for Gemini: put one into {' or '.join(KEYS)}, in the environment")
    # Retries are ours: the SDK's would not be recorded, nor cover an answer cut off midway.
    client = connect(variable, timeout=int(1000 * TIMEOUT))
    config = types.GenerateContentConfig(automatic_continuation=False, **kind.config)

    def ask(key: str, stop: threading.Event) -> tuple[Any, str, bool]:
        (prompt, references), failures = waiting[key], 0
        contents = [*map(_part, references), prompt]
        while not stop.is_set():
            if ledger.over(key):
                reason = ledger.refused[key][-1]
                if service.on_blocked == "stop":
                    raise Stopped(f"a request was refused ({reason}; {CALLS} holds it): change it, "
                                  'or set construction.on_blocked to "skip"')  # fmt: skip
                return None, reason, False
            reckoned, started = ledger.begin(kind.name), time.monotonic()
            line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "key": key,
                    "kind": kind.name, "model": model, "prompt": prompt,
                    "references": len(references)}  # fmt: skip
            try:
                response = client.models.generate_content(
                    model=model, contents=contents, config=config
                )
                line |= _usage(response, service.prices, reckoned)
                data, suffix = kind.content(response)
                answer = kind.read(data)
            except _Unusable as error:
                line |= {"outcome": "refused", "reason": blocked(response) or str(error)}
                ledger.end(line, started)
            except Exception as error:  # no net, too slow, not even HTTP: whatever it is, no answer
                reason, final, billed = failure(
                    error, f"construction.{kind.name}_model", model, variable
                )
                line |= {"outcome": "failed", "reason": reason, "dollars": billed * reckoned}
                ledger.end(line, started)
                if final:
                    raise final(reason) from None
                if failures == service.retries:
                    return None, reason, True
                stop.wait(min(60, BACK_OFF * 2**failures) * (1 + random.random()))
                failures += 1
            else:
                # first the answer, then its line: a kill between them loses a line, and no money
                _to_disk(paths.write(folder / f"{key}{suffix}", data))
                ledger.end(line | {"outcome": "accepted"}, started)
                return answer, "", False
        return None, "not asked any more", False

    with closing(client):
        return together(model, kind.name, waiting, service.concurrency, ask,
                        lambda: f"${ledger.spent:.2f} so far")  # fmt: skip


def together(
    who: str, unit: str, keys: Collection[str], concurrency: int,
    ask: Callable[[str, threading.Event], tuple[Any, str, bool]], cost: Callable[[], str] = str,
) -> dict[str, Any]:  # fmt: skip
    """The answers that `ask(key, stop)` has for the keys, so many at once, under a bar with `cost`.

    ask: the answer, why there is none ("" where there is), and whether that is the service's
    failure. GIVE_UP of those in a row, or nothing else, raise Stopped; what ask raises goes
    through. Either sets `stop` and ends the asking, but what is under way is paid for, and is
    waited for. A line on stderr counts what is missing, and why.
    """
    answers, missing, in_a_row, stop = {}, Counter(), 0, threading.Event()
    pool = ThreadPoolExecutor(concurrency)
    bar = tqdm(desc=who, total=len(keys), unit=unit, file=sys.stderr)
    try:
        futures = {pool.submit(ask, key, stop): key for key in keys}
        for done in as_completed(futures):
            answer, reason, failed = done.result()
            if reason:
                missing[reason] += 1
            else:
                answers[futures[done]] = answer
            bar.set_postfix_str(cost(), refresh=False)
            bar.update()
            in_a_row = in_a_row + 1 if failed else 0
            if in_a_row == min(GIVE_UP, len(keys)):
                raise Stopped(f"the service answered none of {in_a_row} requests in a row "
                              f"({reason}): wait, or look at the net and the quota")  # fmt: skip
    except KeyboardInterrupt:
        bar.write(f"{who}: waiting for what is under way, which is paid for", file=sys.stderr)
        raise
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        bar.close()
    if missing:
        reasons = "; ".join(f"{count} x {why}" for why, count in missing.most_common())
        print(f"{who}: {missing.total()} of {len(keys)} {unit}s are missing ({reasons})",
              file=sys.stderr)  # fmt: skip
    return answers


def key_variable() -> str | None:
    """The environment's variable that holds a key for Gemini, if one does."""
    return next((name for name in KEYS if _secret(name)), None)


def _secret(variable: str) -> str:
    return os.environ.get(variable, "").strip()  # as the SDK sends it


def connect(variable: str, **options: Any) -> genai.Client:
    """A client with the key in `variable`, and options of the SDK's HttpOptions. Raises WrongKey:
    a key that no request can carry."""
    from google import genai
    from google.genai import types

    if not _secret(variable).isascii():
        raise WrongKey(f"the key in {variable} holds letters that no key has: correct it")
    return genai.Client(api_key=_secret(variable), http_options=types.HttpOptions(**options))


def _part(picture: Image.Image) -> Any:
    from google.genai import types

    png = BytesIO()
    picture.convert("RGB").save(png, "PNG")
    return types.Part.from_bytes(data=png.getvalue(), mime_type="image/png")


def failure(
    error: Exception, parameter: str, model: str, variable: str
) -> tuple[str, type[Stopped] | None, bool]:
    """Why there is no answer, what to raise where asking on is in vain, and whether it may be
    billed. parameter: what a person changes to have another model; variable: the key's."""
    from google.genai import errors

    if not isinstance(error, errors.APIError):
        name = type(error).__name__  # without its words, in which the key may stand
        return name, None, not name.startswith("Connect")  # it went out, and may have been done
    said = f"{error.code} {error.status or ''}".strip()
    if error.code in (408, 429) or error.code >= 500:
        return said, None, False
    # only the message says what is wrong; what stands before the service may send a whole page
    told = f"{said} {error.message or ''}".replace(_secret(variable), "[key]").strip()[:300]
    if error.code in (401, 403) or "API_KEY_INVALID" in str(error.details):
        return f"the key in {variable} is not accepted ({told}): correct it", WrongKey, False
    if error.code == 404:
        way_out = f"change {parameter}, or GOOGLE_GENAI_API_VERSION (v1, v1beta)"
        return f"{said}: the service has no model {model!r}; {way_out}", Stopped, False
    return f"{model} does not take the request ({told})", Stopped, False


def _usage(response: Any, prices: Prices, reckoned: float) -> dict[str, Any]:
    """Version, tokens in and out, and dollars: those reckoned where no tokens are told. The price
    of a picture covers the tokens that it is made of, but not those of the thoughts before it."""
    told, version = response.usage_metadata, {"version": response.model_version}
    if told is None or told.prompt_token_count is None:
        return version | {"dollars": reckoned}
    read, pictures = told.prompt_token_count, len(_drawn(response))
    written, thought = told.candidates_token_count or 0, told.thoughts_token_count or 0
    dollars = _dollars(prices, read, thought + (0 if pictures else written), pictures)
    return version | {"input_tokens": read, "output_tokens": written + thought, "dollars": dollars}


def _dollars(prices: Prices, read: int, written: int, pictures: int) -> float:
    """Of one call."""
    return (read * prices.input + written * prices.output) / 1e6 + pictures * prices.image


def blocked(response: Any) -> str:
    """What the service says about an answer that is none; empty where it says nothing."""
    feedback = response.prompt_feedback
    if feedback and feedback.block_reason:
        return f"{PROMPT_BLOCKED} ({feedback.block_reason.name})"
    ended = response.candidates[0].finish_reason if response.candidates else None
    return f"blocked or cut off ({ended.name})" if ended and ended.name != "STOP" else ""


def append(file: BinaryIO, line: Mapping[str, Any]) -> None:
    """One more line of JSON in a file that `held` gave, on the disk when this returns."""
    # the line's end comes first: what a kill cut off stays alone on its line
    file.write(b"\n" + json.dumps(line).encode())  # in one piece, whoever else writes
    file.flush()
    os.fsync(file.fileno())


def _to_disk(path: Path) -> None:
    for each in (path, path.parent):
        handle = os.open(each, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def _lines(path: Path) -> list[dict[str, Any]]:
    """The ledger's lines. One that cannot be read was cut off by a kill: the others stand."""
    lines = []
    for text in path.read_bytes().splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
            known = isinstance(line["key"], str) and line["kind"] in PLANNED and line["outcome"]
            if known and line["dollars"] >= 0:
                lines.append(line)
        except (ValueError, KeyError, TypeError):
            continue
    return lines


@contextmanager
def held(path: Path) -> Iterator[BinaryIO]:
    """The file, open for appending, and nobody else's: two processes never pay for one answer.
    Raises CannotWrite."""
    paths.make_folder(path.parent)
    try:
        with path.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"{path}: another process is asking; waiting", file=sys.stderr)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield file
    except paths.CannotWrite:
        raise
    except OSError as error:
        way_out = "make room, or give the right there"
        raise paths.CannotWrite(f"cannot write in {path.parent}: {error}; {way_out}") from error
