"""Where a ledger may lie: a file of its owner alone, on a disk of this machine."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from farthing.errors import LedgerFull, LedgerUnavailable

NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p",
        "afp",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
    }
    | {"orangefs", "pvfs2", "smb", "smb2", "smb3", "smbfs"}
)
"""Their locks and shared memory do not hold between machines: a ledger there gets damaged."""

_NETWORK_FUSE = (
    "sshfs",
    "s3fs",
    "gcsfuse",
    "rclone",
    "glusterfs",
    "ceph",
    "davfs",
    "curlftpfs",
    "goofys",
    "blobfuse",
    "juicefs",
)
_MOUNTS = "/proc/self/mountinfo"


def make_ready(path: str) -> None:
    """Make the file (0600) and its folder (0700) where they are missing. LedgerUnavailable where that cannot be.

    An existing file is not opened here: closing it again would drop the locks that this process holds on it.
    """
    refuse_network(path)
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        _refuse_existing(path)
    except OSError as error:
        kind = LedgerFull if error.errno == errno.ENOSPC else LedgerUnavailable
        raise kind(
            f"the ledger {path} cannot be made ({error.strerror or error}): give its folder write permission, "
            "or set FARTHING_URL to another place"
        ) from error


def _refuse_existing(path: str) -> None:
    if not os.path.isfile(path):
        raise LedgerUnavailable(f"{path} is no file that can be a ledger: name one in FARTHING_URL")
    for place in (path, os.path.dirname(path)):
        if not os.access(place, os.R_OK | os.W_OK):
            raise LedgerUnavailable(
                f"the ledger {path} cannot be written: this user may not write {place}. Give it write permission, "
                "or set FARTHING_URL to another place"
            )


def refuse_network(path: str) -> None:
    """LedgerUnavailable where the path lies on a network file system. What cannot be known is let pass."""
    kind = file_system(path)
    fuse = kind.partition(".")[2] if kind.startswith("fuse.") else ""
    if kind in NETWORK_FILE_SYSTEMS or fuse.startswith(_NETWORK_FUSE):
        raise LedgerUnavailable(
            f"the ledger {path} is on a network file system ({kind}), where locks do not hold and it "
            "would get damaged: set FARTHING_URL to a file on a local disk"
        )


def file_system(path: str) -> str:
    """The type of file system that the path lies on (or would), as Linux names it; '' where that cannot be known."""
    if not sys.platform.startswith("linux"):
        return ""
    try:
        mounts = Path(_MOUNTS).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    place = os.path.realpath(path)
    best, kind = "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].encode("latin-1", "replace").decode("unicode_escape")  # \040 is a space
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best) and after:
            best, kind = point, after.split(" ")[0]
    return kind
