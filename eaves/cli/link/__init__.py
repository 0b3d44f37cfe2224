"""Code that commands about queues, relays and receivers share.

queue_targets      the queues that a command's options select
relay_targets      the relays that a command's options select
link_status        the state of a relay's link as a sentence, and the wait for its first connection test
site_name          the warning when a site is renamed while its relay holds events
receiver_settings  the queue file of a receiver on this machine, and faults of its settings by flag
"""
