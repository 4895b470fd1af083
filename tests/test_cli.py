import runpy
import signal
import sys
import time
from subprocess import PIPE, Popen, run

import pytest
import torch

from checkpoint import load
from common import pick_device
from conftest import NAMES, environment, error_line, fails, quick, script, slow_except

LINEAR, LOGISTIC = "linear_regression_case3", "logistic_regression_case3 --sample"
RESUMED = "distributed_logistic_regression --sample"


@pytest.mark.parametrize(
    ("line", "option", "values", "code"),
    [
        (LINEAR, "--epochs", "0 ten 10000000000", 2),
        (LINEAR, "--lr", "nan 1e300", 2),
        *[(LINEAR, "--output", "/proc", 1)] * (sys.platform == "linux"),  # read-only
        (LOGISTIC, "--seed", "-1 4294967296", 2),
        (LOGISTIC, "--device", "gpu cuda:99", 2),
        (LINEAR, "--epoch", "3", 2),
    ],
)
def test_bad_options(lesson, capsys, line, option, values, code):
    for value in values.split():
        fails(capsys, [option], lesson, *line.split(), option, value, code=code)


@pytest.mark.parametrize("name", NAMES)
def test_help_is_short_and_names_the_options(monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "argv", [str(script(name)), "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(sys.argv[0], run_name="__main__")
    out = capsys.readouterr().out
    assert "--output X" in out
    assert len(out.splitlines()) <= 25


def test_options(monkeypatch, tmp_path):
    """The defaults, unless a script was started with a command line of its own."""

    def options(*argv, **namespace):
        monkeypatch.setattr(sys, "argv", list(argv))
        exec(
            "import cli; a = cli.parse_args('T', epochs=7, sample=False, seed=0)",
            namespace,
        )
        return vars(namespace["a"])

    monkeypatch.setattr("cli.ROOT", tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    defaults = {"epochs": 7, "sample": False, "seed": 0}
    defaults |= {"output": tmp_path / "outputs"}
    given = options("x.py", "--epochs", "3", "--sample", "--seed", "5", __file__="x.py")
    assert given == defaults | {"epochs": 3, "sample": True, "seed": 5}
    assert options("x.py", __file__="x.py") == defaults
    assert (pick_device("auto").type == "cpu") != torch.accelerator.is_available()
    assert options("ipython", "--pylab") == defaults
    assert options("mine.py", "--mine", __file__="x.py") == defaults
    assert torch.get_num_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    torch.set_num_threads(2)
    options("x.py")
    assert torch.get_num_threads() == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal to a process")
@pytest.mark.parametrize("line", [f"-B {LINEAR}", f"-B {RESUMED}", f"-i {LINEAR}"])
def test_control_c(output, line):
    """After ``python -i lesson.py`` the prompt comes, and all variables are there."""
    flag, name, *argv = line.split()
    argv += ["--output", output, "--epochs", 10**6]
    command = map(str, [sys.executable, "-u", flag, script(name), *argv])
    with Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as process:
        process.stdout.readline()
        checkpoint = output / f"{name}.checkpoint"
        while RESUMED in line and not checkpoint.exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate("print('still', args.epochs)\n")
    if flag == "-i":
        assert (process.returncode, stdout.split("\n")[-2]) == (0, "still 1000000")
    else:
        assert (process.returncode, stderr.count("\n")) == (130, 1)
    assert ("--resume" in stderr) == (RESUMED in line)
    left = [path for path in output.glob("[!.]*") if path.suffix != ".png"]
    assert [load(path) and path for path in left] == [checkpoint] * (RESUMED in line)


@pytest.mark.parametrize(
    "name", slow_except("linear_regression_case1", "logistic_regression_case3")
)
def test_lesson(start, output, tmp_path, name):
    """No warning, at least one figure, and nothing outside the folder of outputs."""
    flags = {"epochs": "--epochs=2", "sample": "--sample"}
    env = environment(LC_ALL="C")
    process = start(name, *map(flags.get, quick(name)), env=env)
    assert process.communicate()[1] == ""
    assert process.returncode == 0
    assert {p.read_bytes()[:4] for p in output.glob(f"{name}*.png")} == {b"\x89PNG"}
    assert list(tmp_path.iterdir()) == [output]


def test_a_process_in_the_background_still_ignores_ctrl_c(tmp_path):
    code = "import cli, signal; signal.signal(2, signal.SIG_IGN)\n"
    code += "cli.parse_args('', output=cli.Path()); signal.raise_signal(2)\n"
    (tmp_path / "main.py").write_text(code)
    env = environment(PYTHONPATH=str(script("cli").parent))
    assert run([sys.executable, "main.py"], cwd=tmp_path, env=env).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="as Linux has it")
def test_nowhere_to_write(start):
    process = start(LINEAR, "--epochs", 10**6)  # as in: python lesson.py | head -1
    process.stdout.readline()
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == ("", 141)
    with open("/dev/full", "w") as full:
        process = start(LINEAR, stdout=full)
    error_line(process.stderr.read())
    assert process.wait() == 1
