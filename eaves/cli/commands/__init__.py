"""The commands, one module each, named as they are typed; `eaves.cli.GROUPS` lists them."""
