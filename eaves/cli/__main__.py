"""`python -P -m eaves.cli`: the `eaves` command where its script isn't on the path."""

from eaves.cli import main

if __name__ == "__main__":
    main()
