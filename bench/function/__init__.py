"""What a function costs: its start, warm requests, frames, and other people's servers beside it."""
