"""Assessment of a new revision by the counted requests of both revisions. Pure.

A judge is a function that assesses the new revision by one measure.

decision               decides the rollout's next action
assessment             the result of one judge
error_rate, latency    the judges of errors and refusals, and of times
sequential_tests       statistical tests that may be read after every request
"""
