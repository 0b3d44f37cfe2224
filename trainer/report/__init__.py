"""Renders `report.html`, and the parts that all HTML pages share.

report      the report of a training
html_page   the frame of all pages: one HTML file without scripts or requests to a network
charts      small charts as inline SVG
"""
