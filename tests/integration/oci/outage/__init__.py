"""Pulls over a link with faults."""
