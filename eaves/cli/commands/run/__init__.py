"""Commands that run functions, here or at sites, and the receiver of their events."""
