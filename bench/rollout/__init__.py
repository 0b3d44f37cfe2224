"""How often a rollout is judged rightly, by simulation through the code that judges: the table of docs/11-rollouts.md.

    simulation   one rollout: requests, pods that stop, start again or can't be read, and a look every few seconds
    scenarios    the two revisions of each line of the table
    table        many rollouts a line, with intervals

It measures no machine: the same seeds give the same table.
"""
