"""The console under `eaves up`: a process of its own, which runs only while somebody looks.

listening          the console's credentials and port, and its address for people
manager            the console in the supervisor: starts the process when a browser connects, and watches it
__main__           the process: `python -P -m eaves.local.console`
backend            the local platform as `eaves.console.backend.Backend`
models             runs and artifacts on this machine

The supervisor never decodes an image and never renders a page. A fault in the process ends neither the platform nor its
deliveries; the next connection starts it again.
"""
