"""YAML → `Config`: one frozen, validated experiment, every problem with its place.

`load` reads a file and its KEY=VALUE overrides, `schema` holds the config itself, `dump` writes it
back to YAML and gives the JSON Schema for editors.
"""
