"""Renders `report.html`.

report      the report of a training
charts      small charts as inline SVG
"""
