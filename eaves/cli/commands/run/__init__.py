"""Commands that run functions, on this machine or at sites, and the receiver of their events."""
