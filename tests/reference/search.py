"""Search written plainly: every cosine in float64, sorted."""

import math


def search(vectors, queries, k, *, allowed=None, own_rows=None):
    """Return, per query, [(row, similarity)] of the k best; fewer where fewer rows may be returned."""
    found = []
    for number, query in enumerate(queries):
        ranked = []
        for row, vector in enumerate(vectors):
            is_own = own_rows is not None and own_rows[number] == row
            if is_own or (allowed is not None and not allowed[row]):
                continue
            similarity = round(
                math.fsum(float(q) * float(v) for q, v in zip(query, vector, strict=True)), 12
            )
            ranked.append((-similarity, row))
        found.append([(row, -negative) for negative, row in sorted(ranked)[:k]])
    return found
