"""Draws charts as SVG without a plotting library: axes, lines, points, bars and legends."""
