"""`report.html`, and what every page for people is made of.

report      what a training left
html_page   the frame of all pages: one HTML file without scripts that asks nothing of any network
charts      small charts as inline SVG
"""
