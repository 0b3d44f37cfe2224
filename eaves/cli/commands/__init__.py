"""The commands: a folder for each group of `eaves --help`, in it a module for each command, named as it is typed."""
