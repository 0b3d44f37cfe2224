"""Writing of received events into files, for a receiver on one machine.

archive   writes entries to one file of JSON lines per day, and images; durable on return
tail      reads the last events of such a file, and repairs it
writer    the thread that moves entries from the spool into the archive
"""

from eaves.receiver.folder.archive import Archive
from eaves.receiver.folder.writer import FolderWriter

__all__ = ["Archive", "FolderWriter"]
