"""Lists, installs and runs the model servers that the benchmarks compare, Eaves among them."""
