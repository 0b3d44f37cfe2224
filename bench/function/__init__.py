"""Benchmarks of a function: start, warm requests, frames, and a comparison with other servers."""
