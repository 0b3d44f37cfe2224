"""Mutated files, events and requests: each is answered, or refused as its sender's fault. `make fuzz N=1000000`.

Every input follows from a seed and its number, so a finding is found again by its number alone. What is wrong: an
exception other than an `EavesError` of 4xx, an answer of 5xx, more than `MAX_CPU_S` or `MAX_MEMORY`, a dead process.
"""
