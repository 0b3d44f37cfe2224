"""Figures of the experiment as SVG, written by hand: no library draws them."""
