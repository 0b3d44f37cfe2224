"""Draws the figures and writes the tables of the experiment on the link."""
