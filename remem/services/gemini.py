"""Gemini, which writes profiles, draws pictures (section 6.1) and judges answers (section 6.2).

Nothing here knows what is asked for. What was answered before is not asked again, and the budget
is kept: see `ledger`.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from PIL import Image
from pydantic import BaseModel, ValidationError
from tqdm import tqdm

from remem.config.services import Account, Service
from remem.services import ledger, pictures
from remem.services.client import (
    NoKey,
    block_reason,
    connect,
    failure_of,
    in_a_line,
    key_variable,
    usage_of,
    without_keys,
)
from remem.services.ledger import Stopped, Unusable

if TYPE_CHECKING:  # it takes a second to import, and is needed only where something is asked
    from google import genai

TIMEOUT = 180.0  # seconds for one answer; a picture takes about ten

BACK_OFF = 1.0  # seconds before the first retry, doubled each time up to a minute, and a bit more

GIVE_UP = 12  # requests in a row that the service could not take, each after its retries

Answer = TypeVar("Answer", bound=BaseModel)

Request = tuple[str, Sequence[Image.Image]]  # a text, and the pictures that it speaks of


def ask_text(
    prompts: Sequence[str],
    settings: Service,
    account: Account,
    schema: type[Answer],
    *,
    model: str = "text_model",
    config: Mapping[str, Any] | None = None,
    unit: str = "text",
    only_cached: bool = False,
) -> list[Answer | None]:
    """An answer of the form `schema` for each prompt, in order; None where there is none. The same
    prompt has the same answer: one that should be tried again has to be worded otherwise.

    settings: their key `model` names the model. config: fields of the SDK's GenerateContentConfig
    beside the schema, such as a system instruction. unit: what an answer is called on stderr.

    `account` keeps what comes, and the ledger. What it holds is not asked again, and needs no key;
    nor is what the service refused (blocked, empty, unusable) 1 + `repeats` times. What it could
    not take after all retries, or in time, is None too, but is asked again the next time. Lines on
    stderr say what is waited for, and count what is missing, and why. With `only_cached` nothing is
    asked at all.

    Raises Stopped: no key (NoKey) or a wrong one (WrongKey), an unknown model, a request that is
    not understood, the budget, a refusal where on_blocked is "stop", a service that fails without
    end; and CannotWrite.
    """

    def read(data: bytes) -> Answer:
        try:
            return schema.model_validate_json(data)
        except ValidationError as error:
            wrong = error.errors()[0]
            place = ".".join(map(str, wrong["loc"])) or "all"
            raise Unusable(f"not the JSON asked for: {place}: {wrong['msg']}") from None

    config = dict(config or {})
    form = json.dumps(schema.model_json_schema()) + (json.dumps(config) if config else "")
    config |= {"response_mime_type": "application/json", "response_schema": schema}
    kind = _Kind("text", unit, model, form, config, _words, read)
    return _answers(kind, [(prompt, ()) for prompt in prompts], settings, account, only_cached)


def ask_image(
    requests: Sequence[Request], settings: Service, account: Account
) -> list[Image.Image | None]:
    """A square picture (RGB, of the service's size) for each text and pictures; else as ask_text,
    with the model that the settings' `image_model` names.

    One of 1,024 x 1,024 takes 3 MB of memory: ask for one person's at a time.
    """
    config = {"response_modalities": ["IMAGE"], "image_config": {"aspect_ratio": "1:1"}}
    kind = _Kind("image", "image", "image_model", "1:1", config, _picture, pictures.read)
    return _answers(kind, requests, settings, account)


class _Kind(NamedTuple):
    name: str  # "text" or "image", as the ledger has it
    unit: str  # what an answer is called on stderr
    model: str  # the key of the settings that names the model
    form: str  # of the answer; a part of the request's key
    config: dict[str, Any]
    content: Callable[[Any], tuple[bytes, str]]  # of a response: what is kept, and its suffix
    read: Callable[[bytes], Any]  # what is kept, as it is handed out; raises Unusable


def _words(response: Any) -> tuple[bytes, str]:
    return without_keys(response.text or "").encode(errors="replace"), ".json"


def _picture(response: Any) -> tuple[bytes, str]:
    data, suffix = pictures.drawing(response)
    if (text := data.decode("latin-1")) == without_keys(text):
        return data, suffix
    try:
        return _png(pictures.read(data)), ".png"  # the pixels, without the words beside them
    except Unusable:
        return b"", suffix


def _answers(
    kind: _Kind,
    requests: Sequence[Request],
    settings: Service,
    account: Account,
    only_cached: bool = False,
) -> list:
    model = getattr(settings, kind.model)
    keys = [_key(kind, model, request) for request in requests]
    found, changed = ledger.cached(set(keys), kind.read, account)
    if not only_cached and not found.keys() >= set(keys):
        if key_variable() is None and ledger.calls(account).empty:
            raise NoKey  # before a folder is made
        with ledger.opened(account, settings) as calls:
            # again: whoever held it may have asked the same
            more, changed = ledger.cached(set(keys) - found.keys(), kind.read, account)
            found |= more
            if changed:
                files = f"{len(changed)} answers are not what came, such as {changed[0]}"
                print(f"{model}: {files}: asking again for these", file=sys.stderr)
            pairs = zip(keys, requests, strict=True)
            waiting = {key: request for key, request in pairs if key not in found}
            found |= _Asker(kind, model, settings, calls).ask(waiting)
    return [found.get(key) for key in keys]


def _key(kind: _Kind, model: str, request: Request) -> str:
    prompt, references = request
    key = hashlib.sha256(json.dumps([kind.name, kind.form, model, prompt]).encode())
    for picture in references:  # pixels, since an encoder's bytes change with its version
        picture = picture.convert("RGB")  # as it is sent: an index into a palette says nothing
        key.update(f"{picture.mode} {picture.size}".encode() + picture.tobytes())
    return key.hexdigest()


@dataclass
class _Asker:
    """Requests of one kind to one model, and where their answers and calls go."""

    kind: _Kind
    model: str
    settings: Service
    calls: ledger.Ledger
    again: Counter[str] = field(default_factory=Counter)  # why something was asked for again

    def ask(self, waiting: Mapping[str, Request]) -> dict[str, Any]:
        """Answers by key; each is kept before the next is asked for."""
        refused = {key: why for key in waiting if (why := self.calls.refused(key))}
        keys = [key for key in waiting if key not in refused]
        if refused and self.settings.on_blocked == "stop":
            raise self._stopped(next(iter(refused.values())))
        answers, missing = {}, Counter(refused.values())
        if keys:
            variable = key_variable()
            if variable is None:
                raise NoKey
            with closing(connect(variable, TIMEOUT)) as client:
                answers, reasons = self._run_concurrently(
                    keys, lambda key, stop: self._ask_one(key, waiting[key], client, variable, stop)
                )
            missing += reasons
        if missing:
            unit = f"{missing.total()} of {len(waiting)} {self.kind.unit}s are missing"
            reasons = "; ".join(f"{count} x {why}" for why, count in missing.most_common())
            print(f"{self.model}: {unit} ({reasons})", file=sys.stderr)
        return answers

    def _run_concurrently(
        self, keys: Collection[str], ask: Callable[[str, threading.Event], tuple[Any, str, bool]]
    ) -> tuple[dict[str, Any], Counter]:
        """The answers that `ask(key, stop)` has for the keys, so many at once, under a bar; and why
        there are none, counted.

        ask: the answer, why there is none ("" where there is), and whether that is the service's
        failure. GIVE_UP of those in a row, or nothing else, raise Stopped; what ask raises goes
        through. Either sets `stop` and ends the asking, but what is under way is paid for, and is
        waited for.
        """
        answers, missing, in_a_row, stop = {}, Counter(), 0, threading.Event()
        pool = ThreadPoolExecutor(self.settings.concurrency)
        bar = tqdm(desc=self.model, total=len(keys), unit=self.kind.unit, file=sys.stderr)
        try:
            futures = {pool.submit(ask, key, stop): key for key in keys}
            for done in as_completed(futures):
                answer, reason, failed = done.result()
                if reason:
                    missing[reason] += 1
                else:
                    answers[futures[done]] = answer
                again = f", {times} asked again" if (times := self.again.total()) else ""
                bar.set_postfix_str(f"${self.calls.spent:.2f} so far{again}", refresh=False)
                bar.update()
                in_a_row = in_a_row + 1 if failed else 0
                if in_a_row == min(GIVE_UP, len(keys)):
                    raise Stopped(
                        f"the service answered none of {in_a_row} requests in a row "
                        f"({reason}): wait, or look at the net and the quota"
                    )
        except KeyboardInterrupt:
            under_way = "waiting for what is under way, which is paid for"
            bar.write(f"{self.model}: {under_way}", file=sys.stderr)
            raise
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
            bar.close()
        return answers, missing

    def _ask_one(
        self, key: str, request: Request, client: genai.Client, variable: str, stop: threading.Event
    ) -> tuple[Any, str, bool]:
        """As `_run_concurrently` wants it, after as many calls as the settings allow."""
        from google.genai import types

        prompt, references = request
        contents = [*map(_part, references), prompt]
        # Continuing an answer that was cut off would not be recorded.
        config = types.GenerateContentConfig(automatic_continuation=False, **self.kind.config)
        failures, late = 0, 0
        while not stop.is_set():
            if reason := self.calls.refused(key):
                if self.settings.on_blocked == "stop":
                    raise self._stopped(reason)
                return None, reason, False
            line: dict[str, Any] = {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "key": key,
                "section": self.settings.section,
                "kind": self.kind.name,
                "model": self.model,
                "prompt": prompt,
                "references": len(references),
            }
            reckoned, started = self.calls.begin(line), time.monotonic()
            try:
                response = client.models.generate_content(
                    model=self.model, contents=contents, config=config
                )
                line |= usage_of(response, self.settings.prices, reckoned)
                data, suffix = self.kind.content(response)
                blocked = block_reason(response)
            except Exception as error:  # no net, too slow, not even HTTP: whatever it is, no answer
                parameter = f"{self.settings.section}.{self.kind.model}"
                failure = failure_of(error, parameter, self.model, variable, TIMEOUT)
                dollars = failure.billed * reckoned
                line |= {"outcome": "failed", "reason": failure.reason, "dollars": dollars}
                self.calls.end(line, started)
                if failure.stops:
                    raise failure.stops(failure.reason) from None
                late, failures = late + failure.late, failures + 1
                if late > self.settings.repeats or failures > self.settings.retries:
                    return None, failure.reason, True
                self._say_again(failure.reason)
                stop.wait(min(60, BACK_OFF * 2 ** (failures - 1)) * (1 + random.random()))
                continue
            try:
                answer = self.kind.read(data)
            except Unusable as error:
                line |= {"outcome": "refused", "reason": blocked or in_a_line(error)}
                self.calls.end(line, started, data, suffix)
            else:
                self.calls.end({**line, "outcome": "accepted"}, started, data, suffix)
                return answer, "", False
        return None, "not asked any more", False

    def _say_again(self, reason: str) -> None:
        """Say once for each reason that something is asked for again; the bar counts the rest."""
        with self.calls.lock:
            self.again[reason] += 1
            first = self.again[reason] == 1
        if first:
            tqdm.write(f"{self.model}: {reason}: asking again", file=sys.stderr)

    def _stopped(self, reason: str) -> Stopped:
        return Stopped(
            f"a request was refused ({reason}; {ledger.CALLS} holds it): change it, "
            f'or set {self.settings.section}.on_blocked to "skip"'
        )


def _part(picture: Image.Image) -> Any:
    from google.genai import types

    return types.Part.from_bytes(data=_png(picture), mime_type="image/png")


def _png(picture: Image.Image) -> bytes:
    picture.convert("RGB").save(png := BytesIO(), "PNG")
    return png.getvalue()
