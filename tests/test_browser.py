"""The site in a real browser: every page, wide and light, narrow and dark; and what a reader does on it.

It is built as it is published. That the checks can fail is tested first, on pages with a planted fault.
"""

from __future__ import annotations

import gzip
import re
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import nbformat
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from scripts import figures
from scripts.course import ROOT, load
from scripts.weave import Weaver
from tests import browser
from tests.browser import Server

COURSE = load(ROOT)
LESSONS = list(COURSE.lessons)
WIDE = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light", "reduced_motion": "reduce"}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "color_scheme": "dark",
    "is_mobile": True,
    "has_touch": True,
    "reduced_motion": "reduce",
}
WEIGHT = 100_000  # bytes of a lesson's page, compressed, without its figures

Faults = dict[str, list[str]]


@pytest.fixture(scope="module")
def chromium(chrome: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chrome, args=browser.FLAGS)


@pytest.fixture(scope="module")
def desktop(chromium: Browser) -> Iterator[BrowserContext]:
    with chromium.new_context(**WIDE, permissions=["clipboard-read", "clipboard-write"]) as context:
        yield context


@pytest.fixture
def page(desktop: BrowserContext) -> Iterator[Page]:
    page = desktop.new_page()
    yield page
    page.close()


# 1 The checks see what they are for -----------------------------------------------------------------------------------

SOUND = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Planted</title><link rel="icon" href="data:,">
<style>.late {{ content-visibility: auto; overflow-clip-margin: 16px }}</style></head>
<body><main><h1>Planted</h1><article>
<p class="late">Costs $5 or $6. <bdi class="arithmatex"><span class="katex-html">x</span></bdi></p>
<details><summary>Fold</summary><p>Folded.</p></details>
<figure class="plot"><svg role="img" aria-label="A line." width="90" height="40"><path d="M0 0l90 40"/></svg></figure>
{}
</article></main></body></html>"""
TABLE = f'<table style="white-space: nowrap"><tr><td>{"wide " * 200}</td></tr></table>'
PLANTED = {
    "console": '<script>console.error("planted")</script>',
    "error": '<script>throw new Error("planted")</script>',
    "foreign": '<img alt="" src="https://example.com/x.png">',
    "failed": '<link rel="stylesheet" href="missing.css">',
    "width": TABLE,
    "width in a fold": f"<details><summary>More</summary>{TABLE}</details>",
    "width, cut off": f'<p class="late">{"wide" * 200}</p>',
    "formulas": r'<span class="arithmatex">\(x\)</span>',
    "formulas, raw": r"<p>Where $x_1$ is.</p>",
    "figures": '<figure class="plot"><figcaption>Lost.</figcaption></figure>',
    "figures, no label": '<svg role="img" aria-label=" " width="9" height="9"></svg>',
    "figures, no size": '<svg role="img" aria-label="A line." width="0" height="0"></svg>',
    "axe": '<p style="color: #bbb; background: #fff">Faint.</p>',
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for pages of a test."""
    with Server(tmp_path_factory.mktemp("small")) as server:
        yield server


def serious(found: Faults) -> Faults:
    """The faults that fail a test: all but what axe calls moderate or minor."""
    return found | {"axe": [fault for fault in found.get("axe", []) if fault.startswith(("serious", "critical"))]}


def test_a_sound_page_has_no_fault(small: Server, chromium: Browser):
    (small.folder / "index.html").write_text(SOUND.format(""))
    with chromium.new_context(**PHONE) as context:
        assert not any(serious(browser.faults(context, small.url)).values())


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(small: Server, chromium: Browser, fault: str):
    (small.folder / "planted.html").write_text(SOUND.format(PLANTED[fault]))
    with chromium.new_context(**PHONE) as context:
        assert serious(browser.faults(context, f"{small.url}planted.html"))[fault.split()[0].strip(",")]


def test_a_planted_link_to_nowhere_is_found(small: Server):
    links = '<a href="gone/">1</a><a href="#gone">2</a><a href="/course/links.html#here">3</a><h2 id="here"></h2>'
    (small.folder / "links.html").write_text(SOUND.format(links))
    assert [link for link in broken_links(small) if link.startswith("links.html")] == [
        "links.html: gone/",
        "links.html: #gone",
    ]


def test_without_a_browser_tests_fail_in_ci_and_say_elsewhere_what_they_need(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(browser, "find", lambda: None)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="the browser tests need Chromium"):
        browser.required()
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="install one"):
        browser.required()


def test_root_on_debian_gets_the_chromium_of_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log, made = tmp_path / "log", tmp_path / "chromium"
    apt = tmp_path / "apt-get"
    apt.write_text(f'#!/bin/sh\necho "$@" >> {log}\n[ "$1" = update ] || {{ : > {made}; /bin/chmod +x {made}; }}\n')
    apt.chmod(0o755)
    monkeypatch.setattr(browser, "NAMES", ["chromium"])
    monkeypatch.setattr("os.geteuid", lambda: 0)
    for name, value in {"PATH": str(tmp_path), "CHROME": "", "CHROME_PATH": ""}.items():
        monkeypatch.setenv(name, value)
    browser.install()
    assert log.read_text().splitlines() == ["update -qq", "install -qq -y --no-install-recommends chromium"]
    assert browser.find() == str(made)


def test_a_figure_is_drawn_alike_from_points_given_one_from_another(page: Page):
    absolute = (
        "M 0 216.004 \nL 504 200.5 \nC 480 150 460.25 90.126 300 100 \nQ 250 110 200 90 \nz\nM 10 10 \nL 9.5 9.99 \n"
    )
    measure = """(d) => {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", d);
      const length = path.getTotalLength();
      const points = [...Array(30).keys()].map((at) => path.getPointAtLength(at / 29 * length));
      return [length, ...points.flatMap(({ x, y }) => [x, y])];
    }"""
    relative = figures._relative(absolute)
    assert len(relative) < 0.8 * len(absolute)
    assert page.evaluate(measure, relative) == pytest.approx(page.evaluate(measure, absolute), abs=0.02)


# 2 Every page ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(site: Server, chromium: Browser) -> dict[str, Faults]:
    """The faults of every page, narrow and dark; of all but the API's, which are alike, also wide and light.

    axe takes longer than all else together, and what it finds hardly depends on the window: it looks at each lesson
    in one of the two, by turns, and so at every kind of element and colour in both.
    """
    faults = {}
    for turn, (name, window) in enumerate({"light, 1280 px": WIDE, "dark, 390 px": PHONE}.items()):
        with chromium.new_context(**window) as context:
            for at, address in enumerate(site.pages()):
                lesson = address.strip("/") in LESSONS
                if window is PHONE or not address.startswith("api/"):
                    view = f"{address or 'home'} ({name})"
                    faults[view] = browser.faults(context, site.url + address, axe=not lesson or at % 2 == turn)
    return faults


@pytest.mark.parametrize("kind", ["console", "error", "foreign", "failed", *browser.CHECKS])
def test_every_page_is_sound(found: dict[str, Faults], kind: str):
    assert len(found) >= 2 * (len(LESSONS) + 2)
    lines = [f"{where}: {fault}" for where, faults in found.items() for fault in serious(faults).get(kind, [])]
    assert not lines, "\n".join(lines)


def test_axe_counts_are_reported(found: dict[str, Faults], record_property: Callable[[str, object], None]):
    """Serious and critical ones fail above; the others are counted here, by rule."""
    faults = [fault for faults in found.values() for fault in faults.get("axe", [])]
    counts = Counter(fault.split()[0] for fault in faults)
    text = ", ".join(f"{counts[impact]} {impact}" for impact in ("critical", "serious", "moderate", "minor"))
    rules = sorted({fault.split(",")[0] for fault in faults})
    record_property("measured", f"axe, {len(found)} views: {text} {rules or ''}")


def test_a_page_that_is_not_there_says_so_and_leads_back(site: Server, page: Page):
    answer = page.goto(f"{site.url}1-training/gone/deeper/")
    assert answer and answer.status == 404
    expect(page.get_by_role("heading", name="No page here")).to_be_visible()
    page.get_by_role("link", name="front page").click()
    page.wait_for_url(site.url)


# 3 What can be read from the files ------------------------------------------------------------------------------------


class Links(HTMLParser):
    """The ids of a page, and where it leads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.meta: dict[str, str] = {}
        self.downloads: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        self.links += [given[name] for name in ("href", "src") if name in given]
        if "download" in given:
            self.downloads.append(given["href"])
        if tag == "meta" and "name" in given:
            self.meta[given["name"]] = given.get("content", "")
        if given.get("rel") == "canonical":
            self.meta["canonical"] = given["href"]


def read(site: Server) -> dict[str, Links]:
    return {address: Links((site.file(address) or Path()).read_text()) for address in site.pages()}


def broken_links(site: Server) -> list[str]:
    pages, broken = read(site), []
    for address, page in pages.items():
        for link in page.links:
            target, anchor = urldefrag(urljoin(site.url + address, link))
            if not target.startswith(site.url):
                continue  # another host, or a script
            to = target.removeprefix(site.url)
            missing = anchor and to in pages and unquote(anchor) not in pages[to].ids
            if not site.file(to) or missing:
                broken.append(f"{address}: {link}")
    return broken


def test_every_link_of_the_site_leads_somewhere(site: Server):
    assert broken_links(site) == []


def test_every_page_has_a_description_and_its_own_address(site: Server):
    for address, page in read(site).items():
        assert len(page.meta.get("description", "")) > 40, address
        assert address == "404.html" or page.meta["canonical"] == site.url + address
    sitemap = (site.folder / "sitemap.xml").read_text()
    assert all(f"<loc>{site.url}{address}</loc>" in sitemap for address in site.pages() if address != "404.html")
    assert f"Sitemap: {site.url}sitemap.xml" in (site.folder / "robots.txt").read_text()


def test_every_download_answers_and_is_sound(site: Server):
    pages = read(site)
    for slug in LESSONS:
        name = slug.split("/")[-1]
        assert pages[f"{slug}/"].downloads == [f"../{name}.ipynb", f"../{name}.py"]
    for address, page in pages.items():
        for link in page.links:
            url = urljoin(site.url + address, link)
            if url.startswith(site.url) and url.endswith((".ipynb", ".py")):
                request = urllib.request.Request(url)
                with urllib.request.urlopen(request) as answer:
                    text = gzip.decompress(answer.read()).decode()
                if url.endswith(".py"):
                    compile(text, url, "exec")
                else:
                    nbformat.validate(nbformat.reads(text, as_version=4))
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{site.url}gone.py")


def test_a_lesson_without_its_figures_is_light(site: Server, record_property: Callable[[str, object], None]):
    for slug in LESSONS:
        html = (site.folder / slug / "index.html").read_text()
        bare = re.sub(r'<svg data-search-exclude role="img".*?</svg>', "", html, flags=re.DOTALL)
        whole, text = (len(gzip.compress(one.encode(), 6)) for one in (html, bare))
        record_property("measured", f"{slug}: {whole / 1000:.0f} kB compressed, {text / 1000:.0f} kB without figures")
        assert text <= WEIGHT, slug


# 4 What a reader does -------------------------------------------------------------------------------------------------


def test_search_finds_every_lesson_by_its_title_and_marks_the_words(site: Server, page: Page):
    page.goto(site.url)
    box = page.get_by_role("textbox", name="Search")
    for slug, lesson in COURSE.lessons.items():
        box.fill("")
        box.press_sequentially(lesson.title)
        link = f'a.md-search-result__link[href*="{urlsplit(site.url).path}{slug}/"]'
        among_first = page.locator(f".md-search-result__item:nth-child(-n+3) > {link}").first
        # The index is built at the first letter, which takes a while on a busy machine.
        expect(among_first, lesson.title).to_be_visible(timeout=60_000)
    results = page.locator(".md-search-result__item > a.md-search-result__link")
    first = results.evaluate_all("links => links.slice(0, 3).map((link) => link.pathname)")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?h=*")
    assert urlsplit(page.url).path in first
    expect(page.locator("article mark").first).to_be_attached()


def test_the_copy_button_copies_the_code_as_it_was_written(site: Server, page: Page):
    slug = LESSONS[0]
    page.goto(f"{site.url}{slug}/")
    page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    listings = page.locator("article .language-python")
    assert listings.count() == len(COURSE.lessons[slug].blocks)
    for at, block in enumerate(COURSE.lessons[slug].blocks):
        copied(page, at)
        assert page.evaluate("navigator.clipboard.readText()").rstrip("\n") == block.code.rstrip("\n"), block.id


def copied(page: Page, at: int) -> None:
    """Press the copy button of a listing, which comes when the listing is seen."""
    listing = page.locator("article .language-python").nth(at)
    listing.scroll_into_view_if_needed()
    listing.locator(".md-code__button").click()


def colours(page: Page) -> list[str]:
    """The colours of the paper and of a figure's text."""
    return page.evaluate(
        "[document.body, document.querySelector('.plot text')].map((e) => getComputedStyle(e))"
        ".map((style) => style.backgroundColor + style.fill)"
    )


def test_the_switch_makes_the_site_dark_and_is_remembered(site: Server, chromium: Browser):
    with chromium.new_context(**WIDE) as context:
        page = context.new_page()
        page.goto(f"{site.url}{LESSONS[0]}/")
        light = colours(page)
        while page.evaluate("document.body.dataset.mdColorScheme") != "slate":
            page.locator("label[for^=__palette]:visible").click()
        dark = colours(page)
        assert all(one != other for one, other in zip(light, dark, strict=True))
        page.reload()
        assert colours(page) == dark
        page.goto(f"{site.url}{LESSONS[1]}/")
        assert colours(page) == dark


@pytest.mark.parametrize("window", [WIDE, PHONE], ids=["1280", "390"])
def test_a_link_to_a_section_arrives_there(site: Server, chromium: Browser, window: dict):
    """Though what is above it waits for its layout, and its height is a guess until then."""
    with chromium.new_context(**window) as context:
        page = context.new_page()
        for slug in LESSONS:
            html = (site.folder / slug / "index.html").read_text()
            anchors = re.findall(r'<h2 id="([^"]+)"', html[html.index("<article") :])
            for anchor in (anchors[len(anchors) // 2], anchors[-1]):
                page.goto("about:blank")
                page.goto(f"{site.url}{slug}/#{anchor}")
                page.wait_for_timeout(300)
                top, end = page.evaluate(
                    """(id) => [document.getElementById(id).getBoundingClientRect().top,
                        Math.abs(scrollY + innerHeight - document.scrollingElement.scrollHeight) < 2]""",
                    anchor,
                )
                assert 0 <= top <= 150 or (end and top >= 0), f"{slug}/#{anchor}"


def test_a_page_reached_by_a_click_works_as_one_that_was_loaded(site: Server, page: Page):
    page.goto(f"{site.url}{LESSONS[0]}/")
    page.evaluate("window.stays = true")
    page.locator(".md-footer__link--next").scroll_into_view_if_needed()
    page.wait_for_url("**/#*")  # the address follows the sections, a moment later
    page.locator(".md-footer__link--next").click()
    page.wait_for_url(f"{site.url}{LESSONS[1]}/")
    expect(page.locator("h1")).to_contain_text(COURSE.lessons[LESSONS[1]].title)
    assert page.evaluate("window.stays")  # no reload: instant navigation
    page.evaluate(browser.SEE_ALL)
    assert page.evaluate(browser.CHECKS["figures"]) == page.evaluate(browser.CHECKS["formulas"]) == []
    assert page.locator("figure.plot svg").count() and page.locator(".katex").count()
    copied(page, 0)
    assert page.evaluate("navigator.clipboard.readText()").strip() == COURSE.lessons[LESSONS[1]].blocks[0].code.strip()
    finish = page.locator(".finish button")
    finish.click()
    expect(finish).to_have_attribute("aria-pressed", "true")


def test_the_keyboard_reaches_all_that_matters_and_shows_where_it_is(site: Server, page: Page):
    page.goto(f"{site.url}{LESSONS[0]}/")
    reached: list[str] = []
    for _ in range(8):
        page.evaluate("document.activeElement.blur()")
        before = picture(page)
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.name || document.activeElement.classList[0]"))
        if reached[-1] in ("md-skip", "__palette", "query"):
            assert picture(page) != before, f"focus on {reached[-1]} cannot be seen"
    assert reached[0] == "md-skip" and {"__palette", "query"} <= set(reached), reached


def picture(page: Page) -> bytes:
    """The top of the page, when nothing moves there any more."""
    before, now = b"", page.screenshot(clip={"x": 0, "y": 0, "width": 1280, "height": 300})
    while before != now:
        before, now = now, page.screenshot(clip={"x": 0, "y": 0, "width": 1280, "height": 300})
    return now


def test_a_term_says_what_it_means_to_a_key_and_to_a_finger(site: Server, chromium: Browser):
    slug = next(slug for slug, lesson in COURSE.lessons.items() if "{ .term }" in Weaver(COURSE, lesson).page())
    with chromium.new_context(**WIDE) as context:
        page = context.new_page()
        page.goto(f"{site.url}{slug}/")
        term = page.locator("a.term").first
        meaning = str(term.get_attribute("title"))
        term.focus()
        expect(page.get_by_role("tooltip")).to_have_text(meaning)
        expect(term).to_have_accessible_description(meaning)
    with chromium.new_context(**PHONE) as context:
        page = context.new_page()
        page.goto(f"{site.url}{slug}/")
        term = page.locator("a.term").first
        term.scroll_into_view_if_needed()
        page.wait_for_url("**/#*")  # the address follows the sections, a moment later
        term.tap()
        expect(page.get_by_role("tooltip")).to_have_text(meaning)
        assert urlsplit(page.url).path == urlsplit(f"{site.url}{slug}/").path
        term.tap()
        page.wait_for_url("**/glossary/#*")
        expect(page.locator("dt:target")).to_be_in_viewport()


def test_print_has_the_text_and_no_navigation(site: Server, page: Page):
    page.goto(f"{site.url}{LESSONS[0]}/")
    page.emulate_media(media="print")
    for part in (".md-header", ".md-sidebar--primary", ".md-sidebar--secondary", ".md-footer", ".md-code__nav"):
        assert page.locator(part).filter(visible=True).count() == 0, part
    folds = page.locator("article details")
    assert folds.count()
    heights = folds.evaluate_all("all => all.map((e) => [...e.children].at(-1).getBoundingClientRect().height)")
    assert min(heights) > 10
