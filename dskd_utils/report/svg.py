"""Drawing in SVG with a few shapes, for diagrams and charts that are readable on light and dark pages; no section of
the paper.

Colours are CSS variables: inside a page they follow its theme, in a picture of its own the reader's system. The palette
is Okabe and Ito's, distinct for the colour-blind.
"""

from collections.abc import Sequence
from html import escape

STYLE = """
.dskd-svg{--ink:#1f2328;--soft:#57606a;--rule:#8c959f;--card:#f1f4f7;--blue:#0072b2;--orange:#b84a00;--green:#007a5a;
--purple:#a34f83;font-family:system-ui,"Segoe UI",Helvetica,Arial,sans-serif}
@media (prefers-color-scheme:dark){.dskd-svg{--ink:#e6edf3;--soft:#a9b4c0;--rule:#768390;--card:#262c34;--blue:#56b4e9;
--orange:#f39c5a;--green:#3fbf97;--purple:#dd9ac2}}
html[data-theme="light"] .dskd-svg{--ink:#1f2328;--soft:#57606a;--rule:#8c959f;--card:#f1f4f7;--blue:#0072b2;
--orange:#b84a00;--green:#007a5a;--purple:#a34f83}
html[data-theme="dark"] .dskd-svg{--ink:#e6edf3;--soft:#a9b4c0;--rule:#768390;--card:#262c34;--blue:#56b4e9;
--orange:#f39c5a;--green:#3fbf97;--purple:#dd9ac2}
@media print{.dskd-svg{--ink:#1f2328;--soft:#57606a;--card:#f1f4f7}}
""".replace("\n", "")
CHARACTER = 0.54  # mean width of one, in font sizes


class Drawing:
    """A picture that grows by its methods, all in user units with y downwards.

    Args:
        name: used for the ids inside, one word.
        width, height: of the view box.
        title: what it shows, read aloud first.
        told: what is to be seen in it, for who cannot see it.
    """

    def __init__(self, name: str, width: float, height: float, title: str, told: str):
        self.name, self.width, self.height, self.title, self.told = name, width, height, title, told
        self.parts: list[str] = []

    def text(self, x, y, words: str, *, size=15, colour="ink", anchor="start", weight="normal", style="normal") -> None:
        """One line of text, its baseline at `y`; `_` before a character lowers it."""
        spans, low = [], False
        for piece in words.split("_"):
            if low:
                spans.append(f'<tspan dy="4" font-size="{0.75 * size:g}">{escape(piece[:1])}</tspan>')
                spans.append(f'<tspan dy="-4">{escape(piece[1:])}</tspan>' if piece[1:] else '<tspan dy="-4"> </tspan>')
            else:
                spans.append(escape(piece))
            low = True
        more = f' font-weight="{weight}"' if weight != "normal" else ""
        more += f' font-style="{style}"' if style != "normal" else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" text-anchor="{anchor}" fill="var(--{colour})"{more}>'
            f"{''.join(spans)}</text>"
        )

    def box(self, x, y, width, height, lines: Sequence[str] = (), *, colour="rule", fill="card", size=15) -> None:
        """A rounded box with centred lines, the first of them bold where there are several."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7" fill="var(--{fill})" '
            f'stroke="var(--{colour})" stroke-width="1.5"/>'
        )
        step = 1.3 * size
        top = y + height / 2 - step * (len(lines) - 1) / 2 + 0.35 * size
        for row, words in enumerate(lines):
            weight = "600" if row == 0 and len(lines) > 1 else "normal"
            self.text(x + width / 2, top + row * step, words, size=size, anchor="middle", weight=weight)

    def line(self, points: Sequence[tuple[float, float]], *, colour="rule", width=1.5, dash="", arrow=False) -> None:
        """A line through points, with an arrowhead at its end if asked."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        more = f' stroke-dasharray="{dash}"' if dash else ""
        more += f' marker-end="url(#{self.name}-{colour})"' if arrow else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="var(--{colour})" stroke-width="{width:g}"{more}/>'
        )

    def dot(self, x, y, radius=6.0, *, colour="blue", filled=True, square=False) -> None:
        """A round or square mark; hollow ones are filled with the page's card colour."""
        look = f'fill="var(--{colour if filled else "card"})" stroke="var(--{colour})" stroke-width="1.8"'
        if square:
            side = 1.8 * radius
            corner = f'x="{x - side / 2:g}" y="{y - side / 2:g}" width="{side:g}" height="{side:g}"'
            self.parts.append(f"<rect {corner} {look}/>")
        else:
            self.parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" {look}/>')

    def ring(self, x, y, radius, *, colour="rule", dash="5 4") -> None:
        """A dashed circle around a place."""
        self.parts.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="none" stroke="var(--{colour})" stroke-width="1.3" '
            f'stroke-dasharray="{dash}"/>'
        )

    def render(self) -> str:
        """The SVG document, which may stand in a page or in a file of its own."""
        heads = "".join(
            f'<marker id="{self.name}-{colour}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0,0L8,4L0,8z" fill="var(--{colour})"/></marker>'
            for colour in ("rule", "blue", "orange", "green", "purple", "ink")
            if f"#{self.name}-{colour})" in "".join(self.parts)
        )
        ids = f"{self.name}-title {self.name}-desc"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="dskd-svg" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'role="img" aria-labelledby="{ids}"><title id="{self.name}-title">{escape(self.title)}</title>'
            f'<desc id="{self.name}-desc">{escape(self.told)}</desc><style>{STYLE}</style><defs>{heads}</defs>\n'
            + "\n".join(self.parts)
            + "\n</svg>\n"
        )
