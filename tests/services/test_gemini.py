"""The real SDK against a loopback that speaks the REST protocol, and misbehaves."""

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import loopback
import pandas as pd
import pytest
from loopback import error
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic import BaseModel

from remem import paths
from remem.config.services import Account, Construction, Judge, Prices
from remem.services import client, gemini, ledger, pictures

KEY = "not-a-real-key-2231"


class Person(BaseModel):
    name: str
    age: int


ANN = Person(name="Ann", age=41)
SERVICE = Construction(
    text_model="writer",
    image_model="painter",
    concurrency=2,
    retries=2,
    repeats=1,
    prices=Prices(input=1.0, output=10.0, image=0.5),
)
USAGE = {"promptTokenCount": 1000, "candidatesTokenCount": 100, "thoughtsTokenCount": 100}


def png(shade: int = 90, side: int = 40, form: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).point(lambda v: v ^ shade).save(data, form)
    return data.getvalue()


def answered(*parts: dict, **more) -> tuple[int, dict]:
    return loopback.answered(*parts, **{"usageMetadata": USAGE, **more})


def wrote(text: str = ANN.model_dump_json(), **more) -> tuple[int, dict]:
    return answered({"text": text}, **more)


def drew(data: bytes | None = None, mime: str = "image/png", **more) -> tuple[int, dict]:
    inline = {"mimeType": mime, "data": base64.b64encode(data or png()).decode()}
    return answered({"inlineData": inline, **more})


def refused(finish: str) -> tuple[int, dict]:
    return 200, {"candidates": [{"finishReason": finish}], "usageMetadata": {"promptTokenCount": 9}}


BLOCKED = (
    200,
    {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "usageMetadata": {"promptTokenCount": 1000},
    },
)
BUSY = [
    error(429, "RESOURCE_EXHAUSTED"),
    error(503, "UNAVAILABLE"),
    error(500, "INTERNAL"),
    (529, "<html>overloaded"),
]


@pytest.fixture
def server(monkeypatch):
    """Its replies are to the prompts."""

    def prompt(request):
        return request["contents"][0]["parts"][-1]["text"]

    with loopback.serving(monkeypatch, KEY, prompt) as server:
        server.reply = lambda prompt, times: drew() if "draw" in prompt else wrote()
        yield server


def text(prompts, folder, budget=None, **changes):
    settings = SERVICE.model_copy(update=changes)
    return gemini.ask_text(prompts, settings, Account(folder, budget), Person)


def image(prompts, folder, references=(), budget=None, **changes):
    requests = [(prompt, references) for prompt in prompts]
    return gemini.ask_image(requests, SERVICE.model_copy(update=changes), Account(folder, budget))


def calls(folder) -> pd.DataFrame:
    return ledger.calls(Account(folder))


def outcomes(folder) -> list[str]:
    return calls(folder).outcome.tolist()


def everything_in(folder) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


# ---------------------------------------------------------------- what is asked, kept and paid


def test_a_text_goes_out_with_its_schema_and_is_kept(server, tmp_path):
    assert text(["who?"], tmp_path) == [ANN]
    [request] = server.requests
    assert request["path"] == "/v1/models/writer:generateContent"
    assert request["headers"]["x-goog-api-key"] == KEY
    settings = request["generationConfig"]
    assert "systemInstruction" not in request and "temperature" not in settings
    assert settings["responseMimeType"] == "application/json"
    assert settings["responseSchema"]["properties"].keys() == {"name", "age"}

    [kept] = tmp_path.glob("*.json")
    assert json.loads(kept.read_text()) == ANN.model_dump()
    [call] = calls(tmp_path).to_dict("records")
    assert kept.name == call["file"] and kept.stem.startswith(f"{call['key']}-")
    assert (call["kind"], call["model"], call["version"]) == ("text", "writer", "v-007")
    assert (call["prompt"], call["references"], call["outcome"]) == ("who?", 0, "accepted")
    assert (call["input_tokens"], call["output_tokens"]) == (1000, 200)  # what it thought is paid
    assert call["dollars"] == pytest.approx(1000 * 1e-6 + 200 * 10e-6) and call["seconds"] > 0
    assert KEY.encode() not in everything_in(tmp_path)


def test_a_picture_is_drawn_after_its_references(server, tmp_path):
    anchor = Image.new("RGB", (8, 8), "#204060")
    [drawn] = image(["draw her"], tmp_path, [anchor])
    assert (drawn.mode, drawn.size) == ("RGB", (40, 40))
    [request] = server.requests
    assert request["path"] == "/v1/models/painter:generateContent"
    assert request["generationConfig"]["responseModalities"] == ["IMAGE"]
    assert request["generationConfig"]["imageConfig"]["aspectRatio"] == "1:1"
    sent, words = request["contents"][0]["parts"]
    assert words == {"text": "draw her"}
    inline = sent["inlineData"]
    data = base64.urlsafe_b64decode(inline["data"])
    assert Image.open(io.BytesIO(data)).tobytes() == anchor.tobytes()
    [kept] = tmp_path.glob("*.png")
    assert kept.read_bytes() == png()  # as it came
    [call] = calls(tmp_path).to_dict("records")
    # the picture's tokens are in its price; what was thought before it is not
    assert call["references"] == 1
    assert call["dollars"] == pytest.approx(1000 * 1e-6 + 0.5 + 100 * 10e-6)


def test_nothing_is_asked_twice(server, tmp_path, monkeypatch):
    assert text(["a", "b", "a"], tmp_path) == [ANN] * 3
    image(["draw a"], tmp_path)
    assert server.times == {"a": 1, "b": 1, "draw a": 1}
    monkeypatch.delenv("GEMINI_API_KEY")  # nor is a key needed for what is there
    assert text(["b", "a"], tmp_path) == [ANN] * 2 and len(image(["draw a"], tmp_path)) == 1
    assert server.times.total() == 3


def test_another_model_schema_or_reference_is_another_request(server, tmp_path):
    class Place(BaseModel):
        name: str

    text(["a"], tmp_path)
    text(["a"], tmp_path, text_model="other")
    gemini.ask_text(["a"], SERVICE, Account(tmp_path), Place)
    text(["a"], tmp_path, retries=5, budget=9.0, concurrency=1)  # the same
    assert server.times["a"] == 3
    for shade in ("red", "red", "blue"):
        image(["draw"], tmp_path, [Image.new("RGB", (2, 2), shade)])
    assert server.times["draw"] == 2
    for shade in ("red", "blue"):  # the same indices into two palettes
        image(["draw again"], tmp_path, [Image.new("P", (2, 2), shade)])
    assert server.times["draw again"] == 2


def test_a_request_may_have_a_config_of_its_own_and_messages_name_its_section(
    server, tmp_path, capsys
):
    def ask(instruction, budget=None):
        settings, account = Judge(model="judge", retries=0), Account(tmp_path, budget)
        config = {"system_instruction": instruction, "temperature": 0}
        return gemini.ask_text(
            ["a"], settings, account, Person, model="model", config=config, unit="score"
        )

    assert ask("Be kind.") == ask("Be kind.") == [ANN]
    [request] = server.requests
    assert request["path"] == "/v1/models/judge:generateContent"
    assert request["systemInstruction"]["parts"] == [{"text": "Be kind."}]
    assert request["generationConfig"]["temperature"] == 0
    assert ask("Be strict.") == [ANN] and len(server.requests) == 2, "it is part of the key"
    assert calls(tmp_path).kind.tolist() == ["text"] * 2
    with pytest.raises(gemini.Stopped, match=r"raise services\.budget"):
        ask("Be quick.", budget=0.0)
    server.reply = lambda prompt, times: error(404, "NOT_FOUND")
    with pytest.raises(gemini.Stopped, match=r"no model 'judge'; change judge\.model,"):
        ask("Be quick.")
    server.reply = lambda prompt, times: BLOCKED
    assert ask("Be good.") == [None] and "1 of 1 scores are missing" in capsys.readouterr().err


def test_what_is_cached_can_be_had_alone(server, tmp_path, monkeypatch):
    text(["a"], tmp_path)
    monkeypatch.delenv("GEMINI_API_KEY")
    for folder, found in ((tmp_path, [ANN, None]), (tmp_path / "none", [None, None])):
        got = gemini.ask_text(["a", "b"], SERVICE, Account(folder), Person, only_cached=True)
        assert got == found
    assert server.times == {"a": 1} and not (tmp_path / "none").exists()


def test_an_answer_damaged_since_is_asked_for_again(server, tmp_path, capsys):
    for damaged in (png()[:90], png(7), b""):
        image(["draw"], tmp_path)
        [kept] = tmp_path.glob("*.png")
        kept.write_bytes(damaged)
        times = server.times["draw"]
        assert image(["draw"], tmp_path)[0].tobytes() == pictures.read(png()).tobytes()
        assert server.times["draw"] == times + 1 and kept.read_bytes() == png()
        said = capsys.readouterr().err
        assert f"1 answers are not what came, such as {kept}: asking again" in said


def test_an_answer_under_anothers_name_is_not_taken(server, tmp_path, capsys):
    server.reply = lambda prompt, times: wrote(Person(name=prompt, age=1).model_dump_json())
    text(["ann", "bob"], tmp_path)
    names = calls(tmp_path).set_index("prompt").file
    (tmp_path / names.ann).replace(tmp_path / names.bob)  # as a copy that went wrong
    ann, bob = text(["ann", "bob"], tmp_path)
    assert (ann.name, bob.name) == ("ann", "bob") and server.times == {"ann": 2, "bob": 2}
    assert "1 answers are not what came" in capsys.readouterr().err


def test_what_earlier_versions_kept_elsewhere_is_not_paid_again(server, tmp_path):
    text(["a"], old := tmp_path / "judge")
    [kept] = old.glob("*.json")
    key = kept.stem.partition("-")[0]
    kept.rename(old / f"{key}.json")  # without a checksum, as they wrote it
    server.reply = lambda prompt, times: wrote("{}")
    text(["bad"], old)
    spent = calls(old).dollars.sum()
    account, asked = (
        Account(tmp_path / "new", 2 * spent, (old, tmp_path / "none")),
        len(server.requests),
    )
    assert gemini.ask_text(["a"], SERVICE, account, Person) == [ANN]
    assert gemini.ask_text(["bad"], SERVICE, account, Person) == [None]
    assert len(server.requests) == asked
    with pytest.raises(gemini.Stopped, match=f"\\${spent:.2f} spent"):
        gemini.ask_text([*"bcdefghijklmnop"], SERVICE, account._replace(budget=spent), Person)
    assert ledger.calls(account).prompt.tolist() == ["a", "bad", "bad"]


def test_an_unusable_answer_is_kept_and_taken_by_a_reader_that_knows_it(
    server, tmp_path, monkeypatch
):
    data = png(form="TIFF")
    server.reply = lambda prompt, times: drew(data, "image/tiff")
    monkeypatch.setattr(pictures, "FORMATS", ("PNG",))
    assert image(["draw"], tmp_path) == [None] and server.times == {"draw": 2}
    [kept] = tmp_path.glob("*.bin")
    assert kept.read_bytes() == data and set(calls(tmp_path).file) == {kept.name}
    monkeypatch.undo()
    monkeypatch.setattr(pictures, "FORMATS", ("PNG", "TIFF"))
    assert image(["draw"], tmp_path)[0].size == (40, 40) and server.times == {"draw": 2}


@pytest.mark.parametrize(
    "mime, form, suffix", [("image/jpeg", "JPEG", ".jpg"), ("image/webp", "WEBP", ".webp")]
)
def test_other_formats_and_drafts(server, tmp_path, mime, form, suffix):
    thought = drew(png(7), thought=True)[1]["candidates"][0]["content"]["parts"][0]
    final = drew(png(form=form), mime)[1]["candidates"][0]["content"]["parts"][0]
    server.reply = lambda prompt, times: answered({"text": "Here:"}, thought, final)
    assert image(["draw"], tmp_path)[0].size == (40, 40)
    assert image(["draw"], tmp_path)[0].size == (40, 40) and len(server.requests) == 1
    [kept] = tmp_path.glob(f"*{suffix}")
    assert kept.read_bytes() == png(form=form)


def part(data: bytes, mime: str = "image/png", **more) -> dict:
    return drew(data, mime, **more)[1]["candidates"][0]["content"]["parts"][0]


def test_a_picture_that_comes_as_a_thought_is_taken_and_has_its_price(server, tmp_path):
    draft, last = part(png(7), thought=True), part(png(), thought=True)
    server.reply = lambda prompt, times: answered({"text": "Hm."}, draft, last)
    assert image(["draw"], tmp_path)[0] is not None and server.times == {"draw": 1}
    [kept] = tmp_path.glob("*.png")
    assert kept.read_bytes() == png(), "the last is the picture"
    [call] = calls(tmp_path).to_dict("records")
    assert call["outcome"] == "accepted"
    assert call["dollars"] == pytest.approx(1000 * 1e-6 + 0.5 + 100 * 10e-6)
    with pytest.raises(gemini.Stopped, match="budget of"):
        image([f"draw {n}" for n in range(9)], tmp_path, budget=2.6, concurrency=1)
    assert calls(tmp_path).dollars.sum() <= 2.6 and len(server.requests) == 5


def test_drafts_beside_the_picture_are_no_further_pictures(server, tmp_path):
    server.reply = lambda prompt, times: answered(part(png(7), thought=True), part(png()))
    image(["draw"], tmp_path)
    assert calls(tmp_path).dollars.tolist() == [pytest.approx(1000 * 1e-6 + 0.5 + 1e-3)]


@pytest.mark.parametrize(
    "mime", ["image/jpg", "image/JPEG", "image/png", "image/jpeg; q=1", "application/octet-stream"]
)
def test_a_picture_is_known_by_its_data(server, tmp_path, mime):
    data = png(form="JPEG")
    server.reply = lambda prompt, times: drew(data, mime)
    assert image(["draw"], tmp_path)[0].size == (40, 40) and outcomes(tmp_path) == ["accepted"]
    [kept] = tmp_path.glob("*.jpg")
    assert kept.read_bytes() == data


def test_the_first_that_is_a_picture_is_taken(server, tmp_path):
    server.reply = lambda prompt, times: answered(part(b"RIFF", "audio/wav"), part(png()))
    assert image(["draw"], tmp_path)[0].size == (40, 40)


def test_a_picture_that_was_made_and_held_back_has_its_price(server, tmp_path):
    made = {"modality": "IMAGE", "tokenCount": 100}
    usage = {"usageMetadata": USAGE | {"candidatesTokensDetails": [made]}}
    server.reply = lambda prompt, times: (200, refused("IMAGE_SAFETY")[1] | usage)
    assert image(["draw"], tmp_path, repeats=0) == [None]
    assert calls(tmp_path).dollars.tolist() == [pytest.approx(1000 * 1e-6 + 0.5 + 1e-3)]


def test_so_many_at_once_and_no_more(server, tmp_path):
    three = threading.Barrier(3, timeout=30)  # each waits for two more
    server.reply = lambda prompt, times: (three.wait(), wrote())[1]
    assert text(list("abcdefghi"), tmp_path, concurrency=3) == [ANN] * 9
    assert server.most == 3


# ---------------------------------------------------------------- a service that misbehaves


@pytest.mark.parametrize("passing", BUSY, ids=["429", "503", "500", "529"])
def test_a_busy_service_is_asked_again(server, tmp_path, passing):
    server.reply = lambda prompt, times: passing if times < 3 else wrote()
    assert text(["a"], tmp_path) == [ANN]
    table = calls(tmp_path)
    assert table.outcome.tolist() == ["failed", "failed", "accepted"]
    assert table.reason[0].startswith(str(passing[0])) and table.dollars[0] == 0


def test_a_slow_answer_is_asked_for_again_and_may_have_been_paid(server, tmp_path, monkeypatch):
    monkeypatch.setattr(gemini, "TIMEOUT", 0.2)
    server.reply = lambda prompt, times: (time.sleep(0.6 if times == 1 else 0), wrote())[1]
    assert text(["a"], tmp_path) == [ANN]
    table = calls(tmp_path)
    assert table.reason[0] == "no answer within 0 s (ReadTimeout), though it may be billed"
    assert table.dollars[0] == ledger.plan(SERVICE, texts=1, images=0).dollars.sum()


def test_an_answer_cut_off_midway_is_asked_for_again(server, tmp_path):
    server.cut = lambda prompt, times: 60 if times == 1 else None
    [drawn] = image(["draw"], tmp_path)
    assert drawn.size == (40, 40) and outcomes(tmp_path) == ["failed", "accepted"]
    assert calls(tmp_path).dollars[0] > 0  # it was made, so it may have been billed


def test_what_is_not_even_json_is_asked_for_again(server, tmp_path):
    server.reply = lambda prompt, times: (200, "<html>Log in") if times == 1 else wrote()
    assert text(["a"], tmp_path) == [ANN]
    assert calls(tmp_path).reason[0].startswith("JSONDecodeError, though")


TIMED_OUT = {
    "client": (0.1, wrote()),
    "408": (180, error(408, "REQUEST_TIMEOUT")),
    "499": (180, error(499, "CANCELLED")),
    "504": (180, error(504, "DEADLINE_EXCEEDED")),
}


@pytest.mark.parametrize("timeout, reply", TIMED_OUT.values(), ids=TIMED_OUT)
def test_a_request_that_times_out_is_not_asked_over_and_over(
    server, tmp_path, monkeypatch, capsys, timeout, reply
):
    monkeypatch.setattr(gemini, "TIMEOUT", timeout)

    def late(prompt, times):
        time.sleep(0.4 if prompt == "late" and timeout < 1 else 0)
        return reply if prompt == "late" else wrote()

    server.reply = late
    assert text(["late", "fine"], tmp_path, retries=6, repeats=1) == [None, ANN]
    assert server.times == {"late": 2, "fine": 1}
    said = capsys.readouterr().err
    assert re.search(r"writer: no answer within \d+ s \(.*\).*: asking again", said)
    assert re.search(r"1 of 2 texts are missing \(1 x no answer within", said)
    rows = calls(tmp_path).query("prompt == 'late'")
    assert rows.outcome.tolist() == ["failed"] * 2
    assert (rows.dollars > 0).all() == (timeout < 1)  # what it said itself is free


def test_a_busy_service_is_waited_for_aloud(server, tmp_path, capsys):
    server.reply = lambda prompt, times: BUSY[1] if times < 3 else wrote()
    text(["a", "b"], tmp_path)
    said = capsys.readouterr().err
    assert said.count("writer: 503 UNAVAILABLE: asking again") == 1  # the bar counts the rest
    assert "4 asked again" in said


NO_JSON = "not the JSON asked for"
NO_PICTURE = "not a whole picture in any of PNG, JPEG, WEBP"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"/>'
REFUSALS = {
    text: [
        (wrote('{"name": "An'), NO_JSON),
        (wrote('{"name": "Ann"}'), f"{NO_JSON}: age: Field required"),
        (wrote(""), NO_JSON),
        (wrote('{"name"', finish="MAX_TOKENS"), "blocked or cut off (MAX_TOKENS)"),
        (refused("SPII"), "blocked or cut off (SPII)"),
        (refused("A_REASON_OF_2030"), "blocked or cut off (A_REASON_OF_2030)"),
        ((200, {}), NO_JSON),
    ],
    image: [
        (refused("IMAGE_SAFETY"), "blocked or cut off (IMAGE_SAFETY)"),
        (wrote("I would rather not."), "no picture in the answer"),
        (answered(), "no picture in the answer"),
        (drew(SVG, "image/svg+xml"), NO_PICTURE),
        (drew(png()[:-60]), NO_PICTURE),
        (drew(png(form="JPEG")[:300], "image/jpeg"), NO_PICTURE),
        (drew(b"GIF89a"), NO_PICTURE),
    ],
}


@pytest.mark.filterwarnings("ignore:A_REASON_OF_2030")
@pytest.mark.parametrize("ask", REFUSALS)
def test_a_refusal_is_recorded_repeated_and_then_skipped(server, tmp_path, capsys, ask):
    bad = {f"bad {n}": each for n, each in enumerate(REFUSALS[ask])}
    fine = drew() if ask is image else wrote()
    server.reply = lambda prompt, times: bad[prompt][0] if prompt in bad else fine
    for _ in range(2):  # what was refused for good is not asked again either
        *none, one = ask([*bad, "fine"], tmp_path)
        assert none == [None] * 7 and one is not None
        assert server.times == {**dict.fromkeys(bad, 2), "fine": 1}
        shown = capsys.readouterr().err  # the second time only those that are not asked for
        assert f"{ask.__name__}s are missing (" in shown and "7 of " in shown
    table = calls(tmp_path)
    for prompt, (_, why) in bad.items():
        rows = table[table.prompt == prompt]
        assert rows.outcome.tolist() == ["refused"] * 2
        assert all(reason.startswith(why) for reason in rows.reason), rows.reason
    assert table.dollars.gt(0).all()  # refused, and paid for all the same
    for file in table.file[table.outcome == "refused"]:  # whatever came is kept
        assert not file or (tmp_path / file).read_bytes()

    server.reply = lambda prompt, times: fine
    assert None not in ask(list(bad), tmp_path, repeats=2)  # unless it may be repeated once more


def test_a_second_try_may_do(server, tmp_path):
    server.reply = lambda prompt, times: refused("IMAGE_OTHER") if times == 1 else drew()
    assert image(["draw"], tmp_path)[0] is not None
    assert outcomes(tmp_path) == ["refused", "accepted"]


def test_a_blocked_prompt_is_not_sent_again(server, tmp_path):
    server.reply = lambda prompt, times: BLOCKED
    for _ in range(2):
        assert text(["a"], tmp_path, repeats=9) == [None]
    assert server.times["a"] == 1
    assert calls(tmp_path).reason.tolist() == ["prompt blocked (PROHIBITED_CONTENT)"]


def test_a_refusal_stops_where_it_should(server, tmp_path):
    server.reply = lambda prompt, times: BLOCKED if prompt == "bad" else wrote()
    for _ in range(2):
        with pytest.raises(gemini.Stopped, match=r"PROHIBITED_CONTENT.*construction\.on_blocked"):
            text(["fine", "bad"], tmp_path, on_blocked="stop", concurrency=1)
    assert server.times == {"fine": 1, "bad": 1}


def test_a_picture_too_large_is_not_decoded(server, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "PIXELS", 39 * 40)
    assert image(["draw"], tmp_path) == [None]
    assert calls(tmp_path).reason[0] == "a picture of 40 x 40 pixels"


# ---------------------------------------------------------------- when it cannot go on


@pytest.mark.parametrize(
    "ask, reply, said",
    [
        (text, error(404, "NOT_FOUND"), "no model 'writer'; change construction.text_model"),
        (image, error(404, "NOT_FOUND"), "no model 'painter'; change construction.image_model"),
        (
            text,
            error(403, "PERMISSION_DENIED", f"{KEY} leaked"),
            "GEMINI_API_KEY is not accepted .*\\[key\\] leaked",
        ),
        (
            text,
            error(400, "INVALID_ARGUMENT", f"{KEY}?", ({"reason": "API_KEY_INVALID"},)),
            "GEMINI_API_KEY is not accepted",
        ),
        (
            image,
            error(400, "INVALID_ARGUMENT", f"No imageConfig for {KEY}"),
            "painter does not take the request .*No imageConfig for \\[key\\]",
        ),
    ],
)
def test_what_would_never_work_stops_at_once(
    server, tmp_path, capsys, monkeypatch, ask, reply, said
):
    monkeypatch.setenv("GEMINI_API_KEY", f" {KEY}\r\n")  # as it may come from a file
    server.reply = lambda prompt, times: reply
    with pytest.raises(gemini.Stopped, match=f"{said}.*What was answered is kept") as caught:
        ask([f"draw {n}" for n in range(40)], tmp_path)
    assert len(server.requests) < 8
    shown = str(caught.value) + capsys.readouterr().err
    assert KEY not in shown and KEY.encode() not in everything_in(tmp_path)


ODD_KEY = "not/A+real=Key-2231"
FORMS = (ODD_KEY, ODD_KEY.lower(), "not%2FA%2Breal%3DKey-2231")


def tagged(words: str) -> bytes:
    (info := PngInfo()).add_text("Comment", words)
    Image.new("RGB", (9, 9), "#204060").save(data := io.BytesIO(), "PNG", pnginfo=info)
    return data.getvalue()


ECHOES = {
    "answer": lambda key: wrote(Person(name=f"Ann {key}", age=41).model_dump_json()),
    "version": lambda key: wrote(modelVersion=f"v {key}"),
    "unusable": lambda key: wrote(f"I got {key}, but no question"),
    "finish": lambda key: refused(f"NO_{key}"),
    "block": lambda key: (200, {"promptFeedback": {"blockReason": f"{key}_IS_BAD"}}),
    "html": lambda key: (200, f"<html>{key}</html>"),
    "status": lambda key: error(503, f"UNAVAILABLE {key}", key),
    "page": lambda key: (502, f"<html>{key}</html>"),
    "late": lambda key: error(504, f"TOO_LATE_FOR_{key}"),
    "wrong": lambda key: error(403, f"DENIED_{key}", f"leaked {key}"),
    "unknown": lambda key: error(404, f"NO_{key}", key),
    "not understood": lambda key: error(400, f"INVALID_{key}", "x" * 290 + key),
    "odd": lambda key: (400, {"error": {"status": [key], "message": {"of": key}}}),
    "picture": lambda key: drew(tagged(key)),
    "no picture": lambda key: drew(f"<svg>{key}</svg>".encode()),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_no_key_that_a_server_sends_back_is_kept_or_shown(
    server, tmp_path, monkeypatch, capsys, echo, form
):
    monkeypatch.setenv("GEMINI_API_KEY", ODD_KEY)
    server.reply = lambda prompt, times: echo(form)
    got = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for _ in range(2):
            try:
                got += (image if "inlineData" in str(echo(form)) else text)(
                    ["a"], tmp_path, retries=0
                )
            except gemini.Stopped as stopped:
                got.append(str(stopped))
    shown = "".join(map(str, (got, *capsys.readouterr(), *(each.message for each in warned))))
    everything = (shown + everything_in(tmp_path).decode("latin-1")).lower()
    assert not [each for each in FORMS if each.lower() in everything]


def test_what_a_server_sends_back_moves_no_cursor(server, tmp_path, capsys):
    server.reply = lambda prompt, times: error(400, "INVALID", "\x1b[2J\x07no\r\nmore" + "!" * 999)
    with pytest.raises(gemini.Stopped, match=r"\(400 INVALID \[2J no more!+\)") as caught:
        text(["a"], tmp_path)
    assert len(str(caught.value)) < 500 and "\x1b" not in str(caught.value)


def test_a_key_too_short_to_be_one_cuts_no_answer(server, tmp_path, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "Ann")
    assert text(["a"], tmp_path) == [ANN]


def test_what_the_service_could_not_take_is_asked_again_the_next_time(server, tmp_path, capsys):
    server.reply = lambda prompt, times: BUSY[1] if prompt == "bad" else wrote()
    assert text(["bad", "fine"], tmp_path) == [None, ANN]
    assert server.times["bad"] == 3 and "1 x 503 UNAVAILABLE" in capsys.readouterr().err
    server.reply = lambda prompt, times: wrote()
    assert text(["bad", "fine"], tmp_path) == [ANN, ANN]
    assert server.times == {"bad": 4, "fine": 1}


def test_a_service_that_fails_without_end_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(gemini, "GIVE_UP", 3)
    server.reply = lambda prompt, times: BUSY[0]
    with pytest.raises(
        gemini.Stopped, match=r"none of 3 requests in a row .429 RESOURCE_EXHAUSTED"
    ):
        text([str(n) for n in range(40)], tmp_path, retries=0)
    assert len(server.requests) < 10


def test_without_a_net_nothing_is_paid(tmp_path, server, monkeypatch):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(gemini.Stopped, match=r"ConnectError.*look at the net"):  # not one came back
        text(["a"], tmp_path)
    table = calls(tmp_path)
    assert set(table.reason) == {"ConnectError"} and table.dollars.sum() == 0


def test_without_a_key_it_says_where_one_belongs(server, tmp_path, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", " ")
    with pytest.raises(gemini.Stopped, match="GOOGLE_API_KEY or GEMINI_API_KEY"):
        text(["a"], tmp_path)
    monkeypatch.setenv("GEMINI_API_KEY", "not\u2011a\u2011key")
    with pytest.raises(client.WrongKey, match="GEMINI_API_KEY holds letters"):
        text(["a"], tmp_path)
    assert not server.requests and calls(tmp_path).empty


def test_the_budget_stops_it_between_calls_and_holds_over_runs(server, tmp_path, capsys):
    prompts = [f"draw {n}" for n in range(20)]
    server.reply = lambda prompt, times: (time.sleep(0.01), drew())[1]
    for _ in range(2):
        with pytest.raises(gemini.Stopped, match=r"\$2\.60 .* spent, .*services\.budget"):
            image(prompts, tmp_path, budget=2.6, concurrency=4)
        # never more is under way than can be paid; what was paid is there
        assert len(server.requests) == 5 and len(list(tmp_path.glob("*.png"))) == 5
    assert calls(tmp_path).dollars.sum() <= 2.6
    assert all(image(prompts, tmp_path)) and server.times.total() == 20
    assert "$10.04 so far" in capsys.readouterr().err


def test_calls_dearer_than_planned_are_expected_from_then_on(server, tmp_path):
    usage = {**USAGE, "thoughtsTokenCount": 19_900}  # $0.201, and $0.0205 was planned
    server.reply = lambda prompt, times: (time.sleep(0.03), wrote(usageMetadata=usage))[1]
    prompts = [str(n) for n in range(9)]
    with pytest.raises(gemini.Stopped, match="budget"):
        text(prompts, tmp_path, budget=1.0, concurrency=2)
    assert len(server.requests) == 4  # $0.80: a fifth would not fit
    with pytest.raises(gemini.Stopped, match="budget"):
        text(prompts, tmp_path / "new", budget=0.05, concurrency=2)
    # who has not seen any yet may be wrong by as many calls as are under way
    assert calls(tmp_path / "new").dollars.sum() == pytest.approx(2 * 0.201)


# ---------------------------------------------------------------- killed, shared, full

CODE = """
import sys
from pathlib import Path
from remem.config.services import Account, Construction
from remem.services import gemini
service = Construction(image_model="painter", concurrency=4)
gemini.ask_image([(f"draw {n}", ()) for n in range(128)], service, Account(Path(sys.argv[1])))
"""


def test_a_killed_run_repeats_no_call_that_was_answered(server, tmp_path):
    def reply(prompt, times):
        if len(server.requests) == 70:
            os.kill(child.pid, signal.SIGKILL)
        return drew()

    server.reply = reply
    child = subprocess.Popen(
        [sys.executable, "-c", CODE, tmp_path],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
    )
    assert child.wait(110) == -signal.SIGKILL
    kept = {path.stem.partition("-")[0] for path in tmp_path.glob("*.png")}
    before = calls(tmp_path)
    known = set(before.prompt[before.key.isin(kept) & (before.outcome == "accepted")])
    assert 60 < len(known) < 70
    cut_off = before[before.outcome == "begun"]  # they may have been paid for, and so they count
    assert 1 <= len(cut_off) <= 4 and (cut_off.dollars > 0).all()

    server.reply = lambda prompt, times: drew()
    for _ in range(2):
        assert all(image([f"draw {n}" for n in range(128)], tmp_path))
        again = {prompt for prompt, times in server.times.items() if times > 1}
        assert not again & known  # nothing that was paid and kept
        assert len(again) <= 4 and server.times.total() == 128 + len(again)  # what was under way
    assert len(server.times) == 128 == len(list(tmp_path.glob("*.png")))


def test_an_interrupted_run_keeps_what_is_under_way(server, tmp_path, capsys):
    def reply(prompt, times):
        if len(server.requests) == 5:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        return wrote()

    server.reply = reply
    with pytest.raises(KeyboardInterrupt):
        text([str(n) for n in range(40)], tmp_path)
    assert "writer: waiting for what is under way" in capsys.readouterr().err
    assert len(list(tmp_path.glob("*.json"))) == len(server.requests) < 12
    assert outcomes(tmp_path) == ["accepted"] * len(server.requests)


def test_two_at_once_pay_once(server, tmp_path):
    server.reply = lambda prompt, times: (time.sleep(0.03), wrote())[1]
    with ThreadPoolExecutor(2) as both:
        got = list(both.map(lambda prompts: text(prompts, tmp_path), ["abcd", "cdef"]))
    assert got == [[ANN] * 4] * 2 and server.times == dict.fromkeys("abcdef", 1)


def test_where_nothing_can_be_kept_nothing_is_asked(server, tmp_path):
    (tmp_path / "full").touch()
    with pytest.raises(paths.CannotWrite, match="full"):
        text(["a"], tmp_path / "full")
    assert not server.requests
