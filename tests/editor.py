"""What an editor says of a configuration, by the JSON Schema that the sample names."""

import json
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

SCHEMA = Path(__file__).resolve().parent.parent / "sbcauth.schema.json"


def objections(text: str) -> list[str]:
    """Return what the schema has against a file of this text."""
    validator = Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))
    return [each.message for each in validator.iter_errors(yaml.safe_load(text))]
