"""Draws the pauses of the last `make demo` beside those of a peer: `python3 -m dev.demo.figure > docs/pauses.svg`."""

import json
import sys
from html import escape

from dev.lib.paths import CACHE

# Title, our step, and the peer: Flink Kubernetes operator 1.7.0 with Flink 1.18.1, measured once; docs/figures.md says what
# and how often. With a missing image its job stays down until a user acts: there is no end to draw.
PEER: tuple[tuple[str, str, float | None, str], ...] = (
    ("worker killed (-9)", "kill -9 of worker 2", 18.0, "18.0"),
    ("coordinator killed (-9)", "kill -9 of worker 0", 20.3, "20.3"),
    ("rescale 1 to 3", "rescale 1 to 3", 26.6, "26.6 (1 to 2)"),
    ("upgrade of the SQL", "upgrade, aggregate added", 18.1, "18.1"),
    ("upgrade, operator killed in it", "upgrade, operator killed", 25.4, "25.4"),
    ("upgrade to a missing image", "upgrade to a missing image", None, "down until somebody acts"),
    ("node lost", "node lost", 44.4, "44.4"),
)
LEFT, ROW, SCALE, TOP = 230, 46, 10.0, 64
LONGEST = 46.0


def bar(y: float, seconds: float | None, colour: str, label: str) -> str:
    """One bar and what stands behind it; no end means until the edge."""
    width = (LONGEST if seconds is None else seconds) * SCALE
    dashed = f' fill-opacity="0.25" stroke="{colour}" stroke-dasharray="4 3"' if seconds is None else ""
    return (
        f'<rect x="{LEFT}" y="{y:g}" width="{max(width, 1.5):g}" height="15" rx="2" fill="{colour}"{dashed}/>'
        f'<text x="{LEFT + width + 6:g}" y="{y + 12:g}" class="n">{escape(label)}</text>'
    )


def draw(ours: dict[str, float | None]) -> str:
    """The figure as SVG."""
    height = TOP + ROW * len(PEER) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + LONGEST * SCALE + 170:g} {height}" font-family="system-ui, sans-serif" font-size="13">',
        "<style>text{fill:#24292f}.n{font-size:12px;fill:#57606a}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.n{fill:#9198a1}}</style>",
        '<text x="12" y="22" font-size="15" font-weight="600">Seconds without records (shorter is better)</text>',
        f'<rect x="{LEFT}" y="36" width="12" height="12" rx="2" fill="#1a7f64"/><text x="{LEFT + 18}" y="47" class="n">Streamkeeper</text>',
        f'<rect x="{LEFT + 130}" y="36" width="12" height="12" rx="2" fill="#b0764a"/><text x="{LEFT + 148}" y="47" class="n">Flink Kubernetes operator 1.7</text>',
    ]
    for index, (title, name, peer, said) in enumerate(PEER):
        y, seconds = TOP + ROW * index, ours[name]
        if seconds is None:
            raise ValueError(f"the demo measured no pause for {name!r}")
        out.append(f'<text x="{LEFT - 10}" y="{y + 21}" text-anchor="end">{escape(title)}</text>')
        out.append(bar(y + 2, seconds, "#1a7f64", f"{seconds:.1f}" if seconds else "0: never stopped"))
        out.append(bar(y + 19, peer, "#b0764a", said))
    out.append("</svg>")
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    sys.stdout.write(draw(json.loads((CACHE / "demo.json").read_text())))
