"""Draws the figures (SVG, without a plotting library) and writes the tables of the experiment on the link."""
