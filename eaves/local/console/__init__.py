"""The console under `eaves up`: a process of its own, which runs only while somebody looks.

local_console      the console's parts in the supervisor
exposure           what the console needs when other machines can open it
listening          the console's port, and its address for people
manager            starts the process when a browser connects, and watches it
process_settings   what the manager passes to the process
routes             routes of the control socket for the process
__main__           the process: `python -P -m eaves.local.console`
backend            the local platform as `eaves.console.backend.Backend`
models             runs and artifacts on this machine

The supervisor never decodes an image and never renders a page. A fault in the process ends neither the platform nor its
deliveries; the next connection starts it again.
"""
