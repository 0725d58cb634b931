"""Results of several files, replaced as one in a folder that holds more than them.

A table or a run shares its folder with what must stay: a journal, trained networks, files of the user's own. So its
descriptor is what commits it, by the SHA-256 of each file of the result:

1. each new file is written beside the old one under its pending name (see :func:`netdyno.base.files.pending`);
2. the new descriptor takes the old one's place, in one step: from here on the new result stands;
3. the new files take the old ones' places, and what only the old result had is removed.

A file is read from wherever its content is what the descriptor lists: under its own name or, where the writer was
killed in step 3, under its pending name; the next writer completes that step first. So a reader finds the old result
or the new one, whole, wherever the writer was killed. Where neither has the listed content, somebody else changed the
file, most likely by hand: it is read as it stands, with a warning; so is a descriptor, which is sealed. Descriptors
of earlier versions list nothing and have no seal, and they and their files are read as they are.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from netdyno.base.documents import is_as_sealed, read_document, seal
from netdyno.base.errors import InputError
from netdyno.base.files import lock, make_folder, open_regular, pending, staged, sync_folder, write_atomic, writing

DIGESTS = "sha256"
"""The descriptor's key that holds digests by file name."""
LOG = logging.getLogger("netdyno")
_LARGEST = 256 * 1024 * 1024
_NAME = re.compile(r"(?!\.{1,2}$)[^/\0]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Parts:
    """Where the files of a result are, by name; ``places`` are None where its descriptor lists none.

    ``edited`` names those that are not what the descriptor lists.
    """

    folder: Path
    places: Mapping[str, Path] | None
    edited: tuple[str, ...] = ()

    def path(self, name: str) -> Path | None:
        """Path of a file of the result, which need not exist; None where the descriptor does not list it."""
        return self.folder / name if self.places is None else self.places.get(name)

    def tell(self) -> None:
        """Warn, once a process, of files that were changed since they were written."""
        if self.edited:
            names = ", ".join(self.edited)
            _tell_once(
                f"{self.folder}: changed since it was written, by hand or otherwise: {names}; read as it stands"
            )


def find_parts(folder: Path, descriptor: Mapping[str, Any]) -> Parts:
    """The files that a descriptor, which may be anyone's, lists.

    Raises:
        ValueError: it lists them in another way.
    """
    digests = _digests(descriptor)
    edited = [] if is_as_sealed(descriptor) else ["the descriptor"]
    if digests is None:
        return Parts(folder, None, tuple(edited))
    places = {name: folder / name for name in digests}
    for name, path in places.items():
        if _digest_of(path) != digests[name]:
            if _digest_of(pending(path)) == digests[name]:
                places[name] = pending(path)
            else:
                edited.append(name)
    return Parts(folder, places, tuple(edited))


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Keep writers of this result out for as long as the block reads it."""
    with ExitStack() as handles:
        _lock_folder(folder, fcntl.LOCK_SH, handles)
        yield


def replace_result(
    folder: Path,
    descriptor: str,
    document: Mapping[str, Any],
    files: Mapping[str, bytes],
    former: Collection[str] = (),
) -> None:
    """Write a result's files and, with their digests, its descriptor; what was there is replaced as one.

    ``former`` names files that an older result without digests may have, and that go with it.

    Raises:
        InputError: the folder cannot be written, or another process writes it.
    """
    make_folder(folder)
    with writing(folder), ExitStack() as handles:
        _require_lock(folder, handles)
        old = _complete(folder, descriptor)
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        gone = {name for name in old if _digest_of(folder / name) == old[name]} | set(former)
        _commit(folder, descriptor, seal({**document, DIGESTS: digests}), files)
        for name in gone - files.keys():
            for path in (folder / name, pending(folder / name)):
                path.unlink(missing_ok=True)
        sync_folder(folder)


def add_to_result(folder: Path, descriptor: str, files: Mapping[str, bytes]) -> None:
    """Write further files of a result, or others in their place, and list them in its descriptor.

    Raises:
        InputError: no such result, or it cannot be written.
    """
    with writing(folder), ExitStack() as handles:
        _require_lock(folder, handles)
        old = _complete(folder, descriptor)
        try:
            document = read_document(folder / descriptor)
            listed = _digests(document)
        except ValueError as error:
            raise InputError(f"{folder / descriptor}: not the descriptor of a result: {error}") from error
        if listed is None:  # of before digests were listed: its other files' are not known
            for name, data in files.items():
                write_atomic(folder / name, data)
            return
        digests = old | {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        changed = {**document, DIGESTS: digests}
        # A seal that is broken stays so: adding a file does not make the rest what was written.
        _commit(folder, descriptor, seal(changed) if is_as_sealed(document) else changed, files)
        sync_folder(folder)


def _commit(folder: Path, descriptor: str, document: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """The three steps; see the module."""
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    with ExitStack() as new:
        for name, data in {**files, descriptor: text.encode()}.items():
            new.enter_context(staged(folder / name, data))
        sync_folder(folder)
    # From here on nothing that is pending may be removed, whatever happens.
    os.replace(pending(folder / descriptor), folder / descriptor)
    _move(folder, files)


def _complete(folder: Path, descriptor: str) -> dict[str, str]:
    """Do what a killed writer had still to do, and return the digests of the result that is there."""
    try:
        digests = _digests(read_document(folder / descriptor)) or {}
    except (InputError, ValueError):
        return {}
    _move(folder, [name for name, digest in digests.items() if _digest_of(pending(folder / name)) == digest])
    return digests


def _move(folder: Path, names: Collection[str]) -> None:
    for name in names:
        os.replace(pending(folder / name), folder / name)


def _require_lock(folder: Path, handles: ExitStack) -> None:
    if not _lock_folder(folder, fcntl.LOCK_EX, handles):
        raise InputError(f"{folder}: another process is writing it; wait until it ends")


def _lock_folder(folder: Path, kind: int, handles: ExitStack) -> bool:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # one may write to a folder, and open files in it, without the right to list it
        return True
    handles.callback(os.close, handle)
    return lock(handle, kind)


def _digest_of(path: Path) -> str | None:
    """SHA-256 of a regular file of reasonable size, or None."""
    try:
        with open_regular(path, _LARGEST) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (InputError, OSError):
        return None


def _digests(descriptor: Mapping[str, Any]) -> dict[str, str] | None:
    """Digests that a descriptor lists, None where it is of before digests were listed.

    Raises:
        ValueError: it lists something else.
    """
    digests = descriptor.get(DIGESTS)
    if digests is None:
        return None
    fits = isinstance(digests, dict) and all(
        _NAME.fullmatch(name) and isinstance(digest, str) and _SHA256.fullmatch(digest)
        for name, digest in digests.items()
    )
    if not fits:
        raise ValueError(f"{DIGESTS} does not hold a digest for each file")
    return {str(name): str(digest) for name, digest in digests.items()}


@cache
def _tell_once(message: str) -> None:
    LOG.warning(message)
