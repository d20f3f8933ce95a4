"""Options after the location in the spec of an archive: `geotiff:PATH?tile=256&bands=4,3,2`."""

import re
from collections.abc import Collection

from anneal_jax.errors import ArchiveError, nearest_hint


def split_options(location: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """Split a location from the options after its last question mark.

    Args:
      location: everything after the colon of a spec.
      known: allowed names of options.

    Returns:
      The location alone, and option texts by name.

    Raises:
      ArchiveError: an option is unknown, is given twice or has no value.

    >>> split_options("/data/scene.tif?tile=64&bands=4,3,2", ["tile", "bands"])
    ('/data/scene.tif', {'tile': '64', 'bands': '4,3,2'})
    >>> split_options("/data/what?/scene.tif", ["tile"])
    ('/data/what?/scene.tif', {})
    """
    found = re.fullmatch(r"(.*)\?(\w+=[^?]*)", location)
    if not found:
        return location, {}
    options: dict[str, str] = {}
    for part in found[2].split("&"):
        name, _, value = part.partition("=")
        if name not in known:
            raise ArchiveError(
                f"{location!r}: there is no option {name!r}{nearest_hint(name, known)}; the options are "
                f"{', '.join(known)}"
            )
        if name in options or not value:
            raise ArchiveError(f"{location!r}: give the option {name} once, as in {name}=VALUE")
        options[name] = value
    return found[1], options
