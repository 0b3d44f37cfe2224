"""What commands about queues, a relay and a receiver share.

queue_targets      which queues a command works on
relay_targets      which relay a command asks
link_status        how the link is doing, in a sentence, and its first answer at a deploy
site_name          the name that a site sends its events under
receiver_settings  where a receiver on this machine keeps its queue, and faults of its settings as options
"""
