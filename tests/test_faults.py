"""What if the machine fails, or somebody pulls the plug? Tried for real, on Linux."""

import contextlib
import gzip
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

from common import load_state_dict

import numpy as np
import pytest
import torch
from conftest import NAMES, QUICK, ROOT, Trap, environment
from torch import nn

from fashion_mnist import SAMPLE_FOLDER, load_fashion_mnist
from tables import DIABETES, read_table

if sys.platform != "linux":
    pytest.skip("kills, limits and mounts are those of Linux", allow_module_level=True)

import resource

CASE3 = "linear_regression_case3"


def failure(done):
    """The message of a lesson that ended with one line and exit code 1."""
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr.partition(": error: ")[2]


def run_code(code, *argv, **kwargs):
    """Run Python code that can import the shared modules."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, argv)],
        **{"capture_output": True, "text": True, "timeout": 300} | kwargs,
        env=os.environ | {"PYTHONPATH": str(ROOT / "examples")},
    )


# ------------------------------------------------------------------ killed while saving


def test_kill_while_saving(tmp_path):
    """After each of 60 kills the file is one whole model, an old one or the next."""
    code = """
        import os, random, signal, sys, time
        from pathlib import Path
        from common import load_state_dict, save_state_dict
        import torch
        from torch import nn

        path, random_ = Path(sys.argv[1]), random.Random(0)
        torch.set_num_threads(1)  # other threads do not survive a fork
        model = nn.Linear(300, 300)  # large enough for a kill in the midst of a write

        def save(number):
            with torch.no_grad():
                model.weight.fill_(number), model.bias.fill_(number)
            save_state_dict(model, path)

        save(0)
        moved = 0
        for _ in range(60):
            load_state_dict(model, path)
            before = int(model.bias[0])
            child = os.fork()
            if child == 0:
                while True:
                    before += 1
                    save(before)
            time.sleep(random_.uniform(0, 0.2))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            load_state_dict(model, path)
            after = int(model.bias[0])
            assert bool((model.weight == after).all() and (model.bias == after).all())
            assert after >= before
            moved += after > before
        assert moved > 30, moved
    """
    done = run_code(code, tmp_path / "model.pth")
    assert done.returncode == 0, done.stderr


# --------------------------------------------------------- disk full, nowhere to write


def small_files_only():
    """No file above 20 kB, less than any figure; torch 2.6 itself writes a few."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_file_size_limit(tmp_path):
    """A state_dict larger than what may be written: the old file stays."""
    code = """
        import sys
        from pathlib import Path
        from common import save_state_dict
        from torch import nn
        save_state_dict(nn.Linear(100, 100), Path(sys.argv[1]))
    """
    path = tmp_path / "model.pth"
    path.write_bytes(b"old")
    done = run_code(code, path, preexec_fn=small_files_only)
    assert f"cannot write {path} (File too large)" in failure(done)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.pth"]


@pytest.mark.parametrize("name", NAMES)
def test_file_size_limit_in_a_lesson(run, output, name):
    output.mkdir()
    (output / "linear.pth").write_bytes(b"old")
    done = run(name, *QUICK[name], preexec_fn=small_files_only)
    assert "(File too large); see --output" in failure(done)
    assert os.listdir(output) == ["linear.pth"]
    assert (output / "linear.pth").read_bytes() == b"old"


@contextlib.contextmanager
def mounted(folder, options):
    """Mount a memory disk on ``folder``, where this process may."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this process may not mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_disk_full(run, output):
    with mounted(output, "size=16k"):
        (output / "linear.pth").write_bytes(b"old")
        done = run(CASE3, "--epochs", 2)
        assert "(No space left on device); see --output" in failure(done)
        assert os.listdir(output) == ["linear.pth"]
        assert (output / "linear.pth").read_bytes() == b"old"


def test_read_only_disk(run, output):
    with mounted(output, "ro"):
        done = run(CASE3, "--epochs", 2)
        message = f"cannot write to {output} (Read-only file system); see --output"
        assert failure(done).strip() == message


def test_read_only_folder(run, output):
    output.mkdir(mode=0o500)
    if os.access(output, os.W_OK):
        pytest.skip("nothing is read-only for root; see the read-only disk")
    done = run(CASE3, "--epochs", 2)
    assert f"cannot write to {output} (Permission denied)" in failure(done)


@pytest.mark.parametrize("name", ["linear.pth", f"{CASE3}.png"])
def test_a_folder_where_the_file_should_be(run, output, name):
    (output / name).mkdir(parents=True)
    done = run(CASE3, "--epochs", 2)
    assert f"cannot write {output / name} (Is a directory)" in failure(done)
    assert (output / name).is_dir()
    assert not list(output.glob(".*"))


# -------------------------------------------------------------------------- interrupted


@pytest.mark.parametrize("name", NAMES)
def test_control_c(name, start, output):
    """Once at the first line of output, deep inside the lesson."""
    process = start(name, *QUICK[name], "--epochs", 1_000_000)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    (line,) = stderr.splitlines()
    assert line.startswith("interrupted: what was saved before is whole")
    source = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    assert ("--resume" in line) == ("resume=False" in source)
    assert not list(output.glob(".*"))


@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_control_c_while_the_libraries_load(seconds, start):
    process = start(CASE3)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "interrupted: what was saved before is whole\n"


def test_control_c_that_an_import_swallows(tmp_path):
    """As some do in the midst of SciPy, or make another error of it."""
    (tmp_path / "swallows.py").write_text(
        "import signal\n"
        "try:\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "except BaseException:\n"
        "    pass\n"
    )
    done = run_code(
        "import common, sys; sys.path += sys.argv; import swallows", tmp_path
    )
    assert done.returncode == 130
    assert done.stderr == "interrupted: what was saved before is whole\n"


def test_control_c_that_becomes_another_error():
    """As it does in matplotlib, which finishes an animation that has no picture yet."""
    code = """
        import signal
        import endings

        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            [][0]
    """
    done = run_code(code)
    assert done.returncode == 130
    assert done.stderr == "interrupted: what was saved before is whole\n"


def test_control_c_when_all_is_done():
    """While Python and the libraries clean up: no traceback from there either."""
    code = """
        import atexit, signal
        atexit.register(signal.raise_signal, signal.SIGINT)  # the last one
        import common
    """
    done = run_code(code)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("name", NAMES)
def test_nobody_reads_the_output(name, start):
    """``python lesson.py | head -1``: no complaint about the closed pipe."""
    process = start(name, *QUICK[name], "--epochs", 60)
    assert process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (141, "")


@pytest.mark.parametrize("name", [CASE3, "logistic_regression_case3"])
def test_output_into_a_full_disk(name, start):
    with open("/dev/full", "w") as full:
        process = start(name, *QUICK[name], stdout=full)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr == "cannot write the output (No space left on device)\n"


# ---------------------------------------------------------------------------- bad files

SEED = 20261123


class Hang(BaseException):
    """No `Exception`, so the code under test does not catch it."""


@contextlib.contextmanager
def bounded(seconds=20, megabytes=1000):
    """End what hangs, and what takes a gigabyte more memory than there is now."""

    def too_slow(*_):
        raise Hang

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    bytes_ = pages * resource.getpagesize() + megabytes * 10**6
    resource.setrlimit(resource.RLIMIT_AS, (bytes_, limits[1]))
    old = signal.signal(signal.SIGALRM, too_slow)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def mutated(data, rng):
    """Return ``data`` cut, with flipped or inserted bytes, or with a piece repeated."""
    data = bytearray(data)
    kind = rng.randrange(5)
    at = rng.randrange(len(data))
    if kind == 0:
        del data[at:]
    elif kind == 1:
        for _ in range(rng.choice([1, 3, 30])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        data[at:at] = rng.randbytes(rng.choice([1, 10, 1000]))
    elif kind == 3:
        data[at:at] = data[at : at + 500]
    else:  # where headers are: numbers of files, rows and columns
        data[:16] = rng.randbytes(16)
    return bytes(data)


def refused(function, *args):
    """Run ``function``: its result, or None if it ended with one line and code 1."""
    try:
        with bounded():
            return function(*args)
    except SystemExit as error:
        message = error.code
    assert isinstance(message, str)
    assert "MemoryError" not in message
    assert message.count("\n") == 0
    assert len(message) < 500
    return None


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_fuzz_tables(tmp_path, suffix):
    """A damaged table is refused, or is a table: what it says is what comes out."""
    rng = random.Random(SEED)
    path = tmp_path / f"table.{suffix}"
    text = DIABETES.read_bytes()
    path.write_bytes(text if suffix == "csv" else gzip.compress(text))
    whole = refused(read_table, path)
    good = 0
    for trial in range(400):
        data = mutated(text, rng)
        if suffix == "csv.gz":
            data = mutated(gzip.compress(text, mtime=0), rng)
        path.write_bytes(data)
        result = refused(read_table, path)
        if result is None:
            continue
        good += 1
        features, labels = result
        where = f"seed {SEED}, trial {trial}"
        assert np.isfinite(features).all(), where
        assert set(labels) == {0, 1}, where
        if suffix == "csv":
            lines = [line for line in data.decode().splitlines() if line]
            assert len(lines) - len(labels) in (0, 1), where  # one may be a header
            last = [float(cell) for cell in lines[-1].split(",")]
            assert [*features[-1], labels[-1]] == last, where
        else:  # the checksum of gzip lets nothing else through
            assert np.array_equal(features, whole[0]), where
    assert whole[0].shape == (768, 8)
    assert (good > 0) == (suffix == "csv")
    assert good < 100


def test_table_that_is_a_bomb(tmp_path):
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(bytes(400_000_000), compresslevel=1))
    with bounded(megabytes=200), pytest.raises(SystemExit, match="more than 32 MB"):
        read_table(path)


def test_fuzz_the_diabetes_table(tmp_path, monkeypatch):
    """The table that comes with the lessons: only as it came."""
    rng = random.Random(SEED)
    original = read_table(DIABETES)
    text = DIABETES.read_bytes()
    monkeypatch.setattr("tables.DIABETES", path := tmp_path / "diabetes.csv")
    for trial in range(200):
        path.write_bytes(mutated(text, rng))
        assert refused(read_table, path) is None, f"seed {SEED}, trial {trial}"
    path.write_bytes(text)
    for a, b in zip(refused(read_table, path), original, strict=True):
        assert np.array_equal(a, b)


def test_fuzz_pictures(tmp_path, monkeypatch):
    """A damaged set of pictures is never used; it is named."""
    rng = random.Random(SEED)
    monkeypatch.setattr("fashion_mnist.SAMPLE_FOLDER", tmp_path)
    files = {path.name: path.read_bytes() for path in SAMPLE_FOLDER.iterdir()}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    original = load_fashion_mnist(sample=True)
    for trial in range(300):
        name = rng.choice(sorted(files))
        broken = tmp_path / name
        kind = rng.randrange(3)
        if kind == 0:
            data = mutated(files[name], rng)
        else:
            data = mutated(gzip.decompress(files[name]), rng)
            if kind == 1:  # packed again: gzip itself finds nothing wrong
                data = gzip.compress(data, compresslevel=1)
            else:  # beside the packed one, which is whole
                broken = broken.with_suffix("")
        broken.write_bytes(data)
        result = refused(lambda: load_fashion_mnist(sample=True))
        if result is not None:  # a flipped bit that gzip ignores, in its header
            for a, b in zip(result, original, strict=True):
                assert torch.equal(a, b), f"seed {SEED}, trial {trial}"
        broken.unlink()
        (tmp_path / name).write_bytes(files[name])


def test_pictures_swapped_or_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr("fashion_mnist.SAMPLE_FOLDER", tmp_path)
    files = {path.name: path.read_bytes() for path in SAMPLE_FOLDER.iterdir()}
    bomb = io.BytesIO()
    with gzip.open(bomb, "wb", compresslevel=9) as file:
        for _ in range(3000):  # 3 GB
            file.write(bytes(10**6))
    names = sorted(files)
    for wrong in (files[names[1]], bomb.getvalue()):
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        (tmp_path / names[0]).write_bytes(wrong)
        with bounded(), pytest.raises(SystemExit, match=names[0].removesuffix(".gz")):
            load_fashion_mnist(sample=True)


def test_fuzz_saved_models(tmp_path):
    rng = random.Random(SEED)
    path = tmp_path / "model.pth"
    saved = nn.Linear(784, 10)
    torch.save(saved.state_dict(), path)
    whole = path.read_bytes()
    load_state_dict(nn.Linear(784, 10), path)  # so far it can be loaded
    loaded = 0
    for trial in range(300):
        path.write_bytes(mutated(whole, rng))
        model = nn.Linear(784, 10)
        before = model.weight.clone()

        def load(model=model):
            load_state_dict(model, path)
            return True

        if refused(load):  # what changed was not the model: padding, a date
            loaded += 1
            assert torch.equal(model.weight, saved.weight), f"seed {SEED}, {trial}"
            assert torch.equal(model.bias, saved.bias), f"seed {SEED}, {trial}"
        else:
            assert torch.equal(model.weight, before), f"seed {SEED}, {trial}"
    assert loaded < 100


def test_a_model_file_that_is_a_bomb(tmp_path):
    plain, path = tmp_path / "plain.pth", tmp_path / "model.pth"
    state = nn.Linear(784, 10).state_dict()
    torch.save(state | {"more": torch.zeros(100_000_000)}, plain)
    with (
        zipfile.ZipFile(plain) as whole,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
    ):
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    with (
        bounded(megabytes=200),
        pytest.raises(SystemExit, match=r"damaged or holds no state_dict \(packed\)"),
    ):
        load_state_dict(nn.Linear(784, 10), path)


def test_a_model_file_that_holds_code(tmp_path):
    trap = tmp_path / "trap"
    torch.save({"weight": torch.ones(1, 1), "bias": Trap(trap)}, tmp_path / "model.pth")
    with pytest.raises(SystemExit, match="is damaged or holds no state_dict"):
        load_state_dict(nn.Linear(1, 1), tmp_path / "model.pth")
    assert not trap.exists()


@pytest.mark.parametrize(
    "value", [3, "text", [1.0], {"weight": 3, "bias": 4}, {}, None]
)
def test_a_model_file_that_holds_something_else(tmp_path, value):
    torch.save(value, tmp_path / "model.pth")
    with pytest.raises(SystemExit) as error:
        load_state_dict(nn.Linear(1, 1), tmp_path / "model.pth")
    assert str(tmp_path / "model.pth") in error.value.code
    assert error.value.code.count("\n") == 0


# ------------------------------------------------------------------------ other places


@pytest.mark.parametrize("name", NAMES)
def test_another_place(tmp_path, name):
    """In a folder with a space and Chinese characters, with no HOME, in a locale of C.

    Python runs with ``-O``, and from another folder.
    """
    here = tmp_path / "我的 课程"
    shutil.copytree(ROOT / "examples", here / "examples")
    shutil.copytree(ROOT / "data", here / "data", ignore=lambda *_: ["FashionMNIST"])
    env = environment(LC_ALL="C")
    env.pop("HOME", None)
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # -O compiles all of torch, once is enough
    script = here / "examples" / f"{name}.py"
    done = subprocess.run(
        [sys.executable, "-O", script, *map(str, QUICK[name])],
        cwd="/",
        env=env,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"saved {here / 'outputs' / name}" in done.stdout
