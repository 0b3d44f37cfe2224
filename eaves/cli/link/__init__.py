"""What commands about queues, a relay and a receiver share.

queue_targets     which queues a command works on
relay_targets     which relay a command asks
first_probe       the first answer over the link, at a deploy
link_sentence     how the link is doing, in a sentence
site_name         the name that a site sends its events under
receiver_paths    where a receiver on this machine keeps its files
setting_faults    faults of a receiver's settings as options
"""
