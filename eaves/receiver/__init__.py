"""The cloud's end of the link: `python -P -m eaves.receiver` takes events of many sites over HTTPS.

settings    one table for flags, environment variables, validation and docs
sites       known sites, and their tokens and certificates
tokens      creation of a site's token
routes      authentication, checks and dispatch of each request
intake      stores events of one site in the spool, with a result for each
uploads     bodies that come in parts
functions   forwards an image to a function in the cloud and returns its prediction
ledger_route  the ledger's lines about one site
counters    numbers of stored and refused events, by site
process     all parts as one process
folder      received events as files

The receiver acknowledges an event once it is in its own spool, and delivers it to a sink or a folder from there. It
opens no connection towards the edge, so a site may be behind any number of firewalls.
"""
