"""A sheet to draw on: an SVG that is readable in light and dark, and fetches nothing."""

from collections.abc import Iterable
from xml.sax.saxutils import escape

SANS = 'system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif'
MONO = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace'
HUES = ("blue", "amber", "green", "violet")
"""Of the first, second, third and fourth process, in every picture."""
LIGHT = {
    "ground": "#ffffff", "ink": "#1d2730", "soft": "#5b6772", "line": "#8a96a1", "faint": "#dde2e7", "bare": "#f3f5f7",
    "blue": "#cfe2f4", "blue-edge": "#4f86b8", "blue-deep": "#9cc4e8",
    "amber": "#fae3b4", "amber-edge": "#bf8a2e", "amber-deep": "#f2c875",
    "green": "#cfebd8", "green-edge": "#4c9468", "green-deep": "#9bd3ae",
    "violet": "#e6daf6", "violet-edge": "#8661b3", "violet-deep": "#c9b2e8",
}  # fmt: skip
DARK = {
    "ground": "#15191d", "ink": "#e4e9ed", "soft": "#9aa6b1", "line": "#75818c", "faint": "#2b333a", "bare": "#1c2227",
    "blue": "#1f3d59", "blue-edge": "#6a9fd0", "blue-deep": "#2f628f",
    "amber": "#4a3815", "amber-edge": "#c59745", "amber-deep": "#77591f",
    "green": "#1d4330", "green-edge": "#62ae80", "green-deep": "#2d6c4a",
    "violet": "#382a50", "violet-edge": "#a586d0", "violet-deep": "#584080",
}  # fmt: skip


def _colours(named: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in named.items())


def _style() -> str:
    rules = [
        f":root {{ {_colours(LIGHT)} }}",
        f"@media (prefers-color-scheme: dark) {{ :root {{ {_colours(DARK)} }} }}",
        f"text {{ font-family: {SANS}; font-size: 13px; fill: var(--ink); }}",
        f".code {{ font-family: {MONO}; font-size: 12px; }}",
        ".head { font-size: 15px; font-weight: 600; } .soft { fill: var(--soft); } .small { font-size: 11px; } .tiny { font-size: 8.5px; }",
        ".ground { fill: var(--ground); } .bare { fill: var(--bare); stroke: var(--faint); } .frame { fill: none; stroke: var(--line); }",
        ".way { fill: none; stroke: var(--line); stroke-width: 1.5; } .faint { fill: none; stroke: var(--faint); stroke-width: 1.5; }",
        ".tip { fill: var(--line); } .dot { fill: var(--ink); } .hollow { fill: none; stroke: var(--line); }",
        *(f".{hue} {{ fill: var(--{hue}); stroke: var(--{hue}-edge); }}" for hue in HUES),
        *(f".{hue}-deep {{ fill: var(--{hue}-deep); stroke: var(--{hue}-edge); }}" for hue in HUES),
        *(f".{hue}-side {{ fill: var(--{hue}-edge); stroke: var(--{hue}-edge); }}" for hue in HUES),
        *(f".{hue}-pale {{ fill: var(--{hue}); fill-opacity: .38; stroke: var(--{hue}-edge); stroke-dasharray: 2.5 2; }}" for hue in HUES),
        *(f".{hue}-band {{ fill: var(--{hue}); fill-opacity: .7; stroke: none; }}" for hue in HUES),
        *(f".{hue}-way {{ fill: none; stroke: var(--{hue}-edge); stroke-width: 1.8; }}" for hue in HUES),
    ]
    return "\n".join(f"  {rule}" for rule in rules)


class Sheet:
    """So wide and high, with a title and what it shows in words."""

    def __init__(self, width: int, height: int, title: str, told: str) -> None:
        self.width, self.height, self.title, self.told = width, height, title, told
        self._drawn: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, kind: str, *, round_: float = 2) -> None:
        self._drawn.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{round_:g}"/>')

    def polygon(self, points: Iterable[tuple[float, float]], kind: str) -> None:
        told = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._drawn.append(f'<polygon class="{kind}" points="{told}" stroke-linejoin="round"/>')

    def circle(self, x: float, y: float, radius: float, kind: str) -> None:
        self._drawn.append(f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{radius:g}"/>')

    def text(self, x: float, y: float, words: str, kind: str = "", *, at: str = "start") -> None:
        """``at``: whether (x, y) is the words' start, middle or end."""
        named = f' class="{kind}"' if kind else ""
        self._drawn.append(f'<text{named} x="{x:g}" y="{y:g}" text-anchor="{at}">{escape(words)}</text>')

    def way(self, drawn: str, kind: str = "way", *, arrow: bool = False) -> None:
        """A path in SVG's words, with a tip at its end if it is an arrow."""
        tip = ' marker-end="url(#tip)"' if arrow else ""
        self._drawn.append(f'<path class="{kind}" d="{drawn}"{tip}/>')

    def __str__(self) -> str:
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
                'aria-labelledby="title desc">',
                f'<title id="title">{escape(self.title)}</title>',
                f'<desc id="desc">{escape(self.told)}</desc>',
                f"<style>\n{_style()}\n</style>",
                '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
                '<path class="tip" d="M0 0L10 5L0 10z"/></marker></defs>',
                f'<rect class="ground" width="{self.width}" height="{self.height}" rx="10"/>',
                *self._drawn,
                "</svg>\n",
            ]
        )
