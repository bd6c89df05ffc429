"""A browser, the built site on a server of its own, and what a visit finds wrong with a page.

`python -m tests.browser` names the browser that the tests drive, and installs one where there is none.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import mimetypes
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Error, Page, sync_playwright

from scripts.course import ROOT

NAMES = [
    "google-chrome",
    "chromium",
    "chromium-browser",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
]
MISSING = (
    "the browser tests need Chromium or Chrome, and none is here; "
    "type `.venv/bin/python -m tests.browser` to install one, or set CHROME to its path"
)
# The sandbox does not work for root. The rest keeps the browser from asking its maker for anything.
FLAGS = [
    *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def find() -> str | None:
    """The browser to drive: $CHROME, $CHROME_PATH, one of the machine, or the one that Playwright downloads."""
    for name in (os.environ.get("CHROME"), os.environ.get("CHROME_PATH"), *NAMES):
        if name and (path := shutil.which(name)):
            return path
    with sync_playwright() as playwright:
        return shutil.which(playwright.chromium.executable_path)


def required() -> str:
    """The browser to drive, or the end of the test: in CI it fails, elsewhere it is skipped, saying what to type."""
    if path := find():
        return path
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(MISSING)


def install() -> None:
    """Install a browser: Debian's as root on Debian, else the one that Playwright downloads."""
    debian = bool(shutil.which("apt-get")) and os.geteuid() == 0
    ways = [["apt-get update -qq", "apt-get install -qq -y --no-install-recommends chromium"]] if debian else []
    for way in [*ways, [f"{sys.executable} -m playwright install chromium --no-shell"]]:
        for command in way:
            subprocess.run(command.split(), env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, stdout=sys.stderr)
        if find():
            return


class Server:
    """A folder at http://127.0.0.1:<a free port>/course/, served as GitHub Pages serves a project's site."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, folder))
        self.url = f"http://127.0.0.1:{self.http.server_port}/course/"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def pages(self) -> list[str]:
        """The address of every page, below `url`."""
        found = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*.html")]
        return sorted(name.removesuffix("index.html") for name in found)

    def file(self, address: str) -> Path | None:
        """The file that an address below `url` is answered with."""
        path = self.folder / unquote(address)
        path = path / "index.html" if path.is_dir() else path
        return path if path.is_file() else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, *arguments: Any) -> None:
        self.folder = folder
        super().__init__(*arguments)

    def do_GET(self) -> None:
        path = self.folder / unquote(urlsplit(self.path).path).removeprefix("/course/").removeprefix("/")
        status, path = HTTPStatus.OK, path / "index.html" if path.is_dir() else path
        if not path.is_file() or not self.path.startswith("/course/"):
            status, path = HTTPStatus.NOT_FOUND, self.folder / "404.html"
        body = _compressed(path, path.stat().st_mtime) if path.is_file() else gzip.compress(b"not found")
        self.send_response(status)
        self.send_header("Content-Type", mimetypes.guess_type(path.name)[0] or "application/octet-stream")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@functools.cache
def _compressed(path: Path, changed: float) -> bytes:
    return gzip.compress(path.read_bytes(), 6)


@contextlib.contextmanager
def built_site(folder: Path) -> Iterator[Server]:
    """The site as it is published, with links to a repository, on a server whose address it knows as its own."""
    with Server(folder) as server:
        settings = {"SITE_URL": server.url, "COURSE_REPOSITORY": "https://github.com/example/course"}
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the site does not build:\n{done.stdout}{done.stderr}")
        yield server


# What a look at the page finds: each gives a list of faults.
CHECKS = {
    # Nothing is wider than the window, nor cut off by a block that waits for its layout.
    "width": """() => {
      const root = document.scrollingElement, width = root.clientWidth, faults = [];
      for (const e of root.scrollWidth > width ? document.querySelectorAll("body *") : [])
        if (e.checkVisibility() && e.getBoundingClientRect().right > width + 1)
          faults.push(`${root.scrollWidth} px in a window of ${width}: ${e.outerHTML.slice(0, 80)}`);
      for (const e of document.querySelectorAll("article *")) {
        const style = getComputedStyle(e);
        if (style.contentVisibility === "auto" && e.scrollWidth > e.clientWidth + parseFloat(style.overflowClipMargin))
          faults.push(`${e.scrollWidth} px in a block of ${e.clientWidth}: ${e.outerHTML.slice(0, 80)}`);
      }
      return faults.slice(0, 5);
    }""",
    "formulas": r"""() => {
      const faults = [...document.querySelectorAll(".arithmatex")]
        .filter((e) => e.querySelectorAll(".katex-html").length !== 1)
        .map((e) => `not rendered: ${e.textContent.slice(0, 80)}`);
      const tex = /\\[()[\]]|\$\$|\$[^$]*[\\^_{][^$]*\$/;
      const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      while (texts.nextNode()) {
        const { data, parentElement } = texts.currentNode;
        if (tex.test(data) && !parentElement.closest("code, script, style, .arithmatex"))
          faults.push(`raw TeX: ${data.trim().slice(0, 80)}`);
      }
      return faults;
    }""",
    "figures": """() => {
      const faults = [];
      for (const e of document.querySelectorAll("figure.plot"))
        if (e.querySelectorAll("svg[role=img]").length !== 1)
          faults.push(`no picture: ${e.textContent.trim().slice(0, 80)}`);
      for (const e of document.querySelectorAll("svg[role=img], img")) {
        if (!e.checkVisibility()) continue;
        const { width, height } = e.getBoundingClientRect(), image = e.matches("img");
        const label = e.getAttribute(image ? "alt" : "aria-label");
        if (image ? label === null : !label?.trim()) faults.push(`no label: ${e.outerHTML.slice(0, 80)}`);
        if (!(width && height) || (image && !e.naturalWidth)) faults.push(`no size: ${e.outerHTML.slice(0, 80)}`);
      }
      return faults;
    }""",
    "axe": """async () => {
      const { violations } = await axe.run({ resultTypes: ["violations"] });
      return violations.map(({ impact, id, nodes }) => {
        const where = nodes.slice(0, 3).map((node) => node.target.join(" "));
        return `${impact} ${id}, ${nodes.length} times: ${where.join(" | ")}`;
      });
    }""",
}

# Open every fold, and go down the page, so that all that waits to be seen is seen.
SEE_ALL = """async () => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  for (let y = 0; y < document.scrollingElement.scrollHeight; y += innerHeight) {
    scrollTo({ top: y, behavior: "instant" });
    await new Promise(requestAnimationFrame);
    await new Promise((later) => setTimeout(later));
  }
  scrollTo({ top: 0, behavior: "instant" });
  await document.fonts.ready;
}"""


@contextlib.contextmanager
def opened(context: BrowserContext, url: str) -> Iterator[tuple[Page, dict[str, list[str]]]]:
    """A page in a tab of its own, and what the browser says of it while it is open."""
    here = f"http://{urlsplit(url).netloc}/"
    said: dict[str, list[str]] = {"console": [], "error": [], "foreign": [], "failed": []}
    page = context.new_page()
    page.on("console", lambda m: said["console"].append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said["error"].append(str(error)))
    page.on(
        "request",
        lambda request: (
            said["foreign"].append(request.url) if not request.url.startswith((here, "data:", "blob:")) else None
        ),
    )
    page.on("requestfailed", lambda request: said["failed"].append(f"{request.url}: {request.failure}"))
    page.on("response", lambda r: said["failed"].append(f"{r.url}: {r.status}") if r.status >= 400 else None)
    try:
        page.goto(url, wait_until="load")
        yield page, said
    finally:
        page.close()


def faults(context: BrowserContext, url: str, *, axe: bool = True) -> dict[str, list[str]]:
    """All that is wrong with a page: what the browser says, and what each check finds; `axe` says whether it is one."""
    try:
        with opened(context, url) as (page, said):
            page.evaluate(SEE_ALL)
            if axe:
                page.evaluate((ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text())
            return said | {name: page.evaluate(script) for name, script in CHECKS.items() if axe or name != "axe"}
    except Error as error:
        return {"error": [str(error)]}


if __name__ == "__main__":
    if not find():
        print("==> a browser for the tests", flush=True)
        install()
    print(find() or MISSING)
    sys.exit(not find() and os.environ.get("CI") == "true")
