"""Child processes of the local platform, started like containers.

process         one child process: started, watched and stopped in order; counts of failures
activator       scaling of a function's replicas from zero and back
replica_client  requests to a replica over persistent connections
app_processes   the agents and the relays of the apps, restarted when they end
port_holder     the process that listens on a port
logs            log files of the processes, bounded on disk
"""
