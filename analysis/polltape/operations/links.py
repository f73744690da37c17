"""Keys that belong together: connected components of the small table of edges between keys.

A key is what an answer issues and later requests ask by.  Most operations have one key all their life; queue
tokens rotate and monitors move, so that one exchange asks by one key and issues the next: an edge.
"""

from __future__ import annotations

from collections.abc import Iterable


def components(edges: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Each linked key with the smallest key of its component; keys without an edge are left out.

    >>> components([("b", "c"), ("a", "b"), ("x", "y")])
    {'b': 'a', 'c': 'a', 'a': 'a', 'x': 'x', 'y': 'x'}
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        top = key
        while parent[top] != top:
            top = parent[top]
        while parent[key] != top:  # compress the path: chains may be long
            parent[key], key = top, parent[key]
        return top

    for left, right in edges:
        low, high = sorted((root(left), root(right)))
        parent[high] = low
    return {key: root(key) for key in parent}
