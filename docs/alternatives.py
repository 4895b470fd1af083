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
    "note": "%s.",
    "images": "%s images: %s.",
    "colours": "Colours: %s from %s to %s.",
    "regions": f"Regions: {WHERE}",
    "matrix": "Rows: %s; columns: %s. The two largest numbers of each row: %s.",
    "bars": "%s, bars: %s.",
    "longest": "%s, longest bars: %s.",
    "points": "%s: points %s.",
    "cloud": f"%s, %s points: {WHERE}",
    "straight": "Straight lines: %s.",
    "runs": "%s, %s lines: from %s ... %s to %s ... %s.",
    "flat": "%s at %s.",
    "axes": "%s against %s, %s to %s.",
    "line": "%s from %s to %s.",
    "lowest": "Lowest %s at %s %s.",
    "highest": "Highest %s at %s %s.",
}
CORNERS = np.array([(0, 1), (1, 1), (0, 0), (1, 0)])  # as in `WHERE`


def describe(fig):
    """Return the facts that ``fig`` shows, each ``[key, name or number, ...]``."""
    images = [ax for ax in fig.axes if ax.images and not ax.texts]
    names = [f"{ax.get_title()} {ax.get_xlabel()} {ax.get_ylabel()}" for ax in images]
    names = ", ".join(_write(name) for name in names if name.strip())
    facts = [["images", len(images), names]] if images else []
    for ax in fig.axes:
        found = [*_describe_panel(ax)]
        if ax not in images and ax.get_title() not in [
            "",
            *(fact[1] for fact in found),
        ]:
            facts.append(["title", ax.get_title()])
        for fact in found:  # what lines or panels have in common is said once
            facts += [fact] if fact not in facts or fact[0] == "regions" else []
    return [[key, *map(_write, values)] for key, *values in facts]


def _describe_panel(ax):
    if ax.get_label() == "<colorbar>":
        yield ["colours", ax.get_ylabel(), *ax.get_ylim()]
    yield from (_describe_bars(ax, bars) for bars in ax.containers)
    groups = {}  # the lines of several runs have one name
    for line in ax.lines:
        name = "" if isinstance(line, AxLine) else _name(ax, line, "y")
        groups.setdefault((name, line.get_linestyle()), []).append(line)
    for (name, style), lines in groups.items():
        if not name:
            yield ["straight", len(lines)]
        elif len(lines) > 2:
            ends = np.array([line.get_xydata()[[0, -1], 1] for line in lines])
            yield ["runs", name, len(lines), *np.sort(ends, axis=0)[[0, -1]].T.flat]
        else:
            for line in lines:
                yield from _describe_line(ax, name, line.get_xydata(), style == "None")
    for area in [area for area in ax.collections if hasattr(area, "layers")]:
        places = ax.transAxes.transform(CORNERS / 2 + 0.25)
        places = ax.transData.inverted().transform(places)
        inside = [[path.contains_point(p) for path in area.get_paths()] for p in places]
        yield ["regions", *area.layers[np.argmax(inside, axis=1)]]
    if ax.images and ax.texts:
        yield _describe_matrix(ax, ax.images[0].get_array())
    elif not ax.containers:
        yield from (["note", text.get_text()] for text in ax.texts)


def _describe_bars(ax, bars):
    axis, value = ("x", "y") if bars.orientation == "vertical" else ("y", "x")
    names = [label.get_text() for label in getattr(ax, f"get_{axis}ticklabels")()]
    if len(names) != len(bars):  # a histogram
        names = [f"{_write(b.get_x())}-{_write(b.get_corners()[2][0])}" for b in bars]
    found, key = list(zip(names, bars.datavalues, strict=True)), "bars"
    if len(found) > 6:
        found, key = sorted(found, key=lambda bar: -bar[1])[:3], "longest"
    shown = ", ".join(f"{name}: {_write(x)}" for name, x in found if x)
    return [key, _name(ax, bars[0], value), shown]


def _describe_matrix(ax, matrix):
    names, rows = [label.get_text() for label in ax.get_xticklabels()], []
    for label, row in zip(ax.get_yticklabels(), matrix, strict=True):
        two = [f"{names[i]} {row[i]}" for i in np.argsort(row)[:-3:-1]]
        rows.append(f"{label.get_text()}: {', '.join(two)}")
    return ["matrix", ax.get_ylabel(), ax.get_xlabel(), "; ".join(rows)]


def _describe_line(ax, name, points, dots):
    steps, near = np.diff(points[:, 0]), np.ptp(ax.get_ylim()) / 50
    x, y = points[points[:, 0].argsort(kind="stable")].T
    back_and_forth = (steps < 0).any() and (steps > 0).any()
    if len(points) < 2 or (len(points) <= 6 and (dots or back_and_forth)):
        pairs = [f"({_write(a)}, {_write(b)})" for a, b in points]
        yield from [["points", name, ", ".join(pairs)]] if pairs else []
    elif dots and min(steps) < 0:
        places = ax.transAxes.inverted().transform(ax.transData.transform(points))
        counts = [((places > 0.5) == corner).all(axis=1).sum() for corner in CORNERS]
        yield ["cloud", name, len(points), *counts]
    elif np.ptp(y) < near:
        yield ["flat", name, y[0]]
    else:
        yield ["axes", _label(ax, "y"), _label(ax, "x"), x[0], x[-1]]
        yield ["line", name, y[0], y[-1]]
        if min(y[0], y[-1]) - min(y) > near:
            yield ["lowest", min(y), _label(ax, "x"), x[y.argmin()]]
        if max(y) - max(y[0], y[-1]) > near:
            yield ["highest", max(y), _label(ax, "x"), x[y.argmax()]]


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
