"""Environment variables that switch off the telemetry of dependencies. Eaves itself has no telemetry."""

from __future__ import annotations

from types import MappingProxyType

TELEMETRY_OFF = MappingProxyType({"ORT_DISABLE_TELEMETRY": "1"})
"""Variables for every container image, pod and child process of Eaves; `eaves.inference.onnxruntime` sets them itself.

onnxruntime 1.29 and later starts a thread while it is imported; the thread writes a device id and a database below
~/.cache and looks up an address of its vendor. It reads the variable once, at that time. See docs/container-images.md.
"""
