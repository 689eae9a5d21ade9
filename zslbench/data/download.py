"""Gets data sets from the official archive of the GBU release: resumable, checked, nothing half-written visible."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

from zslbench.data.folders import cache_folder
from zslbench.data.made import Progress
from zslbench.errors import DataError
from zslbench.files import locked, publish, whole, write_whole, writing

URL = "http://datasets.d2.mpi-inf.mpg.de/xian/xlsa17.zip"
ARCHIVE_PREFIX = "xlsa17/data"
ARCHIVE_FOLDERS = ("APY", "AWA1", "AWA2", "CUB", "SUN")
ARCHIVE_FILES = ("att_splits.mat", "res101.mat")

TIMEOUT_S = 30
BREAKS = 5
"""How often in a row a transfer may break off without a single byte gained."""
CHUNK = 2**18
DAMAGE = (zipfile.BadZipFile, EOFError, zlib.error, RuntimeError)
"""What zipfile raises for archives that it cannot read."""


def get(folder: str, root: Path, progress: Progress | None = None) -> list[Path]:
    """Gets one data set's files that are not below `root` yet; the archive stays in the cache for the next one.

    `progress` is told the bytes that are there and the bytes expected, 0 if the server does not say.

    Returns:
        The files that were added.

    Raises:
        DataError: the data set is not in the archive, the source is unreachable, or what it sent is damaged.
    """
    if folder not in ARCHIVE_FOLDERS:
        raise DataError(
            f"the GBU archive has no folder {folder}, only {', '.join(ARCHIVE_FOLDERS)}; "
            f"put {' and '.join(ARCHIVE_FILES)} into {root / folder} yourself"
        )
    wanted = [name for name in ARCHIVE_FILES if not (root / folder / name).is_file()]
    if not wanted:
        return []
    archive = cache_folder() / "downloads" / Path(URL).name
    with writing(archive):
        archive.parent.mkdir(parents=True, exist_ok=True)
        with locked(archive.with_suffix(".lock")):
            if not archive.is_file():
                download(URL, archive, f"{' and '.join(wanted)} into {root / folder}", progress)
            return unpack(archive, folder, wanted, root)


def download(url: str, target: Path, by_hand: str, progress: Progress | None = None) -> None:
    """Downloads a zip archive, going on where an earlier attempt broke off, and checks it before it gets its name.

    The SHA-256 is written beside it, since none is published, and until then the unfinished file, with the suffix
    `.part`. If the source stays unreachable, `by_hand` says what to put where instead.

    Raises:
        DataError: the source is unreachable, or what it sent is no whole zip archive.
    """
    part = target.with_name(f"{target.name}.part")
    breaks = 0
    while True:
        before = _size(part)
        try:
            if _transfer(url, part, progress):
                break
            reason = "the connection broke off"
        except urllib.error.HTTPError as error:
            raise _unreachable(url, target, by_hand, f"HTTP status {error.code}") from error
        except (http.client.HTTPException, urllib.error.URLError, ConnectionError, TimeoutError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        breaks = 0 if _size(part) > before else breaks + 1
        if breaks >= (BREAKS if _size(part) else 1):
            raise _unreachable(url, target, by_hand, reason)
    if problem := _damage(part):
        part.unlink()
        raise DataError(f"what {url} sent is no whole archive ({problem}); it was deleted, so run the command again")
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    write_whole(target.with_name(f"{target.name}.sha256"), f"{digest}  {target.name}\n")
    publish(part, target)


def unpack(archive: Path, folder: str, names: list[str], root: Path) -> list[Path]:
    """Unpacks files of one data set, each visible below `root` only once it is whole; zipfile checks their CRC.

    Raises:
        DataError: the archive is damaged or does not hold them.
    """
    added = []
    try:
        with zipfile.ZipFile(archive) as opened:
            for name in names:
                target = root / folder / name
                source = opened.open(f"{ARCHIVE_PREFIX}/{folder}/{name}")
                with source, whole(target) as part, part.open("wb") as file:
                    shutil.copyfileobj(source, file, CHUNK)
                added.append(target)
    except KeyError as error:
        raise DataError(f"{archive}: it holds no {ARCHIVE_PREFIX}/{folder}/{name}") from error
    except DAMAGE as error:
        raise DataError(f"{archive}: the archive is damaged ({error}); delete it and run the command again") from error
    return added


def _transfer(url: str, part: Path, progress: Progress | None) -> bool:
    """Appends what is missing to `part`; returns whether it is now as long as the server says."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return True
            part.unlink()  # longer than the archive, so it is part of something else
            return _transfer(url, part, progress)
        raise
    with response, part.open("ab" if response.status == http.client.PARTIAL_CONTENT else "wb") as file:
        start = file.tell()
        length = int(response.headers.get("Content-Length", 0))
        total = start + length if length else 0
        while chunk := response.read(CHUNK):
            file.write(chunk)
            if progress is not None:
                progress(file.tell(), total)
        return total in (0, file.tell())


def _damage(path: Path) -> str:
    """Returns what is wrong with a downloaded archive, or an empty string; reads it through."""
    try:
        with zipfile.ZipFile(path) as opened:
            known = {f"{ARCHIVE_PREFIX}/{folder}/{name}" for folder in ARCHIVE_FOLDERS for name in ARCHIVE_FILES}
            if not known & set(opened.namelist()):
                return f"nothing of {ARCHIVE_PREFIX} is in it"
            broken = opened.testzip()
            return f"{broken} is damaged" if broken else ""
    except DAMAGE as error:
        return str(error)


def _unreachable(url: str, target: Path, by_hand: str, reason: str) -> DataError:
    return DataError(
        f"{url} cannot be fetched ({reason}); run the command again to go on, or get the archive elsewhere and put it "
        f"at {target}, or put {by_hand}"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
