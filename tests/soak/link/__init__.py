"""The link for long: `python -m tests.soak.link --runs 20 --seed 0`, and the tests that are `slow`."""
