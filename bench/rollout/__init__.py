"""Simulation of how often a rollout's judgement is right, with the real code: the table of docs/11-rollouts.md.

    simulation   one rollout: requests, pods that stop, restart or can't be read, and a reading every few seconds
    scenarios    the two revisions of each row of the table
    table        many rollouts per row, with intervals

The results don't depend on the machine: the same seeds give the same table.
"""
