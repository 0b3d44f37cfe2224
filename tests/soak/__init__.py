"""Weeks in minutes: the parts that run for months, under a clock that tests turn, and the real ones under kill -9.

The short forms run with every `make test`; the long ones are `slow`.
"""
