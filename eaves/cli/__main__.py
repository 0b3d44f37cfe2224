"""`python -P -m eaves.cli`: runs the `eaves` command where the script of that name is not on the PATH."""

from eaves.cli import main

if __name__ == "__main__":
    main()
