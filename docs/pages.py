"""What a page of a lesson has that reST has not: directives, folds, and its head."""

import html
import json
import os
import re
from itertools import takewhile
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.locale import _
from sphinx.util.docutils import SphinxDirective

from alternatives import TEXTS
from figures import WORDS
from lessons import EXAMPLES, ROOT, ROWS, section

REPOSITORY = os.environ.get("GITHUB_REPOSITORY", "")  # owner/name, known on GitHub


class Guess(SphinxDirective):
    """``.. guess::``: a question, after which the output of the next cell is folded."""

    has_content = True

    def run(self):
        box = nodes.admonition(classes=["guess"])
        self.state.nested_parse(self.content, self.content_offset, box)
        return [box]


class Interactive(SphinxDirective):
    """``.. interactive:: NAME``: a figure of figures.py, once the lesson has run."""

    required_arguments = 1

    def run(self):
        (name,) = self.arguments
        numbers = Path(self.env.srcdir, f"{name}.json")
        if not numbers.exists():
            return []
        words = {key: _(text) for key, text in WORDS[name].items()}
        data = {"run": numbers.read_text(), "words": json.dumps(words)}
        data = " ".join(f'data-{key}="{html.escape(data[key])}"' for key in data)
        form = f'<form class="live {name}" autocomplete="off" {data}></form>'
        return [nodes.raw("", form, format="html", figure=name)]


def finish(app, doctree):
    """Number, fold and clean the page of a lesson."""
    name = app.env.current_document.docname
    if name not in ROWS:
        return
    for node in [*doctree.findall(addnodes.only)]:  # Sphinx-Gallery's own words
        node.parent.remove(node)
    for node in [*doctree.findall(nodes.literal_block)]:
        if "sphx-glr-script-out" in node["classes"]:
            clean_output(node)
    for image in doctree.findall(nodes.image):  # `gallery.figures` saved what it shows
        facts = json.loads(image["alt"])
        image["alt"] = " ".join(_(TEXTS[key]) % tuple(parts) for key, *parts in facts)
    fold_outputs(doctree)
    fold_answers(doctree)
    link_lessons(doctree)
    if app.builder.name != "gettext":
        lesson = next(doctree.findall(nodes.section))
        lesson[0].insert(0, nodes.Text(f"{[*ROWS].index(name) + 1}. "))
        cost = Path(app.srcdir, f"{name}.cost.json")  # none if no lesson was run
        seconds = json.loads(cost.read_text())["time"] if cost.exists() else 1
        head = below_title(ROWS[name], seconds, app.tags.has("zh"))
        lesson.insert(1, nodes.raw("", head, format="html"))


def clean_output(node):
    """Remove paths of this machine; that a figure was saved stands only under it."""
    text = node.astext().replace(f"{ROOT}/", "") + "\n"
    text = re.sub(r"^saved .*\.png\n", "", text, flags=re.MULTILINE).strip("\n")
    node.rawsource, node[:] = text, [nodes.Text(text)]
    if not text:
        node.parent.remove(node)


def fold(title, children):
    title = nodes.title("", title)
    return nodes.admonition("", title, *children, collapsible="closed")


def fold_outputs(doctree):
    """Fold figures and output of the cell after a guess: all up to the next cell."""
    for guess in [*doctree.findall(nodes.admonition)]:
        if "guess" in guess["classes"]:
            guess.insert(0, nodes.title("", _("Guess first")))
            following = iter(guess.parent[guess.parent.index(guess) + 1 :])
            code = next(n for n in following if n.get("language") == "Python")
            # Sphinx-Gallery begins each cell with a comment.
            output = takewhile(lambda n: not isinstance(n, nodes.comment), following)
            if output := [*output]:
                for node in output:
                    node.parent.remove(node)
                code.parent.insert(
                    code.parent.index(code) + 1, fold(_("Show the output"), output)
                )


def fold_answers(doctree):
    for part in doctree.findall(nodes.section):
        if "answers" in part["ids"]:
            for answers in [*part.findall(nodes.enumerated_list)]:
                folds = [
                    fold(_("Answer %d") % number, answer.children)
                    for number, answer in enumerate(answers, 1)
                ]
                answers.replace_self(folds)


def link_lessons(doctree):
    """Make links of names such as "linear regression 1", which no title shows."""
    files = {_(row.label): row.name for row in ROWS.values() if row.label[-1].isdigit()}
    for text in [*doctree.findall(nodes.Text)]:
        parts = re.split(f"({'|'.join(files)})", text)
        if len(parts) > 1 and isinstance(text.parent, nodes.paragraph):
            for i in range(1, len(parts), 2):
                link = {"refuri": f"{files[parts[i]]}.html", "internal": True}
                parts[i] = nodes.reference("", parts[i], **link)
            parts[::2] = map(nodes.Text, parts[::2])
            text.parent.replace(text, parts)


def below_title(row, seconds, chinese):
    """Return HTML of the lines under a title: downloads, time, what comes before."""
    names = {_("Notebook"): ".ipynb", _("Script"): ".py", _("Zip"): ".zip"}
    ways = [
        f'<a href="{row.name}{suffix}" download>{word}</a>'
        for word, suffix in names.items()
    ]
    if REPOSITORY:
        path = f"{REPOSITORY}/blob/notebooks/{'zh/' * chinese}{row.name}.ipynb"
        link = f"https://colab.research.google.com/github/{path}"
        ways.append(f'<a href="{link}">{_("Open in Colab")}</a>')
    files = {other.label: other.name for other in ROWS.values()}
    minutes, *before = facts(
        row, lambda label: f'<a href="{files[label]}.html">{html.escape(_(label))}</a>'
    )
    cost = [minutes, _("a run takes %d s") % max(seconds, 1), *before]
    return f'<p class="ways">{" · ".join(ways)}<br>{" · ".join(cost)}</p>'


def number(label):
    """Return which lesson of the index has that name."""
    labels = [row.label for row in ROWS.values()]
    return _("lesson %d") % (labels.index(label) + 1)


def facts(row, link):
    """Return how long a lesson takes, and on which ones it builds, by ``link``."""
    tasks = section(EXAMPLES / f"{row.name}.py", "Try it")
    minutes = _("about %s min with the tasks") if tasks else _("about %s min")
    found = [minutes % row.minutes]
    if row.builds_on:
        before = ", ".join(map(link, row.builds_on.split(", ")))
        found.append(_("builds on %s") % before)
    return found


def setup(app):
    app.add_directive("guess", Guess)
    app.add_directive("interactive", Interactive)
    app.connect("doctree-read", finish, priority=400)  # before titles are collected
