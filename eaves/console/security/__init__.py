"""Who may open the console, and what a browser may do with its pages.

exposure  the address that the console listens on, what it therefore needs, and the files that are created for it
logins    the password, the limit of failed logins, the key that signs sessions, and those that ended early
guard     checks every request, form tokens and origin included, and adds headers to every response

On loopback no password is needed, as everything else of `eaves up` on loopback. A server off loopback needs TLS and a
password. No header of a proxy is trusted: TLS ends in the console.
"""
