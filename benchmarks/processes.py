"""Server processes of a benchmark: started, pinned to a core, their processor time read, ended."""
from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil
import psycopg2
from attrs import field, frozen

ROOT = Path(__file__).resolve().parent.parent
SERVER_CORE, OTHER_CORE = 0, 1
PATIENCE = 20.0         # seconds for a server to end: interactd gives the requests in work ten


@frozen
class Command:
    """How a server is started: `{port}` stands for its port."""

    words: list[str]
    environ: dict[str, str] = field(factory=dict)
    folder: Path = ROOT


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def pin(process: psutil.Process, core: int) -> None:
    """The process and its children run on that core."""
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            one.cpu_affinity([core])


def seconds(process: psutil.Process) -> float:
    """Processor time of a process, of its children, and of those that have ended."""
    total = sum(process.cpu_times()[:4])
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += sum(child.cpu_times()[:2])
    return float(total)


def postmaster(dsn: str) -> psutil.Process:
    """The PostgreSQL server behind an address, on this machine."""
    backend = psycopg2.connect(dsn)
    found = psutil.Process(backend.info.backend_pid).parent()
    backend.close()
    assert found is not None
    return found


class Server:
    """A running server on the servers' core; its port is open."""

    def __init__(self, command: Command) -> None:
        self.port = free_port()
        quiet = None if os.environ.get("VERBOSE") else subprocess.DEVNULL
        self._process = subprocess.Popen([word.replace("{port}", str(self.port)) for word in command.words], cwd=command.folder, stdout=quiet,
                                         stderr=quiet, env={**os.environ, "PYTHONPATH": str(ROOT), **command.environ},
                                         preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}))
        self.process = psutil.Process(self._process.pid)

    def __enter__(self) -> Server:
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.5).close()
                return self
            except OSError:
                if self._process.poll() is not None:
                    raise SystemExit(f"{self._process.args!r} ended; VERBOSE=1 shows what it says") from None
                time.sleep(0.1)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            print(f"{self._process.args!r} did not end when it was told to, and was killed", file=sys.stderr)
            self._process.kill()
            self._process.wait()


def begun(arguments: list[str]) -> subprocess.Popen[str]:
    """A load or another program of ours, on the other core, whose lines can be read."""
    return subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                            preexec_fn=lambda: os.sched_setaffinity(0, {OTHER_CORE}))
