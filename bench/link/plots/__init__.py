"""Figures and tables of the experiment on the link; the figures are SVG, written without a plotting library."""
