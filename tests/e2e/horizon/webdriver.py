"""A browser that is driven: Debian's headless Chromium through its driver.

The protocol is W3C WebDriver, https://www.w3.org/TR/webdriver2/, of which tests need a dozen commands.
Selenium would bring trio, about which hypothesis warns in every other test, and warnings are errors there.
"""

import base64
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from bench.ports import free_port

T = TypeVar("T")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's id in every answer
START_SECONDS = 60.0
COMMAND_SECONDS = 120.0
WAIT_SECONDS = 120.0
POLL_SECONDS = 0.2
# An element that is gone, not there yet or under another: a page that is still changing.
PASSING = {
    "no such element",
    "stale element reference",
    "element click intercepted",
    "element not interactable",
}
# What a page of Horizon is still doing: its scripts' requests, and its own loading.
BUSY = """
var root = window.angular && angular.element(document.body).injector();
return (document.readyState == "complete" ? 0 : 1) + (window.jQuery ? jQuery.active : 0)
     + (root ? root.get("$http").pendingRequests.length : 0);
"""
QUIET_POLLS = 2


class Refused(Exception):
    """The driver did not do it; `error` is the protocol's word for why."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(f"{error}: {message}")
        self.error = error


@dataclass(frozen=True)
class Element:
    """Something on a page, for as long as that page is there."""

    browser: "Browser"
    identifier: str

    @property
    def text(self) -> str:
        """What of it can be read."""
        return str(self._do("GET", "text")).strip()

    @property
    def shown(self) -> bool:
        """Whether it can be seen."""
        return bool(self._do("GET", "displayed"))

    def attribute(self, name: str) -> str | None:
        """The value of an attribute."""
        value = self._do("GET", f"attribute/{name}")
        return None if value is None else str(value)

    def click(self) -> None:
        """Click into its middle, where that is not under something else."""
        self._do("POST", "click", {})

    def fill(self, text: str) -> None:
        """Type a text in the place of what is there; a path, where it is for a file."""
        if self.attribute("type") != "file":
            self._do("POST", "clear", {})
        self._do("POST", "value", {"text": text})

    def all(self, path: str) -> list["Element"]:
        """Everything below it at an XPath."""
        return self.browser.elements(f"{self.browser.session}/element/{self.identifier}/elements", path)

    def _do(self, method: str, what: str, body: Any = None) -> Any:
        return self.browser.command(method, f"{self.browser.session}/element/{self.identifier}/{what}", body)


class Browser:
    """One window."""

    def __init__(self, driver: str, base: str) -> None:
        """`base` is where paths that are opened begin."""
        self.base = base
        self._client = httpx.Client(base_url=driver, timeout=COMMAND_SECONDS, trust_env=False)
        made = self.command("POST", "/session", {"capabilities": {"alwaysMatch": _capabilities()}})
        self.session = f"/session/{made['sessionId']}"

    def command(self, method: str, path: str, body: Any = None) -> Any:
        """Send a command and give the value it has; raises `Refused`."""
        value = self._client.request(method, path, json=body).json()["value"]
        if isinstance(value, dict) and "error" in value:
            raise Refused(str(value["error"]), str(value["message"]))
        return value

    def elements(self, url: str, path: str) -> list[Element]:
        """Give what is at an XPath, below the page or below an element."""
        found = self.command("POST", url, {"using": "xpath", "value": path})
        return [Element(self, one[ELEMENT]) for one in found]

    def all(self, path: str) -> list[Element]:
        """Everything on the page at an XPath."""
        return self.elements(f"{self.session}/elements", path)

    def open(self, path: str) -> None:
        """Open a page and wait until its scripts are quiet."""
        self.command("POST", f"{self.session}/url", {"url": self.base + path})
        self.settle()

    @property
    def path(self) -> str:
        """Where the window is, without the beginning."""
        return str(self.command("GET", f"{self.session}/url")).removeprefix(self.base)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script on the page."""
        return self.command(
            "POST", f"{self.session}/execute/sync", {"script": script, "args": list(arguments)}
        )

    def settle(self) -> None:
        """Wait until the page is loaded and its scripts ask for nothing more."""
        end, quiet = time.monotonic() + WAIT_SECONDS, 0
        while quiet < QUIET_POLLS:
            assert time.monotonic() < end, f"{self.path} does not come to rest"
            quiet = 0 if self.run(BUSY) else quiet + 1
            time.sleep(POLL_SECONDS)

    def wait(self, look: Callable[[], T | None], what: str) -> T:
        """Wait until `look` gives something true; a page that is still changing means not yet."""
        end = time.monotonic() + WAIT_SECONDS
        while True:
            with suppress_passing():
                if found := look():
                    return found
            assert time.monotonic() < end, f"{self.path}: no {what}"
            time.sleep(POLL_SECONDS)

    def see(self, path: str) -> Element:
        """Wait for the first thing at an XPath that can be seen."""
        return self.wait(lambda: next((one for one in self.all(path) if one.shown), None), path)

    def press(self, path: str) -> None:
        """Click the first thing at an XPath that can be seen, once it can be clicked."""

        def click() -> bool:
            self.see(path).click()
            return True

        self.wait(click, f"{path} that can be clicked")
        self.settle()

    def picture(self, file: Path) -> None:
        """Keep what the window shows as a PNG."""
        file.write_bytes(base64.b64decode(self.command("GET", f"{self.session}/screenshot")))

    def forget(self) -> None:
        """Drop every cookie."""
        self.command("DELETE", f"{self.session}/cookie")

    def close(self) -> None:
        """End the window."""
        self.command("DELETE", self.session)
        self._client.close()


@contextmanager
def suppress_passing() -> Iterator[None]:
    """Take a page that is still changing for nothing."""
    try:
        yield
    except Refused as refused:
        if refused.error not in PASSING:
            raise


def missing() -> list[str]:
    """Name the programs that are not here."""
    return [name for name in ("chromium", "chromedriver") if not shutil.which(name)]


@contextmanager
def browsing(base: str, log: Path) -> Iterator[Browser]:
    """Run a driver with a window until the end; what the driver says is in `log`."""
    port = free_port()
    with log.open("w") as out:
        driver = subprocess.Popen(  # noqa: S603 - our own words
            [str(shutil.which("chromedriver")), f"--port={port}", "--allowed-ips=127.0.0.1"],
            stdout=out,
            stderr=out,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _until_ready(url, driver)
        browser = Browser(url, base)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.terminate()
        driver.wait(START_SECONDS)


def _until_ready(url: str, driver: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        assert driver.poll() is None, "chromedriver ended"
        assert time.monotonic() < end, "chromedriver does not answer"
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/status", trust_env=False).json()["value"]["ready"]:
                return
        time.sleep(POLL_SECONDS)


def _capabilities() -> dict[str, Any]:
    words = ["--headless=new", "--window-size=1500,1300", "--disable-gpu", "--disable-dev-shm-usage"]
    words += ["--proxy-server=direct://", "--disable-background-networking", "--no-first-run"]
    if os.geteuid() == 0:
        words.append("--no-sandbox")  # Chromium's own sandbox does not start as root
    return {
        "browserName": "chrome",
        "goog:chromeOptions": {"args": words, "binary": shutil.which("chromium")},
        "goog:loggingPrefs": {"browser": "SEVERE"},
    }
