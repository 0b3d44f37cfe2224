"""The fenced blocks of the documentation, and the tests that run every one of them.

A block of a shell language (bash, sh, console) is a command block and is run; `text` is output or a layout; YAML and
JSON that readers copy are validated. The page is the only source: a test runs its text unchanged, in a fresh folder.

An HTML comment directly above a block says how it is run, as `<!-- KEY: VALUE; KEY: VALUE -->`. Keys of commands:

- `runs`: the suite: `local` (make test; the default), `slow` (make test-slow) or `cluster` (--e2e).
- `script`: name of the script that the block belongs to. The blocks of one page, suite and name run in order, in one
  folder and one shell.
- `after`: on the first block of a script, what the reader already has: names of `preparation.py`, such as `deployed`.
- `needs`: commands that must be installed, `root`, `python-MODULE`, or
  `shared/PATH` in the folder beside the project. Without them the script is skipped.
- `terminal`: the block keeps running in a terminal of its own. The next block starts once its output matches this
  regular expression.
- `values`: the block only sets variables. A test may set the same variables to other values after it; this is the only
  way in which what runs differs from the page.
- `simulated`: the block of the suite `cluster` also runs in make test, against a simulated cluster; see
  `tests/docs/clusters`.
- `fails`: the exit code that the block ends with.

Keys of other blocks, which may have a `script` too:

- `printed`: the commands above printed these lines. Numbers may differ; a line `...` stands for any lines, and
  `...` within a line for any text.
- `file`: the block is written to this file before the commands after it.
- `merge`: the YAML block's sections replace those of this file before the commands after it.
- `checked`: what validates YAML or JSON, of `checks.py`.

This package runs pages and knows nothing of what they say.
"""
