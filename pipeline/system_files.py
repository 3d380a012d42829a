"""Names of files and folders that no person made: operating systems, network storages and file managers leave them.

Whatever goes through a folder asks here: scoring, lines, importers, the registry, bundles. What is not listed is taken
as a person's own, also where programs use it now and then (`thumbnails`, `cache`): a plant may call its images so.
"""

from __future__ import annotations

_NAMES = frozenset(
    {
        # Windows
        "thumbs.db",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "found.000",
        "dfsrprivate",
        # macOS, and what it leaves in archives and on shares
        "__macosx",
        ".ds_store",
        ".localized",
        ".appledouble",
        ".lsoverride",
        "icon\r",
        "network trash folder",
        "temporary items",
        "thevolumesettingsfolder",
        # Linux and its file managers
        "lost+found",
        "lost.dir",  # Android and cameras, on memory cards: pieces of files
        ".thumbnails",
        ".directory",
        # network storages: Synology, QNAP, NetApp
        "@eadir",
        "@tmp",
        "#recycle",
        "#snapshot",
        "@recycle",
        "@recently-snapshot",
        "@__thumb",
        ".@__thumb",
        ".snapshot",
        "~snapshot",
        # what keeps folders alike on several machines
        "_gsdata_",  # GoodSync: earlier versions of the same files
        ".stfolder",
        ".stversions",
        ".dropbox.attr",
        ".dropbox.cache",
    }
)
_BEGINNINGS = ("._", ".trash", "~$", ".~lock.", ".nfs", ".fuse_hidden", ".syncthing.", "~syncthing~")
_ENDINGS = ("@synoeastream", "@synoresource")


def is_system_name(name: str) -> bool:
    """Whether a system makes files or folders of that name; in whatever case, as shares change it."""
    folded = name.lower()
    return folded in _NAMES or folded.startswith(_BEGINNINGS) or folded.endswith(_ENDINGS)


def is_passed_over(name: str) -> bool:
    """Whether what has that name is never an image, a line or a folder of either: it is hidden, or a system's."""
    return name.startswith(".") or is_system_name(name)
