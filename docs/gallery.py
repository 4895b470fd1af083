"""What the gallery needs beyond Sphinx's settings.

Sphinx reads a folder that is made anew for each build, with links to the lessons in its
``examples/``: a run of the gallery leaves nothing among the lessons themselves.
"""

import functools
import html
import json
import os
import re
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import cli
from lessons import ABOUT, LESSONS, MODULES, ROOT
from make_thumbnails import make_thumbnail
from notebooks import save_downloads
from translate import ChineseSearch, load_catalogue, translate_script

DOCS = ROOT / "docs"
REPOSITORY = os.environ.get("GITHUB_REPOSITORY", "")  # owner/name, known on GitHub
parse_args = cli.parse_args


def set_options(gallery_conf, script_vars):
    """Let a lesson's figures stay in this build, and tests ask for fewer epochs."""
    more = json.loads(os.environ.get("LESSON_OPTIONS", "{}"))
    changes = more.get(Path(script_vars["src_file"]).stem, {})

    @functools.wraps(parse_args)
    def with_changes(doc, **defaults):
        return parse_args(doc, **defaults | changes, output=Path("outputs"))

    cli.parse_args = with_changes
    return []


def describe(fig):
    """Say what ``fig`` shows, from its titles, labels and legends."""
    parts = []
    for ax in fig.axes:
        axes = " against ".join(filter(None, [ax.get_ylabel(), ax.get_xlabel()]))
        legend = ", ".join(ax.get_legend_handles_labels()[1])
        parts.append(": ".join(filter(None, [ax.get_title(), axes, legend])))
    text = "; ".join(dict.fromkeys(filter(None, parts)))
    return re.sub(r"[$\\]", "", " ".join(text.split()))


def image(path, text, gallery_conf):
    """Return reST that shows an image, with a link to the file in full size."""
    inside = Path(path).relative_to(gallery_conf["src_dir"]).as_posix()
    return (
        f".. image:: /{inside}\n"
        f"   :alt: {text}\n"
        "   :class: sphx-glr-single-img\n"
        f"   :target: _images/{Path(path).name}\n\n"
    )


def figures(block, block_vars, gallery_conf):
    """Save the figures and GIFs of a cell; return reST that shows them."""
    rst, paths = "", block_vars["image_path_iterator"]
    for number, path in zip(plt.get_fignums(), paths, strict=False):
        fig = plt.figure(number)
        fig.savefig(path)
        rst += image(path, describe(fig), gallery_conf)
        if Path(path).name.startswith("sphx_glr_linear_regression_case1_001"):
            rst += bowl(block_vars["example_globals"])
    plt.close("all")
    for gif, path in zip(Path("outputs").glob("*.gif"), paths, strict=False):
        path = gif.replace(Path(path).with_suffix(".gif"))
        rst += image(path, "The figure above, from the first epoch on", gallery_conf)
    return rst


def bowl(values):
    """Return reST of the figure in bowl.js, with the numbers of the lesson's run."""
    points, y = values["A"].double(), values["y"].cpu().double()
    run = {
        "start": values["start"].tolist(),
        "minimum": torch.linalg.lstsq(points, y).solution.flatten().tolist(),
        "hessian": (2 * points.T @ points).tolist(),
        "rate": values["args"].lr,
        "losses": values["losses"],
    }
    return (
        f".. raw:: html\n\n   <div class='bowl' data-run='{json.dumps(run)}'></div>\n\n"
    )


def prepare(app):
    """Collect what Sphinx reads: lessons, pages of docs/, and one of the modules."""
    source = Path(app.srcdir)
    if (source / "examples").exists():  # the Chinese pages come from the same folder
        return
    (source / "examples").mkdir()
    for lesson in LESSONS:
        (source / "examples" / lesson.name).symlink_to(lesson)
    (source / "examples/GALLERY_HEADER.rst").symlink_to(DOCS / "index.rst")
    (source / "distributed.rst").symlink_to(DOCS / "distributed.rst")
    page = (DOCS / "modules.rst").read_text()
    common_first = sorted(MODULES, key=lambda module: module.stem != "common")
    for module in common_first if app.builder.name != "gettext" else []:
        page += (
            f"\n{module.name}\n{'-' * len(module.name)}\n\n"
            f".. automodule:: {module.stem}\n   :members:\n"
        )
    (source / "modules.rst").write_text(page)


def make_thumbnails(app):
    for figure in Path(app.srcdir).glob("examples/outputs/*.png"):
        if figure.stem in ABOUT:
            thumbnail = f"images/thumb/sphx_glr_{figure.stem}_thumb.png"
            make_thumbnail(figure, Path(app.srcdir, thumbnail))


def rewrite(app, docname, content):
    """Put our own words in place of those that Sphinx-Gallery writes on a page."""
    if docname == "index":
        content[0] = (DOCS / "index.rst").read_text() + "".join(map(card, ABOUT))
        content[0] += TOCTREE + "".join(f"   {name}\n" for name in PAGES)
    elif docname in ABOUT:
        text = content[0]
        text = text[text.index(".. _sphx_glr_") :]
        text = re.split(r"\n\.\. (?:rst-class:: sphx-glr-tim|_sphx_glr_down)", text)[0]
        text = text.replace(f"{ROOT}/", "")  # in the output
        # That a figure was saved stands nowhere but under the figure.
        text = re.sub(r"^    saved .*\.(png|gif)\n", "", text, flags=re.MULTILINE)
        text = re.sub(EMPTY_OUTPUT, "", text)
        cost = Path(app.srcdir, f"{docname}.cost.json")  # none if no lesson was run
        seconds = json.loads(cost.read_text())["time"] if cost.exists() else 1
        line = ways(docname, seconds, app.tags.has("zh"))
        content[0] = re.sub(r"^(=+)$", rf"\1\n\n{line}", text, count=1, flags=re.M)


EMPTY_OUTPUT = (
    r"\.\. rst-class:: sphx-glr-script-out\n\n \.\. code-block:: none\n\s*(?=\n\S|\Z)"
)
# A line does not begin with the mark that follows a formula, nor end with "(".
FORMULA = r'[（“(]?<span class="math [^>]*>[^<]*</span>[，。、：；？）”.,;:)]*'  # noqa: RUF001
PAGES = [*ABOUT, "distributed", "modules"]
TOCTREE = """
.. toctree::
   :hidden:

"""


def card(name):
    """Return reST of the index: a lesson's thumbnail, title, and what it shows."""
    return f"""
.. container:: lesson

   .. image:: images/thumb/sphx_glr_{name}_thumb.png
      :target: {name}.html
      :alt:

   :doc:`{name}`

   {ABOUT[name].replace("`", "``")}
"""


WORDS = ("Notebook", "Script", "Zip", "Open in Colab", "takes about")
CHINESE = ("Notebook", "脚本", "Zip", "在 Colab 中打开", "运行约需")


def ways(name, seconds, chinese):
    """Return reST of the line under a title: downloads, and the time of a run."""
    words = CHINESE if chinese else WORDS
    links = [f"{name}.ipynb", f"{name}.py", f"{name}.zip"]
    parts = [
        f'<a href="{link}" download>{word}</a>'
        for link, word in zip(links, words[:3], strict=True)
    ]
    if REPOSITORY:
        path = f"{REPOSITORY}/blob/notebooks/{'zh/' * chinese}{name}.ipynb"
        link = f"https://colab.research.google.com/github/{path}"
        parts.append(f'<a href="{link}">{words[3]}</a>')
    parts.append(f"{words[4]} {max(seconds, 1):.0f} s")
    return f'.. raw:: html\n\n   <p class="ways">{" · ".join(parts)}</p>\n'


def add_to_page(app, pagename, templatename, context, doctree):
    """Give the template a description, and addresses that only a public site has."""
    context["repository"] = REPOSITORY
    context["body"] = re.sub(
        FORMULA, r'<span class="one">\g<0></span>', context.get("body", "")
    )
    about = ABOUT.get(pagename, "Short scripts that teach PyTorch, with their output")
    if app.tags.has("zh"):
        about = load_catalogue().get(about.replace("`", "``"), context["docstitle"])
    tags = {"description": about.replace("`", "")}
    if pagename in ABOUT and (base := app.config.html_baseurl):
        tags["og:image"] = f"{base}/_images/sphx_glr_{pagename}_thumb.png"
    context["metatags"] = "".join(
        f'<meta name="{name}" property="{name}" content="{html.escape(text)}">'
        for name, text in tags.items()
    )


def add_downloads(app, exception):
    """Write script, notebook and zip file of each lesson beside its page."""
    if exception or app.builder.name != "html":
        return
    folder = Path(app.outdir)
    for lesson in LESSONS:
        if app.tags.has("zh"):
            lesson = translate_script(lesson, folder)
        save_downloads(lesson, folder)


def setup(app):
    app.connect("builder-inited", prepare, priority=400)  # before Sphinx-Gallery, 500
    app.connect("builder-inited", make_thumbnails, priority=600)
    app.connect("source-read", rewrite)
    app.connect("html-page-context", add_to_page)
    app.connect("build-finished", add_downloads)
    app.add_search_language(ChineseSearch)
