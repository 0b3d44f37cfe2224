"""The local platform: runs functions on one machine with the same contract as Knative.

`eaves deploy` writes a spec file into the state directory, and `eaves up` (the supervisor) starts and stops processes
until they agree with the spec files. It runs a broker that keeps every accepted event in the spool until it is
delivered, function processes from zero to `scale.max` replicas, agents for the sources, and a relay that forwards
events over the link. Functions, agents and relays are child processes that are started like containers. The platform
never forms a cluster of several machines.

supervisor       `eaves up`: keeps processes in agreement with the spec files
apps             functions and triggers of the deployed apps
broker/          accepts events and delivers them
processes/       child processes: replicas, agents, relays, and their logs
server           ports, routes and the access token
client           the same platform for commands: `LocalPlatform`
state            the state directory and its spec files; queues: those in it
console_manager  starts the console's process, console, when somebody looks
settings         the settings of `eaves up`
service, doctor  the systemd service; checks of this machine
"""
