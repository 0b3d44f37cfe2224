"""Allowed names of functions, triggers, sources and sites, and of objects of Kubernetes that settings name."""

from __future__ import annotations

import re

SUBDOMAIN_PATTERN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
"""Allowed names of a Secret. Source: Kubernetes, apimachinery/pkg/util/validation, IsDNS1123Subdomain."""
NAME_PATTERN = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
"""Allowed names; 40 characters leave room for `-00001-deployment-...`. Source: RFC 1035 labels, as for Kubernetes
Services."""


def find_object_fault(name: str) -> str:
    """Return why a text can't be the name of a Kubernetes object; empty when it can be, or is empty."""
    if not name or SUBDOMAIN_PATTERN.fullmatch(name):
        return ""
    return f"must be a name that Kubernetes allows: at most 253 characters a-z, 0-9, '-' and '.' (got {name!r})"


def build_name(text: str, otherwise: str) -> str:
    """Return a name made of any text, such as a folder's name; `otherwise` when no letter or digit is left."""
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")[:40].rstrip("-") or otherwise
