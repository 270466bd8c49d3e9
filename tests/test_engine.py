"""Whatever a cell does, its outcome tells it, later cells get their turn where they can, and this side is unharmed."""

from __future__ import annotations

import json
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from mmcourse.course import engine as e
from mmcourse.course import sandbox as s

pytestmark = pytest.mark.skipif(s.why_not() is not None, reason=f"no sandbox here: {s.why_not()}")
LIMITS = s.Limits(cell_seconds=5, total_seconds=30, memory_mb=400, processes=48, file_mb=5, output_kb=100)
PRINT_ON = "print('on')"


@pytest.fixture(scope="module")
def box():
    with s.Sandbox(LIMITS, preload=("numpy", "torch")) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    """After every test: the warm process has no children, its folder no file, and this process has not grown."""
    sandbox = request.getfixturevalue("box")
    run(sandbox, "1")
    before, memory = below(sandbox), s._own_memory_mb()
    yield
    assert below(sandbox) == before
    assert list(sandbox._folder.iterdir()) == []
    assert s._own_memory_mb() - memory < 150
    assert sandbox.kernels == {}


def run(sandbox: s.Sandbox, *sources: str, seconds: float = 5, nonce: str = "n") -> list[e.Outcome]:
    cells = [e.Cell(f"c{number}", textwrap.dedent(source), seconds) for number, source in enumerate(sources)]
    return e.execute(cells, sandbox, nonce=nonce)


def below(sandbox: s.Sandbox) -> list[psutil.Process]:
    return psutil.Process(sandbox._backend.process.pid).children(recursive=True)


def statuses(outcomes: list[e.Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def answer(text: str, nonce: str = "n") -> str:
    return (
        "from IPython.display import publish_display_data\n"
        f"publish_display_data({{{e.ANSWERS!r}: {text!r}}}, metadata={{'nonce': {nonce!r}}})"
    )


# ---- honest cells


def test_no_cells_need_no_kernel():
    assert e.execute([], None, nonce="n") == []


def test_each_cell_has_its_own_outcome_in_order(box):
    out = run(box, "x = 1; print('a')", "", "import sys; print('b', file=sys.stderr)", "print(x)", answer("[1, 2]"))
    assert [one.id for one in out] == ["c0", "c1", "c2", "c3", "c4"]
    assert statuses(out) == ["done"] * 5
    assert [one.output for one in out] == ["a\n", "", "b\n", "1\n", ""]
    assert [one.answers for one in out] == [(), (), (), (), ("[1, 2]",)]
    assert not any(one.forged or one.error for one in out) and all(0 <= one.seconds < 2 for one in out)


def test_an_error_has_type_and_message_and_later_cells_run(box):
    out = run(
        box,
        "raise ValueError('\\x1b[31mred\\x1b[0m ' + 'x' * 5000)",
        "x =",
        "import sys; sys.exit(0)",
        "exit()",
        PRINT_ON,
    )
    assert statuses(out) == ["error", "error", "error", "error", "done"]
    assert out[0].error.startswith("ValueError: red xxx") and len(out[0].error) == 2000
    assert [one.error.split(":")[0] for one in out[1:4]] == ["SyntaxError", "SystemExit", "SystemExit"]
    assert out[4].output == "on\n"


def test_odd_text_comes_through_as_text_that_every_file_can_hold(box):
    out = run(box, "print('\\x00 \\x1b[31mü红')", answer("\ud800"), "x = '\ud800\x00'", "raise KeyError('\\udfff')")
    assert out[0].output == "\x00 ü红\n"
    for outcome in out:
        json.dumps([outcome.error, outcome.output, outcome.answers], ensure_ascii=False).encode()


def test_the_end_of_a_long_output_is_kept(box):
    out = run(box, "print('x' * 50_000 + 'end')")[0]
    assert out.status == "done" and len(out.output) == 10_000 and out.output.endswith("xend\n")


def test_ten_short_cells_are_cheap(box):
    run(box, "1")
    begun = time.monotonic()
    out = run(box, *[answer(str(number)) for number in range(10)])
    assert [one.answers for one in out] == [(str(number),) for number in range(10)]
    assert time.monotonic() - begun < 3  # a third of a second on an idle machine


# ---- time


def test_an_endless_loop_is_interrupted_and_later_cells_run(box):
    out = run(box, "x = 1", "while True: x += 1", "print(x > 1)", seconds=1)
    assert statuses(out) == ["done", "timeout", "done"] and out[2].output == "True\n"
    assert "longer than 1 s and was interrupted" in out[1].error and 1 <= out[1].seconds < 5


def test_a_loop_that_catches_the_interrupt_is_interrupted_again(box):
    source = "import time\nn = 0\nwhile n < 2:\n    try: time.sleep(60)\n    except BaseException: n += 1"
    out = run(box, source, "print(n)", seconds=1)
    assert statuses(out) == ["timeout", "done"] and out[1].output == "2\n"


@pytest.mark.parametrize(
    "source",
    [
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: x = 1",
        "import time\nwhile True:\n    try: time.sleep(60)\n    except BaseException: x = 2",
        "import ctypes; ctypes.PyDLL(None).sleep(60)",
        "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    ],
)
def test_what_ignores_the_interrupt_is_ended_within_five_seconds(box, source):
    begun = time.monotonic()
    out = run(box, source, PRINT_ON, seconds=1)
    assert out[0].status == "timeout" and 1 <= out[0].seconds < 6
    assert time.monotonic() - begun < 7.5
    assert out[1].status == ("not run" if "ignored" in out[0].error else "done")


def test_the_whole_run_has_a_limit_of_its_own():
    with s.Sandbox(s.Limits(total_seconds=2), preload=()) as short:
        begun = time.monotonic()
        out = run(short, "import time; time.sleep(0.5)", "time.sleep(60)", PRINT_ON, seconds=60)
        assert statuses(out) == ["done", "timeout", "not run"] and "the whole run took longer than 2 s" in out[1].error
        assert time.monotonic() - begun < 6


# ---- death


@pytest.mark.parametrize(
    "source",
    [
        "import os; os._exit(0)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import ctypes; ctypes.string_at(0)",
        "import os; os.closerange(0, 300)\nwhile True: x = 1",
        "import os, threading, time; threading.Timer(0.2, os._exit, [0]).start(); time.sleep(2)",
    ],
)
def test_a_dead_kernel_is_told_and_the_rest_is_not_run(box, source):
    out = run(box, "x = 1", source, PRINT_ON, seconds=3)
    assert out[0].status == "done" and out[2].status == "not run"
    assert out[1].status == "died" and out[1].error == "the kernel died"


def test_a_fork_that_goes_on_as_a_second_kernel_ends_with_the_first(box):
    out = run(box, "import os; os.fork()", "print(1)", seconds=3)
    assert out[0].status in ("done", "error", "timeout")


# ---- memory, processes, files


def test_memory_that_is_taken_bit_by_bit_ends_the_kernel(box):
    out = run(box, "import torch\nx = []\nwhile True: x.append(torch.ones(10**6))", PRINT_ON)
    assert statuses(out) == ["memory", "not run"] and "more than 400 MB" in out[0].error


def test_memory_that_many_processes_take_is_added_up(box):
    source = "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        x = bytearray(90_000_000)\n"
    source += "        x[::4096] = b'1' * len(x[::4096])\n        time.sleep(60)\ntime.sleep(60)"
    assert statuses(run(box, source, PRINT_ON)) == ["memory", "not run"]


def test_memory_that_processes_share_is_counted_once(box):
    source = "import os, time\nx = bytearray(150_000_000)\nx[::4096] = b'1' * len(x[::4096])\n"
    source += "pids = [os.fork() for _ in range(1)]\nif 0 in pids:\n    time.sleep(60)\n"
    source += "if os.fork() == 0:\n    time.sleep(60)\ntime.sleep(1)"
    assert statuses(run(box, source, PRINT_ON)) == ["done", "done"]


def test_one_huge_allocation_fails_in_the_cell(box):
    out = run(box, "x = bytearray(10**13)", "import torch; torch.empty(10**12)", PRINT_ON)
    assert statuses(out) == ["error", "error", "done"] and out[0].error.startswith("MemoryError")


def test_a_fork_bomb_meets_its_limit(box):
    out = run(box, "import os, time\nwhile True:\n    if os.fork() == 0: time.sleep(60)", PRINT_ON, seconds=3)
    assert out[0].error.startswith("BlockingIOError")


def test_a_fork_bomb_that_goes_on_is_ended(box):
    source = "import os\nwhile True:\n    try: os.fork()\n    except OSError: x = 1"
    assert run(box, source, PRINT_ON, seconds=2)[0].status in ("timeout", "memory")


def test_folders_and_files_are_small(box):
    fill = "n = 0\nwhile n < 99:\n    open(f'{}/{{n}}', 'wb').write(bytes(10**6)); n += 1"
    out = run(box, "open('big', 'wb').write(bytes(10**7))", *(fill.format(f) for f in ("/student", "/tmp", "/dev/shm")))
    assert [one.error for one in out] == ["OSError: [Errno 27] File too large"] + [
        "OSError: [Errno 28] No space left on device"
    ] * 3
    out = run(
        box, "for n in range(10**6): open(f'/tmp/{n}', 'w').close()", "x = [open('/dev/null') for _ in range(999)]"
    )
    assert [one.error[:13] for one in out] == ["OSError: [Err"] * 2


# ---- output and messages


@pytest.mark.parametrize(
    "source",
    [
        "print('x' * 50_000_000)",
        "import sys\nwhile True: print('x' * 1000)",
        "from IPython.display import display\nwhile True: display({'text/plain': 'x' * 10_000}, raw=True)",
        "raise ValueError('x' * 10**6)",
    ],
)
def test_output_beyond_the_cap_ends_the_kernel(box, source):
    out = run(box, source, PRINT_ON)
    assert statuses(out) == ["output", "not run"]
    assert len(out[0].output) <= 10_000 and len(out[0].error) <= 2000 and out[0].seconds < 9


RAW = "sock = get_ipython().kernel.iopub_thread.socket\nkernel = get_ipython().kernel\nimport zmq, json, time\n"


@pytest.mark.parametrize(
    "source",
    [
        "sock.send(b'x' * 10**9)",
        "while True: sock.send_multipart([b'x' * 10**6] * 12)",
        "b = b'x' * 10**6\nfor _ in range(300): sock.send(b, zmq.SNDMORE)\nsock.send(b'')",
        "while True: sock.send(b'')",
        "while True: kernel.session.send(sock, 'status', {'execution_state': 'idle'}, parent=kernel.get_parent())",
        "while True: kernel.session.send(sock, 'comm_open', {'target_name': 'jupyter.widget', 'data': {}}, ident=b'x')",
    ],
)
def test_a_flood_of_messages_ends_the_kernel(box, source):
    peak = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            peak.append(s._own_memory_mb())

    watcher = threading.Thread(target=watch)
    before = s._own_memory_mb()
    watcher.start()
    try:
        out = run(box, RAW + source, PRINT_ON, seconds=3)
    finally:
        stop.set()
        watcher.join()
    assert out[0].status in ("output", "memory", "timeout") and out[0].seconds < 8
    assert max(peak) - before < 900


@pytest.mark.parametrize(
    "content",
    [
        "b'[' * 20_000",
        "b'\\xff\\xfe{}'",
        "b'null'",
        "b'[]'",
        'b\'{"data": 7, "metadata": []}\'',
        "json.dumps({'data': {ANSWERS: ['x']}, 'metadata': {'nonce': 'n'}}).encode()",
        "json.dumps({'data': {ANSWERS: 'x'}, 'metadata': {'nonce': ['n']}}).encode()",
        "json.dumps({'data': {ANSWERS: 'x'}, 'metadata': None}).encode()",
    ],
)
def test_signed_nonsense_is_ignored_and_marked(box, content):
    source = RAW + f"ANSWERS = {e.ANSWERS!r}\ncontent = {content}\n"
    source += "header = json.dumps(kernel.session.msg_header('display_data'), default=str).encode()\n"
    source += "parent = json.dumps(kernel.get_parent()['header'], default=str).encode()\n"
    source += "parts = [header, parent, b'{}', content]\n"
    source += "sock.send_multipart([b'<IDS|MSG>', kernel.session.sign(parts), *parts])\ntime.sleep(0.2)"
    out = run(box, source, answer("yes"))
    assert statuses(out) == ["done", "done"] and out[1].answers == ("yes",)
    assert out[0].forged and out[0].answers == () and not out[1].forged


def test_a_wrong_nonce_a_foreign_parent_and_a_wrong_key_are_forged(box):
    foreign = "parent = {'header': {'msg_id': 'x'}}\n"
    show = f"{{'data': {{{e.ANSWERS!r}: 'x'}}, 'metadata': {{'nonce': 'n'}}, 'transient': {{}}}}"
    out = run(
        box,
        answer("x", nonce="m"),
        RAW + foreign + f"kernel.session.send(sock, 'display_data', {show}, parent=parent); time.sleep(0.2)",
        RAW + "from jupyter_client.session import Session\n"
        f"Session(key=b'0').send(sock, 'display_data', {show}, parent=kernel.get_parent()); time.sleep(0.2)",
        answer("honest"),
    )
    assert [(one.forged, one.answers) for one in out] == [(True, ()), (True, ()), (True, ()), (False, ("honest",))]
    assert statuses(out) == ["done"] * 4


def test_answers_have_a_cap_of_their_own(box):
    assert (
        run(box, answer("x" * 10) + "\n" + "x = 'y' * 10**6\n" + answer("").replace("''", "x"))[0].answers[1]
        == "y" * 10**6
    )
    flood = answer("x") + "\n" + "x = 'y' * 10**6\nwhile True:\n    " + answer("").split("\n")[1].replace("''", "x")
    out = run(box, flood, PRINT_ON)
    assert statuses(out) == ["output", "not run"] and sum(map(len, out[0].answers)) <= e.ANSWER_BYTES


def test_a_reply_without_an_end_is_not_waited_for(box):
    source = "kernel = get_ipython().kernel\nkernel._publish_status = lambda *a, **k: None\n"
    source += "kernel._publish_status_and_flush = lambda *a, **k: None"
    out = run(box, source, PRINT_ON, seconds=2)
    assert statuses(out) == ["output", "not run"] and out[0].seconds < 8


def test_a_forged_end_moves_no_answer_to_another_cell(box):
    hasty = RAW + "kernel.session.send(sock, 'status', {'execution_state': 'idle'}, parent=kernel.get_parent())\n"
    hasty += "time.sleep(0.5)\n"
    out = run(box, hasty + answer("mine"), answer("probe"))
    assert out[1].answers == ("probe",) and out[0].answers in ((), ("mine",))


def test_the_notebook_of_papermill_stays_empty(box):
    run_ = e._Run([e.Cell("a", "print(1)")], "n", box)
    nb = e.SandboxEngine.execute_notebook(
        run_.notebook(),
        "python3",
        progress_bar=False,
        autosave_cell_every=0,
        kernel_manager_class=box.kernel_manager_class,
        run=run_,
    )
    assert nb.cells[0].outputs == [] and run_.outcomes()[0].output == "1\n"
    assert nb.metadata.papermill.exception is None and not Path("None").exists()
