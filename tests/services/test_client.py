"""What keys, failures and words of a server come to; tests of gemini have whole calls."""

import loopback
import pytest
from google.genai import errors
from loopback import error

from remem.config.services import Judge
from remem.services import client

KEY = "not/A+real=Key-2231"


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", f" {KEY}\n")
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    return KEY


@pytest.fixture
def server(monkeypatch):
    with loopback.serving(monkeypatch, KEY, lambda request: None) as server:
        yield server


def test_whether_a_key_is_taken_is_asked_free_of_charge(server, monkeypatch):
    asked = []

    def model(name):
        asked.append(name)
        return 200, {"name": f"models/{name}"}

    server.model = model
    assert client.unreachable(Judge(model="grader"), "model") is None
    assert asked == ["grader"] and not server.requests
    server.model = lambda name: error(404, "NOT_FOUND")
    found = client.unreachable(Judge(model="grader"), "model")
    assert found and "no model 'grader'; change judge.model" in found
    server.model = lambda name: error(400, "INVALID", f"{KEY}?", ({"reason": "API_KEY_INVALID"},))
    with pytest.raises(client.WrongKey, match="GEMINI_API_KEY is not accepted") as caught:
        client.unreachable(Judge(model="grader"), "model")
    assert KEY not in str(caught.value)
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    assert client.unreachable(Judge(model="grader"), "model") == "ConnectError"


def test_a_key_is_cut_out_however_it_is_written(key, monkeypatch):
    for form in (KEY, KEY.upper(), "not%2FA%2Breal%3DKey-2231", "not%2fA%2breal%3dKey-2231"):
        assert client.without_keys(f"<{form}>?{form}") == "<[key]>?[key]"
    assert client.without_keys("not/A+real") == "not/A+real"
    monkeypatch.setenv("GOOGLE_API_KEY", f"{KEY}-and-more")  # both, and the longer one first
    assert client.without_keys(f"{KEY}-and-more, {KEY}") == "[key], [key]"
    monkeypatch.setenv("GOOGLE_API_KEY", "the")
    assert client.without_keys("the other") == "the other"
    for name in client.KEYS:
        monkeypatch.delenv(name)
    assert client.without_keys(KEY) == KEY


def test_a_message_is_one_short_line_that_a_terminal_only_shows(key):
    assert client.in_a_line("\x1b]0;title\x07a\r\nb\u2028c\u202e  d") == "]0;title a b c d"
    assert client.in_a_line({"of": [KEY]}) == "{'of': ['[key]']}"
    assert client.in_a_line("x" * 290 + KEY) == "x" * 290 + "[key]"
    assert client.in_a_line("Zoë 東京") == "Zoë 東京" and len(client.in_a_line("x" * 999)) == 300


class ReadTimeout(Exception): ...


class ConnectTimeout(Exception): ...


class ConnectError(Exception): ...


class RemoteProtocolError(Exception): ...


@pytest.mark.parametrize(
    "raised, billed, late",
    [
        (ConnectError(KEY), False, False),
        (ConnectTimeout(KEY), False, True),
        (ReadTimeout(KEY), True, True),
        (RemoteProtocolError(KEY), True, True),
        (ValueError(KEY), True, True),
        (errors.ServerError(503, {"status": f"BUSY {KEY}"}), False, False),
        (errors.ServerError(500, {"message": KEY}), False, False),
        (errors.ServerError(504, {"status": "DEADLINE_EXCEEDED"}), False, True),
        (errors.ClientError(429, {"message": KEY}), False, False),
        (errors.ClientError(408, {}), False, True),
        (errors.ClientError(499, {}), False, True),
    ],
)
def test_what_may_be_billed_or_took_its_time_is_told_apart(key, raised, billed, late):
    failure = client.failure_of(raised, "judge.model", "grader", "GEMINI_API_KEY", 180)
    assert (failure.billed, failure.late, failure.stops) == (billed, late, None)
    assert KEY not in failure.reason and failure.reason
    timed_out = "Timeout" in type(raised).__name__ or getattr(raised, "code", 0) in client.TOO_LATE
    assert failure.reason.startswith("no answer within 180 s (") == timed_out
    assert ("though it may be billed" in failure.reason) == billed


@pytest.mark.parametrize(
    "raised, stops, said",
    [
        (
            errors.ClientError(401, {"message": KEY}),
            client.WrongKey,
            "key in GEMINI_API_KEY is not",
        ),
        (
            errors.ClientError(404, {"message": KEY}),
            client.Stopped,
            "change judge.model, or GOOGLE",
        ),
        (errors.ClientError(400, {"message": KEY}), client.Stopped, "grader does not take the"),
        (errors.APIError(302, {"message": KEY}), client.Stopped, "grader does not take the"),
    ],
)
def test_what_would_never_work_is_told_too(key, raised, stops, said):
    failure = client.failure_of(raised, "judge.model", "grader", "GEMINI_API_KEY", 180)
    assert failure.stops is stops and said in failure.reason and KEY not in failure.reason
