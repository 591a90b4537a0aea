"""Charts as inline SVG: drawn by us, no scripts, no fonts from elsewhere, colours from the page's own palette."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 960, 260
LEFT, RIGHT, TOP, BOTTOM = 66, 8, 14, 26
COLOURS = 7
"""Classes `c0` to `c6` of the style sheet; the last is for what is left over."""


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of a stacked chart. values: picodollars, one for each label."""

    name: str
    values: Sequence[int]


def columns(labels: Sequence[str], series: Sequence[Series], words: Callable[[int], str], title: str) -> str:
    """Stacked columns over time, with an axis in round steps; each part tells its figure when pointed at."""
    if not labels:
        return ""
    heights = [sum(max(0, one.values[i]) for one in series) for i in range(len(labels))]
    step = _step(max(heights, default=0))
    top = max(step, -(-max(heights) // step) * step)
    plot = HEIGHT - TOP - BOTTOM
    room = (WIDTH - LEFT - RIGHT) / len(labels)
    parts = [_axis(step, top, plot, words)]
    for i, label in enumerate(labels):
        x = LEFT + room * i + room * 0.12
        base = float(HEIGHT - BOTTOM)
        for n, one in enumerate(series):
            value = max(0, one.values[i])
            if value:
                tall = value / top * plot
                base -= tall
                tip = escape(f"{label}, {one.name}: {words(value)}")
                parts.append(
                    f'<rect class="c{min(n, COLOURS - 1)}" x="{x:.1f}" y="{base:.1f}" width="{room * 0.76:.1f}"'
                    f' height="{max(tall, 0.6):.1f}" rx="1.5"><title>{tip}</title></rect>'
                )
    every = max(1, -(-len(labels) // 10))
    for i in range(0, len(labels), every):
        x = LEFT + room * (i + 0.5)
        parts.append(f'<text class="axis" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(labels[i])}</text>')
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">'
        f"{''.join(parts)}</svg>"
    )


def _axis(step: int, top: int, plot: int, words: Callable[[int], str]) -> str:
    parts = []
    for value in range(0, top + 1, step):
        y = HEIGHT - BOTTOM - value / top * plot
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="axis" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(words(value))}</text>'
        )
    return "".join(parts)


def _step(most: int) -> int:
    """A round step that divides an axis up to `most` into two to five parts."""
    step = 1
    while step * 10 <= most:
        step *= 10
    for factor in (1, 2, 5):
        if most <= step * factor // 2 * 5 and step * factor >= 5:
            return max(1, step * factor // 2)
    return step * 5


def sparkline(values: Sequence[int], width: int = 90, height: int = 20) -> str:
    """A small line of values over time, filled below."""
    top = max((*values, 1))
    if len(values) < 2:
        return ""
    points = [
        f"{i * width / (len(values) - 1):.1f},{height - 2 - max(0, value) / top * (height - 4):.1f}"
        for i, value in enumerate(values)
    ]
    line = " ".join(points)
    return (
        f'<svg class="spark" viewBox="0 0 {width} {height}" width="{width}" height="{height}" aria-hidden="true">'
        f'<polygon points="0,{height} {line} {width},{height}"/><polyline points="{line}"/></svg>'
    )


def bar(fraction: float) -> str:
    """A bar from 0 to 1; what is over 1 is full, and in the colour of what is not good."""
    width = max(0.0, min(1.0, fraction)) * 100
    over = " over" if fraction > 1 else ""
    return f'<span class="bar{over}"><span style="width:{width:.1f}%"></span></span>'
