"""The console: a web page that shows people what their cameras see and whether anything is wrong.

It sees a platform only through `backend.Backend`, which `eaves.local.console` and `knative.console` implement; they run
the app in a process of its own. It changes nothing unless a person asks for it, and nothing when it is read-only.

backend     the platform as the console sees it, and what every page gets
app         the Flask app, and its server
pages/      the pages: what each shows, and its routes
words       numbers and times in plain English
thumbnails  small pictures of images, kept in a bounded file
catalog     runs and artifacts, for the page of models
guard       checks every request, the login included, and adds headers to every response
logins      the password, the limit of failed logins, the key that signs sessions, and those that ended early
exposure    who may open the pages: address, password and certificate, which are created when they are missing

On loopback no password is needed. A server off loopback needs TLS and a password. No header of a proxy is trusted: TLS
ends in the console.
"""
