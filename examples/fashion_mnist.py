"""Fashion-MNIST: find the four files, check every byte, return tensors.

70,000 grey pictures from a fashion shop's catalogue, each 28 x 28 pixels and of one of
ten classes (Zalando Research, 2017). `data/README.md` tells where they come from.
"""

import gzip
import hashlib
import http.client
import socket
import tempfile
import threading
import urllib.request
import zlib
from pathlib import Path

from common import ROOT
from endings import fail

import torch

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# Where the full data set may lie; a download goes to the first of them.
FOLDERS = [
    ROOT / "data" / "FashionMNIST" / "raw",
    Path("/usr/share/datasets/fashion-mnist"),  # Debian's package dataset-fashion-mnist
]
SAMPLE_FOLDER = ROOT / "data" / "fashion_mnist_sample"

# The size in bytes and the MD5 of each file, unpacked.
FULL = {
    "train-images-idx3-ubyte": (47040016, "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    "train-labels-idx1-ubyte": (60008, "9018921c3c673c538a1fc5bad174d6f9"),
    "t10k-images-idx3-ubyte": (7840016, "8181f5470baa50b63fa0f6fddb340f0a"),
    "t10k-labels-idx1-ubyte": (10008, "15d484375f8d13e6eb1aabb0c3f46965"),
}
SAMPLE = {
    "train-images-idx3-ubyte": (3136016, "85c9857ed66314d43a169120f9ae0a81"),
    "train-labels-idx1-ubyte": (4008, "76e82a7c2405a95a9131e213f7760938"),
    "t10k-images-idx3-ubyte": (784016, "c5442ce2f064c32bf3ec2983a505322f"),
    "t10k-labels-idx1-ubyte": (1008, "a00963b89d54a5ab6dc42b2b2c57c0e7"),
}

_MEND = "put the right files there, or delete what is there (see data/README.md)"
_PATIENCE = 10  # seconds that a server may take to answer


def load_fashion_mnist(sample=False, device="cpu"):
    """Return train images, train labels, test images and test labels, as tensors.

    Images are float32 of shape (n, 784): the rows of a picture one after the other,
    from 0 for the background to 1, exactly what torchvision's ``ToTensor`` gives.
    Labels are int64 of shape (n,), numbers of `CLASSES`. There are 60,000 training and
    10,000 test pictures; with ``sample``, 4,000 and 1,000 of them.

    The full data set is taken from the first of `FOLDERS` that has it, or else
    downloaded. Exits with code 1 if a file there is missing or is not what it should
    be, or if the download fails.
    """
    files = read_files(sample)
    return tuple(
        function(torch.frombuffer(bytearray(file), dtype=torch.uint8)).to(device)
        for function, file in zip([_images, _labels] * 2, files, strict=True)
    )


def _images(data):  # a header of 16 bytes, then a byte for each pixel
    return data[16:].reshape(-1, 784).float().div_(255)


def _labels(data):  # a header of 8 bytes, then a byte for each label
    return data[8:].long()


def read_files(sample=False):
    """Return the bytes of the four files, unpacked and checked, in the order of `FULL`.

    The headers need no check of their own: it is these very files, or an error.
    """
    if sample:
        files = _read_folder(SAMPLE_FOLDER, SAMPLE)
        return files or fail(f"{SAMPLE_FOLDER} is missing or empty")
    for folder in FOLDERS:
        if files := _read_folder(folder, FULL):
            return files
    return _download()


def _read_folder(folder, expected):
    """Return the files in ``folder``, unpacked, or None if it has none of them."""
    files = [_read_file(folder / name, *expected[name]) for name in expected]
    for name, file in zip(expected, files, strict=True):
        if file is None and any(files):
            fail(
                f"{folder} has no {name}.gz, but other files of Fashion-MNIST; {_MEND}"
            )
    return files if any(files) else None


def _read_file(path, size, md5):
    """Return the bytes of ``path``, or of ``path``.gz unpacked, or None if neither is.

    Reads one byte more than the file should have, whatever a damaged one unpacks to.
    """
    for candidate, opener in ((path, open), (Path(f"{path}.gz"), gzip.open)):
        try:
            with opener(candidate, "rb") as file:
                data = file.read(size + 1)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, EOFError, zlib.error) as error:
            found = str(error)
        else:
            found_md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
            if found_md5 == md5:
                return data
            found = f"{len(data)} or more" if len(data) > size else f"{len(data)}"
            found = f"{found} bytes with the MD5 {found_md5}"
        fail(
            f"{candidate} is not the file of Fashion-MNIST: expected {size} bytes "
            f"(unpacked) with the MD5 {md5}, found: {found}; {_MEND}"
        )
    return None


def _download():
    """Let torchvision download the files; return their bytes, unpacked and checked.

    They come into a temporary folder, which is renamed only when all four are right.
    """
    folder = FOLDERS[0]
    before = socket.getdefaulttimeout()
    try:
        from torchvision.datasets import FashionMNIST  # here, since it takes seconds

        socket.setdefaulttimeout(_PATIENCE)  # torchvision sets none
        _require_answer(FashionMNIST.mirrors[0] + FashionMNIST.resources[0][0])
        print(f"downloading Fashion-MNIST (30 MB) to {folder}", flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            FashionMNIST(temporary, download=True)
            raw = Path(temporary, "FashionMNIST", "raw")
            files = _read_folder(raw, FULL)
            try:
                raw.rename(folder)
            except OSError:
                if not _read_folder(folder, FULL):  # no other process was faster
                    raise
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        fail(
            "Fashion-MNIST is not on this machine, and the download failed "
            f"({' '.join(str(error).split())}). Three ways out: install the package "
            "dataset-fashion-mnist (Debian, Ubuntu); get its four files elsewhere, and "
            f"put them into {folder}; or add --sample, for a few of the pictures"
        )
    finally:
        socket.setdefaulttimeout(before)
    return files


def _require_answer(url):
    """Raise what went wrong unless ``url`` can be opened in time.

    The time-out of a socket counts for each address anew, and not for finding them; so
    a thread asks, which is left behind if nothing comes back.
    """
    result = [TimeoutError(f"no answer from {url} in {_PATIENCE} seconds")]

    def ask():
        try:
            urllib.request.urlopen(url).close()
            result[0] = None
        except Exception as error:
            result[0] = error

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    if result[0]:
        raise result[0]
