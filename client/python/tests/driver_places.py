"""The search for a broker in a table of the conformance kit instead of a file system."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from cardbroker._places import Finding, Part, Place, obstacle, of_error, places, search


def found(uid: int, environment: Mapping[str, str], table: Mapping[str, str]) -> dict[str, Any]:
    """The findings, and the endpoint of the place that works."""

    def look(path: str) -> Part:
        if path not in table:
            raise OSError(errno.ENOENT, "")
        kind, *rest = table[path].split()
        if not rest:
            raise OSError(getattr(errno, kind), "")
        name: Any = kind if kind in ("folder", "link") else "other"
        return Part(path, name, int(rest[0]), int(rest[1], 8))

    def attempt(place: Place) -> Finding | None:
        if finding := obstacle(place, uid, look):
            return finding
        words = table[place.path].split()
        return of_error(OSError(getattr(errno, words[3]), ""), None) if len(words) > 3 else None

    place, in_vain = search(places(environment, uid), attempt)
    answer: dict[str, Any] = {
        "tried": [{"endpoint": f"unix:{at.path}", "finding": finding.kind} for at, finding in in_vain]
    }
    return answer | ({"endpoint": f"unix:{place.path}"} if place else {})
