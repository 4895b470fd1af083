"""Is a run in several processes that of one, and does it survive the death of some?"""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT, environment

NAME = "distributed_logistic_regression"
SCRIPT = ROOT / "examples" / f"{NAME}.py"
CASE3 = "logistic_regression_case3"

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="finds the processes in Linux's /proc"
)


def torchrun(*argv, ranks=2, one_machine=True, **variables):
    """The arguments of `subprocess.Popen` for torchrun; all traffic stays inside."""
    if sys.platform == "win32":
        pytest.skip("PyTorch's builds for Windows lack libuv (pytorch issue 139990)")
    command = [sys.executable, "-m", "torch.distributed.run", "--local-addr=127.0.0.1"]
    command += ["--standalone"] * one_machine + ["--nproc-per-node", ranks, *argv]
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    # ResourceWarning: torch 2.6 leaves a temporary folder to the garbage collector.
    variables["PYTHONWARNINGS"] = "error,ignore::ResourceWarning"
    variables = {"GLOO_SOCKET_IFNAME": loopback, "OMP_NUM_THREADS": "1"} | variables
    return {
        "args": list(map(str, command)),
        "env": environment(**variables),
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "start_new_session": True,  # so that a signal can go to torchrun and workers
    }


def lesson_in(ranks, output, *argv):
    """Run the lesson in so many processes; return its output and its history."""
    argv = [SCRIPT, "--output", output, *argv]
    done = subprocess.run(**torchrun(*argv, ranks=ranks), timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    snapshot = torch.load(output / f"{NAME}.snapshot", weights_only=True)
    return done.stdout, snapshot["history"]


def agree(history, expected):
    """The losses within 1e-6, the accuracies exactly."""
    assert len(history) == len(expected)
    for ours, theirs in zip(history, expected, strict=True):
        assert ours[::2] == pytest.approx(theirs[::2], abs=1e-6)
        assert ours[1::2] == theirs[1::2]


# --------------------------------------------------------------------- the same results


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize(
    "argv",
    [
        ["--epochs", 5],
        ["--epochs", 3, "--batch-size", 1333, "--lr", 0.01],  # the last batch has 1
    ],
)
def test_many_processes_are_one(lesson, output, ranks, argv):
    stdout, history = lesson_in(ranks, output, "--sample", *argv)
    names = [path.name for path in output.iterdir()]
    assert sorted(names) == [f"{NAME}.{end}" for end in ("png", "pth", "snapshot")]
    assert len(re.findall(r"^epoch    1 ", stdout, re.M)) == 1  # rank 0 alone
    model = torch.load(output / f"{NAME}.pth", weights_only=True)

    single = lesson(CASE3, "--sample", *argv)
    agree(history, single["history"])
    for name, value in single["model"].state_dict().items():
        assert torch.allclose(model[name], value.cpu(), atol=1e-6)


def test_one_process_without_torchrun(lesson):
    seen = lesson(NAME, "--sample", "--epochs", 5)
    expected = lesson(CASE3, "--sample", "--epochs", 5)["history"]
    agree(seen["history"], expected)
    assert seen["single_history"] == expected
    assert seen["difference"] < 1e-6


@pytest.mark.slow
def test_all_pictures(lesson, output):
    _, history = lesson_in(2, output, "--epochs", 2)
    agree(history, lesson(CASE3, "--epochs", 2)["history"])


# --------------------------------------------------------------- stopped, and going on


def result(output, stdout):
    """What a run leaves: its model, and what it says at the end, but for the times."""
    lines = re.findall(r"^(?:this run|case 3 |largest) .*", stdout, re.M)
    return (output / f"{NAME}.pth").read_bytes(), lines[-3:]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The result of 60 epochs in two processes."""
    output = tmp_path_factory.mktemp("uninterrupted")
    stdout, _ = lesson_in(2, output, "--sample", "--epochs", 60)
    return output, stdout


def test_resume(output, uninterrupted):
    lesson_in(2, output, "--sample", "--epochs", 20)
    stdout, _ = lesson_in(2, output, "--sample", "--epochs", 60, "--resume")
    assert stdout.count("going on after epoch 20\n") == 1  # by rank 0 alone
    assert result(output, stdout) == result(*uninterrupted)


def test_resume_in_more_processes(output, uninterrupted):
    lesson_in(2, output, "--sample", "--epochs", 20)
    _, history = lesson_in(3, output, "--sample", "--epochs", 60, "--resume")
    path = uninterrupted[0] / f"{NAME}.snapshot"
    agree(history, torch.load(path, weights_only=True)["history"])


def test_resume_adds_up_in_the_same_order(tmp_path):
    """With four processes the order of a sum counts, and the large rate shows it."""
    argv = ["--sample", "--lr", 1, "--epochs"]
    lesson_in(4, tmp_path / "whole", *argv, 4)
    lesson_in(4, tmp_path / "stopped", *argv, 2)
    lesson_in(4, tmp_path / "stopped", *argv, 4, "--resume")
    whole, stopped = (tmp_path / name / f"{NAME}.pth" for name in ("whole", "stopped"))
    assert whole.read_bytes() == stopped.read_bytes()


def workers(agent):
    """The processes that torchrun runs now: ``{rank: process number}``, and attempt."""
    found, attempt = {}, None
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children")
    for child in children.read_text(encoding="utf-8").split():
        try:
            text = Path(f"/proc/{child}/environ").read_text(encoding="utf-8")
        except OSError:
            continue
        if match := re.search(r"\0RANK=(\d+)\0", text):
            found[int(match[1])] = int(child)
            attempt = int(re.search(r"\0TORCHELASTIC_RESTART_COUNT=(\d+)\0", text)[1])
    return found, attempt


def wait(agent, condition, seconds=90):
    """Wait until the condition is true, but not for ever, nor for a dead ``agent``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert agent.poll() is None, agent.communicate()
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(0.01)


@contextlib.contextmanager
def started(arguments, count=1):
    """Start so many torchruns; in the end none of them is left, nor what they run."""
    agents = [subprocess.Popen(**arguments) for _ in range(count)]
    try:
        yield agents
    finally:
        for agent in agents:
            agent.terminate()  # it ends its workers, unless it hangs
        for agent in agents:
            with agent:
                try:
                    agent.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    os.killpg(agent.pid, signal.SIGKILL)


SEPARATE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # as the lesson says


def epochs_in(snapshot):
    """How many epochs the snapshot has behind it, 0 if there is none."""
    if not snapshot.exists():
        return 0
    return len(torch.load(snapshot, weights_only=True)["history"])


@needs_proc
def test_twelve_kills(output, uninterrupted):
    """Both ranks in turn, at random: while they start, connect, train and save.

    Every second kill waits for progress first, so that a hang cannot hide behind the
    next kill. What lies there before is the snapshot of another run.
    """
    snapshot = output / f"{NAME}.snapshot"
    output.mkdir()
    old = torch.load(uninterrupted[0] / snapshot.name, weights_only=True)
    old["model"]["weight"].zero_()
    torch.save(old | {"run": "another", "history": old["history"][:30]}, snapshot)

    argv = [SCRIPT, "--sample", "--epochs", 60, "--output", output]
    rng = random.Random(12)
    with started(torchrun("--max-restarts=12", *argv, **SEPARATE)) as (agent,):

        def running(kill):
            return lambda: workers(agent)[1] == kill and len(workers(agent)[0]) == 2

        def changed(before):
            return lambda: snapshot.stat().st_mtime_ns != before

        starts = []  # seconds from the start of the processes to their first snapshot
        for kill in range(12):
            wait(agent, running(kill))
            start = time.monotonic()
            if kill % 2:
                wait(agent, changed(snapshot.stat().st_mtime_ns))
                starts.append(time.monotonic() - start)
                time.sleep(rng.uniform(0, 0.05))
            else:
                time.sleep(rng.uniform(0, min(starts, default=0)))
            os.kill(workers(agent)[0][kill // 2 % 2], signal.SIGKILL)
        stdout, stderr = agent.communicate(timeout=300)
    assert agent.returncode == 0, stderr
    assert result(output, stdout) == result(*uninterrupted)
    # No epoch that was saved is lost: each is there once, or not at all if the kill
    # came between its snapshot and its line.
    epochs = [int(text) for text in re.findall(r"^epoch +(\d+) ", stdout, re.M)]
    assert epochs == sorted(set(epochs))
    assert len(epochs) >= 60 - 12


@needs_proc
def test_two_machines(output, uninterrupted):
    """Two torchruns that meet on a port, and share a folder.

    Three kills: of each rank in training, and of rank 0 while the other waits for it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = ["--nnodes=2", "--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{port}"]
    argv += ["--rdzv-id=a-name", "--max-restarts=3", SCRIPT, "--sample", "--epochs=60"]
    argv += ["--output", output]
    arguments = torchrun(*argv, ranks=1, one_machine=False, **SEPARATE)

    def trained(epochs):
        return lambda: epochs_in(output / f"{NAME}.snapshot") >= epochs

    with started(arguments, 2) as agents:

        def all_workers():
            return workers(agents[0])[0] | workers(agents[1])[0]

        def restarted(killed):
            def check():
                now = all_workers().values()
                return len(now) == 2 and killed not in now

            return check

        for rank, epochs in ((0, 5), (1, 20), (0, 60)):
            wait(agents[0], trained(epochs))
            killed = all_workers()[rank]
            os.kill(killed, signal.SIGKILL)
            wait(agents[0], restarted(killed))
        outputs = [agent.communicate(timeout=300) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], outputs
    (stdout,) = (stdout for stdout, _ in outputs if "largest difference" in stdout)
    assert result(output, stdout) == result(*uninterrupted)


def test_control_c(output):
    """As a terminal sends it: to torchrun and to the workers. One line, and at once."""
    argv = [SCRIPT, "--sample", "--epochs", 100_000, "--output", output]
    with started(torchrun(*argv)) as (agent,):
        wait(agent, lambda: epochs_in(output / f"{NAME}.snapshot") > 3)
        os.killpg(agent.pid, signal.SIGINT)
        _, stderr = agent.communicate(timeout=60)
    assert agent.returncode != 0
    line = "interrupted: what was saved before is whole; the same command with --resume"
    assert stderr.count(line) == 1
    assert "[rank" not in stderr


# -------------------------------------------------------------------- one line when not


def failure(*argv, script=SCRIPT, options=(), start=f"{NAME}.py: error: ", **kwargs):
    """The one line of a run that must fail; what torchrun reports comes after it."""
    argv = [*options, script, *argv]
    done = subprocess.run(**torchrun(*argv, ranks=3, **kwargs), timeout=300)
    assert done.returncode != 0
    ours, _, report = done.stderr.partition("Traceback")
    lines = [line for line in ours.splitlines() if not re.match(r"[IWE]\d{4} ", line)]
    assert len(lines) == 1, done.stderr
    assert "[rank" not in report  # how torch.distributed marks tracebacks
    assert "Traceback" not in report
    assert "epoch" not in done.stdout
    assert lines[0].startswith(start)
    return lines[0].removeprefix(start)


@pytest.mark.parametrize("options", [[], ["--max-restarts=2"]])
def test_bad_option(options):
    message = failure("--epochs", "0", options=options)
    assert message.startswith("argument --epochs: '0' is not")


def test_bad_batch_size():
    message = failure("--sample", "--batch-size", "4001")
    assert message == "argument --batch-size: there are 4000 training pictures"


def test_no_data(tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    message = failure("--sample", script=tmp_path / "examples" / SCRIPT.name)
    assert message.endswith("fashion_mnist_sample is missing or empty")


def test_learning_rate_that_blows_up(output):
    message = failure("--sample", "--lr", "3e38", "--output", output)
    assert message.startswith("the loss is nan in epoch 1: the learning rate 3e+38")


def test_what_rank_0_cannot_write(output):
    (output / f"{NAME}.snapshot").mkdir(parents=True)
    message = failure("--sample", "--output", output)
    assert f"cannot write {output / NAME}.snapshot (" in message
    assert not list(output.glob(".*"))


def test_nothing_to_resume(output):
    message = failure("--sample", "--output", output, "--resume")
    assert message.startswith(f"there is no snapshot {output / NAME}.snapshot")


@needs_proc
def test_a_process_that_dies(output):
    """Without restarts: what is left of the run ends at once, and says how to go on."""
    argv = [SCRIPT, "--sample", "--epochs", 100_000, "--output", output]
    with started(torchrun(*argv)) as (agent,):
        wait(agent, lambda: epochs_in(output / f"{NAME}.snapshot") > 3)
        os.kill(workers(agent)[0][1], signal.SIGKILL)
        _, stderr = agent.communicate(timeout=60)
    assert agent.returncode == 1
    assert stderr.startswith(
        "another process has ended, and with it this one; the same command with "
        "--resume goes on after the last saved epoch, if there is one\n"
    )
    assert "[rank" not in stderr


def test_a_port_in_use(output):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        env = environment(
            TORCHELASTIC_RUN_ID="a",
            RANK="0",
            LOCAL_RANK="0",
            WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(taken.getsockname()[1]),
        )
        argv = [sys.executable, SCRIPT, "--sample", "--output", output]
        done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("cannot talk to the other processes: ")
    assert "in use" in line
    assert "Traceback" not in done.stderr


def test_a_network_that_is_not_there(output):
    start = "cannot talk to the other processes: "
    message = failure(
        "--sample", "--output", output, start=start, GLOO_SOCKET_IFNAME="eth99"
    )
    assert message.endswith("Unable to find address for: eth99")


def test_restarts_without_the_variable(output):
    argv = ["--sample", "--output", output]
    message = failure(*argv, options=["--max-restarts=1"])
    assert message.startswith("--max-restarts can hang like this; set TORCH_DIS")


def test_restarts_without_a_name(output):
    argv = ["--sample", "--output", output]
    options = ["--max-restarts=1", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    message = failure(*argv, options=options, one_machine=False, **SEPARATE)
    assert message.startswith("--max-restarts can hang like this; set TORCH_DIS")


def test_other_launchers(output):
    """Who sets such variables without torchrun gets one process, and all pictures."""
    argv = [sys.executable, SCRIPT, "--sample", "--epochs", "1", "--output", output]
    env = environment(RANK="1", WORLD_SIZE="2", LOCAL_RANK="1")
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "processes: 1" in done.stdout
    assert float(re.search(r"largest difference .*: (\S+)", done.stdout)[1]) < 1e-6


@pytest.fixture
def impatient(tmp_path):
    """A copy of the lesson whose processes wait 5 seconds for each other, no longer."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "data").symlink_to(ROOT / "data")
    script = tmp_path / "examples" / SCRIPT.name
    text = SCRIPT.read_text(encoding="utf-8")
    short = text.replace('("gloo")', '("gloo", timeout=timedelta(seconds=5))')
    assert text != short
    script.write_text(short, encoding="utf-8")
    return script


def test_a_result_that_takes_longer_than_the_time_out(impatient, output):
    """Rank 1 waits for rank 0 to compare, though the group's own patience is short."""
    short = impatient.read_text(encoding="utf-8")
    slow = short.replace("(args.epochs):\n", "(args.epochs):\n    time.sleep(3)\n")
    assert short != slow
    impatient.write_text(slow, encoding="utf-8")
    argv = [impatient, "--sample", "--epochs", 3, "--output", output]
    done = subprocess.run(**torchrun(*argv), timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


@needs_proc
def test_a_process_that_hangs(impatient, output):
    argv = [impatient, "--sample", "--epochs", 100_000, "--output", output]
    with started(torchrun(*argv)) as (agent,):
        wait(agent, lambda: epochs_in(output / f"{NAME}.snapshot") > 3)
        ranks = workers(agent)[0]
        os.kill(ranks[1], signal.SIGSTOP)
        lines = iter(agent.stderr.readline, "")
        line = next(line for line in lines if line.startswith("cannot"))
        os.kill(ranks[1], signal.SIGCONT)
        assert agent.wait(timeout=60) == 1
    assert line.startswith("cannot talk to the other processes: ")
    assert "Timed out" in line


@pytest.mark.parametrize("ranks", [1, 2])
def test_nccl(lesson, output, ranks):
    if torch.cuda.device_count() < ranks:
        pytest.skip("needs a GPU of NVIDIA for each process")
    _, history = lesson_in(ranks, output, "--sample", "--epochs", 5, "--device", "cuda")
    expected = lesson(CASE3, "--sample", "--epochs", 5, "--device", "cuda")["history"]
    for ours, theirs in zip(history, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
