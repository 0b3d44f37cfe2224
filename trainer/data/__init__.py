"""Where labelled images come from: a folder per class, a manifest or an archive, here or behind a URI.

    listing     what was found before any image is read        folder      a folder per class
    manifest    rows of path, label and perhaps a split        archive     unpacked without trusting it
    remote      a URI mirrored into a local directory          reading     files read, hashed and looked at
    copies      copies of one photo, and shots that look alike  groups      what stays on one side of the split
    splitting   which images are held out                      stored_split, earlier_run   a run's split, kept and found
    split_before  the split of runs that kept none

`trainer.dataset` puts them together. Everything here ends in local files: nothing downstream knows about URIs. `remote`
alone imports fsspec.
"""
