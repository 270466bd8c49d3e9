"""Run the cells of one submission in a sandbox with papermill, and trust nothing that comes out.

Every message of the kernel is taken as written by an adversary: its size is counted before it is read further, its
structure is checked, and none of it steers this process. What a cell did is told by an ``Outcome``, which comes from
this side's clock and from the sandbox's word on how the kernel ended.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import zmq.asyncio
from jupyter_core.utils import run_sync
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine

from mmcourse.course.execute import strip_ansi
from mmcourse.course.sandbox import START_SECONDS, Sandbox, SandboxError

if TYPE_CHECKING:
    from nbformat import NotebookNode
    from papermill.engines import NotebookExecutionManager

ANSWERS = "application/x-mmcourse-answers"  # the type of a probe's message; its value is text
ANSWER_BYTES = 4_000_000  # what the answers of one cell may come to
ERROR_LENGTH = 2_000
OUTPUT_LENGTH = 10_000
INTERRUPTS = 3  # how often a cell beyond its limit is interrupted, a second apart, before the kernel is ended
LAG = 4.0  # seconds that the rest of a cell's messages may take after its reply
MESSAGE_COST = 20  # bytes that any message counts towards the output, beside its content
ENDINGS = {"memory": "memory", "time": "timeout", "timeout": "timeout", "flood": "output", "output": "output"}


@dataclass(frozen=True)
class Cell:
    """One cell to run. ``seconds``: wall limit; 0 takes the sandbox's own."""

    id: str
    source: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What a cell did.

    status:   "done", "error", "timeout", "died", "memory", "output" or "not run".
    error:    the error's type and message, or what ended the cell; no colours, at most 2,000 characters.
    output:   the end of what it printed, at most 10,000 characters.
    answers:  the text of its messages of the type ``ANSWERS`` that carry the nonce. The kernel's code can learn the
              nonce as soon as one probe has run, so take answers only from cells that you wrote, and judge their
              content.
    forged:   there were messages of that type with another nonce or in another cell's name, or messages that no
              honest kernel sends.
    seconds:  wall time.
    """

    id: str
    status: str
    error: str = ""
    output: str = ""
    answers: tuple[str, ...] = ()
    forged: bool = False
    seconds: float = 0.0


def execute(cells: Sequence[Cell], sandbox: Sandbox, *, nonce: str) -> list[Outcome]:
    """Run cells in order in one fresh kernel; one outcome a cell, in the same order.

    nonce:  a word that an honest answer carries in its metadata, as {"nonce": nonce}. Make a new one for each call.

    A cell that raises does not stop the next. A cell beyond its limit is interrupted, and the next goes on; if it
    ignores that, the kernel is ended, within five seconds of the limit. After a kernel's end the rest is "not run".
    Returns with nothing of the kernel left. Where the sandbox itself fails, all cells are run once more in a new one.
    Raises ``SandboxError`` where no kernel could be started, twice.
    """
    if not cells:
        return []
    for attempt in (1, 2):
        run = _Run(cells, nonce, sandbox, last=attempt == 2)
        try:
            SandboxEngine.execute_notebook(
                run.notebook(),
                "python3",
                progress_bar=False,
                autosave_cell_every=0,
                start_timeout=START_SECONDS,
                kernel_manager_class=sandbox.kernel_manager_class,
                run=run,
            )
            break
        except (SandboxError, RuntimeError) as error:
            time.sleep(0.2)  # by then the sandbox has noticed that its warm process is gone
            if attempt == 2:
                raise SandboxError(f"The submission could not be run: {error}") from error
    return run.outcomes()


class KernelGone(Exception):
    """The kernel has ended, and with it this run."""


@dataclass
class _Record:
    """What is known of one cell so far."""

    status: str = "not run"
    error: str = ""
    output: str = ""
    answers: list[str] = field(default_factory=list)
    answer_bytes: int = 0
    spent: int = 0  # bytes of output
    forged: bool = False
    seconds: float = 0.0
    echoed: bool = False
    replied_at: float = 0.0
    idle: bool = False


class _Run:
    """One run: its cells, the nonce, and a record for every cell."""

    def __init__(self, cells: Sequence[Cell], nonce: str, sandbox: Sandbox, *, last: bool = True) -> None:
        self.cells, self.nonce, self.last = list(cells), nonce, last
        self.limits = sandbox.limits
        self.records = [_Record() for _ in cells]

    def notebook(self) -> NotebookNode:
        """The cells as papermill takes them; ids of its own, so that odd ones do no harm."""
        from nbformat.v4 import new_code_cell, new_notebook

        cells = [new_code_cell(_clean(cell.source), id=f"c{number}") for number, cell in enumerate(self.cells)]
        for cell in cells:
            cell.metadata["papermill"] = {}
        return new_notebook(cells=cells, metadata={"papermill": {}})

    def outcomes(self) -> list[Outcome]:
        return [
            Outcome(
                id=cell.id,
                status=record.status,
                error=_clean(strip_ansi(record.error[: 4 * ERROR_LENGTH]))[:ERROR_LENGTH],
                output=_clean(strip_ansi(record.output))[-OUTPUT_LENGTH:],
                answers=tuple(record.answers),
                forged=record.forged,
                seconds=record.seconds,
            )
            for cell, record in zip(self.cells, self.records, strict=True)
        ]


class SandboxEngine(NBClientEngine):
    """papermill's engine with a client that expects the worst."""

    @classmethod
    def execute_managed_notebook(  # type: ignore[override]
        cls, nb_man: NotebookExecutionManager, kernel_name: str, *, run: _Run, start_timeout: int = 60, **kwargs: Any
    ) -> NotebookNode:
        manager = kwargs["kernel_manager_class"]
        client = SandboxClient(
            nb_man, kernel_name=kernel_name, startup_timeout=start_timeout, kernel_manager_class=manager
        )
        client.run = run
        return client.execute()


class SandboxClient(PapermillNotebookClient):
    """papermill's client. Messages are counted and read here, and no output goes into the notebook."""

    run: _Run

    def execute(self, **kwargs: Any) -> NotebookNode:
        """Run all cells in one kernel, and end it."""
        self.reset_execution_trackers()
        with self.setup_kernel(**kwargs):
            self.papermill_execute_cells()
        return self.nb

    def papermill_execute_cells(self) -> None:
        """Run cell after cell, to the last or to the kernel's end."""
        for index, cell in enumerate(self.nb.cells):
            self.nb_man.cell_start(cell, index)
            try:
                self.execute_cell(cell, index)
            except KernelGone:
                return
            finally:
                self.nb_man.cell_complete(cell, cell_index=index)

    async def async_execute_cell(
        self, cell: NotebookNode, cell_index: int, execution_count: int | None = None, store_history: bool = True
    ) -> NotebookNode:
        """Run one cell and fill its record. Raises ``KernelGone`` where the kernel ends, or has to be ended."""
        assert self.kc is not None and self.km is not None
        wanted, record = self.run.cells[cell_index], self.run.records[cell_index]
        record.status = "died"
        begun = time.monotonic()
        try:
            if cell.source.strip():
                await self._run_cell(cell.source, wanted.seconds or self.run.limits.cell_seconds, record)
            else:
                record.status = "done"
        finally:
            record.seconds = time.monotonic() - begun
        return cell

    execute_cell = run_sync(async_execute_cell)  # type: ignore[assignment]

    async def _run_cell(self, source: str, seconds: float, record: _Record) -> None:
        kc: Any = self.kc
        km: Any = self.km
        sockets = {kc.shell_channel.socket: "shell", kc.iopub_channel.socket: "iopub"}
        cut = [each.get_monitor_socket(zmq.EVENT_DISCONNECTED) for each in sockets]  # speaks where a line is cut
        poller = zmq.asyncio.Poller()
        for each in [*sockets, *cut]:
            poller.register(each, zmq.POLLIN)
        limit = time.monotonic() + seconds
        interrupts = 0
        message_id = kc.execute(source, store_history=False, allow_stdin=False, stop_on_error=False)
        while not (record.replied_at and record.idle):
            ready = await poller.poll(20)
            if any(one in cut for one, _ in ready) and await self._lives_on():  # cut for a message that is too large
                await self._end("flood")
                self._gone("flood", seconds, record)
            for one in [one for one, _ in ready if one in sockets]:
                for _ in range(100):
                    try:
                        frames = await one.recv_multipart(zmq.NOBLOCK)
                    except zmq.Again:
                        break
                    self._take(frames, sockets[one], message_id, record)
            now = time.monotonic()
            if record.spent > self.run.limits.output_kb * 1000 or record.answer_bytes > ANSWER_BYTES:
                await self._end("output")
                self._gone("output", seconds, record)
            if km.ended and not any(one in sockets for one, _ in ready):
                self._gone(km.ended, seconds, record)
            if record.replied_at and now > record.replied_at + LAG:  # messages were withheld
                await self._end("flood")
                self._gone("flood", seconds, record)
            if now > limit + interrupts and (not record.replied_at or interrupts == INTERRUPTS):
                if interrupts == INTERRUPTS:
                    await self._end("timeout")
                    self._gone("timeout", seconds, record)
                interrupts += 1
                await km.interrupt_kernel()
        if interrupts:
            record.status, record.error = "timeout", f"the cell took longer than {seconds:g} s and was interrupted"
            await asyncio.sleep(0.1)  # a late interrupt must meet an idle kernel, which ignores it
        elif record.status == "died":
            record.status = "done"

    async def _lives_on(self) -> bool:
        """Whether the kernel still runs, although a line to it is cut; a kernel that dies cuts its lines first."""
        km: Any = self.km
        for _ in range(100):
            if km.ended:
                return False
            await asyncio.sleep(0.01)
        return True

    async def _end(self, why: str) -> None:
        km: Any = self.km
        km.end(why)
        while not km.ended:
            await asyncio.sleep(0.002)

    def _gone(self, why: str, seconds: float, record: _Record) -> None:
        """Say in the record how the kernel ended, and stop the run."""
        limits = self.run.limits
        if why == "lost" and not self.run.last:
            raise SandboxError("the warm process of the sandbox ended")
        record.status = ENDINGS.get(why, "died")
        record.error = {
            "timeout": f"the cell took longer than {seconds:g} s and ignored the interrupt; the kernel was ended",
            "time": f"the whole run took longer than {limits.total_seconds:g} s; the kernel was ended",
            "memory": f"more than {limits.memory_mb} MB of memory were in use; the kernel was ended",
            "output": f"more than {limits.output_kb} kB of output; the kernel was ended",
            "flood": "output that is too large or too fast to be read; the kernel was ended",
        }.get(why, "the kernel died")
        raise KernelGone

    def _take(self, frames: list[bytes], channel: str, message_id: str, record: _Record) -> None:
        """Count a message, and take from it what a record holds. Never raises, whatever the message is."""
        record.spent += MESSAGE_COST
        try:
            assert self.kc is not None
            _, parts = self.kc.session.feed_identities(frames)
            size = sum(map(len, parts[4:]))
            if len(parts) > 20:
                raise ValueError("too many parts")
            message = self.kc.session.deserialize(parts)
            kind, content, parent = message["msg_type"], message["content"], message["parent_header"]
            metadata = content.get("metadata")
            ours = parent.get("msg_id") == message_id
            data = content.get("data", {}) if kind in ("display_data", "execute_result", "update_display_data") else {}
            answer = data.get(ANSWERS)
            status, name, text = content.get("status"), str(content.get("ename", "")), content.get("evalue", "")
        except Exception:  # an honest kernel's messages are all well formed
            record.forged = True
            record.spent += sum(map(len, frames))
            return
        if answer is not None:
            given = metadata.get("nonce") if isinstance(metadata, dict) else None
            if ours and isinstance(answer, str) and isinstance(given, str) and _same(given, self.run.nonce):
                record.answer_bytes += size
                if record.answer_bytes <= ANSWER_BYTES:
                    record.answers.append(_clean(answer))
                return
            record.forged = True
        if kind == "execute_input" and not record.echoed:
            record.echoed = True  # the cell's own source, said once
            return
        record.spent += size
        if not ours:
            return
        if channel == "shell":
            if kind == "execute_reply" and not record.replied_at:
                record.replied_at = time.monotonic()
                if status == "error":
                    record.status, record.error = "error", record.error or f"{name}: {text}"
        elif kind == "status":
            record.idle = record.idle or content.get("execution_state") == "idle"
        elif kind == "stream":
            piece = content.get("text")
            if isinstance(piece, str):
                record.output = (record.output + piece[-2 * OUTPUT_LENGTH :])[-2 * OUTPUT_LENGTH :]
        elif kind == "error":
            record.error = f"{name}: {text}"[: 4 * ERROR_LENGTH]


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _clean(text: str) -> str:
    """Text that every file can hold: lone surrogates become question marks."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
