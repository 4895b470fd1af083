"""Draw the sample of Fashion-MNIST in this folder from the full data set.

It holds the first 400 training and the first 100 test images of each class, in their
order. Run it as ``PYTHONPATH=examples python data/make_fashion_mnist_sample.py``.
"""

import gzip

import numpy as np

from lesson_data import SAMPLE_FOLDER, read_files

SAMPLE_FOLDER.mkdir(exist_ok=True)
files = read_files()
for part, k in (("train", 400), ("t10k", 100)):
    labels = files[f"{part}-labels-idx1-ubyte"]
    classes = np.frombuffer(labels, np.uint8, offset=8)
    rows = np.sort([np.flatnonzero(classes == c)[:k] for c in range(10)], axis=None)
    for name, start, shape in (
        (f"{part}-images-idx3-ubyte", 16, (-1, 28, 28)),
        (f"{part}-labels-idx1-ubyte", 8, (-1,)),
    ):
        data = np.frombuffer(files[name], np.uint8, offset=start).reshape(shape)
        # An IDX header: four bytes for type and dimensions, then four for each size.
        header = files[name][:4] + len(rows).to_bytes(4, "big") + files[name][8:start]
        packed = gzip.compress(header + data[rows].tobytes(), mtime=0)
        (SAMPLE_FOLDER / f"{name}.gz").write_bytes(packed)
