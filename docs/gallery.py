"""What the gallery needs beyond Sphinx's settings.

Sphinx reads a folder that is made anew for each build, with links to the lessons in its
``examples/``: a run of the gallery leaves nothing among the lessons themselves.
"""

import json
import os
import zipfile
from pathlib import Path

from sphinx_gallery.scrapers import figure_rst

from lessons import LESSONS, MODULES, ROOT
from make_thumbnails import make_thumbnail

DOCS = ROOT / "docs"
DATA = [*ROOT.glob("data/*.csv"), *ROOT.glob("data/*_sample/*")]


def command_line(gallery_conf, script_vars):
    """Return a lesson's options, and those that the tests ask for, as a JSON object."""
    more = json.loads(os.environ.get("LESSON_OPTIONS", "{}"))
    lesson = Path(script_vars["src_file"]).stem
    return ["--output", "outputs", *map(str, more.get(lesson, []))]


def animations(block, block_vars, gallery_conf):
    """Move the GIFs that a cell has saved to its page; return reST that shows them."""
    gifs = Path("outputs").glob("*.gif")
    images = [
        gif.replace(Path(path).with_suffix(".gif"))
        for gif, path in zip(gifs, block_vars["image_path_iterator"], strict=False)
    ]
    return figure_rst(images, gallery_conf["src_dir"])


def prepare(app):
    """Collect what Sphinx reads: lessons, index, and a page of their modules."""
    source = Path(app.srcdir)
    (source / "examples").mkdir()
    for lesson in LESSONS:
        (source / "examples" / lesson.name).symlink_to(lesson)
    (source / "examples/GALLERY_HEADER.rst").symlink_to(DOCS / "index.rst")
    page = (DOCS / "modules.rst").read_text()
    for module in MODULES:
        (source / module.name).symlink_to(module)
        page += (
            f"\n{module.name}\n{'-' * len(module.name)}\n\n"
            f":download:`Download {module.name} <{module.name}>`\n\n"
            f".. automodule:: {module.stem}\n   :members:\n"
        )
    (source / "modules.rst").write_text(page)


def complete(app):
    """Add to each zip file what its lesson imports and reads; make the thumbnails."""
    source = Path(app.srcdir)
    for lesson in LESSONS:
        with zipfile.ZipFile(source / f"{lesson.stem}.zip", "a") as archive:
            archive.write(ROOT / "requirements.txt", "requirements.txt")
            text = lesson.read_text()
            for module in MODULES:
                if f"from {module.stem} import" in text:
                    archive.write(module, module.name)
                    text += module.read_text()
            for path in DATA:
                inside = path.relative_to(ROOT)
                if f'"{inside.parts[1]}"' in text:
                    archive.write(path, inside)
        make_thumbnail(
            source / f"examples/outputs/{lesson.stem}.png",
            source / f"images/thumb/sphx_glr_{lesson.stem}_thumb.png",
        )


def setup(app):
    app.connect("builder-inited", prepare, priority=400)  # before Sphinx-Gallery, 500
    app.connect("builder-inited", complete, priority=600)
