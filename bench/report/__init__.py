"""Keeps the results of the benchmarks as JSON, and writes docs/benchmarks.md and its charts from them.

A part is one benchmark with a section on the page. It returns a `Section`: figures with their bars, tables and charts.
`store` adds the machine and the time of the measurement, and `page` renders all stored sections.
"""
