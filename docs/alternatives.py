"""The alternative text of a figure: what it shows, in words and numbers.

It is made from what was drawn, so it holds for each run. A fact is a key of `TEXTS` and
what is put into that text: numbers, and names as they are in the figure.
"""

import re

import numpy as np
from matplotlib.lines import AxLine

WHERE = "upper left %s, upper right %s, lower left %s, lower right %s."
TEXTS = {  # in English; docs/locale/zh_CN/LC_MESSAGES/sphinx.po has the Chinese
    "title": "%s:",
    "images": "Images: %s.",
    "colours": "Colours: %s from %s to %s.",
    "regions": f"Regions: {WHERE}",
    "bars": "%s, longest bars: %s.",
    "axes": "%s against %s, %s to %s.",
    "points": "%s: points %s.",
    "cloud": f"%s, %s points: {WHERE}",
    "runs": "%s, %s lines: from %s ... %s to %s ... %s.",
    "line": "%s from %s to %s.",
    "lowest": "Lowest %s at %s %s.",
    "highest": "Highest %s at %s %s.",
}
CORNERS = np.array([(0, 1), (1, 1), (0, 0), (1, 0)])  # as in `WHERE`


def describe(fig):
    """Return the facts that ``fig`` shows, each ``[key, name or number, ...]``."""
    images, facts = [], []
    for ax in fig.axes:
        if ax.images:
            images += [ax.get_title(), ax.get_xlabel(), ax.get_ylabel()]
            continue
        for fact in _describe_panel(ax):  # what panels have in common, once
            if fact not in facts or fact[0] in ("title", "regions"):
                facts.append(fact)
    if images:
        facts.insert(0, ["images", ", ".join(filter(None, images))])
    return [[key, *map(_write, values)] for key, *values in facts]


def _describe_panel(ax):
    if ax.get_label() == "<colorbar>":
        yield ["colours", ax.get_ylabel(), *ax.get_ylim()]
        return
    if ax.get_title() not in ("", _label(ax, "x"), _label(ax, "y")):
        yield ["title", ax.get_title()]
    for bars in ax.containers:
        yield _describe_bars(ax, bars)
    groups = {}  # the lines of several runs have one name
    for line in ax.lines:
        if len(line.get_xdata()) and not isinstance(line, AxLine):
            groups.setdefault(_name(ax, line, "y"), []).append(line)
    if groups and not ax.containers:
        yield ["axes", _label(ax, "y"), _label(ax, "x"), *ax.dataLim.intervalx]
    for name, lines in groups.items():
        if len(lines) > 2:
            ends = np.array([line.get_ydata()[[0, -1]] for line in lines])
            yield ["runs", name, len(lines), *np.sort(ends, axis=0)[[0, -1]].T.flat]
        else:
            for line in lines:
                yield from _describe_line(ax, name, line)
    for area in [area for area in ax.collections if hasattr(area, "layers")]:
        places = ax.transAxes.transform(CORNERS / 2 + 0.25)
        places = ax.transData.inverted().transform(places)
        inside = [[path.contains_point(p) for path in area.get_paths()] for p in places]
        yield ["regions", *area.layers[np.argmax(inside, axis=1)]]


def _describe_bars(ax, bars):
    axis, value = ("x", "y") if bars.orientation == "vertical" else ("y", "x")
    names = [label.get_text() for label in getattr(ax, f"get_{axis}ticklabels")()]
    if len(names) != len(bars):  # a histogram
        names = [_write(bar.get_center()[0]) for bar in bars]
    found = sorted(zip(bars.datavalues, names, strict=True), reverse=True)[:6]
    shown = ", ".join(f"{name}: {_write(x)}" for x, name in found if x)
    return ["bars", _name(ax, bars[0], value), shown]


def _describe_line(ax, name, line):
    points, dots = line.get_xydata(), line.get_linestyle() == "None"
    steps = np.diff(points[:, 0])
    x, y = points[points[:, 0].argsort(kind="stable")].T
    back_and_forth = (steps < 0).any() and (steps > 0).any()
    if len(points) <= 6 and (dots or back_and_forth):
        pairs = [f"({_write(a)}, {_write(b)})" for a, b in points]
        yield ["points", name, ", ".join(pairs)]
    elif dots and back_and_forth:
        places = ax.transAxes.inverted().transform(ax.transData.transform(points))
        counts = [((places > 0.5) == corner).all(axis=1).sum() for corner in CORNERS]
        yield ["cloud", name, len(points), *counts]
    else:
        yield ["line", name, y[0], y[-1]]
        for key, i in ("lowest", y.argmin()), ("highest", y.argmax()):
            if min(abs(y[i] - y[[0, -1]])) > np.ptp(ax.get_ylim()) / 50:
                yield [key, y[i], _label(ax, "x"), x[i]]


def _label(ax, axis):
    """Return the label of an axis, which another panel may have for both."""
    panels = [ax, *getattr(ax, f"get_shared_{axis}_axes")().get_siblings(ax)]
    labels = [getattr(panel, f"get_{axis}label")() for panel in panels]
    return next(filter(None, [*labels, ax.get_title()]), axis)


def _name(ax, artist, axis):
    if artist.get_label()[0] == "_":
        return _label(ax, axis)
    legend = ax.get_legend()
    title = legend.get_title().get_text() if legend else ""
    return f"{title} {artist.get_label()}"


def _write(value):
    """Write a number with three digits, and a name without TeX and line breaks."""
    if isinstance(value, str):
        return " ".join(re.sub(r"[$\\]", "", value).split())
    return f"{round(float(f'{value:.3g}'), 4) + 0:g}"
