"""The console: a web page that shows people what their cameras see and whether anything is wrong.

It is a Flask app that sees a platform only through `eaves.console.backend.Backend`. `eaves.local.console` and
`knative.console` implement the backend and run the app in a process of its own. The app changes nothing unless a person
asks for it, and nothing at all when it is read-only.
"""
