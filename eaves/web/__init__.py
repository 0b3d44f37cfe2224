"""Rules that every HTTP server of Eaves follows, whatever it is built on.

origin             whether a web page of another origin may have sent a request to loopback
problem_document   conversion of an error to the body of an HTTP response, and back
"""
