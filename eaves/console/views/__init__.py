"""The pages: each module builds the Flask blueprint of one page."""
