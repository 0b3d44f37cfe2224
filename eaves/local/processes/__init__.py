"""Child processes of the local platform, started like containers.

process         one child process: started, watched, started again, stopped in order
activator       scaling of a function's replicas from zero and back
app_processes   the agents and the relays of the apps, restarted when they end
logs            log files of the processes, bounded on disk
"""
