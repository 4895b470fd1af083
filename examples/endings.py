"""How a lesson ends before its time: with one line on stderr instead of a traceback.

To import this is enough: it sets what Ctrl-C and an exception do. It comes before the
large libraries, which take seconds to load, so that Ctrl-C is quiet then too.
"""

import contextlib
import errno
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

LAUNCHED = "TORCHELASTIC_RUN_ID" in os.environ  # by torchrun
NOTEBOOK = sys.argv[0].endswith("kernel_launcher.py")
_FIRST = not LAUNCHED or os.environ.get("LOCAL_RANK") == "0"  # on this machine
_RESTARTS = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"
_RESTARTED = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def fail(message, code=1):
    """End the program with one line on stderr and the exit code 1, or ``code``."""
    line = f"{Path(sys.argv[0]).name}: error: {message}"
    if LAUNCHED:
        _end(line, code)
    if code == 1:
        sys.exit(line)  # prints it, and exits with 1
    print(line, file=sys.stderr)
    sys.exit(code)


def _end(line, code):
    """End this process, perhaps one of several, with one line, and nothing after it.

    What ends one of torchrun's processes mostly ends all, and the line of the first on
    a machine is enough. The others wait; torchrun ends them as soon as the first has
    ended. (If that one was killed, there is only torchrun's report, which says so.)
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # to end once is enough
    if not _FIRST:
        time.sleep(10)
    with contextlib.suppress(AttributeError, OSError):  # there is none, or a full disk
        if not (_RESTARTED and code == 2):  # a bad option was bad before
            sys.__stderr__.write(f"{line}\n")  # sys.stderr may be torch.distributed's
    with contextlib.suppress(AttributeError, OSError):
        sys.stdout.flush()
    os._exit(code)


def _excepthook(kind, error, trace, hint=""):
    """Say in one line what no reader needs a traceback for; for the rest, print it."""
    first = error
    while first and not isinstance(first, KeyboardInterrupt):
        first = first.__context__  # after Ctrl-C a library's clean-up can fail
    if first:
        _end(f"interrupted: what was saved before is whole{hint}", 130)  # 128 + SIGINT
    if issubclass(kind, BrokenPipeError):  # as in: python lesson.py | head
        os._exit(141)  # 128 + SIGPIPE
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        _end(f"cannot write the output ({error.strerror})", 1)
    text = str(error).partition("\n")[0]
    if "closed by peer" in text or "reset by peer" in text:  # Gloo's words
        hint = "" if _RESTARTS else hint
        _end(f"another process has ended, and with it this one{hint}", 1)
    words = ("socket has failed", "Unable to find address", "Timed out waiting")
    if kind.__module__ == "torch.distributed" or any(word in text for word in words):
        _end(f"cannot talk to the other processes: {text}", 1)
    sys.__excepthook__(kind, error, trace)


def add_hint(hint):
    """Let the line of an interrupted run end with ``hint``, which says how to go on."""
    sys.excepthook = partial(_excepthook, hint=f"; {hint}")


def _interrupt(_, frame):
    """End at Ctrl-C: by KeyboardInterrupt, but at once where that can do harm.

    An import can crash on it, since it has to pass through C++, or swallow it; and a
    hook that is just telling of another error would print a traceback of both.
    """
    while frame:
        in_import = frame.f_code.co_filename == "<frozen importlib._bootstrap>"
        if in_import or frame.f_code.co_name.endswith("excepthook"):
            sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
        frame = frame.f_back
    raise KeyboardInterrupt


def let_interrupt_end():
    """From now on, let Ctrl-C end the program without a word: the lesson is done."""
    if signal.getsignal(signal.SIGINT) is _interrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


sys.excepthook = _excepthook
if (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    and not NOTEBOOK  # where it should end a cell, not Python
):
    # The first process says it for all; C++ may keep the others from Python's handlers.
    signal.signal(signal.SIGINT, _interrupt if _FIRST else signal.SIG_DFL)
