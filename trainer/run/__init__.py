"""The run: what a training leaves, where it is kept, and how it is found again.

run              the directory: written as a whole, opened with checks
run_records      what run.json and the other files say
parity_samples   the held-out images that travel with it
run_location     where a training works and leaves its run
run_upload       to a URI, and back
stored_settings  the settings that continue a run
run_server       the run read over HTTP, by whoever holds a token
provenance       the code, the distributions and the hardware that made it
"""
