"""What the counted requests of two revisions say about the new one. Pure.

decision               what to do with the rollout next
assessment             what one judge says of the new revision
error_rate, latency    the two judges
sequential_tests       statistical tests that may be read after every request
"""
