"""`eaves receiver`: the cloud's side of the link."""
