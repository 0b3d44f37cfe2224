"""What the pods of a revision have counted: read from their /metrics and added up.

counters          what pods that come, go and start again have answered
windows           the present step in short windows
prometheus_text   a function's /metrics as counters
metrics_scrape    the pods of a revision, asked
"""
