"""The object catalogue and the sample forms beside it, as connector and simulator read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hub.connector.catalogue import Catalogue, load_catalogue

APPROVAL = "approval:"
ROBOT = "robot:"


def stock() -> Catalogue:
    """The objects of `objects.yaml`; `approval` and `robot` are patterns."""
    return load_catalogue(Path(__file__).with_name("objects.yaml"))


def sample_forms() -> dict[str, dict[str, Any]]:
    """The forms of `forms.yaml` by name: {name, items} as the vendor describes a form."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("forms.yaml").read_text("utf-8"))
    return found
