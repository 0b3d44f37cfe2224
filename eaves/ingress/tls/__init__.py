"""TLS of a server.

server_tls         certificates that may be renewed while the server runs
certificate_dates  from when until when a certificate is valid
handshakes         TLS handshakes that failed
"""
