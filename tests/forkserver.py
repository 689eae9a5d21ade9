"""`python -m zslbench` without the seconds that its imports take.

One process imports them once and forks for each command, which has the arguments, environment, folder, streams and
module path that it was asked with. `python forkserver.py SOCKET` is that process; it ends when its input does.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path
from typing import Any

ONLY_AT_START = ("PYTHON", "LC_", "LANG", "LD_")
"""Variables that an interpreter looks at when it starts, so that a forked one cannot obey them; but for PYTHONPATH."""
CLIENT = f"""#!{{python}}
import os, sys
sys.path.insert(1, {str(Path(__file__).parent)!r})
import forkserver
sys.path.remove({str(Path(__file__).parent)!r})
sys.exit(forkserver.forked({{address!r}}, sys.argv[1:], dict(os.environ), [os.getcwd(), *sys.path[1:]], (0, 1, 2)))
"""
"""A script that takes the place of `zslbench`, for the shell."""


def can_obey(environment: dict[str, str], path: Path | None) -> bool:
    """Whether a forked process can have this further environment and these distributions on its path."""
    return not any(name.startswith(ONLY_AT_START) for name in environment) and not (
        path and ((path / "sitecustomize.py").exists() or list(path.glob("*.pth")))
    )


@cache
def address() -> str:
    """Starts the process, which lasts as long as this one; returns its socket."""
    folder = tempfile.mkdtemp(prefix="fork")
    place = str(Path(folder) / "socket")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, place]
    pipe = subprocess.PIPE  # for all three: Python remembers of a stream whether it can be a pipe
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    atexit.register(process.communicate)  # which closes its input, and so ends it
    return place


def forked(
    address: str, arguments: list[str], environment: dict[str, str], path: list[str], streams: tuple[int, int, int]
) -> int:
    """Runs a command with these streams, and returns its exit status, negative where a signal ended it."""
    order = {"arguments": arguments, "environment": environment, "path": path, "folder": str(Path.cwd())}
    order["executable"] = sys.executable
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        connection.settimeout(240)
        socket.send_fds(connection, [json.dumps(order).encode()], streams)
        connection.shutdown(socket.SHUT_WR)
        pid = b""
        try:
            pid = connection.recv(64)
            return int(connection.recv(64))
        except (TimeoutError, KeyboardInterrupt):
            if pid:
                os.kill(int(pid), signal.SIGKILL)
            raise


def serve(place: str) -> dict[str, Any]:
    """Forks for each order; returns in a process that is to obey one."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait for commands
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, 0], [], [])
        if 0 in ready:
            os._exit(0)
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return _handle(connection)
        connection.close()


def _handle(connection: socket.socket) -> dict[str, Any]:
    """Returns an order in a forked process, waits for that, and tells how it ended."""
    message, streams, _, _ = socket.recv_fds(connection, 2**20, 3)
    while more := connection.recv(2**20):
        message += more
    if (pid := os.fork()) == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        order: dict[str, Any] = json.loads(message)
        return order
    connection.sendall(str(pid).encode())
    _, status = os.waitpid(pid, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def main() -> None:
    """Imports, waits for orders, and obeys one."""
    import zslbench.bench
    import zslbench.cli  # noqa: F401

    gc.freeze()  # or each fork copies all that was imported
    order = serve(sys.argv[1])
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    sys.path[:], sys.argv = order["path"], ["zslbench", *order["arguments"]]
    sys.executable = order["executable"]
    sys.path_importer_cache.clear()
    status: Any = 0
    try:
        runpy.run_module("zslbench", run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        status = ending.code
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status or 0)  # to take down what was imported would take seconds


if __name__ == "__main__":
    main()
