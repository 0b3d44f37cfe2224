"""Counters of the pods of a revision, read from their /metrics and added up.

counters          adds up the counters of pods that come, go and restart
windows           divides the present step into short windows
prometheus_text   parses a function's /metrics
metrics_scrape    reads the /metrics of a revision's pods
"""
