"""Figures as SVG: the style they are drawn in, and byte-stable files whose colours the page can set.

Matplotlib is told to draw in fixed colours; in the file each becomes a CSS variable with that colour as
its default. On a page the stylesheet sets the variables, light and dark; alone, the file follows the
viewer's preference by itself.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, for light pages; the second is the variant for dark ones.
COLOURS = {
    "#1b1f23": ("--fig-ink", "#e6e6e6"),
    "#d0d1d2": ("--fig-grid", "#444648"),
    "#0072b2": ("--fig-0", "#56b0ee"),
    "#d55e00": ("--fig-1", "#ff8a3c"),
    "#009e73": ("--fig-2", "#2fc99a"),
    "#b0568c": ("--fig-3", "#e39ac4"),
    "#b87a00": ("--fig-4", "#f0b429"),
    "#3a9bd9": ("--fig-5", "#8fd0ff"),
    "#7a7a7a": ("--fig-6", "#a5a5a5"),
    "#808080": ("--fig-grey", "#9a9a9a"),
}
POWER = re.compile(
    r"<!-- \$\\mathdefault\{(?P<factor>[\d.]+\\times ?)?10\^\{(?P<power>[-−\d]+)\}\}\$ -->"
    r"(?P<group>\s*<g[^>]*>\s*)<text>.*?style=\"(?P<style>[^\"]*)\".*?</text>",
    re.DOTALL,
)
COMMAND = re.compile(r"([MLQCz])([^MLQCz]*)")  # all that Matplotlib draws with, from points in absolute numbers
SUPERSCRIPTS = str.maketrans("0123456789-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻")
INK, GRID, *CYCLE = list(COLOURS)[:-1]


def style() -> dict[str, Any]:
    """The `rcParams` that every lesson starts with."""
    from cycler import cycler

    ink = ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color")
    return {
        **dict.fromkeys(ink, INK),
        "axes.prop_cycle": cycler(color=CYCLE),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "grid.color": GRID,
        "figure.figsize": (7, 3.2),
        "figure.facecolor": "none",
        "figure.constrained_layout.use": True,
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "legend.frameon": False,
        "font.size": 9.5,
        "svg.fonttype": "none",
    }


def to_svg(figure: Figure, salt: str) -> str:
    """Draw a figure as SVG text, the same bytes for the same data.

    `salt` keeps the ids of two figures on one page apart.

    Raises
    ------
    ValueError
        Where a label holds a formula. Mathtext places each letter by the metrics of its own font: in the page's
        font they would stand apart. (The ticks of a logarithmic axis, a number and its exponent, may stay.)
    """
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return clean(buffer.getvalue())


def clean(drawn: str) -> str:
    """Turn what Matplotlib wrote as SVG into what a page shows; raises as `to_svg` does."""
    drawn = POWER.sub(_plain_power, drawn)
    for text in re.findall(r"<!-- (.*?) -->", drawn):  # Matplotlib notes each text before it draws it
        if "$" in text and "mathdefault" not in text:
            raise ValueError(f"the label {text!r} holds a formula; write η, x₁ or κ² in Unicode")
    return tidy(drawn)


def _plain_power(match: re.Match[str]) -> str:
    """A tick such as 10⁻³ as plain text in place of mathtext, whose pieces stand apart in another font."""
    number = (match["factor"] or "").replace("\\times ", "×") + "10" + match["power"].translate(SUPERSCRIPTS)
    return f'{match["group"]}<text style="{match["style"]}">{number}</text>'


def tidy(svg: str) -> str:
    """Drop what no reader sees, shorten the numbers, and turn colours and font into CSS variables."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style type=\"text/css\">.*?</style>", _stylesheet(), svg, count=1, flags=re.DOTALL)
    for colour, (variable, _) in COLOURS.items():
        svg = re.sub(rf"{colour}\b", f"var({variable}, {colour})", svg, flags=re.IGNORECASE)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--fig-font, sans-serif)", svg)
    used = set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", svg))
    kept = {name for pair in used for name in pair}
    svg = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in kept else "", svg)
    svg = re.sub(r' d="([^"]*)"', lambda m: f' d="{_relative(m[1])}"', svg)
    svg = re.sub(r' (x|y)="([^"]*)"', lambda m: f' {m[1]}="{_shorten(m[2])}"', svg)
    return svg.rstrip() + "\n"


def _relative(path: str) -> str:
    """The same path, each point given from the one before it: half the bytes of a dense curve.

    Points are rounded before they are subtracted, so that no error adds up.
    """
    steps: list[str] = []
    here = start = [0, 0]
    for command, numbers in COMMAND.findall(path):
        if command == "z":
            steps.append("z")
            here = start
            continue
        hundredths = [round(100 * float(number)) for number in numbers.split()]
        origin = [0, 0] if command == "M" else here
        ways = " ".join(_hundredths(value - origin[i % 2]) for i, value in enumerate(hundredths))
        steps.append((command if command == "M" else command.lower()) + ways.replace(" -", "-"))
        here = hundredths[-2:]
        if command == "M":
            start = here
    return "".join(steps)


def _hundredths(count: int) -> str:
    text = f"{count / 100:.2f}".rstrip("0").rstrip(".")
    return text.replace("0.", ".", 1) if abs(count) < 100 else text


def _shorten(numbers: str) -> str:
    return re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), numbers)


def _stylesheet() -> str:
    dark = ";".join(f"{variable}:{colour}" for variable, colour in COLOURS.values())
    light = ";".join(f"{variable}:{colour}" for colour, (variable, _) in COLOURS.items())
    # The light values stand between marks, away from the replacement of colours by variables.
    light = re.sub("#", "&#35;", light)
    dark = re.sub("#", "&#35;", dark)
    return (
        f"<style>svg{{{light}}}*{{stroke-linejoin:round;stroke-linecap:butt}}text{{white-space:pre}}"
        f"@media(prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    )


def inline(svg: str, caption: str) -> str:
    """The SVG for use inside a page: its own stylesheet away, its meaning said to screen readers."""
    svg = re.sub(r"<style>.*?</style>\s*", "", svg, count=1, flags=re.DOTALL)
    return svg.replace("<svg ", f'<svg data-search-exclude role="img" aria-label="{caption}" ', 1)
