"""A process with the libraries of a function loaded, from which the local platform forks replicas and the console.

Importing the libraries is the larger part of a replica's start, and their memory is the same in every replica. The
zygote imports them once and never opens a model: it has one thread, and a fork copies only the thread that forks. A
forked replica becomes a child of `eaves up`, so it outlives the zygote, ends with `eaves up`, and its exit code is
known. It runs the code of `python -P -m functions` and differs from a process that was started by that command only
in what is fixed when a program is executed: the seed of Python's hashes, and /proc/PID/environ.

The console is forked in the same way, and imports its own modules then. Its process shares half of its memory with the
zygote. ps(1) shows its command without the argument, for which the zygote's own command line has no room.

`launcher` starts a process without the zygote when the zygote is missing, outdated, or can't fork. A zygote is started
for functions only; without one, the console is started by its command.

__main__        the zygote's process
launcher        starts processes by a fork, or else by a command; restarts the zygote
zygote_process  the zygote as `eaves up` sees it
forked_process  a forked process as `eaves up` sees it
replica_setup   turns a forked child into the process that the command would have started
fork_request    the message that asks for a process
inheritance     what a child process inherits; environment variables that are read while a program starts
libraries       the modules that the zygote imports for replicas, and whether their files have changed
prctl           calls of prctl(2)
"""
