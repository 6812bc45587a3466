"""The connection to Gemini: its key, what a failure means, what a response says beside its answer.

A key is read from the environment and shown nowhere: it is cut from whatever a server sends back.
"""

from __future__ import annotations

import os
import re
import warnings
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from remem.config.services import Prices, Service
from remem.services import ledger, pictures
from remem.services.ledger import Stopped

if TYPE_CHECKING:  # it takes a second to import, and is needed only where something is asked
    from google import genai

KEYS = ("GOOGLE_API_KEY", "GEMINI_API_KEY")  # in the environment; the SDK prefers the first too

SOON = 4.0  # for what costs it nothing

TOO_LATE = (408, 499, 504)  # what the service says where the time was up, ours or its own

SECRET = 6  # letters from which a key is one: a shorter one would cut words out of answers


class WrongKey(Stopped):
    """The service does not accept the key; the message names the variable that holds it."""


class NoKey(Stopped):
    """Something has to be asked, and there is no key; the message says where one belongs."""

    def __init__(self) -> None:
        """Always the same message."""
        super().__init__(f"no key for Gemini: put one into {' or '.join(KEYS)}, in the environment")


def key_variable() -> str | None:
    """The environment's variable that holds a key for Gemini, if one does."""
    return next((name for name in KEYS if secret_of(name)), None)


def unreachable(settings: Service, model: str) -> str | None:
    """Ask the service, free of charge, for what it says of the model that the settings' key `model`
    names: why it says nothing, or None where it does. Raises WrongKey. A key has to be set."""
    variable, name = key_variable() or "", getattr(settings, model)
    with closing(connect(variable, SOON)) as client:
        try:
            client.models.get(model=name)
        except Exception as error:  # as when it is asked for more
            failure = failure_of(error, f"{settings.section}.{model}", name, variable, SOON)
            if failure.stops is WrongKey:
                raise WrongKey(failure.reason) from None
            return failure.reason
    return None


def secret_of(variable: str) -> str:
    """The key that a variable holds; "" where it holds none."""
    return os.environ.get(variable, "").strip()  # as the SDK sends it


def connect(variable: str, seconds: float) -> genai.Client:
    """A client with the key in `variable`. Raises WrongKey: a key that no request can carry."""
    from google import genai
    from google.genai import types

    if not secret_of(variable).isascii():
        raise WrongKey(f"the key in {variable} holds letters that no key has: correct it")
    # The SDK prints what it does not know of a response, as it came.
    warnings.filterwarnings("ignore", "(?s).* is not a valid ", module=r"google\.genai")
    # Retries are ours: the SDK's would not be recorded, nor cover an answer cut off midway.
    options = types.HttpOptions(timeout=int(1000 * seconds))
    return genai.Client(api_key=secret_of(variable), http_options=options)


class Failure(NamedTuple):
    """What came of a call that had no answer."""

    reason: str  # why there is no answer
    stops: type[Stopped] | None = None  # what to raise where asking on is in vain
    billed: bool = False  # it may be
    late: bool = False  # it took its time, or money: asked again `repeats` times, not `retries`


def failure_of(
    error: Exception, parameter: str, model: str, variable: str, seconds: float
) -> Failure:
    """What an exception of the SDK means. parameter: what a person changes to have another model;
    variable: the key's; seconds: how long an answer was waited for."""
    from google.genai import errors

    late = f"no answer within {seconds:.0f} s"
    if not isinstance(error, errors.APIError):
        name = type(error).__name__  # without its words, in which the key may stand
        slow = "Timeout" in name
        reason = f"{late} ({name})" if slow else name
        if name.startswith("Connect"):
            return Failure(reason, late=slow)
        # it went out, and may have been done
        return Failure(f"{reason}, though it may be billed", billed=True, late=True)
    code = in_a_line(f"{error.code} {error.status or ''}")
    if error.code in TOO_LATE:
        return Failure(f"{late} ({code})", late=True)
    if error.code == 429 or error.code >= 500:
        return Failure(code)
    # only the message says what is wrong; what stands before the service may send a whole page
    message = in_a_line(f"{code} {error.message or ''}")
    if error.code in (401, 403) or "API_KEY_INVALID" in str(error.details):
        return Failure(f"the key in {variable} is not accepted ({message}): correct it", WrongKey)
    if error.code == 404:
        change = f"change {parameter}, or GOOGLE_GENAI_API_VERSION (v1, v1beta)"
        return Failure(f"{code}: the service has no model {model!r}; {change}", Stopped)
    return Failure(f"{model} does not take the request ({message})", Stopped)


def without_keys(text: str) -> str:
    """What a service sent, without our keys, plain or as an address holds them."""
    keys = [key for name in KEYS if len(key := secret_of(name)) >= SECRET]
    if not keys:
        return text
    forms = {re.escape(form) for key in keys for form in (key, quote(key, safe=""))}
    longest_first = "|".join(sorted(forms, key=len, reverse=True))
    return re.sub(longest_first, "[key]", text, flags=re.IGNORECASE)


def in_a_line(text: object) -> str:
    """The same for a message: 300 letters at most, and none that a terminal would obey."""
    plain = "".join(c if c.isprintable() else " " for c in without_keys(str(text)))
    return " ".join(plain.split())[:300]


def usage_of(response: Any, prices: Prices, reckoned: float) -> dict[str, Any]:
    """Version, tokens in and out, and dollars: those reckoned where the response has no tokens. The
    price of a picture covers the tokens that it is made of, but not those of the thoughts before
    it; one that was made and then held back has its price too."""
    usage, version = response.usage_metadata, {"version": in_a_line(response.model_version or "")}
    if usage is None or usage.prompt_token_count is None:
        return version | {"dollars": reckoned}
    made = any(each.modality == "IMAGE" for each in usage.candidates_tokens_details or ())
    read, many = usage.prompt_token_count, max(len(pictures.drawn(response)), made)
    written, thought = usage.candidates_token_count or 0, usage.thoughts_token_count or 0
    dollars = max(0.0, ledger.price(prices, read, thought + (0 if many else written), many))
    return version | {"input_tokens": read, "output_tokens": written + thought, "dollars": dollars}


def block_reason(response: Any) -> str:
    """What the service says about an answer that is none; empty where it says nothing."""
    feedback = response.prompt_feedback
    if feedback and feedback.block_reason:
        return f"{ledger.PROMPT_BLOCKED} ({in_a_line(feedback.block_reason.name)})"
    ended = response.candidates[0].finish_reason if response.candidates else None
    if ended is None or ended.name == "STOP":
        return ""
    return f"blocked or cut off ({in_a_line(ended.name)})"
