"""The commands, named as they are typed, with related ones in one module; `eaves.cli.GROUPS` lists them."""
