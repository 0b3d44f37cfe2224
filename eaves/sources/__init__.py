"""Sources: what turns images into CloudEvents. `python -P -m eaves.sources` runs one of them as an agent.

An agent keeps everything it found in a spool until the sink has taken responsibility, for as long as the link is
down. A source gives each image an identity that is the same whenever it is found again (ARCHITECTURE.md, Events), so
that finding it twice sends it once.
"""
