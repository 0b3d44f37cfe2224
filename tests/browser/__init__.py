"""Tests that drive Debian's Chromium: what a person sees and does on the console's pages."""
