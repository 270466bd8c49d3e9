"""A kernel of the sandbox sees nothing of the host, its neighbours or its predecessors, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from mmcourse.course import engine
from mmcourse.course import sandbox as s

needs_sandbox = pytest.mark.skipif(s.why_not() is not None, reason=f"no sandbox here: {s.why_not()}")
LIMITS = s.Limits(cell_seconds=10, total_seconds=60, memory_mb=400, processes=48, file_mb=5)


@pytest.fixture(scope="module")
def box():
    with s.Sandbox(LIMITS, preload=("numpy.random", "torch", "mmcourse.checks", "no_such_module_anywhere")) as sandbox:
        yield sandbox


def run(sandbox: s.Sandbox, *sources: str, seconds: float = 10) -> list[engine.Outcome]:
    cells = [engine.Cell(f"c{number}", textwrap.dedent(source), seconds) for number, source in enumerate(sources)]
    return engine.execute(cells, sandbox, nonce="n")


def told(sandbox: s.Sandbox, source: str):
    """Run a cell that sets ``result``, and return it."""
    outcome = run(sandbox, source + "\nimport json; print('\\n' + json.dumps(result))")[0]
    assert outcome.status == "done", outcome
    return json.loads(outcome.output.splitlines()[-1])


def below(sandbox: s.Sandbox) -> list[psutil.Process]:
    return psutil.Process(sandbox._backend.process.pid).children(recursive=True)


def gone(processes: list[psutil.Process], seconds: float = 5) -> bool:
    return psutil.wait_procs(processes, timeout=seconds)[1] == []


# ---- where it can be built, and where not


def test_another_system_is_told_what_it_lacks(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "needs Linux; this is darwin" in s.why_not.__wrapped__()


def test_a_missing_program_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "bwrap" else f"/usr/bin/{name}")
    assert "install the package bubblewrap" in s.why_not.__wrapped__()


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
@pytest.mark.parametrize("script", ["echo no such luck >&2; exit 1", "echo no such luck", "echo no such luck; exit 0"])
def test_a_trial_that_fails_is_quoted(monkeypatch, script):
    monkeypatch.setattr(s, "_command", lambda _: ["sh", "-c", script])
    assert "a trial sandbox failed: no such luck." in s.why_not.__wrapped__()


def test_without_a_sandbox_it_refuses(monkeypatch):
    monkeypatch.setattr(s, "why_not", lambda: "the moon is full")
    with pytest.raises(s.SandboxError, match="No sandbox can be built here: the moon is full"), s.Sandbox():
        pass


def test_a_closed_sandbox_refuses_to_start():
    with pytest.raises(s.SandboxError, match="use it as `with Sandbox"):
        s.Sandbox(unsafe=True).start()


@needs_sandbox
def test_a_warm_start_that_fails_says_why(monkeypatch):
    monkeypatch.setattr(s, "_command", lambda _: ["sh", "-c", "echo out of luck >&2; exit 3"])
    with pytest.raises(s.SandboxError, match=r"warm start of the sandbox failed: out of luck"), s.Sandbox():
        pass


@needs_sandbox
def test_the_warm_start_has_one_thread_and_names_what_is_not_installed(box):
    assert box._backend.facts["missing"] == ["no_such_module_anywhere"]
    assert box._backend.facts["threads"] == 1


# ---- what a kernel sees


@needs_sandbox
def test_the_hosts_files_are_not_there(box, tmp_path):
    gradebook = tmp_path / "gradebook.csv"
    gradebook.write_text("secret")
    repository = Path(s.__file__).resolve().parents[2]
    names = [str(gradebook), str(Path.home() / ".ssh"), "/etc/passwd", "/home", "/sys", str(box._folder), "/var/log"]
    names += [str(repository / name) for name in ("exercises", "tests", "README.md", ".git")]
    assert told(box, f"import os; result = [n for n in {names!r} if os.path.lexists(n)]") == []
    assert told(box, "import mmcourse, os; result = os.path.exists(mmcourse.__file__)") is True


@needs_sandbox
def test_nothing_of_the_graders_environment_comes_in(box, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_GRADER", "1")
    with s.Sandbox(LIMITS, preload=()) as fresh:
        names = told(fresh, "import os; result = sorted(os.environ)")
        host = told(fresh, "import socket; result = socket.gethostname()")
    own = {"PWD", "PYDEVD_USE_FRAME_EVAL", "TERM", "CLICOLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "PAGER", "GIT_PAGER"}
    assert set(names) - own == set(s._environment())
    assert host == "kernel"


@needs_sandbox
def test_only_three_folders_can_be_written_to(box):
    source = """
    import os
    result = []
    for folder, folders, files in os.walk("/"):
        if folder in ("/proc", "/tmp", "/student", "/dev/shm", "/dev/pts"):
            folders.clear()
            continue
        places = [os.path.join(folder, name) for name in ("", *files)]
        result += {os.path.realpath(place) for place in places if os.access(place, os.W_OK)}
    """
    writable = told(box, textwrap.dedent(source))
    devices = {"null", "zero", "full", "random", "urandom", "tty", "console", "pts/ptmx"}
    assert {name for name in writable if name.removeprefix("/dev/") not in devices} == set()
    assert "/dev/null" in writable  # the walk did look


@needs_sandbox
def test_there_is_no_network(box):
    source = "import socket\nsocket.create_connection(('{}', 53), timeout=2)"
    for address in ("1.1.1.1", "127.0.0.1"):
        assert "unreachable" in run(box, source.format(address))[0].error
    assert told(box, "import socket; result = [name for _, name in socket.if_nameindex()]") == ["lo"]


@needs_sandbox
def test_it_sees_only_its_own_processes_and_can_touch_none_outside(box):
    source = """
    import os, signal
    result = {"seen": sorted(int(n) for n in os.listdir("/proc") if n.isdigit()), "me": os.getpid()}
    result["init"] = open("/proc/1/status").read().split("PPid:")[1].split()[0]
    os.kill(1, signal.SIGKILL)
    try:
        open("/proc/1/mem", "rb").read(1)
    except OSError as error:
        result["mem"] = type(error).__name__
    """
    warm = [process.pid for process in below(box)]
    result = told(box, textwrap.dedent(source))
    assert (result["seen"], result["me"], result["init"]) == ([1, 2], 2, "0")
    assert result["mem"] == "PermissionError"
    assert [process.pid for process in below(box)] == warm


@needs_sandbox
def test_a_signal_to_everybody_reaches_only_itself(box):
    warm = [process.pid for process in below(box)]
    first, second = run(box, "import os; os.kill(-1, 9)", "1")
    assert first.error.startswith("ProcessLookupError") and second.status == "done"  # it spares itself and process 1
    assert [process.pid for process in below(box)] == warm
    assert run(box, "1")[0].status == "done"


@needs_sandbox
def test_it_holds_no_privilege_and_cannot_gain_one(box):
    source = """
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
    result = [status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")]
    result += [status["Uid"].split(), status["Seccomp"]]
    """
    *capabilities, no_new, users, filtered = told(box, textwrap.dedent(source))
    assert set(capabilities) == {"0" * 16} and no_new == "1"
    assert "0" not in users
    assert filtered == ("2" if os.uname().machine in s._REFUSED else "0")


@needs_sandbox
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the calls are those of x86_64")
def test_calls_that_could_reach_out_or_hide_memory_are_refused(box):
    source = """
    import ctypes, errno, mmap, os
    libc = ctypes.CDLL(None, use_errno=True)
    calls = dict(ptrace=(101, 16, 1, 0, 0), unshare_users=(272, 0x10000000), setns=(308, 3, 0), keyctl=(250, 1, 0),
                 memfd=(319, b"x", 0), shmget=(29, 0, 4096, 0o1600), io_uring=(425, 1, 0), bpf=(321, 0, 0, 0),
                 mount=(165, b"none", b"/tmp", b"tmpfs", 0, 0), umount=(166, b"/tmp", 0), vm_read=(310, 1, 0, 0, 0, 0),
                 x32=(0x40000000 | 39,))
    result = {name: errno.errorcode.get(ctypes.get_errno()) for name, call in calls.items()
              if libc.syscall(*call) == -1}
    for name, flags in (("shared", mmap.MAP_SHARED), ("private", mmap.MAP_PRIVATE)):
        try:
            mmap.mmap(-1, 4096, flags | mmap.MAP_ANONYMOUS)
        except OSError as error:
            result[name] = errno.errorcode[error.errno]
    result["zero"] = len(open("/dev/zero", "rb").read(8))
    result["getpid"] = libc.syscall(39) == os.getpid()
    """
    result = told(box, textwrap.dedent(source))
    assert result.pop("zero") == 0 and result.pop("getpid") is True
    names = "ptrace unshare_users setns keyctl memfd shmget io_uring bpf mount umount vm_read x32 shared"
    assert result == dict.fromkeys(names.split(), "EPERM")


@needs_sandbox
def test_it_inherits_no_descriptor_of_the_warm_process(box):
    source = """
    import os, socket
    result = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:"):
            kind = socket.socket(fileno=os.dup(int(name))).type
            result.append("control" if kind == socket.SOCK_SEQPACKET else "socket")
        else:
            result.append(target.split(":")[0])
    result = sorted(set(result))
    """
    assert set(told(box, textwrap.dedent(source))) <= {"/dev/null", "anon_inode", "pipe", "socket", "/proc/2/fd"}


# ---- what passes from one kernel to the next, or beside it


@needs_sandbox
def test_nothing_passes_from_one_kernel_to_the_next(box):
    poison = """
    import builtins, os, subprocess, torch, mmcourse.checks
    torch.allclose = lambda *_: True
    builtins.abs = lambda _: 42
    mmcourse.checks.poisoned = True
    os.environ["POISON"] = "1"
    for folder in ("/tmp", "/student", "/dev/shm"):
        open(folder + "/left", "w").write("x")
    """
    assert [out.status for out in run(box, poison, "assert abs(1) == 42")] == ["done", "done"]
    result = told(
        box,
        "import os, torch, mmcourse.checks\n"
        "result = [torch.allclose(torch.ones(1), torch.zeros(1)), abs(-1), hasattr(mmcourse.checks, 'poisoned'),\n"
        "  'POISON' in os.environ, [os.path.exists(f + '/left') for f in ('/tmp', '/student', '/dev/shm')]]",
    )
    assert result == [False, 1, False, False, [False, False, False]]


@needs_sandbox
def test_numpys_global_numbers_differ_between_kernels(box):
    draw = "import numpy; result = numpy.random.rand()"
    assert told(box, draw) != told(box, draw)


@needs_sandbox
def test_no_daemon_outlives_its_kernel(box):
    warm = [process.pid for process in below(box)]
    source = """
    import os, signal, time
    for _ in range(5):
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork():
                os._exit(0)
            for fd in range(3, 200):
                try: os.close(fd)
                except OSError: pass
            while True: time.sleep(0.01)
    for _ in range(5):
        os.wait()
    time.sleep(0.3)
    result = len([n for n in os.listdir("/proc") if n.isdigit()])
    """
    assert told(box, textwrap.dedent(source)) == 7  # five daemons beside the usual two
    assert [process.pid for process in below(box)] == warm
    assert list(box._folder.iterdir()) == []


@needs_sandbox
def test_two_kernels_at_once_do_not_meet(box):
    async def meet() -> list[str]:
        managers = [box.kernel_manager_class() for _ in range(2)]
        said = []
        try:
            clients = []
            for manager in managers:
                await manager.start_kernel()
                clients.append(manager.client())
                clients[-1].start_channels()
                await clients[-1].wait_for_ready(20)
            hide = "import os, socket; k = socket.socket(socket.AF_UNIX); k.bind('\\0meet'); k.listen(); "
            hide += "open('/tmp/meet', 'w'); p = os.openpty(); print(p)"
            seek = "import os, socket\nk = socket.socket(socket.AF_UNIX)\ntry: k.connect('\\0meet')\n"
            seek += (
                "except OSError as e: print(type(e).__name__, os.path.exists('/tmp/meet'), os.listdir('/dev/pts'))\n"
            )
            seek += "print(len([n for n in os.listdir('/proc') if n.isdigit()]))"
            for client, source in zip(clients, (hide, seek), strict=True):
                identity = client.execute(source)
                while True:
                    message = await client.get_iopub_msg(timeout=10)
                    if message["parent_header"].get("msg_id") == identity:
                        if message["content"].get("execution_state") == "idle":
                            break
                        said.append(message["content"].get("text") or message["content"].get("evalue"))
        finally:
            for manager in managers:
                await manager.cleanup_resources()
        return [text for text in said if text]

    first, *rest = asyncio.run(meet())
    assert first.startswith("(") and "".join(rest).splitlines() == ["ConnectionRefusedError False ['ptmx']", "2"]


# ---- how it ends


@needs_sandbox
def test_a_warm_process_that_is_killed_is_built_again(box):
    for process in reversed(below(box)):
        process.kill()
    assert run(box, "print('again')")[0].output == "again\n"


@needs_sandbox
def test_a_warm_process_that_dies_under_a_kernel_costs_nobody_a_point():
    with s.Sandbox(LIMITS, preload=()) as fresh:
        import threading

        def strike() -> None:
            os.kill(fresh._backend.process.pid, signal.SIGKILL)

        threading.Timer(1.0, strike).start()
        out = run(fresh, "import time; time.sleep(2.5); print('through')")
        assert (out[0].status, out[0].output) == ("done", "through\n")


@needs_sandbox
def test_closing_ends_a_warm_process_that_hangs():
    with s.Sandbox(LIMITS, preload=()) as sandbox:
        assert told(sandbox, "result = 1") == 1
        found = below(sandbox)
        assert found
        for process in found:
            process.suspend()  # it will not notice that its control socket is closed
    assert gone(found)


@needs_sandbox
def test_closing_ends_everything_and_removes_its_folder():
    with s.Sandbox(LIMITS, preload=()) as fresh:
        folder, processes = fresh._folder, below(fresh)
        kernel = fresh.start()
        assert len(list(folder.iterdir())) == len(s.CHANNELS)
        deadline = time.monotonic() + 5
        while len(below(fresh)) == len(processes) and time.monotonic() < deadline:
            time.sleep(0.02)
        processes = below(fresh)
    assert gone(processes) and kernel.ended.is_set() and not folder.exists()


GRADER = """
import sys
from mmcourse.course import engine, sandbox
with sandbox.Sandbox(sandbox.Limits(total_seconds=30), preload=()) as box:
    print(box._folder, flush=True)
    out = engine.execute([engine.Cell("a", {source!r}, 20)], box, nonce="n")
    print(out[0].output, end="", flush=True)
"""


@needs_sandbox
def test_when_the_grader_is_killed_everything_goes_with_it():
    source = "import os, signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nos.fork()\nwhile True: x = 1"
    grader = subprocess.Popen([sys.executable, "-c", GRADER.format(source=source)], stdout=subprocess.PIPE, text=True)
    folder = Path(grader.stdout.readline().strip())
    me = psutil.Process(grader.pid)
    deadline = time.monotonic() + 20
    while sum(child.cpu_times().user > 0.3 for child in me.children(recursive=True)) < 2 < deadline - time.monotonic():
        time.sleep(0.05)
    processes = me.children(recursive=True)
    assert len(processes) >= 6
    grader.kill()
    grader.communicate()
    assert gone(processes)
    os.utime(folder, (0, 0))
    s._sweep(folder.parent)  # as every sandbox does before it begins
    assert not folder.exists()


def test_folders_that_somebody_holds_are_not_swept():
    folder, lock = s._short_folder()
    os.utime(folder, (0, 0))
    s._sweep(folder.parent)
    assert folder.exists()
    os.close(lock)
    s._sweep(folder.parent)
    assert not folder.exists()


@needs_sandbox
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_can_grade():
    # /tmp first: the package itself may lie below it
    tree = ["bwrap", "--die-with-parent", "--perms", "1777", "--tmpfs", "/tmp", *s._tree()]
    tree += ["--dev-bind", "/dev", "/dev"]
    tree += ["--bind", "/proc", "/proc", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--chdir", "/", "--"]
    drop = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]
    source = "import os; print(os.getuid(), os.path.exists('/student'))"
    command = [*tree, *drop, sys.executable, "-c", GRADER.format(source=source)]
    path = {"PATH": os.environ["PATH"], "PYTHONPATH": str(s._package().parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=path, timeout=120)
    assert done.stdout.splitlines()[-1] == "1000 True", done.stderr


# ---- without isolation


def test_plain_kernels_are_fresh_and_limited_and_leave_nothing():
    limits = s.Limits(memory_mb=300, file_mb=5, total_seconds=60)
    with s.Sandbox(limits, unsafe=True) as plain:
        children = psutil.Process().children(recursive=True)
        out = run(plain, "import os, torch; torch.x = 1; print(os.getcwd())", "open('big', 'wb').write(bytes(10**7))")
        assert (out[0].status, out[1].error) == ("done", "OSError: [Errno 27] File too large")
        assert not Path(out[0].output.strip()).exists()
        out = run(plain, "import torch; print(hasattr(torch, 'x'))", "while True: x = 1", "print(2)", seconds=2)
        assert [one.status for one in out] == ["done", "timeout", "done"] and out[0].output == "False\n"
        out = run(
            plain, "import os\nif os.fork() == 0:\n  while True: x = 1", "x = []\nwhile True: x.append(bytes(10**6))"
        )
        assert out[1].status in ("memory", "error")
        assert psutil.Process().children(recursive=True) == children
        assert list(plain._folder.iterdir()) == []
