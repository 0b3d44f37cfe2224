"""Figures of the experiment as SVG, written without a plotting library."""
