"""Make the images of README and index from a whole gallery: ``make thumbnails``.

The image of a lesson is the figure that has its name.
"""

from PIL import Image, ImageOps

from lessons import LESSONS, ROOT

for lesson in LESSONS:
    figure = ROOT / f"docs/_build/source/examples/outputs/{lesson.stem}.png"
    with Image.open(figure) as image:
        small = ImageOps.pad(image.convert("RGB"), (400, 280), color="white")
    # In 256 colours it takes a quarter of the bytes; no colour is far off.
    small = small.quantize(256, Image.Quantize.MAXCOVERAGE)
    small.save(ROOT / f"docs/thumbnails/{lesson.stem}.png", optimize=True)
