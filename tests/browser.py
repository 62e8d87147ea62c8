"""A headless Chromium, driven by its DevTools protocol: enough to open a page, click in it and look at it. Not a test file."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = """--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --remote-debugging-port=0 --remote-allow-origins=*
    --hide-scrollbars --no-first-run --disable-background-networking --disable-component-update --disable-sync""".split()
PATIENCE = 60.0  # seconds, for a machine that is busy


def chromium() -> str | None:
    """The browser on this machine, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page. `problems` collects what the console reports as an error, exceptions, and whatever is fetched from elsewhere."""

    def __init__(self, offline: bool = True) -> None:
        found = chromium()
        assert found is not None
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = [found, *FLAGS, f"--user-data-dir={self.folder.name}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.number, self.loaded = 0, False
        self.session: str | None = None
        try:
            self.socket = websocket.create_connection(self.address(), timeout=PATIENCE)
            (target,) = [t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page"]
            attached = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            self.session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.send(f"{domain}.enable")
            if offline:
                self.send(
                    "Network.emulateNetworkConditions",
                    offline=True,
                    latency=0,
                    downloadThroughput=0,
                    uploadThroughput=0,
                )
        except BaseException:
            self.close()
            raise

    def address(self) -> str:
        """Where the browser listens, which it writes into its folder."""
        file, until = Path(self.folder.name) / "DevToolsActivePort", time.monotonic() + PATIENCE
        while time.monotonic() < until:
            lines = file.read_text(encoding="utf-8").split() if file.exists() else []
            if len(lines) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            time.sleep(0.05)
        raise TimeoutError("Chromium did not start.")

    def send(self, method: str, **parameters: Any) -> dict:
        """Call a method and return its result; events that arrive meanwhile are noted."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.note(answer)

    def note(self, event: dict) -> None:
        what, given = event.get("method"), event.get("params", {})
        if what == "Page.loadEventFired":
            self.loaded = True
        elif what == "Runtime.exceptionThrown":
            details = given["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description") or details["text"])
        elif what == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
            self.problems.append(f"{given['type']}: {[argument.get('value') for argument in given['args']]}")
        elif what == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
            self.problems.append(f"{given['entry']['level']}: {given['entry']['text']}")
        elif what == "Network.requestWillBeSent" and not given["request"]["url"].startswith("data:"):
            self.requests.append(given["request"]["url"])

    def visit(self, url: str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a page and wait until it has loaded."""
        self.look(width, height, dark)
        self.loaded = False
        self.send("Page.navigate", url=url)
        until = time.monotonic() + PATIENCE
        while not self.loaded:
            self.note(json.loads(self.socket.recv()))
            if time.monotonic() > until:
                raise TimeoutError(f"{url} did not load.")

    def look(self, width: int, height: int, dark: bool) -> None:
        """The size of the window, and whether the reader prefers dark pages."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return found["result"].get("value")

    def key(self, key: str) -> None:
        """Press a key where the focus is."""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def picture(self, path: Path, whole: bool = True) -> None:
        """A PNG of the page, down to its end."""
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def printed(self) -> bytes:
        """The page as a PDF."""
        return base64.b64decode(self.send("Page.printToPDF", printBackground=True)["data"])

    def close(self) -> None:
        if hasattr(self, "socket"):
            self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=PATIENCE)
        self.folder.cleanup()

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
