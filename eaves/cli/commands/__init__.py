"""The modules of all commands, one for each command and named like it, in a folder for each group of `eaves --help`."""
