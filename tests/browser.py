"""A headless Chromium driven over a pipe, by its DevTools protocol: no package besides the browser is needed."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
)


def found() -> str | None:
    """The browser, if one is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """A tab. `problems`: errors, and whatever the page wrote to its console; `requests`: addresses it asked for."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, os.fdopen(answers, "rb")
        self._number = itertools.count(1)
        self._rest = b""
        self.problems: list[Any] = []
        self.requests: list[str] = []
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._answers.fileno(), 1 << 16)
            if not more:
                raise EOFError("the browser has gone")
            self._rest += more
        line, self._rest = self._rest.split(b"\0", 1)
        return json.loads(line)

    def _hear(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params", {})
        if method in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.problems.append(params)
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._number)
        message = {"id": number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != number:
            self._hear(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, path: Path) -> None:
        self.call("Page.navigate", url=path.resolve().as_uri())
        while self._read_event() != "Page.loadEventFired":
            pass

    def _read_event(self) -> str | None:
        message = self._read()
        self._hear(message)
        return message.get("method")

    def run(self, script: str) -> Any:
        """The value of an expression in the page, or of the promise that it is."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(done["exceptionDetails"])
        return done["result"].get("value")

    def look(self, *, width: int = 1200, height: int = 900, dark: bool = False, mobile: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def key(self, key: str, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            code = {"Tab": 9, "Enter": 13, "Escape": 27}.get(key, 0)
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, text=text if kind == "keyDown" else "",
                windowsVirtualKeyCode=code,
            )  # fmt: skip

    def move(self, x: float, y: float) -> None:
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        done = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(done["data"]))

    def pdf(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A tab of a browser with an empty profile."""
    program = found()
    assert program
    to_browser, commands = os.pipe()
    answers, from_browser = os.pipe()

    def wired() -> None:
        os.dup2(a, 3)
        os.dup2(b, 4)

    a, b = os.dup(to_browser), os.dup(from_browser)
    while min(a, b) < 5:  # 3 and 4 are the ends that the browser looks for
        a, b = os.dup(a), os.dup(b)
    running = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(3, 4, a, b),
        preexec_fn=wired,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for end in (to_browser, from_browser, a, b):
        os.close(end)
    try:
        yield Page(commands, answers)
    finally:
        running.kill()
        running.wait()
        os.close(commands)
