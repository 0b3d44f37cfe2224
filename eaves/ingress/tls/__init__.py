"""TLS for the HTTP servers of Eaves.

server_tls         certificates that may be renewed while the server runs
certificate_dates  period of validity of a certificate
handshakes         failed TLS handshakes
"""
