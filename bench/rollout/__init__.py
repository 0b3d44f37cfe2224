"""Simulates how often a rollout decides rightly, with Eaves' real code, for the table of docs/11-rollouts.md.

    simulation   one rollout: requests, pods that stop, restart or can't be read, and a reading every few seconds
    scenarios    the old and the new revision of each row of the table
    table        many rollouts per row, with confidence intervals

The results don't depend on the machine: the same seeds give the same table.
"""
