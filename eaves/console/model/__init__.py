"""View models: pure functions from the values of a backend to what a template shows. Nothing here imports Flask."""
