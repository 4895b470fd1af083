import functools
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from peers import numpy_epoch
from torch.nn.functional import one_hot
from torch.utils.data import DistributedSampler

from conftest import HANG, ROOT, environment, error_line
from lesson_data import load_fashion_mnist

NAME = "distributed_logistic_regression"
LESSON = (ROOT / f"examples/{NAME}.py").read_text("utf-8")
PAGE = (ROOT / "docs/distributed.rst").read_text("utf-8")
LINES = re.sub(r"\\\n#? *", "", LESSON + PAGE)  # commands of two lines become one
TWO, RESUME, RESTARTS, MACHINES = re.findall(r"^#? +(torchrun .*)", LINES, re.M)
VARIABLE = dict(re.findall(r"^    export (\w+)=(.+)", PAGE, re.M))
# 3 x 1333 + 1 = 4000 images: the last batch has one, and so some shares are empty.
RECIPE = "--sample --batch-size 1333 --lr 0.01 --epochs 60"
TORCHRUN = f"{sys.executable} -m torch.distributed.run --local-addr=127.0.0.1"
late = functools.partial(pytest.param, marks=pytest.mark.slow)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="not tried elsewhere")
AGENTS = []


@pytest.fixture(scope="module", autouse=True)
def no_process_remains():
    yield
    for agent in [agent for agent in AGENTS if agent.poll() is None]:
        agent.send_signal(signal.SIGSTOP)  # so that it restarts nothing
        subprocess.run(["pkill", "-9", "-P", str(agent.pid)])
        agent.kill()
        agent.wait()


class Run:  # of a command in the lesson or on its page, perhaps in a changed lesson
    def __init__(self, output, command, options="", change=("", ""), count=1, **env):
        script = output.with_name("lesson.py")
        script.write_text(LESSON.replace(*change, 1), "utf-8")
        assert change[0] in LESSON
        command = command.replace("torchrun", TORCHRUN) + f" {options} --output"
        command = [*command.replace(f"examples/{NAME}.py", f"{script}").split(), output]
        env |= {"PYTHONPATH": str(ROOT / "examples"), "PYTHONWARNINGS": "error"}
        env |= {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        self.out, self.err = output.with_name("out"), output.with_name("err")
        with self.out.open("w") as out, self.err.open("w") as err:
            kwargs = {"env": environment(**env), "stdout": out, "stderr": err}
            self.agents = [subprocess.Popen(command, **kwargs) for _ in range(count)]
        AGENTS.extend(self.agents)

    def wait(self, pattern, start=0):
        deadline = time.monotonic() + HANG
        while not re.search(pattern, self.out.read_text()[start:]):
            assert time.monotonic() < deadline, self.err.read_text()
            time.sleep(0.02)

    def end(self):
        codes = [abs(agent.wait(timeout=HANG)) for agent in self.agents]
        return max(codes), self.err.read_text()

    def text(self):
        assert self.end() == (0, "")
        return self.out.read_text()


def result(output):
    history = torch.load(output / f"{NAME}.checkpoint")["history"]
    return history, (output / f"{NAME}.pth").read_bytes()


def check(output, lr=0.01, batch_size=1333, seed=0):
    """Compare with softmax regression by NumPy, in float64, to 1e-6."""
    ours, theirs = np.array(result(output)[0]), []
    data = [part.double().numpy() for part in load_fashion_mnist(True, "cpu")]
    x, y, test_x, test_y = data[0], data[1].astype(int), data[2], data[3].astype(int)
    torch.manual_seed(seed)
    w, b = (p.data.double().numpy() for p in torch.nn.Linear(784, 10).parameters())
    for _ in ours:
        order = torch.randperm(len(y)).numpy()
        train_loss, _ = numpy_epoch(w, b, x, y, order, lr, batch_size)
        test = numpy_epoch(w, b, test_x, test_y, np.arange(1000), lr=0)
        theirs.append([train_loss, *test])
    assert (abs(ours - theirs) <= [1e-6, 1e-6, 1.1e-3]).all()  # accuracy: an image
    model = torch.load(output / f"{NAME}.pth")
    assert model["weight"].numpy() == pytest.approx(w, abs=1e-6)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    output = tmp_path_factory.mktemp("two") / "outputs"
    text = Run(output, TWO, RECIPE).text()
    assert len(re.findall(r"^epoch    1 .*\d$", text, re.M)) == 1  # by rank 0 alone
    assert float(re.search(r"one process: .* differs by (.*)", text)[1]) < 1e-6
    assert len(re.findall(r" [1-9]\d* steps per second$", text, re.M)) == 3
    check(output)
    return output


@pytest.mark.parametrize("seed", [0, *map(late, (1, 2, 3, 7))])
def test_one_process(lesson, seed):
    """Its gradients are means of those of each image; so is the answer to task 3."""
    run = lesson(NAME, *RECIPE.split(), "--seed", seed)
    check(run.output, seed=seed)
    torch.manual_seed(seed)
    x, y = run.vars["train_x"][:64], run.vars["train_y"][:64]
    error = torch.nn.Linear(784, 10)(x).softmax(1) - one_hot(y, 10)
    each = error.detach()[:, :, None] * x[:, None]
    task = {"first": each[:40].mean(0), "second": each[40:].mean(0)}
    exec(re.search("``(average = .*)``", LESSON)[1], task)
    ours = *map(run.vars.get, ("first", "second", "average")), task["average"]
    means = [rows.mean(0) for rows in (each[0::2], each[1::2], each, each)]
    assert torch.allclose(torch.stack(ours), torch.stack(means), rtol=0, atol=1e-6)
    sampler = DistributedSampler(range(4000), num_replicas=2, rank=0)
    orders = [[*sampler], [*sampler], sampler.set_epoch(1) or [*sampler]]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "seed"), [(3, 1), (4, 2)])
def test_other_seeds_and_numbers_of_processes(tmp_path, ranks, seed):
    """Also bit for bit if resumed: from three on, the order of a sum counts."""
    for folder, more in ("a", "4"), ("b", "2"), ("b", "4 --resume"):
        options = f"--sample --lr 0.1 --seed {seed} --epochs {more}"
        Run(tmp_path / folder, TWO.replace("2", str(ranks)), options).text()
    check(tmp_path / "a", 0.1, 64, seed)
    assert result(tmp_path / "a") == result(tmp_path / "b")


@pytest.mark.slow
def test_ctrl_c_and_resume(output, two):
    """It ends with a line; then 2 processes give the same bits, 3 agree."""
    run = Run(output, TWO, RECIPE)
    run.wait("epoch    4 ")
    run.agents[0].send_signal(signal.SIGINT)  # to torchrun alone, as a terminal does
    _, stderr = run.end()
    assert (stderr.count("interrupted"), stderr.count("[rank")) == (1, 0)
    other = shutil.copytree(output, output.with_name("other"))
    only_one = "path = args.output", "path = args.output / ('nothing here' * rank)"
    assert Run(output, RESUME, RECIPE, only_one).text().count("continuing") == 1
    assert result(output) == result(two)
    Run(other, RESUME.replace("2", "3"), RECIPE).text()
    check(other)


@pytest.mark.parametrize(("machines", "kills"), [(1, 2), late(1, 6), late(2, 4)])
def test_restarts(output, two, machines, kills):
    """Kill both in turn: while they train, or (every third time) perhaps start."""
    shutil.copytree(two, output)  # the checkpoint of another run
    command = RESTARTS.replace("restarts 3", f"restarts {kills}")
    if machines == 2:
        command = MACHINES.replace("per-node 2", f"per-node 1 --max-restarts {kills}")
        command = command.replace("FIRST_MACHINE", "localhost")
    run = Run(output, command, RECIPE, ("", ""), machines, **VARIABLE)
    progress, start = "epoch", 0
    for kill in range(kills):
        time.sleep(kill / 4) if kill % 3 == 2 else run.wait(progress, start)
        progress, start = r"continuing.*\nepoch", len(run.out.read_text())
        agents = ",".join(str(agent.pid) for agent in run.agents)
        subprocess.run(["pkill", "-9", ("-o", "-n")[kill % 2], "-P", agents])
    code, stderr = run.end()
    assert (code, stderr.count("[rank")) == (0, 0), stderr
    assert result(output) == result(two)
    epochs = re.findall(r"^epoch +(\d+) .*\d$", run.out.read_text(), re.M)
    assert len(set(epochs)) == len(epochs) >= 60 - kills  # no saved epoch is lost


SLOW = TWO.replace("torchrun", "torchrun --monitor-interval 5")
LOOP, USE = "train_loss = torch.zeros", "import common"
ENV = "import os; os.environ['TORCHELASTIC_MAX_RESTARTS'] = '1'\n" + USE
FAULTS = {  # a word of the line, and what runs
    "--epochs": (TWO, "--epochs 0"),
    "--max-restarts": (TWO, "", (USE, ENV)),
    "by peer": (SLOW, "--sample", (LOOP, f"rank and torch.os._exit(9); {LOOP}")),
}


@pytest.mark.parametrize("word", ["--epochs", *map(late, [*FAULTS][1:])])
def test_one_line(output, word):
    code, stderr = Run(output, *FAULTS[word]).end()
    assert (code, stderr.count("[rank")) == (1, 0)  # "[rank" marks a traceback
    ours = re.sub(r"^[IWE]\d{4} .*\n", "", stderr.partition("Traceback")[0], flags=re.M)
    error_line(ours, word)


@pytest.mark.slow
def test_try_it(tmp_path):
    change = "loss * world_size / len(batch)", "loss / len(batch)"
    for folder, options, lr in ("a", "", 0.0005), ("b", "--lr 0.002", 0.001):
        Run(tmp_path / folder, TWO, f"--sample {options}", change).text()
        check(tmp_path / folder, lr, 64)
