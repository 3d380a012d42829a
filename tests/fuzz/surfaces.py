"""The table of surfaces, by name."""

from __future__ import annotations

from tests.fuzz import bundle_surfaces, folder_surfaces, image_surfaces, request_surfaces, rest_surface, review_surface
from tests.fuzz.surface import Surface

SURFACES: dict[str, Surface] = {
    surface.name: surface
    for room in (image_surfaces, bundle_surfaces, folder_surfaces, request_surfaces, rest_surface, review_surface)
    for surface in room.SURFACES
}
