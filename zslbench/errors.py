"""The errors that a user may see. Each message is one line: what, where, and what to do."""

from __future__ import annotations

import difflib
import re
import sysconfig
import threading
import traceback
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType


class ZSLBenchError(Exception):
    """Base of every error that is shown as one line; `exit_status` is the command's exit status."""

    exit_status = 1


class UsageError(ZSLBenchError):
    """The command names something that does not exist or is out of range."""

    exit_status = 2


class DataError(ZSLBenchError):
    """A data set is absent, damaged or inconsistent."""


class RunError(ZSLBenchError):
    """A run started and could not finish, for instance because a loss became NaN."""


class PluginError(ZSLBenchError):
    """A plugin does not keep what its registration promised."""


class NotApplicable(ZSLBenchError):
    """A method cannot answer this question, by its nature (a novelty gate has no U->U, say)."""


class NeedsScores(NotApplicable):
    """The question needs the model or the score of every class, but only decisions are kept."""


class Hint(UserWarning):
    """A notice of how an input was understood; it is shown without the word "warning"."""


def one_line(error: BaseException) -> str:
    """Returns the text of an error for people: our own message, or the type and first line of any other error."""
    return str(error) if isinstance(error, ZSLBenchError) else f"{type(error).__name__}: {error}".splitlines()[0]


def located(error: BaseException) -> str:
    """Returns `one_line`, and where the user's own code failed: ` (file, line N, in name)`.

    That is the innermost place outside installed packages. There is none if all of the code was installed.
    """
    if isinstance(error, ZSLBenchError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith("<") and not _is_installed(Path(f.filename))]
    if not own:
        return one_line(error)
    path, here = Path(own[-1].filename), Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{one_line(error)} ({shown}, line {own[-1].lineno}, in {own[-1].name})"


_HERE = Path(__file__).parent
_INSTALLED = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}


def _is_installed(path: Path) -> bool:
    return path.is_relative_to(_HERE) or any(path.is_relative_to(folder) for folder in _INSTALLED)


def printable(text: str) -> str:
    """Returns text in one line that is safe for a terminal: control characters become visible escapes.

    These are C0 and C1 controls, line ends, and marks that turn the direction of writing. A tab becomes a space.
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text.replace("\t", " "))


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Warns in one line of an error in a thread that a plugin or library started and nobody waits for."""
    if failure.exc_value is not None:
        warnings.warn(f"a thread ended with an error ({one_line(failure.exc_value)})", stacklevel=2)


def near_misses(
    name: str, known: Iterable[str], titles: Mapping[str, str] = MappingProxyType({}), listed: bool = True
) -> str:
    """Returns `; did you mean 'x'?`, or the known names if none is near and a list is wanted.

    `titles` are other words for the names: a name is also suggested if its title is near. Upper and lower case count
    as equal.
    """
    known = sorted(known)
    meant: dict[str, str] = {}
    for word, own in [*zip(known, known, strict=True), *titles.items()]:
        meant.setdefault(word.casefold(), own)
    close = dict.fromkeys(meant[word] for word in difflib.get_close_matches(name.casefold(), meant, n=3, cutoff=0.6))
    if close:
        return "; did you mean " + " or ".join(map(repr, close)) + "?"
    return f"; known: {', '.join(known)}" if known and listed else ""
