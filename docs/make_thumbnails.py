"""Make the README's pictures from a gallery at default settings: ``make thumbnails``.

The picture of a lesson is the figure that has its name. One more shows a page.
"""

import shutil
import subprocess

from PIL import Image, ImageOps

from lessons import LESSONS, ROOT

BUILD = ROOT / "docs/_build"
THUMBNAILS = ROOT / "docs/thumbnails"
PAGE = BUILD / "html/logistic_regression_case1.html"


def save(image, path):
    """Save ``image`` in 256 colours, a quarter of the bytes; no colour is far off."""
    image.quantize(256, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def make_thumbnail(figure, path):
    """Save a small picture of ``figure``, all of them of one size, on white."""
    with Image.open(figure) as image:
        save(ImageOps.pad(image.convert("RGB"), (400, 280), color="white"), path)


def photograph(page, path):
    """Save a picture of the top of a page, as Chromium draws it, at 3/4 of its size."""
    browser = shutil.which("google-chrome") or shutil.which("chromium")
    size = ["--window-size=1280,1600", "--hide-scrollbars"]
    wait = "--virtual-time-budget=10000"  # milliseconds, for the formulas
    options = ["--headless", "--no-sandbox", *size, wait, f"--screenshot={path}"]
    command = [browser, *options, page.as_uri()]
    subprocess.run(command, check=True, capture_output=True)
    with Image.open(path) as image:
        save(ImageOps.scale(image.convert("RGB"), 3 / 4), path)


if __name__ == "__main__":
    for lesson in LESSONS:
        figure = BUILD / f"source/examples/outputs/{lesson.stem}.png"
        make_thumbnail(figure, THUMBNAILS / f"{lesson.stem}.png")
    photograph(PAGE, THUMBNAILS / "page.png")
