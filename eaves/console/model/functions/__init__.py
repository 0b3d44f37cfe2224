"""View models of the pages about functions and dead letters: values of the platform > what a template shows."""
