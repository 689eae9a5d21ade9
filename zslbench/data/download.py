"""Gets data sets from the official archives of the GBU release: resumable, checked, nothing half-written visible."""

from __future__ import annotations

import hashlib
import http.client
import re
import shutil
import stat
import urllib.error
import urllib.request
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from zslbench.data.folders import cache_folder
from zslbench.data.made import Progress
from zslbench.errors import DataError, one_line
from zslbench.files import NotWritten, check_expansion, locked, publish, reading, whole, write_whole, writing

SITE = "http://datasets.d2.mpi-inf.mpg.de/xian"


@dataclass(frozen=True)
class Archive:
    """An archive of the release.

    Attributes:
        name: of its file.
        folders: those taken from it, a data set each.
        most: more bytes than it has; whatever is larger is something else.
    """

    name: str
    folders: tuple[str, ...]
    most: int

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{SITE}/{self.name}"

    def member(self, folder: str, file: str) -> str:
        """Returns the name of a data set's file in it."""
        return f"{self.name.removesuffix('.zip')}/data/{folder}/{file}"


ARCHIVES = (
    Archive("xlsa17.zip", ("APY", "AWA1", "AWA2", "CUB", "SUN"), 2 * 10**9),
    Archive(
        "cvpr18xian.zip", ("FLO",), 20 * 10**9
    ),  # of Feature Generating Networks (CVPR 2018); its size is not known
)
ARCHIVE_FOLDERS = tuple(sorted(folder for archive in ARCHIVES for folder in archive.folders))
ARCHIVE_FILES = ("att_splits.mat", "res101.mat")

TIMEOUT_S = 30
BREAKS = 5
"""How often in a row a transfer may break off without a single byte gained."""
CHUNK = 2**18
MOST = 2 * 10**9
"""More bytes than any file in an archive has: whatever is larger is something else."""
KIND, ADVICE = "a whole zip archive", "delete it and run the command again"
ENCRYPTED = 1
"""The flag of an archive's member that needs a password."""


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
            f"the GBU archives have no folder {folder}, only {', '.join(ARCHIVE_FOLDERS)}; "
            f"put {' and '.join(ARCHIVE_FILES)} into {root / folder} yourself"
        )
    wanted = [name for name in ARCHIVE_FILES if not (root / folder / name).is_file()]
    if not wanted:
        return []
    archive = archive_of(folder)
    path = cache_folder() / "downloads" / archive.name
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock")):
            if not path.is_file():
                download(archive, path, f"{' and '.join(wanted)} into {root / folder}", progress)
            return unpack(path, {name: archive.member(folder, name) for name in wanted}, root / folder)


def archive_of(folder: str) -> Archive:
    """Returns the archive that has a data set's folder, one of `ARCHIVE_FOLDERS`."""
    return next(archive for archive in ARCHIVES if folder in archive.folders)


def download(archive: Archive, target: Path, by_hand: str, progress: Progress | None = None) -> None:
    """Downloads a zip archive, going on where an earlier attempt broke off, and checks it before it gets its name.

    The SHA-256 is written beside it, since none is published, and until then the unfinished file, with the suffix
    `.part`. If the source stays unreachable, `by_hand` says what to put where instead.

    Raises:
        DataError: the source is unreachable, what it sent is no whole zip archive or larger than it can be, or there is
            no room for it; only after a source that breaks off a part stays, to go on from.
    """
    part, url = target.with_name(f"{target.name}.part"), archive.url
    breaks = 0
    while True:
        before = _size(part)
        try:
            if _transfer(archive, part, progress):
                break
            reason = "the connection broke off"
        except urllib.error.HTTPError as error:
            raise _unreachable(url, target, by_hand, f"HTTP status {error.code}") from error
        except (http.client.HTTPException, OSError, ValueError) as error:
            reason = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
        except DataError:  # too large, or the disk is full
            part.unlink(missing_ok=True)
            raise
        breaks = 0 if _size(part) > before else breaks + 1
        if breaks >= (BREAKS if _size(part) else 1):
            raise _unreachable(url, target, by_hand, reason)
    try:
        _check(archive, part)
    except Exception as error:
        part.unlink()
        reason = one_line(error).removeprefix(f"{part}: ")
        raise DataError(
            f"what {url} sent is no whole archive ({reason}); it was deleted, so run the command again"
        ) from error
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    write_whole(target.with_name(f"{target.name}.sha256"), f"{digest}  {target.name}\n")
    publish(part, target)


def unpack(archive: Path, names: Mapping[str, str], folder: Path) -> list[Path]:
    """Unpacks files of one data set, each visible in `folder` only once it is whole; zipfile checks their CRC.

    Nothing in the archive says where a file is written: its place follows from the name that is asked for.

    Args:
        archive: the file.
        names: name that a file gets -> its name in the archive.
        folder: where to.

    Raises:
        DataError: the archive is damaged, does not hold them, or holds something else by their names; or there is no
            room for them.
    """
    added = []
    with reading(archive, KIND, ADVICE), zipfile.ZipFile(archive) as opened:
        members = [_member(archive, opened, member) for member in names.values()]
        _check_room(folder, sum(member.file_size for member in members))
        for name, member in zip(names, members, strict=True):
            target = folder / name
            with whole(target) as part, part.open("wb") as file:
                file.writelines(_content(archive, opened, member))
            added.append(target)
    return added


def _transfer(archive: Archive, part: Path, progress: Progress | None) -> bool:
    """Appends what is missing to `part`; returns whether it is now as long as the server says."""
    have, url = _size(part), archive.url
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return True
            part.unlink()  # longer than the archive, so it is part of something else
            return _transfer(archive, part, progress)
        raise
    with response:
        goes_on = response.status == http.client.PARTIAL_CONTENT
        if goes_on and not re.match(rf"bytes {have}-", response.headers.get("Content-Range", f"bytes {have}-")):
            part.unlink()  # what came is not what was asked for
            return _transfer(archive, part, progress)
        start = have if goes_on else 0
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if re.fullmatch("[0-9]{1,18}", length) else 0  # the end is looked at anyway
        _check_size(archive, total)
        _check_room(part.parent, total - have)
        with writing(part), part.open("ab" if goes_on else "wb") as file:
            done = start
            while chunk := _read(response):
                done += len(chunk)
                _check_size(archive, done)
                file.write(chunk)
                if progress is not None:
                    progress(done, total)
        return total in (0, done)


def _read(response: http.client.HTTPResponse) -> bytes:
    """Reads a piece; an error of the connection is not one of the file that is being written."""
    try:
        return response.read(CHUNK)
    except OSError as error:
        raise http.client.HTTPException(str(error) or type(error).__name__) from error


def _check_size(archive: Archive, size: int) -> None:
    if size > archive.most:
        more = f"{archive.url} sends more than {archive.most / 1e9:g} GB"
        raise DataError(f"{more}, and the archive has less; it is not the right one")


def _check_room(folder: Path, size: int) -> None:
    """Raises a DataError if a folder, or where it is to be made, has no room for so many bytes."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if size > free:
        raise NotWritten(
            f"{folder}: {size / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free; make room, or name another "
            "folder by ZSLBENCH_CACHE or --data-root"
        )


def _check(archive: Archive, path: Path) -> None:
    """Reads what is wanted of a downloaded archive to its end; raises whatever error its damage leads to."""
    known = {archive.member(folder, name) for folder in archive.folders for name in ARCHIVE_FILES}
    with reading(path), zipfile.ZipFile(path) as opened:
        found = sorted(known & set(opened.namelist()))
        if not found:
            raise DataError(f"none of its files is there, {min(known)} for one")
        for name in found:
            deque(_content(path, opened, _member(path, opened, name)), maxlen=0)


def _member(archive: Path, opened: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Returns a member of an archive that is an ordinary file of a believable size.

    Raises:
        DataError: there is none, or it is encrypted, a link, a folder, or far larger than its place in the archive.
    """
    try:
        member = opened.getinfo(name)
    except KeyError:
        raise DataError(f"{archive}: it holds no {name}") from None
    kind = stat.S_IFMT(member.external_attr >> 16)
    if member.is_dir() or kind not in (0, stat.S_IFREG):
        raise DataError(f"{archive}: {name} is no ordinary file; get the archive of the release")
    if member.flag_bits & ENCRYPTED:
        raise DataError(f"{archive}: {name} is encrypted; get the archive of the release, which is not")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others may ask for gigabytes of memory
        how = {zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "lzma"}.get(member.compress_type, "another method")
        raise DataError(f"{archive}: {name} is compressed by {how}, not deflate; get the archive of the release")
    if member.file_size > MOST:
        raise DataError(
            f"{archive}: {name} declares {member.file_size / 1e9:,.1f} GB; no file of the release is so large"
        )
    check_expansion(archive, member.file_size, name)
    return member


def _content(archive: Path, opened: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yields a member in pieces; an error of the archive is not one of the file that they are written to."""
    done = 0
    with reading(archive, KIND, ADVICE):
        source = opened.open(member)
    with source:
        while True:
            with reading(archive, KIND, ADVICE):
                chunk = source.read(CHUNK)
                if not chunk and done < member.file_size:
                    raise EOFError(f"{member.filename} has {done} bytes and declares {member.file_size}")
            if not chunk:
                return
            done += len(chunk)
            yield chunk


def _unreachable(url: str, target: Path, by_hand: str, reason: str) -> DataError:
    return DataError(
        f"{url} cannot be fetched ({reason}); run the command again to go on, or get the archive elsewhere and put it "
        f"at {target}, or put {by_hand}"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
