"""The processes of the local platform, started as a container would be.

process         one child process: started, watched, stopped in order
process_group   processes of one kind, one for each app, started again when they end
failures        how often something failed in a row, and when it is tried again
activator       replicas of a function, from zero and back;  replica: one of them
replica_client  requests to a replica, over kept connections
agents, relays  those of the apps
ports           free TCP ports on loopback;  port_holder: the process that has a port already
logfiles        what they write, bounded on disk
"""
