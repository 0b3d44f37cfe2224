"""The folder source, which turns every complete image file into one event.

    watcher   the kernel's notifications (inotify)
    reader    lists the folder and reads files without following links
    source    the kind of source, its settings in eaves.yaml, and the main loop

The source never writes to the folder, never follows a symbolic link below it, and waits without limit for a folder that
is missing.
"""
