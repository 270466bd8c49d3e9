"""A kernel that student code cannot get out of.

One ``Sandbox`` keeps one warm Python that has imported torch and the kernel's own libraries, inside bubblewrap, as an
ordinary user, with no network and none of the host's files but the interpreter's. Every kernel is a fork of it in
namespaces of its own (users, processes, files, network, shared memory), so that nothing passes from one kernel to the
warm process, to a neighbour or to a later kernel, and nothing of it is left when it ends.

The kernel's sockets are opened by this side and handed in as open descriptors: the kernel shares no folder with it.

This file is also the program that runs inside. It needs nothing but the standard library to start.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import gc
import importlib
import json
import os
import resource
import secrets
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_client import AsyncKernelManager

PRELOAD = ("torch", "torch.nn.functional", "numpy.random", "mmcourse.course.exercise", "mmcourse.checks")
WARM_SECONDS = 180  # how long the warm start may take on a busy machine
START_SECONDS = 60  # how long one kernel may take to start there
ORDINARY = 65534  # the user that kernels run as where the grader is root
MAX_MESSAGE = 16_000_000  # bytes of one frame that this side takes from a kernel
FLOOD_MB = 400  # a kernel that makes this process grow by more is ended
TICK = 0.05  # seconds between two looks at what kernels use
CHANNELS = ("shell", "iopub", "stdin", "hb", "control")


class SandboxError(RuntimeError):
    """The sandbox could not be built or a kernel could not be started in it. The message says why."""


@dataclass(frozen=True)
class Limits:
    """What one kernel may use.

    cell_seconds:   wall time of a cell that names no limit of its own.
    total_seconds:  wall time of a kernel from its start to its end.
    memory_mb:      resident memory of all of its processes, above the warm start.
    processes:      processes and threads at one time.
    file_mb:        size of a file, and of each of the folders it may write in (/tmp, /student, /dev/shm).
    open_files:     open files of a process.
    output_kb:      what a cell may print and show.
    """

    cell_seconds: float = 10
    total_seconds: float = 120
    memory_mb: int = 2000
    processes: int = 64
    file_mb: int = 50
    open_files: int = 256
    output_kb: int = 200


@dataclass
class Kernel:
    """A kernel from this side.

    ``why`` is empty while it runs, then "exit", "memory", "time", "flood", "lost" where the warm process has ended, or
    what this side gave as its reason.
    """

    number: int
    address: str  # sockets are ADDRESS-1 (shell) to ADDRESS-5 (control)
    key: bytes
    deadline: float
    channel: socket.socket  # the kernel says "ready" or its error here, and closes its end before any student code
    ended: threading.Event = field(default_factory=threading.Event)
    why: str = ""
    asked: str = ""  # why this side asked for its end
    asked_at: float = 0.0


# ---- can it be built here?


@functools.cache
def why_not() -> str | None:
    """Why no sandbox can be built on this machine, with what to do; None where it can. Tried once a process."""
    if sys.platform != "linux":
        return f"the sandbox needs Linux; this is {sys.platform}. Grade in a Linux machine, virtual machine or WSL 2."
    for tool in ("bwrap", "setpriv") if os.geteuid() == 0 else ("bwrap",):
        if shutil.which(tool) is None:
            package = {"bwrap": "bubblewrap", "setpriv": "util-linux"}[tool]
            return f"the sandbox needs the program {tool}; install the package {package}."
    try:
        done = subprocess.run(_command(["trial"]), capture_output=True, text=True, timeout=60, env=_outer_environment())
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the sandbox could not be tried: {error}"
    if done.returncode == 0 and done.stdout.strip() == "sandbox works":
        return None
    said = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()[-1]
    return (
        f"a trial sandbox failed: {said[:300]}. Unprivileged user namespaces must be allowed (sysctl "
        "kernel.unprivileged_userns_clone=1, user.max_user_namespaces above 0, and no AppArmor rule against them); "
        "a container must let them through and leave /proc unmasked."
    )


def _command(arguments: Sequence[str]) -> list[str]:
    """The command line that runs this file inside bubblewrap. As root it drops to an ordinary user on the way.

    An ordinary user can neither enter /root nor read what lies below. Root therefore builds a first tree that holds
    only what the sandbox needs, in folders that all can enter, and drops to the ordinary user in there.
    """
    me = str(Path(__file__).resolve())
    python = [sys.executable, "-I", "-X", "utf8", me, *arguments]
    inner = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--hostname", "kernel", "--clearenv"]
    for name, value in _environment().items():
        inner += ["--setenv", name, value]
    inner += ["--perms", "1777", "--tmpfs", "/tmp", *_tree(), "--dev", "/dev", "--proc", "/proc"]
    inner += ["--dir", "/student", "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--", *python]
    if os.geteuid() != 0:
        return inner
    # a process namespace of its own: when the outer bwrap is killed, everything below it ends, even what hangs
    outer = ["bwrap", "--unshare-pid", "--die-with-parent", "--perms", "1777", "--dir", "/tmp", *_tree()]
    outer += ["--dev-bind", "/dev", "/dev", "--bind", "/proc", "/proc", "--chdir", "/"]
    outer += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP", "--"]
    drop = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups", "--no-new-privs"]
    return [*outer, *drop, "--bounding-set=-all", "--inh-caps=-all", *inner]


def _tree() -> list[str]:
    """bubblewrap's arguments for the files that are seen inside: the system's, Python's and this package's alone."""
    arguments = ["--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib64", "/lib32"):
        path = Path(name)
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            arguments += ["--ro-bind", name, name]
    arguments += ["--perms", "0755", "--dir", "/etc"]
    for name in ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime"):
        arguments += ["--ro-bind-try", name, name]
    made: set[Path] = {Path("/"), Path("/usr"), Path("/etc"), Path("/tmp")}
    for folder in _python_folders():
        for parent in reversed(folder.parents):
            if parent not in made and not parent.is_relative_to("/usr"):
                arguments += ["--perms", "0755", "--dir", str(parent)]
                made.add(parent)
        arguments += ["--ro-bind", str(folder), str(folder)]
    return arguments


def _python_folders() -> list[Path]:
    """The folders that hold this interpreter, its packages and this package; none inside another."""
    wanted = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_exec_prefix), *_more_packages(), _package()]
    wanted += [path.resolve() for path in wanted]
    if Path("/nix/store").is_dir():
        wanted.append(Path("/nix/store"))
    outermost: list[Path] = []
    for path in sorted(set(wanted), key=lambda path: len(path.parts)):
        if path.is_dir() and not any(path.is_relative_to(seen) for seen in [Path("/usr"), *outermost]):
            outermost.append(path)
    return outermost


def _package() -> Path:
    return Path(__file__).resolve().parent.parent


def _more_packages() -> list[Path]:
    """Folders of installed packages on the path that lie outside the interpreter, such as the user's own."""
    return [Path(name) for name in sys.path if Path(name).name in ("site-packages", "dist-packages")]


def _environment() -> dict[str, str]:
    """All that a kernel finds in its environment."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",
        "TMPDIR": "/tmp",
        "USER": "student",
        "LOGNAME": "student",
        "LANG": "C.UTF-8",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": "/tmp",
        "MMCOURSE_UNDER_PAPERMILL": "1",
        "CUDA_VISIBLE_DEVICES": "",
        **threads,
    }


def _outer_environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8"}


# ---- this side


class Sandbox:
    """One worker's warm start; a context manager. Use one sandbox in one process, and run one kernel at a time.

    limits:   what each kernel may use.
    unsafe:   run plain kernels without any isolation, where no sandbox can be built and the submissions are trusted.
    preload:  modules that the warm start imports, so that kernels need not. One that is not installed is left out.

    Raises ``SandboxError`` on entering where it cannot be built. A warm start that dies is built again by the next
    kernel's start.
    """

    def __init__(self, limits: Limits | None = None, *, unsafe: bool = False, preload: Sequence[str] = PRELOAD) -> None:
        self.limits = limits or Limits()
        self.unsafe = unsafe
        self.preload = tuple(preload)
        self.kernels: dict[int, Kernel] = {}
        self._backend: _Warm | _Plain | None = None
        self._numbers = 0
        self._lock = threading.RLock()
        self._wanted = threading.Event()  # somebody waits for a backend
        self._answered = threading.Event()  # there is one, or ``_problem`` says why not
        self._problem = ""
        self._closing = False
        self._keeper: threading.Thread | None = None
        self._folder: Path | None = None
        self._folder_lock = -1

    def __enter__(self) -> Sandbox:
        reason = None if self.unsafe else why_not()
        if reason is not None:
            raise SandboxError(f"No sandbox can be built here: {reason}")
        self._closing = False
        self._folder, self._folder_lock = _short_folder()
        self._keeper = threading.Thread(target=self._keep, name="sandbox keeper", daemon=True)
        self._keeper.start()
        try:
            self._await_backend()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every kernel and the warm start. Nothing of them is left."""
        self._closing = True
        if self._keeper is not None:
            self._keeper.join()
            self._keeper = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._folder_lock)
            self._folder = None

    @functools.cached_property
    def kernel_manager_class(self) -> type[AsyncKernelManager]:
        """A kernel manager whose every start is a fresh kernel of this sandbox."""
        return _manager_class(self)

    def start(self) -> Kernel:
        """Begin a fresh kernel; it says "ready" on ``kernel.channel``. Raises ``SandboxError``."""
        self._await_backend()
        with self._lock:
            assert self._folder is not None and self._backend is not None
            self._numbers += 1
            address = str(self._folder / f"{self._numbers}")
            mine, theirs = socket.socketpair()
            deadline = time.monotonic() + START_SECONDS + self.limits.total_seconds
            kernel = Kernel(self._numbers, address, secrets.token_hex(32).encode(), deadline, mine)
            listeners: list[socket.socket] = []
            try:
                for number in range(1, len(CHANNELS) + 1):
                    listeners.append(_listener(f"{address}-{number}"))
                mine.sendall(kernel.key + b"\n")
                self._backend.start(kernel, [*(one.fileno() for one in listeners), theirs.fileno()])
            except OSError as error:
                mine.close()
                _remove_sockets(address)
                raise SandboxError(f"A kernel could not be started: {error}") from error
            finally:
                for one in [*listeners, theirs]:
                    one.close()
            self.kernels[kernel.number] = kernel
            return kernel

    def started(self, kernel: Kernel) -> None:
        """The kernel is ready: its wall clock runs from here."""
        kernel.deadline = time.monotonic() + self.limits.total_seconds

    def interrupt(self, kernel: Kernel) -> None:
        """Send the kernel what Ctrl-C sends. It may ignore that."""
        self._tell("interrupt", kernel)

    def kill(self, kernel: Kernel, why: str = "killed") -> None:
        """End a kernel and all that it started. ``kernel.ended`` is set when nothing of it runs any more."""
        if not kernel.asked:
            kernel.asked, kernel.asked_at = why, time.monotonic()
        self._tell("kill", kernel)

    def forget(self, kernel: Kernel) -> None:
        """Remove the sockets of a kernel that has ended."""
        kernel.channel.close()
        _remove_sockets(kernel.address)

    def _tell(self, what: str, kernel: Kernel) -> None:
        with self._lock:
            if self._backend is not None and kernel.number in self.kernels:
                with contextlib.suppress(OSError):  # a backend that is gone has taken its kernels along
                    self._backend.tell(what, kernel.number)

    def _await_backend(self) -> None:
        """Wait for the keeper to have a warm start. Raises ``SandboxError`` where it failed."""
        with self._lock:
            if self._keeper is None:
                raise SandboxError("The sandbox is closed; use it as `with Sandbox() as sandbox:`.")
            if self._backend is not None:
                return
            self._answered.clear()
            self._wanted.set()
        if not self._answered.wait(WARM_SECONDS + 10):
            raise SandboxError(f"The warm start did not come up in {WARM_SECONDS} s.")
        if self._problem:
            raise SandboxError(self._problem)

    # The keeper: one thread that starts the warm process (which dies with the thread that started it), hears which
    # kernels have ended, and holds the wall clock and this process's own memory whatever the rest of it is doing.

    def _keep(self) -> None:
        memory = 0.0  # this process's own, before the kernels that run now
        while not self._closing:
            if self._backend is None:
                if self._wanted.wait(TICK):
                    self._launch()
                continue
            if not self.kernels:
                memory = _own_memory_mb()
            ended = self._backend.wait(TICK)
            if ended is None:
                self._lose_backend()
                continue
            for number, why in ended:
                self._settle(number, why)
            grown = _own_memory_mb() - memory if self.kernels else 0.0
            for kernel in list(self.kernels.values()):
                now = time.monotonic()
                if kernel.asked and now > kernel.asked_at + 5:
                    self._lose_backend()
                    break
                if not kernel.asked and (now > kernel.deadline or grown > FLOOD_MB):
                    self.kill(kernel, "time" if now > kernel.deadline else "flood")
        self._lose_backend()

    def _launch(self) -> None:
        self._problem = ""
        assert self._folder is not None
        try:
            backend = _Plain(self.limits, self._folder) if self.unsafe else _Warm(self.limits, self.preload)
            with self._lock:
                self._backend = backend
        except SandboxError as error:
            self._problem = str(error)
        self._wanted.clear()
        self._answered.set()

    def _lose_backend(self) -> None:
        with self._lock:
            backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()
        for number in list(self.kernels):
            self._settle(number, "lost")

    def _settle(self, number: int, why: str) -> None:
        with self._lock:
            kernel = self.kernels.pop(number, None)
        if kernel is not None:
            kernel.why = "memory" if why == "memory" else kernel.asked or why
            kernel.ended.set()


def _short_folder() -> tuple[Path, int]:
    """A private folder, held by a lock, whose name leaves room for socket names, which may have 107 bytes."""
    place = Path(tempfile.gettempdir())
    if len(os.fsencode(place)) > 60:
        place = Path("/tmp")
    _sweep(place)
    folder = Path(tempfile.mkdtemp(prefix="mmcourse-sandbox-", dir=place))
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock


def _sweep(place: Path) -> None:
    """Remove the folders of graders that were killed: nobody holds their locks."""
    for old in place.glob("mmcourse-sandbox-*"):
        with contextlib.suppress(OSError):
            about = old.lstat()
            if about.st_uid != os.getuid() or not stat.S_ISDIR(about.st_mode) or time.time() < about.st_mtime + 5:
                continue
            lock = os.open(old, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old, ignore_errors=True)
            finally:
                os.close(lock)


def _listener(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        listener.listen(8)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_sockets(address: str) -> None:
    for number in range(1, len(CHANNELS) + 1):
        Path(f"{address}-{number}").unlink(missing_ok=True)


def _own_memory_mb() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6
    except OSError:
        import psutil

        return psutil.Process().memory_info().rss / 1e6


class _Warm:
    """The warm process in bubblewrap, seen from this side. Made by the keeper's thread and lives as long as it."""

    def __init__(self, limits: Limits, preload: Sequence[str]) -> None:
        settings = {"limits": asdict(limits), "preload": list(preload), "path": _import_path()}
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with tempfile.TemporaryFile() as errors, theirs:
            command = _command(["warm", str(theirs.fileno()), json.dumps(settings)])
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(theirs.fileno(),),
                env=_outer_environment(),
                start_new_session=True,
                cwd="/",
            )
            theirs.close()
            ready, _, _ = select.select([self.control], [], [], WARM_SECONDS)
            answer = self.control.recv(65536) if ready else b""
            if not answer:
                self.close()
                errors.seek(0)
                said = errors.read()[-2000:].decode("utf-8", "replace").strip()
                raise SandboxError(f"The warm start of the sandbox failed: {said or 'it said nothing'}")
        self.facts: dict[str, Any] = json.loads(answer)

    def start(self, kernel: Kernel, descriptors: list[int]) -> None:
        socket.send_fds(self.control, [json.dumps(["start", kernel.number]).encode()], descriptors)

    def tell(self, what: str, number: int) -> None:
        self.control.send(json.dumps([what, number]).encode())

    def wait(self, seconds: float) -> list[tuple[int, str]] | None:
        """Kernels that have ended, as (number, why); None where the warm process is gone."""
        ended: list[tuple[int, str]] = []
        while select.select([self.control], [], [], seconds)[0]:
            try:
                message = self.control.recv(65536)
            except OSError:
                message = b""
            if not message:
                return None
            number, why = json.loads(message)
            ended.append((number, why))
            seconds = 0
        return ended

    def close(self) -> None:
        """Kill it. The end of its process namespace is the end of every kernel."""
        self.control.close()
        self.process.kill()
        self.process.wait()


class _Plain:
    """Plain kernels without isolation, one fresh process each. The limits hold as far as an ordinary process allows."""

    def __init__(self, limits: Limits, place: Path) -> None:
        self.limits = limits
        self.place = place  # each kernel has a folder in here
        self.running: dict[int, tuple[subprocess.Popen[bytes], Path]] = {}
        self.facts: dict[str, Any] = {}
        self.lock = threading.Lock()

    def start(self, kernel: Kernel, descriptors: list[int]) -> None:
        folder = Path(tempfile.mkdtemp(prefix="plain-", dir=self.place))
        settings = {"limits": asdict(self.limits), "path": _import_path(), "folder": str(folder)}
        places = {name: str(folder) for name in ("HOME", "TMPDIR", "MPLCONFIGDIR")}
        me = str(Path(__file__).resolve())
        process = subprocess.Popen(
            [sys.executable, "-I", "-X", "utf8", me, "plain", json.dumps(descriptors), json.dumps(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=descriptors,
            env=_environment() | places,
            start_new_session=True,
            cwd=folder,
        )
        with self.lock:
            self.running[kernel.number] = process, folder

    def tell(self, what: str, number: int) -> None:
        with self.lock:
            process, _ = self.running[number]
        if what == "kill":
            _kill_tree(process)
        elif process.poll() is None:
            process.send_signal(signal.SIGINT)

    def wait(self, seconds: float) -> list[tuple[int, str]] | None:
        time.sleep(seconds)
        ended = []
        with self.lock:
            running = dict(self.running)
        for number, (process, folder) in running.items():
            why = "exit" if process.poll() is not None else ""
            if not why and _tree_memory_mb(process.pid) > self.limits.memory_mb + 400:  # torch itself takes part of it
                why = "memory"
            if why:
                _kill_tree(process)
                process.wait()
                shutil.rmtree(folder, ignore_errors=True)
                with self.lock:
                    del self.running[number]
                ended.append((number, why))
        return ended

    def close(self) -> None:
        for process, folder in self.running.values():
            _kill_tree(process)
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)
        self.running.clear()


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, its descendants and its group. A process that left all of these is not found."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _tree_memory_mb(pid: int) -> float:
    import psutil

    total = 0.0
    with contextlib.suppress(psutil.Error):
        for one in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                memory = one.memory_info()
                total += (memory.rss - getattr(memory, "shared", 0)) / 1e6
    return total


def _import_path() -> list[str]:
    """What the inside adds to its path: this package where it is not installed, and packages outside the prefix."""
    return [str(path) for path in (_package().parent, *_more_packages())]


# ---- the kernel manager


@functools.cache
def _client_class() -> type:
    import asyncio
    from queue import Empty

    from jupyter_client.asynchronous import AsyncKernelClient

    class SandboxClient(AsyncKernelClient):
        """A client that needs no heartbeat, and is ready as soon as the kernel's two answers are there."""

        def start_channels(self, *_: Any, **__: Any) -> None:
            super().start_channels(stdin=False, hb=False, control=False)

        def stop_channels(self) -> None:
            for channel in (self._shell_channel, self._iopub_channel):
                if channel is not None:
                    channel.stop()

        async def wait_for_ready(self, timeout: float | None = None) -> None:
            """Wait until the kernel answers on both sockets; nothing of the student's has run yet."""
            deadline = time.monotonic() + (timeout or START_SECONDS)
            self.kernel_info()
            asked, answered, heard = time.monotonic(), False, False
            while not (answered and heard):
                for channel in (self.shell_channel, self.iopub_channel):
                    with contextlib.suppress(Empty):
                        message = await channel.get_msg(timeout=0.02)
                        if channel is self.iopub_channel:
                            heard = True
                        elif message["msg_type"] == "kernel_info_reply":
                            answered = True
                if not await self.is_alive():
                    raise RuntimeError("The kernel died before it was ready.")
                if time.monotonic() > deadline:
                    raise RuntimeError("The kernel did not answer in time.")
                if time.monotonic() > asked + 2:
                    self.kernel_info()
                    asked = time.monotonic()
                await asyncio.sleep(0)

    return SandboxClient


def _manager_class(sandbox: Sandbox) -> type[AsyncKernelManager]:
    import asyncio

    import zmq
    import zmq.asyncio
    from jupyter_client import AsyncKernelManager
    from jupyter_client.session import Session

    class SandboxManager(AsyncKernelManager):
        """Starts, interrupts and ends a kernel of the sandbox; there is no command and no connection file."""

        kernel: Kernel | None = None

        def _context_default(self) -> zmq.asyncio.Context:
            context = zmq.asyncio.Context()
            context.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE)
            context.setsockopt(zmq.RCVHWM, 50)
            context.setsockopt(zmq.LINGER, 0)
            return context

        def _client_factory_default(self) -> type:
            return _client_class()

        def client(self, **options: Any) -> Any:
            return super().client(context=self.context, **options)  # its own would take messages of any size

        @property
        def has_kernel(self) -> bool:
            return self.kernel is not None

        @property
        def ended(self) -> str:
            """Why the kernel has ended; empty while it runs."""
            return self.kernel.why if self.kernel is not None and self.kernel.ended.is_set() else ""

        async def start_kernel(self, **_: Any) -> None:  # type: ignore[override]
            kernel = sandbox.start()
            try:
                await self._until_ready(kernel)
            except BaseException:
                sandbox.kill(kernel)
                sandbox.forget(kernel)
                raise
            self.kernel = kernel
            self.transport, self.ip = "ipc", kernel.address
            for number, name in enumerate(CHANNELS, start=1):
                setattr(self, f"{name}_port", number)
            self.session = Session(parent=self, key=kernel.key, digest_history_size=2000)
            sandbox.started(kernel)

        async def _until_ready(self, kernel: Kernel) -> None:
            said = b""
            kernel.channel.setblocking(False)
            while not said.endswith(b"\n"):
                try:
                    piece = kernel.channel.recv(4096)
                except BlockingIOError:
                    if kernel.ended.is_set():
                        break
                    await asyncio.sleep(0.002)
                    continue
                except OSError:  # the line is cut: the warm process has ended
                    break
                if not piece:
                    break
                said += piece
            if said != b"ready\n":
                reason = said.decode("utf-8", "replace").strip() or kernel.why or "it ended and said nothing"
                raise SandboxError(f"A kernel did not start: {reason}")

        async def is_alive(self) -> bool:  # type: ignore[override]
            return self.kernel is not None and not self.kernel.ended.is_set()

        _async_is_alive = is_alive

        async def interrupt_kernel(self) -> None:  # type: ignore[override]
            if self.kernel is not None:
                sandbox.interrupt(self.kernel)

        def end(self, why: str) -> None:
            """Ask for the kernel's end."""
            if self.kernel is not None:
                sandbox.kill(self.kernel, why)

        async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:  # type: ignore[override]
            """End the kernel at once, and wait until nothing of it is left."""
            if self.kernel is None:
                return
            self.end("killed")
            while not self.kernel.ended.is_set():
                await asyncio.sleep(0.002)
            sandbox.forget(self.kernel)

        async def cleanup_resources(self, restart: bool = False) -> None:  # type: ignore[override]
            if self.kernel is not None:
                await self.shutdown_kernel()
                self.kernel = None
            self.context.destroy(linger=0)

    return SandboxManager


# ---- inside: the warm process, and the kernels that it forks


CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x02000000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
NEW = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 22, 24, 38
PR_SET_CHILD_SUBREAPER, PR_CAP_AMBIENT = 36, 47


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _prctl(option: int, *values: int) -> None:
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    _checked(_libc().prctl(option, *padded), f"prctl {option}")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    kind_bytes = None if kind is None else kind.encode()
    result = _libc().mount(source.encode(), target.encode(), kind_bytes, ctypes.c_ulong(flags), options.encode())
    _checked(result, f"mount {target}")


def _enter_namespaces() -> None:
    """Leave the warm process's users, processes, files, network and shared memory behind. Children are inside."""
    user, group = os.getuid(), os.getgid()
    _prctl(PR_SET_DUMPABLE, 1)  # the maps below can be written only by a process that is not hidden
    _checked(_libc().unshare(NEW), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _furnish(limits: Limits) -> None:
    """Fresh folders to write in, fresh processes to see, and no way to make further namespaces. Run as process 1."""
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    hidden = [(os.open(path, os.O_PATH), path) for path in _python_folders() if path.is_relative_to("/tmp")]
    for target in ("/tmp", "/student", "/dev/shm"):
        options = f"size={limits.file_mb}m,nr_inodes=4096,mode=1777"
        _mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, options)
    for descriptor, path in hidden:  # a Python that is installed there must stay to be seen
        path.mkdir(parents=True)
        _mount(f"/proc/self/fd/{descriptor}", str(path), None, MS_BIND | MS_REC)
        os.close(descriptor)
    _mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0600")
    _mount("/dev/null", "/dev/zero", None, MS_BIND)  # shared pages of /dev/zero would be memory that nobody counts
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    Path("/proc/self/oom_score_adj").write_text("1000")  # where memory runs out, this goes first
    _mount("proc", "/proc", "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    os.chdir("/student")


def _limit(limits: Limits, *, whole_user: bool = False) -> None:
    """Resource limits of the process and its children, hard. ``whole_user``: processes are counted outside, so free."""
    size = int(limits.file_mb * 1e6)
    seconds = int(limits.total_seconds) + START_SECONDS
    wanted = {"CORE": 0, "FSIZE": size, "NOFILE": limits.open_files, "CPU": seconds}
    if not whole_user:
        wanted["NPROC"] = limits.processes
    if sys.platform == "linux":  # address space counts what torch only reserves: a far wall for one huge allocation
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        wanted |= {"AS": now + int(limits.memory_mb * 2e6) + 4_000_000_000, "MEMLOCK": 65536, "MSGQUEUE": 0}
    for name, value in wanted.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        _, most = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY:
            value = min(value, most)
        resource.setrlimit(kind, (value, value))


def _drop_privileges() -> None:
    """No capability is left, none can be gained, and calls that a lesson never needs are refused."""
    libc = _libc()
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) != 0:
            break
    _prctl(PR_CAP_AMBIENT, 4)  # clear all
    header = struct.pack("Ii", 0x20080522, 0)  # version 3, this process
    _checked(libc.capset(header, bytes(24)), "capset")
    _refuse_calls()


# Numbers of the calls that are refused. What they could do: look into or steer another process (ptrace, ...), hold
# memory that no file size and no resident size counts (memfd_create, shmget, ...), leave keys for a later kernel
# (keyctl, ...), or reach rarely used corners of the operating system (bpf, io_uring, mounts).
_REFUSED_BOTH = (425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 440, 442, 447)
_REFUSED = {
    "x86_64": (101, 310, 311, 312, 319, 29, 30, 64, 68, 240, 248, 249, 250, 321, 298, 323, 272, 308, 165, 166)
    + (155, 161, 278, 304, *_REFUSED_BOTH),
    "aarch64": (117, 270, 271, 272, 279, 194, 196, 190, 186, 180, 217, 218, 219, 280, 241, 282, 97, 268, 40, 39)
    + (41, 51, 75, 265, *_REFUSED_BOTH),
}
_ARCHITECTURE = {"x86_64": (0xC000003E, 9), "aarch64": (0xC00000B7, 222)}  # its name in a filter, and mmap's number


def _refuse_calls() -> None:
    """Install a filter that answers "not permitted". A machine that is not in the tables goes without."""
    machine = os.uname().machine
    if machine not in _REFUSED:
        return
    name, mmap = _ARCHITECTURE[machine]
    load, equal, at_least, both, give = 0x20, 0x15, 0x35, 0x54, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | errno.EPERM
    shared_and_anonymous = 0x21
    code = [(load, 0, 0, 4), (equal, 1, 0, name), (give, 0, 0, refuse), (load, 0, 0, 0)]
    code += [(at_least, 0, 1, 0x40000000), (give, 0, 0, refuse)]  # the other calling conventions
    for number in _REFUSED[machine]:
        code += [(equal, 0, 1, number), (give, 0, 0, refuse)]
    code += [(equal, 0, 4, mmap), (load, 0, 0, 16 + 3 * 8), (both, 0, 0, shared_and_anonymous)]
    code += [(equal, 0, 1, shared_and_anonymous), (give, 0, 0, refuse), (give, 0, 0, allow)]
    packed = b"".join(struct.pack("HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer)))
    _prctl(PR_SET_SECCOMP, 2, ctypes.addressof(program))


def _hold_only(keep: Sequence[int]) -> list[int]:
    """Close every descriptor but those, which become 3, 4, ...; input and output are the null device."""
    high = [os.dup2(one, 1000 + place, inheritable=False) for place, one in enumerate(keep)]
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    low = [os.dup2(one, 3 + place, inheritable=False) for place, one in enumerate(high)]
    os.closerange(3 + len(low), 1_048_576)
    return low


def _serve(descriptors: list[int]) -> None:
    """Be a kernel on five listening sockets; the sixth descriptor gives the key and takes the word "ready"."""
    channel = socket.socket(fileno=descriptors[-1])
    try:
        key = b""
        while not key.endswith(b"\n"):
            piece = channel.recv(4096)
            if not piece:
                return
            key += piece
        app = _kernel_app(descriptors[:-1], key.strip())
        channel.sendall(b"ready\n")
    except BaseException as error:
        channel.sendall(f"{type(error).__name__}: {error}\n".encode("utf-8", "replace")[:2000])
        raise
    finally:
        channel.close()
    app.start()


def _kernel_app(listeners: Sequence[int], key: bytes) -> Any:
    """A kernel application that is ready to start: no connection file, no history, no heartbeat, no profile."""
    import zmq
    from ipykernel.kernelapp import IPKernelApp
    from traitlets.config import Config

    class App(IPKernelApp):
        def init_connection_file(self) -> None:
            self.transport, self.ip = "ipc", "sandbox"
            for number, name in enumerate(CHANNELS, start=1):
                setattr(self, f"{name}_port", number)
            self.session.key = key

        def _try_bind_socket(self, s: Any, port: int) -> int:
            s.setsockopt(zmq.USE_FD, listeners[port - 1])
            s.bind(f"ipc://sandbox-{port}")
            return port

        def init_control(self, context: Any) -> None:
            super().init_control(context)  # it lets a debugger's socket call the shell by a name that is not here
            self.debug_shell_socket.disconnect(self.shell_socket.getsockopt(zmq.LAST_ENDPOINT))

        def init_heartbeat(self) -> None:
            pass

        def write_connection_file(self, **_: Any) -> None:
            pass

        def cleanup_connection_file(self) -> None:
            pass

        def init_poller(self) -> None:
            pass

    config = Config()
    config.HistoryManager.enabled = False
    config.IPKernelApp.capture_fd_output = False
    config.InteractiveShellApp.matplotlib = None
    config.IPCompleter.use_jedi = False
    sys.argv = ["kernel"]
    app = App.instance(config=config)
    app.initialize([])
    app.kernel.shell.ask_exit = sys.exit  # exit() ends its cell, as sys.exit() does, and leaves the kernel to the next
    return app


def _first_process(limits: Limits, descriptors: list[int]) -> None:
    """Process 1 of a kernel's namespace. Starts the kernel, waits for it and ends; the rest is killed by that."""
    channel = socket.socket(fileno=os.dup(descriptors[-1]))
    try:
        _furnish(limits)
        _limit(limits)
        _drop_privileges()
    except OSError as error:
        channel.sendall(f"{error}\n".encode("utf-8", "replace"))
        return
    channel.close()
    kernel = os.fork()
    if kernel == 0:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _fresh_randomness()
        _serve(descriptors)
        return
    _hold_only([])
    _prctl(PR_SET_DUMPABLE, 0)  # nor can the kernel look into this process
    while True:  # reap whatever ends; process 1 is the parent of all orphans
        ended, _ = os.wait()
        if ended == kernel:
            return


def _fresh_randomness() -> None:
    """Forks of one process would draw the same numbers."""
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()


def _fork_kernel(limits: Limits, descriptors: list[int]) -> int:
    """Fork a kernel; returns its process 1, which becomes a child of this process, or 0 where it did not start."""
    reading, writing = os.pipe()
    helper = os.fork()
    if helper == 0:
        with contextlib.suppress(BaseException):
            *descriptors, writing = _hold_only([*descriptors, writing])
            try:
                _enter_namespaces()
                first = os.fork()
            except OSError as error:
                os.write(descriptors[-1], f"{error}\n".encode("utf-8", "replace"))
                os._exit(1)
            if first == 0:
                os.close(writing)
                _first_process(limits, descriptors)
            else:
                os.write(writing, str(first).encode())
        os._exit(0)
    os.close(writing)
    try:
        return int(os.read(reading, 32) or b"0")
    finally:
        os.close(reading)
        os.waitpid(helper, 0)


def _warm(control: socket.socket, settings: dict[str, Any]) -> None:
    """The warm process: import, then fork kernels as told, watch their memory, and say when they have ended."""
    sys.path += [path for path in settings["path"] if path not in sys.path]
    limits = Limits(**settings["limits"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_DUMPABLE, 0)
    begun = time.monotonic()
    missing = _preload(settings["preload"])
    gc.collect()
    gc.freeze()
    facts = {
        "seconds": time.monotonic() - begun,
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "missing": missing,
    }
    control.send(json.dumps(facts).encode())
    base = _private_kb(os.getpid())
    running: dict[int, tuple[int, int]] = {}  # pidfd of a kernel's process 1 -> (its number here, its process 1)
    greedy: set[int] = set()  # numbers of kernels that were ended for their memory
    looked = 0.0
    while True:
        watched: list[Any] = [control, *running]
        ready, _, _ = select.select(watched, [], [], TICK if running else None)
        if time.monotonic() > looked + TICK / 2:
            looked = time.monotonic()
            for number, first in running.values():
                if _memory_kb(first, base) > limits.memory_mb * 1000:
                    greedy.add(number)
                    os.kill(first, signal.SIGKILL)
        for one in ready:
            if one is not control:
                number, first = running.pop(one)
                os.close(one)
                os.waitpid(first, 0)  # by then nothing of the kernel's namespace runs
                control.send(json.dumps([number, "memory" if number in greedy else "exit"]).encode())
        if control in ready:
            message, descriptors, _, _ = socket.recv_fds(control, 65536, len(CHANNELS) + 1)
            if not message:
                return
            what, number = json.loads(message)
            if what == "start":
                first = _fork_kernel(limits, descriptors)
                for one in descriptors:
                    os.close(one)
                if first:
                    running[os.pidfd_open(first)] = number, first
                else:
                    control.send(json.dumps([number, "exit"]).encode())
            else:
                for first in [first for known, first in running.values() if known == number]:
                    _signal_kernel(what, first)


def _signal_kernel(what: str, first: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if what == "kill":
            os.kill(first, signal.SIGKILL)
        else:
            children = [pid for pid, (parent, _) in _processes().items() if parent == first]
            if children:
                started = _processes()
                os.kill(min(children, key=lambda pid: started[pid][1]), signal.SIGINT)


def _preload(names: Sequence[str]) -> list[str]:
    """Import what kernels need, and return the names that are not installed.

    What else a kernel imports while it starts and runs its first cells is found by a rehearsal in a child.
    """
    missing = []
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            missing.append(name)
    reading, writing = os.pipe()
    rehearsal = os.fork()
    if rehearsal == 0:
        with contextlib.suppress(BaseException):
            _rehearse(writing)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        found = stream.read().split()
    os.waitpid(rehearsal, 0)
    for name in found:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    return missing


def _rehearse(writing: int) -> None:
    """Start a kernel application, run cells that succeed and fail, and write the names of all modules loaded then."""
    listeners = [_listener(f"/tmp/rehearsal-{number}") for number in range(1, len(CHANNELS) + 1)]
    app = _kernel_app([one.fileno() for one in listeners], b"rehearsal")
    for cell in ("1 + 1", "print(1)", "from IPython.display import display; display({}, raw=True)", "1 / 0"):
        app.kernel.shell.run_cell(cell)
    os.write(writing, "\n".join(list(sys.modules)).encode())


def _processes() -> dict[int, tuple[int, int]]:
    """All processes seen here: process -> (parent, start time)."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
                found[int(folder.name)] = int(fields[1]), int(fields[19])
    return found


def _tree_of(first: int) -> list[int]:
    parents = {pid: parent for pid, (parent, _) in _processes().items()}
    tree, fresh = [first], [first]
    while fresh:
        fresh = [pid for pid, parent in parents.items() if parent in fresh and pid not in tree]
        tree += fresh
    return tree


def _private_kb(pid: int) -> int:
    """Resident memory of a process that is not a file's, in kB: 0 where it has ended."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:", "VmSwap:")))
    return 0


def _shared_out_kb(pid: int) -> int:
    """The same, with pages that several processes share divided among them."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:", "SwapPss:")))
    return 0


def _memory_kb(first: int, base: int) -> int:
    """Memory of a kernel's processes above the warm start. Pages that are shared are counted once."""
    tree = _tree_of(first)
    total = sum(max(0, _private_kb(pid) - base) for pid in tree)
    return min(total, sum(map(_shared_out_kb, tree))) if total > 200_000 and len(tree) > 2 else total


def _trial() -> None:
    """Enter all that a kernel is held by, and say so."""
    _enter_namespaces()
    first = os.fork()
    if first == 0:
        _furnish(Limits())
        _limit(Limits())
        _drop_privileges()
        print("sandbox works", flush=True)
        os._exit(0)
    os.waitpid(first, 0)


def _plain(descriptors: list[int], settings: dict[str, Any]) -> None:
    """One kernel without isolation, in a folder of its own."""
    sys.path += [path for path in settings["path"] if path not in sys.path]
    limits = Limits(**settings["limits"])
    for name in ("numpy", "torch"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    _limit(limits, whole_user=True)
    _serve(descriptors)


def _main(arguments: Sequence[str]) -> None:
    if arguments[0] == "trial":
        _trial()
    elif arguments[0] == "warm":
        _warm(socket.socket(fileno=int(arguments[1])), json.loads(arguments[2]))
    elif arguments[0] == "plain":
        _plain(json.loads(arguments[1]), json.loads(arguments[2]))


if __name__ == "__main__":
    _main(sys.argv[1:])
