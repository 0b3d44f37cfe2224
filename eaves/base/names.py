"""Allowed names of functions, triggers, sources and sites, and of objects of Kubernetes that settings name."""

from __future__ import annotations

import re
from typing import NamedTuple

SUBDOMAIN_PATTERN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
"""Allowed names of a Secret. Source: Kubernetes, apimachinery/pkg/util/validation, IsDNS1123Subdomain."""
NAME_PATTERN = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
"""Allowed names; 40 characters leave room for `-00001-deployment-...`. Source: RFC 1035 labels, as for Kubernetes
Services."""


class TextForm(NamedTuple):
    """Form of the texts that a setting allows: their pattern, and what they are in words."""

    pattern: re.Pattern[str]
    description: str


NAME = TextForm(NAME_PATTERN, "1-40 characters a-z, 0-9 and '-', starting with a letter")
NAME_OR_NONE = TextForm(re.compile(f"({NAME_PATTERN.pattern})?"), NAME.description)
OBJECT_OR_NONE = TextForm(
    re.compile(f"({SUBDOMAIN_PATTERN.pattern})?"),
    "a name that Kubernetes allows: at most 253 characters a-z, 0-9, '-' and '.'",
)
ADDRESS_OR_NONE = TextForm(re.compile("(https?://.*)?"), "an http:// or https:// address")


def build_name(text: str, otherwise: str) -> str:
    """Return a name made of any text, such as a folder's name; `otherwise` when no letter or digit is left."""
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")[:40].rstrip("-") or otherwise
