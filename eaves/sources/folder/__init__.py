"""The folder source, which turns every complete image file into one event.

    watcher      the kernel's notifications (inotify)
    scanner      lists the files in the folder
    candidates   files that were noticed and may still be incomplete
    reader       opens a file below the folder without following links
    capturer     turns one complete file into one event
    source       main loop, which uses these modules
    settings     settings of the kind in eaves.yaml
    kind         the kind of source

The source never writes to the folder, never follows a symbolic link below it, and waits without limit for a folder that
is missing.
"""
