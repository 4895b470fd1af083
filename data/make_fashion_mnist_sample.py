"""Draw the sample of Fashion-MNIST in this folder from the full data set.

Takes the first 400 training and the first 100 test pictures of each class, in their
order, and prints the size and MD5 of each file unpacked, as `examples/fashion_mnist.py`
lists them. Run it as ``PYTHONPATH=examples python data/make_fashion_mnist_sample.py``.
"""

import gzip
import hashlib

import numpy as np

from fashion_mnist import FULL, SAMPLE_FOLDER, read_files

SAMPLE_FOLDER.mkdir(exist_ok=True)
names, files = list(FULL), read_files()
for split, k in ((0, 400), (2, 100)):  # the training files, the test files
    images, labels = files[split : split + 2]
    classes = np.frombuffer(labels, np.uint8, offset=8)
    rows = np.sort(
        np.concatenate([np.flatnonzero(classes == c)[:k] for c in range(10)])
    )
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
    # An IDX header: four bytes that tell type and dimensions, four for each size.
    count = len(rows).to_bytes(4, "big")
    for name, data in (
        (names[split], images[:4] + count + images[8:16] + pixels[rows].tobytes()),
        (names[split + 1], labels[:4] + count + classes[rows].tobytes()),
    ):
        packed = gzip.compress(data, mtime=0)
        (SAMPLE_FOLDER / f"{name}.gz").write_bytes(packed)
        print(f'"{name}": ({len(data)}, "{hashlib.md5(data).hexdigest()}"),')
