"""Detectors, embedders and index backends that other packages add, found by their entry points.

    [project.entry-points."facesearch.detectors"]
    corner = "my_package:CornerDetector"

Installed packages are searched only for a name that facesearch itself does not know: it takes a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facesearch.errors import FacesearchError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

DETECTORS, EMBEDDERS, INDEXES = "facesearch.detectors", "facesearch.embedders", "facesearch.indexes"


def plugin_names(group: str) -> list[str]:
    """Return the names of all plug-ins of a group, sorted; none of them is imported."""
    from importlib.metadata import entry_points  # takes a while to import

    return sorted({point.name for point in entry_points(group=group)})


def load_plugin(group: str, name: str) -> object | None:
    """Import the plug-in of a name; None where no package has it.

    Raises:
        FacesearchError: It cannot be imported, or two packages have this name.
    """
    from importlib.metadata import entry_points

    points = list(entry_points(group=group, name=name))
    if not points:
        return None
    if len(points) > 1:
        raise FacesearchError(
            f"Several installed packages have a plug-in {name!r}: {', '.join(map(_package, points))}.",
            "Uninstall all but one of them.",
        )
    try:
        return points[0].load()  # type: ignore[no-any-return]
    except Exception as error:  # whatever a foreign module raises when it is imported
        reason = str(error) or type(error).__name__
        raise FacesearchError(
            f"The plug-in {name!r} of {_package(points[0])} cannot be loaded ({reason}).",
            "Update that package, or uninstall it.",
        ) from error


def broken_plugin(name: str, reason: str) -> FacesearchError:
    """Return the error that says why a plug-in cannot be used; the reason is a clause without a full stop."""
    return FacesearchError(
        f"The plug-in {name!r} cannot be used: {reason}.", "Update the package that has it, or uninstall it."
    )


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.module
