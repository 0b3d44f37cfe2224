"""Benchmarks of a function: cold start, warm requests, decoding of frames, and a comparison with other servers."""
