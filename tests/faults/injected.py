"""File operations that are counted, and at one of which the process dies or the disk is full from then on."""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import safetensors.torch

CHANGING = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "open", "write", "fsync", "ftruncate", "link")
"""Functions of `os` before which a process may die."""
FILLING = ("mkdir", "open", "write", "fsync")
"""Those that fail on a full disk."""
DIED = -signal.SIGKILL


class Injector:
    """Counts operations below a folder, and lets the one of a certain number go wrong.

    Args:
        below: only what is done in this folder counts.
        at: which operation, from 1; 0 for none.
        how: `die`, before it, or in the middle of a write; or `full`: it and all later ones that need room fail.
        log: where the number of operations is kept, for a process that ends.
    """

    def __init__(self, below: Path, at: int, how: Literal["die", "full"], log: Path) -> None:
        self.below, self.at, self.how, self.log = os.path.realpath(below), at, how, log
        self.count = 0
        self._open = builtins.open

    def install(self) -> None:
        """Takes the place of the functions of `os`, of `open` and of what writes files without them."""
        for name in FILLING if self.how == "full" else CHANGING:
            setattr(os, name, self._counted(getattr(os, name)))
        builtins.open = io.open = self._opened  # type: ignore[assignment]
        safetensors.torch.save_file = self._saved(safetensors.torch.save_file)

    def happens(self, torn: Callable[[], object] | None = None) -> None:
        """Counts an operation; `torn` does half of it where the process dies in it."""
        self.count += 1
        with self._open(self.log, "w") as file:
            file.write(str(self.count))
        if self.how == "full" and 0 < self.at <= self.count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.how == "die" and self.count == self.at:
            if torn is not None:
                torn()
            os.kill(os.getpid(), signal.SIGKILL)  # os._exit would be refused in the middle of a run

    def concerns(self, path: object) -> bool:
        """Whether a path or a descriptor is of a file in the folder."""
        if isinstance(path, int):
            try:
                place = str(Path(f"/proc/self/fd/{path}").readlink())
            except OSError:
                return False
        else:
            place = os.path.abspath(os.fspath(path))  # type: ignore[call-overload]  # noqa: PTH100 (links stay links)
        return place.startswith(f"{self.below}{os.sep}")

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def function(first: Any, *arguments: Any, **options: Any) -> Any:
            reads = real.__name__ == "open" and not (arguments[0] if arguments else options["flags"]) & (
                os.O_WRONLY | os.O_RDWR
            )
            place = options.get("dir_fd", first) if not isinstance(first, int) else first
            if not reads and self.concerns(first if place is None else place):
                torn = None
                if real.__name__ == "write":
                    torn = lambda: real(first, bytes(arguments[0])[: len(arguments[0]) // 2])  # noqa: E731
                self.happens(torn)
            return real(first, *arguments, **options)

        return function

    def _opened(self, file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        writes = set(mode) & set("wax+") and not isinstance(file, int) and self.concerns(file)
        if writes:
            self.happens()
        opened = self._open(file, mode, *arguments, **options)
        return _Written(opened, self) if writes else opened

    def _saved(self, real: Callable[..., None]) -> Callable[..., None]:
        def save_file(tensors: Any, path: Any, *arguments: Any, **options: Any) -> None:
            def torn() -> None:
                real(tensors, path, *arguments, **options)
                os.truncate(path, Path(path).stat().st_size // 2)

            if self.concerns(path):
                self.happens(torn)
            real(tensors, path, *arguments, **options)

        return save_file


class _Written:
    """A file whose writes are counted."""

    def __init__(self, file: Any, injector: Injector) -> None:
        self._file, self._injector = file, injector

    def write(self, content: Any) -> int:
        def torn() -> None:
            self._file.write(content[: len(content) // 2])
            self._file.flush()

        self._injector.happens(torn)
        return int(self._file.write(content))

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
