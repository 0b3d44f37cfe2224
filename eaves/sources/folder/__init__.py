"""The folder source: every image file that is complete becomes one event.

    watcher      the kernel's notifications (inotify)
    scanner      the files that are in the folder now
    candidates   files that were noticed and may not be complete yet
    sent_files   which files were sent, in bounded memory
    reader       opening a file below the folder without following links
    capturer     one complete file > one event
    source       the loop over these
    settings     what eaves.yaml may say of it
    kind         all of it as a kind of source

It never writes to the folder, never follows a symbolic link below it, and never gives up on it: a folder that is gone
is waited for.
"""
