"""The commands, one module each, named as it is typed; a group of commands is a package."""
