"""Sphinx's settings for the gallery; `gallery.py` has what they cannot say."""

import os
import sys
import tomllib
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent / "examples"), str(DOCS)]

project = html_title = "PyTorch, first lessons"
settings = tomllib.loads((DOCS.parent / "pyproject.toml").read_text("utf-8"))
release = settings["project"]["version"]
html_baseurl = os.environ.get("SITE_URL", "").rstrip("/")  # of the pages, if known
if tags.has("zh"):  # noqa: F821 (set by Sphinx)
    html_title = "PyTorch 入门课"
    html_baseurl += "/zh" * bool(html_baseurl)
locale_dirs = [str(DOCS / "locale")]
gettext_compact = "lessons"  # one catalogue
gettext_location = False
translation_progress_classes = "untranslated"
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "gallery",
]
autodoc_member_order = "bysource"
default_role = "py:obj"  # `common.fit` in the prose of a lesson
exclude_patterns = ["examples"]
templates_path = ["_templates"]
copybutton_selector = "div.highlight:not(.sphx-glr-script-out *) > pre"

html_theme = "furo"
html_theme_options = {
    "dark_css_variables": {  # see gallery.css
        "drawing": "invert(0.93) hue-rotate(180deg)",
        "picture": "brightness(0.75)",
    }
}
html_static_path = ["_static", "_build/tex-svg.js"]
html_favicon = "_static/icon.svg"
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "language.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_css_files = ["gallery.css"]
html_copy_source = html_domain_indices = html_use_index = False
html_permalinks = html_show_copyright = False
pygments_dark_style = "github-dark"
mathjax_path = "tex-svg.js"

# Which names in the code are links is listed here, so that no build asks the net.
intersphinx_mapping = {
    library: (url, str(DOCS / f"inventories/{library}.txt"))
    for library, url in {
        "matplotlib": "https://matplotlib.org/stable",
        "numpy": "https://numpy.org/doc/stable",
        "sklearn": "https://scikit-learn.org/stable",
        "torch": "https://docs.pytorch.org/docs/stable",
    }.items()
}

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": ".",
    "filename_pattern": r"\.py$",
    "reset_argv": "gallery.set_options",
    "image_scrapers": ("gallery.figures",),
    "capture_repr": ("_repr_html_",),
    "abort_on_example_error": True,
    "inspect_global_variables": False,
    "download_all_examples": False,
    "write_computation_times": False,
    "min_reported_time": float("inf"),
    "show_signature": False,
}
