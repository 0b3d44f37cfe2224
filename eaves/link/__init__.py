"""The link between the edge and the cloud: a relay forwards a site's events to a receiver, in batches over HTTPS.

protocol           the receiver's routes, one request with events, and its answer
client             HTTP client of a receiver; `credentialed`: a client with the token of a folder
settings           settings of both processes
relay              the site's process, and what it stores; `sender`: its requests to the receiver
receiver           the cloud's process; `receiver_routes`: what it answers and stores
sites, uploads     who may send, counted by outcome; bodies that arrive in parts
archive            received events in a folder
audit              comparison of what was sent with what was received

A batch is a JSON array of CloudEvents, so any client can send one. An event that the receiver has acknowledged is on
the receiver's disk, and the relay releases exactly the acknowledged events. All others are sent again.
"""
