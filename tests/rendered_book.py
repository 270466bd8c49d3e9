"""The rendered book for tests: made once a run, whichever process needs it first; lessons are executed once for all."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import ROOT
from filelock import FileLock

from mmcourse.course import book

BUILT = ROOT / "book" / "_build"
EXECUTED = BUILT / "executed"
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def executed(lesson: Path) -> Path:
    """The executed notebook of a lesson in the quick profile, kept by content; two processes do not run it twice."""
    EXECUTED.mkdir(parents=True, exist_ok=True)
    with FileLock(EXECUTED / f".{lesson.stem}.lock"):
        return book.execute_once(ROOT, lesson, EXECUTED, say=lambda line: None)


def rendered() -> Path:
    """The folder of the rendered pages, made by the first process that asks."""
    for lesson in reversed(LESSONS):  # the lessons' own tests go the other way: the two meet in the middle
        executed(lesson)
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    done = BUILT / ".rendered"
    with FileLock(BUILT / ".lock"):
        if not (done.is_file() and done.read_text() == run):
            book.make_book(ROOT, repository="", say=lambda line: None)
            done.write_text(run)
    return BUILT / "html"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a plain static server of this folder, such as ``python -m http.server`` is."""
    handler: Callable[..., http.server.SimpleHTTPRequestHandler] = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
