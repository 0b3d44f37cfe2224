"""Received events as files, for a receiver on one machine.

archive   entries > a file of JSON lines a day, and images; on disk before anybody is told
tail      which events stand at the end of such a file
writer    the thread that moves entries from the spool into it
"""

from eaves.receiver.folder.archive import Archive
from eaves.receiver.folder.writer import FolderWriter

__all__ = ["Archive", "FolderWriter"]
