"""Benchmarks of a function: its start as a process and in a container, its memory, and its predictions under load."""
