"""A real browser under real key strokes, for pages that have to work in one."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = (360, 1280)  # a phone, a screen
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
)

# What lies outside of the window, or would scroll sideways; the strip of pictures may, and tables
# in boxes. Of a value that is too long for its place the end is not shown.
OVERFLOW = """[...document.querySelectorAll("body, body *")].filter(part =>
  !part.closest(".views button, .box > *, svg *, .value, select") && part.checkVisibility() && (
    part.getBoundingClientRect().right > innerWidth + 1 ||
    part.scrollWidth > part.clientWidth + 1 && part.clientWidth && !part.matches(".views, .box")
  )).map(part => part.outerHTML.slice(0, 80))"""
VIEWS = '[...document.querySelectorAll(".view")]'


@pytest.fixture(scope="module")
def chromium() -> str:
    """The path of a Chromium or Chrome: $CHROME, or an installed one; skips where there is none."""
    names = [os.environ["CHROME"]] if "CHROME" in os.environ else NAMES
    if path := next(filter(None, map(shutil.which, names)), None):
        return path
    pytest.skip("no Chromium: the page was not looked at. Install one (apt-get), or set CHROME")


class Browser:
    """One Chromium, spoken to over its own DevTools protocol: keys are keys, a download a file."""

    def __init__(self, socket: ClientConnection, downloads: Path) -> None:
        self.socket, self.downloads = socket, downloads
        self.number, self.events, self.session = 0, [], {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    def call(self, method: str, **arguments) -> dict:
        self.number += 1
        message = {"id": self.number, "method": method, "params": arguments, **self.session}
        self.socket.send(json.dumps(message))
        while (answer := json.loads(self.socket.recv(timeout=20))).get("id") != self.number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, page: str | Path, width: int = 1280, place: str = "") -> "Browser":
        """Open a file, at a `place` that is written after the # of its address."""
        self.resize(width)
        address = Path(page).as_uri()
        for url in ("about:blank", f"{address}#{place}") if place else (address,):  # else it stays
            self.events.clear()
            self.call("Page.navigate", url=url)
            self.loaded()
        return self

    def loaded(self) -> None:
        """Return when the page is there."""
        until(lambda: self.seen("Page.loadEventFired") or self.value("0") or None)

    def resize(self, width: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=False,
        )

    def seen(self, method: str) -> list[dict]:
        return [event["params"] for event in self.events if event.get("method") == method]

    def value(self, expression: str):
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def keys(self, *names: str, **how) -> "Browser":
        for key in names:
            code = f"Digit{key}" if key.isdigit() else f"Key{key.upper()}" if len(key) == 1 else key
            stroke = {"key": key, "code": code} | how
            self.call("Input.dispatchKeyEvent", type="keyDown", **stroke)
            self.call("Input.dispatchKeyEvent", type="keyUp", **stroke)
        return self

    def marks(self) -> list[str]:
        mark = "({dataset: d}) => `${d.decision} ${d.reason}`.trim()"
        return self.value(f"{VIEWS}.map({mark})")

    def at(self) -> int:
        return self.value(f'{VIEWS}.findIndex(view => view.matches("[aria-current]"))')

    def save(self, name: str) -> Path:
        """The file that the key S leaves among the downloads."""
        file = self.downloads / name
        file.unlink(missing_ok=True)
        self.keys("s")
        return until(lambda: file if file.exists() and file.read_text().endswith("\n") else None)

    def faults(self, within: Path | None = None) -> list[str]:
        """What is wrong with the page that is open, in words; it may load files of the folder
        `within`."""
        wrong = [
            str(event)
            for name in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
            for event in self.seen(name)
        ]
        fetched = [event["request"]["url"] for event in self.seen("Network.requestWillBeSent")]
        own = ("data:", *([f"{within.as_uri()}/"] if within else []))
        wrong += [f"it fetches {url[:80]}" for url in fetched[1:] if not url.startswith(own)]
        wrong += ["a picture does not load"] * self.value(
            "[...document.images].filter(picture => !picture.naturalWidth).length"
        )
        for width in WIDTHS:
            self.resize(width)
            wrong += [f"at {width} px too wide: {part}" for part in self.value(OVERFLOW)]
        return wrong


def until(attempt, seconds: float = 300):
    """What `attempt` gives as soon as it gives anything."""
    end = time.monotonic() + seconds
    while True:
        try:
            if result := attempt():
                return result
        except (FileNotFoundError, IndexError):
            pass
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def browser(chromium, tmp_path_factory):
    root = tmp_path_factory.mktemp("browser")
    process = subprocess.Popen(
        [chromium, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={root}"],
        stderr=subprocess.DEVNULL,
    )
    try:
        port, path = until(lambda: (root / "DevToolsActivePort").read_text().split())
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None) as socket:
            yield Browser(socket, root / "downloads")
    finally:
        process.terminate()
        process.wait(timeout=20)
