"""A platform for tests of the console, with values that tests set."""
