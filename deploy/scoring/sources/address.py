"""What a source is called on the command line: which kind it is, and a URL without its secrets.

ffmpeg opens whatever a URL or a playlist names, local files and other machines included. So the schemes, the protocols
and the container formats that it may use are listed here, and nothing else opens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from pipeline.errors import ConfigError
from pipeline.url_secrets import without_secrets

SCHEMES = ("rtsp", "rtsps", "http", "https")
VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv"})
"""Which files are taken for videos, in lower case."""

_FILE_FORMATS = "avi,mov,matroska,mpeg,mpegvideo,mpegts,asf"  # no playlist, no list of images, no concatenation
_STREAM_FORMATS = "rtsp,rtp,sdp,mpjpeg,mpegts,mjpeg,flv,avi,mov,matroska,asf"
FILE_OPTIONS = f"protocol_whitelist;file|format_whitelist;{_FILE_FORMATS}"
"""ffmpeg's options for a file on a disk, as OpenCV takes them."""
STREAM_OPTIONS = (
    # RTSP over TCP: over UDP a lost packet is a grey smear in the picture, which a model takes for a defect
    f"rtsp_transport;tcp|protocol_whitelist;rtp,tcp,udp,tls,http,https,crypto|format_whitelist;{_STREAM_FORMATS}"
)
"""The same for a stream."""

_CAMERA = re.compile(r"camera:(\d{1,3})")
_GENICAM = "genicam:"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def camera_index(source: str) -> int | None:
    """The number in "camera:0"; None for anything else."""
    found = _CAMERA.fullmatch(source)
    return int(found[1]) if found else None


def genicam_name(source: str) -> str | None:
    """What stands behind "genicam:", by which a camera is known; None for anything else."""
    return source.removeprefix(_GENICAM) if source.startswith(_GENICAM) else None


def is_url(source: str) -> bool:
    """Whether it begins with a scheme, of whatever kind."""
    return _URL.match(source) is not None


@dataclass(frozen=True)
class StreamAddress:
    """A stream's URL: `shown` may go anywhere, `url` may hold credentials and goes to the decoder alone."""

    shown: str
    url: str = field(repr=False)  # a traceback is a log

    def signed_in(self, credentials: str) -> StreamAddress:
        """The same with "user:password", unless it has credentials of its own."""
        parts = urlsplit(self.url)
        if "@" in parts.netloc or not credentials:
            return self
        return StreamAddress(self.shown, urlunsplit(parts._replace(netloc=f"{_quoted(credentials)}@{parts.netloc}")))


def stream_address(url: str) -> StreamAddress:
    """Take a URL apart. Credentials are what stands before the host, and what a query or a path gives a secret's name.

    Raises:
        ConfigError: it is no URL of a stream; the message shows its scheme alone.
    """
    if any("\ud800" <= character <= "\udfff" for character in url):  # bytes that are not UTF-8, as Python keeps them
        raise ConfigError("a stream's URL that is text", "one with bytes that are not UTF-8", "write them as %FF")
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    credentials, _, host = place.rpartition("@")
    open_url = f"{scheme.lower()}://{host}{slash}{path}"
    if scheme.lower() not in SCHEMES:
        expected = f"a URL that begins with {', '.join(SCHEMES)}"
        raise ConfigError(expected, f"one that begins with {scheme!r}", "name a camera's stream, or a file")
    parts = _split(open_url)
    if parts is None:
        expected = "a stream's URL such as rtsp://camera7/line1"
        raise ConfigError(expected, "one without a usable host", "correct it; a / in a password is %2F")
    path, query = without_secrets(parts.path), without_secrets(parts.query)
    shown = urlunsplit(parts._replace(path=path, query=query, fragment=""))
    return StreamAddress(shown, open_url).signed_in(credentials)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        usable = parts.hostname and parts.port != 0 and "@" not in parts.path  # the rest of a password with a slash
    except ValueError:
        return None  # the library's own message quotes the URL
    return parts if usable else None


def _quoted(credentials: str) -> str:
    user, colon, password = credentials.partition(":")
    return quote(unquote(user), safe="") + colon + quote(unquote(password), safe="")
