"""The cloud's side of the link: `python -P -m eaves.receiver` takes events of many sites over HTTPS.

settings    one table for flags, environment variables, validation and docs
sites       which sites there are, and how each shows who it is
tokens      a new token of a site
routes      checks in their order: who speaks, then what may be sent; and who answers what
intake      events of one site > the spool, an account of each
uploads     bodies that come in parts
functions   an image > a function in the cloud > its prediction
ledger_route  what was received from a site, as the ledger has it
counters    what was stored and refused, by site
process     all of it as one process
folder      what was received as files

It answers for an event once that is in its own spool, and passes it on to a sink or a folder from there. It starts
nothing towards the edge: a site may be behind any number of firewalls.
"""
