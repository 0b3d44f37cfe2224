"""Commands that make a model: from labelled images to a signed container image."""
