"""Child processes of the local platform, started like containers.

process         one child process: started, watched and stopped in order
process_group   processes of one kind, one per app, restarted when they end
failures        counts consecutive failures, and says when the next attempt is due
activator       scaling of a function's replicas from zero and back
replica         one replica: its start and its readiness
replica_client  requests to a replica over persistent connections
agents, relays  the agents and the relays of the apps
ports           free TCP ports on loopback
port_holder     the process that listens on a port
logfiles        log files of the processes, bounded on disk
"""
