"""The folder source, which turns every complete image file into one event.

    kind      the kind of source, with its settings in eaves.yaml
    watcher   the kernel's notifications (inotify)
    reader    lists the folder and reads files without following links
    source    main loop, which uses these modules

The source never writes to the folder, never follows a symbolic link below it, and waits without limit for a folder that
is missing.
"""
