"""Environment variables that switch off the telemetry of dependencies. Eaves itself has none."""

from __future__ import annotations

from types import MappingProxyType

TELEMETRY_OFF = MappingProxyType({"ORT_DISABLE_TELEMETRY": "1"})
"""Set in every container image, pod and child process of Eaves, and by `eaves.onnxruntime` itself.

onnxruntime, from 1.29 on, starts a thread while it is imported; the thread writes a device id and a database below
~/.cache and looks up an address of its maker. It reads the variable once, then. Source: docs/09-trust.md.
"""
