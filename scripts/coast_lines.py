"""Write the coast lines of the page's map from land of Natural Earth, at 1 : 110 million.

  npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
  python scripts/coast_lines.py package/land-110m.json anneal_jax/annotation/web/static/coast.json

Natural Earth is in the public domain (naturalearthdata.com); world-atlas packs it as TopoJSON under ISC.
What is left is one list of numbers for each line: longitude and latitude in tenths of a degree, in turns.
"""

import itertools
import json
import pathlib
import sys

_TENTHS = 10


def main() -> None:
    """Read TopoJSON, write the lines."""
    source, target = map(pathlib.Path, sys.argv[1:])
    lines = [line for arc in arcs(json.loads(source.read_text())) for line in coasts(arc)]
    about = "Natural Earth 1:110m land, public domain, by world-atlas 2.0.2; scripts/coast_lines.py"
    flat = [list(itertools.chain.from_iterable(line)) for line in lines]
    target.write_text(json.dumps({"source": about, "lines": flat}, separators=(",", ":")) + "\n")


def arcs(topology: dict) -> list[list[tuple[int, int]]]:
    """Return each arc in tenths of a degree, points that fall together once."""
    scale, shift = topology["transform"]["scale"], topology["transform"]["translate"]
    found = []
    for arc in topology["arcs"]:
        steps = itertools.accumulate(arc, lambda at, step: (at[0] + step[0], at[1] + step[1]))
        points = [tuple(round(_TENTHS * (at[i] * scale[i] + shift[i])) for i in (0, 1)) for at in steps]
        found.append([point for point, _ in itertools.groupby(points)])
    return found


def coasts(arc: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Cut an arc where it follows the edge of the map, which is no coast."""
    lines: list[list[tuple[int, int]]] = [[]]
    for first, second in itertools.pairwise(arc):
        is_side = abs(first[0]) == 180 * _TENTHS and first[0] == second[0]
        is_bottom = first[1] == second[1] == -90 * _TENTHS
        if is_side or is_bottom or abs(first[0] - second[0]) > 180 * _TENTHS:
            lines.append([])
        else:
            lines[-1] += [second] if lines[-1] else [first, second]
    return [line for line in lines if len(line) > 1]


if __name__ == "__main__":
    main()
