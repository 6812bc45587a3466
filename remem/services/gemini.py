"""Gemini, which writes profiles, draws pictures (section 6.1) and judges answers (section 6.2).

Nothing here knows what is asked for. What was answered before is not asked again, and the budget
is kept: see `ledger`.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote

from PIL import Image
from pydantic import BaseModel, ValidationError
from tqdm import tqdm

from remem.config.services import Account, Prices, Service
from remem.services import ledger, pictures
from remem.services.ledger import Stopped, Unusable

if TYPE_CHECKING:  # it takes a second to import, and is needed only where something is asked
    from google import genai

KEYS = ("GOOGLE_API_KEY", "GEMINI_API_KEY")  # in the environment; the SDK prefers the first too

TIMEOUT = 180.0  # seconds for one answer; a picture takes about ten

SOON = 4.0  # for what costs it nothing

TOO_LATE = (408, 499, 504)  # what the service says where the time was up, ours or its own

BACK_OFF = 1.0  # seconds before the first retry, doubled each time up to a minute, and a bit more

GIVE_UP = 12  # requests in a row that the service could not take, each after its retries

SECRET = 6  # letters from which a key is one: a shorter one would cut words out of answers

Answer = TypeVar("Answer", bound=BaseModel)

Request = tuple[str, Sequence[Image.Image]]  # a text, and the pictures that it speaks of


class WrongKey(Stopped):
    """The service does not accept the key; the message names the variable that holds it."""


class NoKey(Stopped):
    """Something has to be asked, and there is no key; the message says where one belongs."""

    def __init__(self) -> None:
        """Always the same message."""
        super().__init__(f"no key for Gemini: put one into {' or '.join(KEYS)}, in the environment")


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


def key_variable() -> str | None:
    """The environment's variable that holds a key for Gemini, if one does."""
    return next((name for name in KEYS if _secret(name)), None)


def unreachable(settings: Service, model: str) -> str | None:
    """Ask the service, free of charge, for what it says of the model that the settings' key `model`
    names: why it says nothing, or None where it does. Raises WrongKey. A key has to be set."""
    variable, name = key_variable() or "", getattr(settings, model)
    with closing(_connect(variable, SOON)) as client:
        try:
            client.models.get(model=name)
        except Exception as error:  # as when it is asked for more
            failure = _failure(error, f"{settings.section}.{model}", name, variable, SOON)
            if failure.stops is WrongKey:
                raise WrongKey(failure.reason) from None
            return failure.reason
    return None


class _Kind(NamedTuple):
    name: str  # "text" or "image", as the ledger has it
    unit: str  # what an answer is called on stderr
    model: str  # the key of the settings that names the model
    form: str  # of the answer; a part of the request's key
    config: dict[str, Any]
    content: Callable[[Any], tuple[bytes, str]]  # of a response: what is kept, and its suffix
    read: Callable[[bytes], Any]  # what is kept, as it is handed out; raises Unusable


def _words(response: Any) -> tuple[bytes, str]:
    return _without_keys(response.text or "").encode(errors="replace"), ".json"


def _picture(response: Any) -> tuple[bytes, str]:
    data, suffix = pictures.drawing(response)
    if (text := data.decode("latin-1")) == _without_keys(text):
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
            with closing(_connect(variable, TIMEOUT)) as client:
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
                line |= _usage(response, self.settings.prices, reckoned)
                data, suffix = self.kind.content(response)
                blocked = _blocked(response)
            except Exception as error:  # no net, too slow, not even HTTP: whatever it is, no answer
                parameter = f"{self.settings.section}.{self.kind.model}"
                failure = _failure(error, parameter, self.model, variable, TIMEOUT)
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
                line |= {"outcome": "refused", "reason": blocked or _in_a_line(error)}
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


def _secret(variable: str) -> str:
    return os.environ.get(variable, "").strip()  # as the SDK sends it


def _connect(variable: str, seconds: float) -> genai.Client:
    """A client with the key in `variable`. Raises WrongKey: a key that no request can carry."""
    from google import genai
    from google.genai import types

    if not _secret(variable).isascii():
        raise WrongKey(f"the key in {variable} holds letters that no key has: correct it")
    # The SDK prints what it does not know of a response, as it came.
    warnings.filterwarnings("ignore", "(?s).* is not a valid ", module=r"google\.genai")
    # Retries are ours: the SDK's would not be recorded, nor cover an answer cut off midway.
    options = types.HttpOptions(timeout=int(1000 * seconds))
    return genai.Client(api_key=_secret(variable), http_options=options)


def _part(picture: Image.Image) -> Any:
    from google.genai import types

    return types.Part.from_bytes(data=_png(picture), mime_type="image/png")


def _png(picture: Image.Image) -> bytes:
    picture.convert("RGB").save(png := BytesIO(), "PNG")
    return png.getvalue()


class _Failure(NamedTuple):
    reason: str  # why there is no answer
    stops: type[Stopped] | None = None  # what to raise where asking on is in vain
    billed: bool = False  # it may be
    late: bool = False  # it took its time, or money: asked again `repeats` times, not `retries`


def _failure(
    error: Exception, parameter: str, model: str, variable: str, seconds: float
) -> _Failure:
    """What an exception of the SDK means. parameter: what a person changes to have another model;
    variable: the key's; seconds: how long an answer was waited for."""
    from google.genai import errors

    late = f"no answer within {seconds:.0f} s"
    if not isinstance(error, errors.APIError):
        name = type(error).__name__  # without its words, in which the key may stand
        slow = "Timeout" in name
        reason = f"{late} ({name})" if slow else name
        if name.startswith("Connect"):
            return _Failure(reason, late=slow)
        # it went out, and may have been done
        return _Failure(f"{reason}, though it may be billed", billed=True, late=True)
    code = _in_a_line(f"{error.code} {error.status or ''}")
    if error.code in TOO_LATE:
        return _Failure(f"{late} ({code})", late=True)
    if error.code == 429 or error.code >= 500:
        return _Failure(code)
    # only the message says what is wrong; what stands before the service may send a whole page
    message = _in_a_line(f"{code} {error.message or ''}")
    if error.code in (401, 403) or "API_KEY_INVALID" in str(error.details):
        return _Failure(f"the key in {variable} is not accepted ({message}): correct it", WrongKey)
    if error.code == 404:
        change = f"change {parameter}, or GOOGLE_GENAI_API_VERSION (v1, v1beta)"
        return _Failure(f"{code}: the service has no model {model!r}; {change}", Stopped)
    return _Failure(f"{model} does not take the request ({message})", Stopped)


def _without_keys(text: str) -> str:
    """What a service sent, without our keys, plain or as an address holds them."""
    keys = [key for name in KEYS if len(key := _secret(name)) >= SECRET]
    if not keys:
        return text
    forms = {re.escape(form) for key in keys for form in (key, quote(key, safe=""))}
    longest_first = "|".join(sorted(forms, key=len, reverse=True))
    return re.sub(longest_first, "[key]", text, flags=re.IGNORECASE)


def _in_a_line(text: object) -> str:
    """The same for a message: short, and with nothing in it that a terminal would obey."""
    plain = "".join(c if c.isprintable() else " " for c in _without_keys(str(text)))
    return " ".join(plain.split())[:300]


def _usage(response: Any, prices: Prices, reckoned: float) -> dict[str, Any]:
    """Version, tokens in and out, and dollars: those reckoned where the response has no tokens. The
    price of a picture covers the tokens that it is made of, but not those of the thoughts before
    it; one that was made and then held back has its price too."""
    usage, version = response.usage_metadata, {"version": _in_a_line(response.model_version or "")}
    if usage is None or usage.prompt_token_count is None:
        return version | {"dollars": reckoned}
    made = any(each.modality == "IMAGE" for each in usage.candidates_tokens_details or ())
    read, many = usage.prompt_token_count, max(len(pictures.drawn(response)), made)
    written, thought = usage.candidates_token_count or 0, usage.thoughts_token_count or 0
    dollars = max(0, ledger.price(prices, read, thought + (0 if many else written), many))
    return version | {"input_tokens": read, "output_tokens": written + thought, "dollars": dollars}


def _blocked(response: Any) -> str:
    """What the service says about an answer that is none; empty where it says nothing."""
    feedback = response.prompt_feedback
    if feedback and feedback.block_reason:
        return f"{ledger.PROMPT_BLOCKED} ({_in_a_line(feedback.block_reason.name)})"
    ended = response.candidates[0].finish_reason if response.candidates else None
    if ended is None or ended.name == "STOP":
        return ""
    return f"blocked or cut off ({_in_a_line(ended.name)})"
