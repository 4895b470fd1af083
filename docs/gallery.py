"""What the gallery needs beyond Sphinx's settings.

Sphinx reads a folder that is made anew for each build, with links to the lessons in its
``examples/``: a run of the gallery leaves nothing among the lessons themselves.
"""

import functools
import html
import itertools
import json
import os
import re
import zipfile
from pathlib import Path

import matplotlib.pyplot as plt
from docutils import nodes
from sphinx.locale import _
from sphinx_gallery.py_source_parser import split_code_and_text_blocks

import cli
import figures as interactive
import pages
from alternatives import describe
from lessons import GLOSSARY, LESSONS, MODULES, ROOT, ROWS, in_short, introductions
from notebooks import save_downloads
from pages import REPOSITORY
from translate import ChineseSearch, load_catalogue, translate_script

DOCS = ROOT / "docs"
parse_args = cli.parse_args


def set_options(gallery_conf, script_vars):
    """Let a lesson's figures stay in this build, and tests ask for fewer epochs."""
    more = json.loads(os.environ.get("LESSON_OPTIONS", "{}"))
    changes = more.get(Path(script_vars["src_file"]).stem, {})

    @functools.wraps(parse_args)  # or its name in the code would be no link
    def with_changes(doc, **defaults):
        return parse_args(doc, **defaults | changes, output=Path("outputs"))

    cli.parse_args = with_changes
    return []


def figures(block, block_vars, gallery_conf):
    """Save the figures of a cell; return reST that shows them, with links to the files.

    Save the numbers of an interactive figure in the prose that follows, too.
    """
    rst, paths = "", block_vars["image_path_iterator"]
    for number, path in zip(plt.get_fignums(), paths, strict=False):
        fig = plt.figure(number)
        fig.savefig(path)
        parts = [part for ax in fig.axes for part in [*ax.images, *ax.collections]]
        maps = [part.cmap for part in parts if part.get_array() is not None]
        drawn = all(min(cmap(0.0)) > 0.9 for cmap in maps)  # the lowest value is white
        look = "drawing" if drawn else "picture"
        if fig.get_figwidth() >= 9:
            look += " wide"
        inside = Path(path).relative_to(gallery_conf["src_dir"]).as_posix()
        rst += (
            f".. image:: /{inside}\n"
            f"   :alt: {json.dumps(describe(fig), ensure_ascii=False)}\n"
            f"   :class: sphx-glr-single-img {look}\n"
            f"   :target: _images/{Path(path).name}\n\n"
        )
    plt.close("all")
    blocks = split_code_and_text_blocks(block_vars["src_file"])[1]
    for text in blocks[blocks.index(block) + 1 :][:1]:
        for name in re.findall(r"^\.\. interactive:: (\w+)", text.content, re.M):
            numbers = getattr(interactive, name)(block_vars["example_globals"])
            Path(gallery_conf["src_dir"], f"{name}.json").write_text(
                json.dumps(numbers)
            )
    return rst


def prepare(app):
    """Collect what Sphinx reads: lessons, pages of docs/, and one of the modules."""
    source = Path(app.srcdir)
    if (source / "examples").exists():  # the Chinese pages come from the same folder
        return
    (source / "examples").mkdir()
    for lesson in LESSONS:
        (source / "examples" / lesson.name).symlink_to(lesson)
    (source / "examples/GALLERY_HEADER.rst").symlink_to(DOCS / "index.rst")
    own = ["distributed.rst", "glossary.rst", "in_short.rst", "teaching.rst"]
    for name in [*own, "thumbnails"]:
        (source / name).symlink_to(DOCS / name)
    page = (DOCS / "modules.rst").read_text()
    common_first = sorted(MODULES, key=lambda module: module.stem != "common")
    for module in common_first if app.builder.name != "gettext" else []:
        page += (
            f"\n{module.name}\n{'-' * len(module.name)}\n\n"
            f".. automodule:: {module.stem}\n   :members:\n"
        )
    (source / "modules.rst").write_text(page)


def rewrite(app, docname, content):
    """Write what stands on several pages: index, "In short", and glossary."""
    if docname == "index":
        content[0] = (DOCS / "index.rst").read_text()
        for part, rows in itertools.groupby(ROWS.values(), lambda row: row.part):
            rows = [*rows]
            content[0] += f"\n{part}\n{'-' * len(part)}\n{''.join(map(card, rows))}"
            content[0] += toctree(part, [row.name for row in rows])
        content[0] += toctree("More", PAGES)
    elif docname == "in_short":
        for lesson in LESSONS:
            if bullets := in_short(lesson):
                title = f":doc:`{lesson.stem}`"
                content[0] += f"\n{title}\n{'-' * len(title)}\n\n{bullets}\n"
    elif docname == "glossary" and app.builder.name != "gettext":
        chinese = load_catalogue() if app.tags.has("zh") else {}
        terms = introductions()
        for term in sorted(terms, key=str.lower):
            content[0] += entry(term, *terms[term], chinese)


def entry(term, name, paragraph, sentence, chinese):
    """Return reST of a term in the glossary: the sentence that introduces it."""
    title = term
    if translation := chinese.get(paragraph):
        word = GLOSSARY[term]  # in quotation marks where it is introduced
        title = f"{word} ({term})"
        sentences = re.split("(?<=。)", translation)
        sentence = max(sentences, key=lambda s: (f"“{word}”" in s, word in s))
    return (
        f"\n{title}\n   {sentence.rstrip(':')} :doc:`{_(ROWS[name].label)} <{name}>`\n"
    )


# A line does not begin with the mark that follows a formula, nor end with "(".
FORMULA = r'[（“(]?<span class="math [^>]*>[^<]*</span>[，。、：；？）”.,;:)]*'  # noqa: RUF001
PAGES = ["in_short", "glossary", "teaching", "distributed", "modules"]
ALL_PAGES = "pytorch-first-lessons.zip"  # of both languages


def toctree(caption, names):
    lines = [".. toctree::", f"   :caption: {caption}", "   :hidden:", ""]
    return "\n".join(["", *lines, *(f"   {name}" for name in names), ""])


def card(row):
    """Return reST of the index: a lesson's thumbnail, title, use, and what it takes."""
    return f"""
.. container:: lesson

   .. image:: thumbnails/{row.name}.png
      :alt:

   :doc:`{row.name}`

   {row.about.replace("`", "``")}

   .. raw:: html

      <p>{" · ".join(pages.facts(row, pages.number))}</p>
"""


def add_to_page(app, pagename, templatename, context, doctree):
    """Give the template a description, and addresses that only a public site has."""
    context["repository"] = REPOSITORY
    parts = doctree.findall(nodes.raw) if doctree else []
    figures = [part["figure"] for part in parts if "figure" in part]
    for script in ["figures", *figures] if figures else []:
        app.add_js_file(f"{script}.js", defer="defer")
    body = re.sub(FORMULA, r'<span class="one">\g<0></span>', context.get("body", ""))
    if app.tags.has("zh"):  # it is beside the English pages
        body = body.replace(f'"{ALL_PAGES}"', f'"../{ALL_PAGES}"')
    # What is kept on one line must fit into one on a phone.
    context["body"] = re.sub('<span class="pre">([^<]{40,})</span>', r"\1", body)
    about = "Short scripts that teach PyTorch, with their output"
    if pagename in ROWS:
        about = ROWS[pagename].about
    if app.tags.has("zh"):
        about = load_catalogue().get(about.replace("`", "``"), context["docstitle"])
    about = html.escape(about.replace("`", ""))
    context["metatags"] = f'<meta name="description" content="{about}">'


def name_lessons(app, env):
    """Give "In short" the titles of its lessons in its contents, not their files."""
    for text in [*env.tocs["in_short"].findall(nodes.Text)]:
        if text in env.titles:
            text.parent.replace(text, nodes.Text(env.titles[text].astext()))


def add_downloads(app, exception):
    """Write script, notebook and zip file of each lesson beside its page."""
    if exception or app.builder.name != "html":
        return
    folder = Path(app.outdir)
    for lesson in LESSONS:
        if app.tags.has("zh"):
            lesson = translate_script(lesson, folder)
        save_downloads(lesson, folder)


def zip_pages(app, exception):
    """Write all pages into one file, in which no page has a link to it."""
    folder = Path(app.outdir).parent  # of the English pages, which are made first
    last = app.builder.name == "html" and app.tags.has("zh")
    if exception or not last or not (folder / "index.html").exists():
        return
    (folder / ALL_PAGES).unlink(missing_ok=True)
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    with zipfile.ZipFile(folder / ALL_PAGES, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            content = path.read_bytes()
            if path.suffix == ".html":
                content = re.sub(f' href="[./]*{ALL_PAGES}"'.encode(), b"", content)
            name = Path(ALL_PAGES).stem / path.relative_to(folder)
            archive.writestr(name.as_posix(), content)


def setup(app):
    pages.setup(app)
    app.connect("builder-inited", prepare, priority=400)  # before Sphinx-Gallery, 500
    app.connect("source-read", rewrite)
    app.connect("env-updated", name_lessons)
    app.connect("html-page-context", add_to_page)
    app.connect("build-finished", add_downloads)
    app.connect("build-finished", zip_pages, priority=900)  # when all else is there
    app.add_search_language(ChineseSearch)
