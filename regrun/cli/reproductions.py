"""`regrun list reproductions`: what can be reproduced, and what is claimed there. No torch."""

from __future__ import annotations

from typing import Any

from regrun.studies.reproductions.table import REPRODUCTIONS, find


def listing() -> list[dict[str, Any]]:
    """All of them, as JSON has them."""
    return [
        {"name": name, "description": each.title, "source": each.source, "takes": each.takes}
        for name, each in REPRODUCTIONS.items()
    ]


def described(name: str) -> dict[str, Any]:
    """One of them with its claims. Raises UsageError for an unknown name."""
    from regrun.studies.reproductions.claims import judge

    found = find(name)
    claims = [
        {"claim": each.claim, "published": each.published, "judged": each.verdict is not None}
        for each in judge(found.claims, {})
    ]
    return {
        "name": name,
        "description": found.title,
        "source": found.source,
        "takes": found.takes,
        "budget": found.budget,
        "published_budget": found.published_budget,
        "remark": found.remark,
        "claims": claims,
    }


def table() -> Any:
    """All of them, for people."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(
        title="reproductions", title_justify="left", box=None, show_header=False, pad_edge=False
    )
    shown.add_column("name", style="bold", no_wrap=True)
    for each in listing():
        texts = (each["name"], each["description"], each["source"], each["takes"])
        shown.add_row(*(Text(text) for text in texts))
    return shown


def details(name: str) -> Any:
    """One of them, for people."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    document = described(name)
    lines = [Text(name, "bold"), Text(document["description"])]
    keys = ("source", "takes", "budget", "published_budget", "remark")
    lines += [Text(f"{key.replace('_', ' ')}: {document[key]}") for key in keys if document[key]]
    claims = Table("claim", "published", "", box=None, pad_edge=False)
    for claim in document["claims"]:
        judged = "" if claim["judged"] else "not judged"
        claims.add_row(Text(claim["claim"]), Text(claim["published"]), judged)
    return Group(*lines, Text(), claims, Text(f"\nTo run it: regrun reproduce {name}"))
