"""Make the README's images from a gallery at default settings: ``make thumbnails``.

The image of a lesson is the figure that has its name.
"""

from PIL import Image, ImageOps

from lessons import LESSONS, ROOT


def make_thumbnail(figure, path):
    """Save a small image of ``figure``, all of them of one size, on white."""
    with Image.open(figure) as image:
        small = ImageOps.pad(image.convert("RGB"), (400, 280), color="white")
    # In 256 colours it takes a quarter of the bytes; no colour is far off.
    small.quantize(256, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


if __name__ == "__main__":
    for lesson in LESSONS:
        figure = ROOT / f"docs/_build/source/examples/outputs/{lesson.stem}.png"
        make_thumbnail(figure, ROOT / f"docs/thumbnails/{lesson.stem}.png")
