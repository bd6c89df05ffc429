/* What the reader has read, kept by her browser alone; and the arcs of a lesson, on the map of its stage.
 *
 * The theme's `document$` brings each page, also one that came without a reload. All that these lines do is extra:
 * every page can be read without them.
 */
(() => {
  const KEY = "course.progress";

  /** `{read: {slug: true}, last: {slug, id, title, section}}`, or nothing where the browser keeps nothing. */
  function load() {
    try {
      return { read: {}, ...JSON.parse(localStorage.getItem(KEY)) };
    } catch {
      return { read: {} };
    }
  }

  function save(progress) {
    try {
      localStorage.setItem(KEY, JSON.stringify(progress));
    } catch {
      // A browser that keeps nothing: the pages work all the same.
    }
  }

  // A lesson's slug, such as 1-training/momentum, from its address, and back. A page opened from a disk ends in .html.
  function slugOf(address) {
    const path = new URL(address, location).pathname;
    if (!path.startsWith(__md_scope.pathname)) return "";
    return path.slice(__md_scope.pathname.length).replace(/(index)?\.html$/, "").replace(/\/$/, "");
  }

  function addressOf(slug) {
    return new URL(slug + (location.pathname.endsWith(".html") ? ".html" : "/"), __md_scope);
  }

  function markRead() {
    const { read } = load();
    for (const link of document.querySelectorAll(".map a, .md-nav--primary a.md-nav__link")) {
      link.classList.toggle("read", slugOf(link.href) in read);
    }
    for (const dot of document.querySelectorAll(".climb [data-lesson]")) {
      dot.classList.toggle("read", dot.dataset.lesson in read);
    }
  }

  /** The last line of a lesson: a button that says that it is read, and takes it back. */
  function addFinish(article) {
    const slug = slugOf(location);
    const line = document.createElement("p");
    const button = document.createElement("button");
    line.className = "finish";
    button.type = "button";
    line.append(button);
    article.append(line);

    function show() {
      const read = slug in load().read;
      button.setAttribute("aria-pressed", read);
      button.textContent = read ? "✓ Read" : "Mark as read";
      markRead();
    }
    button.addEventListener("click", () => {
      const progress = load();
      if (slug in progress.read) delete progress.read[slug];
      else progress.read[slug] = true;
      save(progress);
      show();
    });
    show();
  }

  /** Remember the section that the reader is in, so that the home page can lead back to it. */
  function followSections(article) {
    const seen = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        const title = article.querySelector("h1").firstChild.textContent;
        const last = { slug: slugOf(location), id: target.id, title, section: target.firstChild.textContent };
        save({ ...load(), last });
      }
    });
    for (const heading of article.querySelectorAll("h2[id]")) seen.observe(heading);
    return () => seen.disconnect();
  }

  /** On the home page: where to go on, how much is read, and a way to forget it. */
  function welcome(home) {
    const { read, last } = load();
    const count = Object.keys(read).length;
    if (last) {
      const start = home.querySelector(".begin .start");
      start.href = `${addressOf(last.slug)}#${last.id}`;
      start.textContent = `Go on with ${last.title}: ${last.section}`;
    }
    for (const dot of home.querySelectorAll(".climb [data-lesson]")) {
      dot.addEventListener("click", () => location.assign(addressOf(dot.dataset.lesson)));
    }
    if (!last && !count) return;
    const forget = document.createElement("button");
    forget.type = "button";
    forget.textContent = "Forget it.";
    forget.addEventListener("click", () => {
      localStorage.removeItem(KEY);
      location.reload();
    });
    home.querySelector(".legend").append(` You have read ${count === 1 ? "one lesson" : `${count} lessons`}. `, forget);
  }

  /** Pointing at a lesson of the map shows what it stands on and what builds on it. */
  function lightArcs(map) {
    map.querySelectorAll("li").forEach((row, at) => {
      const arcs = map.querySelectorAll(`path[data-from="${at}"], path[data-to="${at}"]`);
      const light = (on) => arcs.forEach((arc) => arc.classList.toggle("on", on));
      for (const event of ["pointerenter", "focusin"]) row.addEventListener(event, () => light(true));
      for (const event of ["pointerleave", "focusout"]) row.addEventListener(event, () => light(false));
    });
  }

  // A finger cannot hover: its first tap on a term shows what the term means, and only the next follows the link.
  let unread = null;
  const term = ({ target }) => target.closest("a.term");
  document.addEventListener("touchstart", (event) => {
    unread = term(event)?.matches(":not([aria-describedby])") ? term(event) : null;
  });
  const wait = (event) => {
    if (unread && unread === term(event)) {
      event.preventDefault();
      event.stopPropagation();
    }
    unread = null;
  };
  document.addEventListener("click", wait, { capture: true }); // before the theme, which follows links by itself

  // What scrolls sideways can be reached and scrolled by keyboard. The theme sees to that for listings, but takes it away
  // again where there is no pointer.
  const SCROLLERS = "pre > code, .md-typeset__scrollwrap, div.arithmatex, .output.html > *";
  const reach = ({ target }) => {
    if (!target.hasAttribute("tabindex") && target.scrollWidth > target.clientWidth) target.tabIndex = 0;
  };
  const sized = new ResizeObserver((entries) => entries.forEach(reach));
  const taken = new MutationObserver((changes) => changes.forEach(reach));

  let leave = () => {};
  document$.subscribe(() => {
    leave();
    leave = () => {};
    const article = document.querySelector("article:has(.lesson-meta)");
    if (article) {
      addFinish(article);
      leave = followSections(article);
    }
    sized.disconnect();
    for (const scroller of document.querySelectorAll(SCROLLERS)) sized.observe(scroller);
    taken.observe(document.querySelector("article"), { subtree: true, attributeFilter: ["tabindex"] });
    document.querySelectorAll(".home").forEach(welcome);
    document.querySelectorAll(".map").forEach(lightArcs);
    markRead();
  });
})();
