"""Writes a layout as one tar (`oci-archive`), which podman, ctr and skopeo read."""

from __future__ import annotations

import tarfile
from pathlib import Path

from eaves.base.files import replacing
from eaves.errors import OciError
from eaves.oci.store.layout import Layout


def write_archive(layout: Layout, path: Path) -> None:
    """Write the files of a layout into a tar file, atomically and in a fixed order, without times and owners.

    Raises:
        OciError: When the tar can't be written.
    """
    files = sorted(file for file in layout.path.rglob("*") if file.is_file() and not file.name.startswith("."))
    try:
        with (
            replacing(path, durability="none", mode=0o644) as stream,
            tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for folder in sorted({parent for file in files for parent in file.relative_to(layout.path).parents[:-1]}):
                info = tarfile.TarInfo(folder.as_posix())
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            for file in files:
                info = tarfile.TarInfo(file.relative_to(layout.path).as_posix())
                info.size, info.mode = file.stat().st_size, 0o644
                with file.open("rb") as content:
                    tar.addfile(info, content)
    except OSError as error:
        raise OciError(f"{path} can't be written: {error.strerror}", hint="free space on this disk") from error
