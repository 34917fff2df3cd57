"""Folders that appear whole or not at all: space, unpacking, taking a place, one set-up at a time."""

import contextlib
import fcntl
import os
import shutil
import sys
import zipfile

from download import AGAIN, Failure

GB = 10**9


def need_space(folder, gigabytes):
    free = shutil.disk_usage(folder).free
    if free < gigabytes * GB:
        raise Failure(
            "%s has %.1f GB free and %.1f GB are needed; free some, %s"
            % (folder, free / GB, gigabytes, AGAIN)
        )


def made(*parts):
    path = os.path.join(*parts)
    os.makedirs(path, exist_ok=True)
    return path


def link(target, path):
    if os.path.lexists(path):
        os.remove(path)
    os.symlink(target, path)


def replace(new, place):
    """Moves the folder `new` to `place`; what was there stays until the new one can take over."""
    old = place + ".old"
    shutil.rmtree(old, ignore_errors=True)
    if os.path.islink(place):
        os.remove(place)
    elif os.path.exists(place):
        os.rename(place, old)
    os.rename(new, place)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def locked(folder):
    """One set-up at a time; a second one waits for the first and finds its work done."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("setup: waiting for another set-up to end", file=sys.stderr)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def unpack(wheel, folder, place):
    """Writes the members of `wheel` that have a place below `folder`; the zip's CRCs are checked."""
    count = 0
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            target = place(member.filename)
            if member.is_dir() or not target:
                continue
            path = os.path.join(folder, target)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with archive.open(member) as source, open(path, "wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            count += 1
    if count == 0:
        raise Failure("%s holds none of the files that are needed" % os.path.basename(wheel))
