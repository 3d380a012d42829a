"""Who made a bundle: an Ed25519 signature of its manifest, which holds a hash of every other byte.

    <bundle>/manifest.sig           the signature, and the id of the key; only of a bundle that somebody signed
    <home>/signing_keys/NAME.pem    private keys made here (PKCS 8, mode 0600); LINEWISE_SIGNING_KEY names one
    <home>/trusted_keys/NAME.pem    public keys, whose bundles alone are opened where LINEWISE_DEMAND_SIGNATURES is set

The signature is of the manifest's bytes as they are, so that other programs can check it, too. Nothing is signed or
asked for unless a machine is set to; `cryptography` (the extra `signing`) is imported only then.
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.bundles.manifest import SIGNATURE
from pipeline.bounded_reading import read_at_most
from pipeline.errors import BundleError, ConfigError, StorageError
from pipeline.settings import Settings
from pipeline.storage import replace_file, storage_errors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_MAX_BYTES = 16 * 1024
_MODE = 0o600


class Signature(BaseModel):
    """`manifest.sig`: `key` is the first 16 hex digits of the public key's sha256, `signature` its 64 bytes in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


def signature_of(manifest: bytes, key_file: Path) -> bytes:
    """The content of `manifest.sig` for a manifest's bytes.

    Raises:
        ConfigError: the file is no Ed25519 key, others may read it, or `cryptography` is not installed.
        StorageError: it cannot be read.
    """
    key = _private_key(key_file)
    signed = Signature(key=_key_id(key.public_key()), signature=key.sign(manifest).hex())
    return f"{signed.model_dump_json(indent=2)}\n".encode()


def refuse_unsigned(folder: Path, manifest: bytes, settings: Settings) -> None:
    """See that a trusted key signed the manifest, where this machine demands it.

    Args:
        folder: of the bundle.
        manifest: the bytes that were read.
        settings: whether signatures are demanded, and where the trusted keys are.

    Raises:
        BundleError: nobody signed it, a key that is not trusted did, or it is another manifest's signature.
        ConfigError: a trusted key is none, or `cryptography` is not installed.
        StorageError: a file cannot be read.
    """
    if not settings.demand_signatures:
        return
    _serialization()
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    path = folder / SIGNATURE
    expected, remedy = f"a bundle signed by a key of {settings.trusted_keys}", "sign it: linewise registry sign"
    with storage_errors(path):
        if not path.is_file():
            raise BundleError(expected, f"an unsigned one at {folder}", f"{remedy}, on the machine that made it")
        encoded = read_at_most(path, _MAX_BYTES)
    try:
        signed = Signature.model_validate_json(encoded)
    except ValidationError as error:
        raise BundleError(expected, f"no signature in {path}", f"{remedy} again") from error
    trusted = {_key_id(key): key for key in _trusted_keys(settings.trusted_keys)}
    if signed.key not in trusted:
        got = f"one signed by the unknown key {signed.key} at {folder}"
        raise BundleError(expected, got, "trust its public key, if you know whose it is: linewise keys trust FILE")
    try:
        trusted[signed.key].verify(bytes.fromhex(signed.signature), manifest)
    except InvalidSignature as error:
        got = f"a signature by {signed.key} of something else at {folder}"
        raise BundleError(expected, got, "copy the bundle again from the machine that signed it") from error


def make_key(name: str, settings: Settings) -> tuple[Path, Path]:
    """A new key: its private file, which its owner alone may read, and its public one, which this machine now trusts.

    Raises:
        StorageError: a key of that name is there, or the home cannot be written.
        ConfigError: the name cannot be used, or `cryptography` is not installed.
    """
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    private, public = _key_file("signing_keys", name, settings), _key_file("trusted_keys", name, settings)
    key = Ed25519PrivateKey.generate()
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    settings.ensure_home()
    with storage_errors(private):
        private.parent.mkdir(mode=0o700, exist_ok=True)
        if private.exists() or public.exists():
            raise StorageError(f"a new key's name at {private.parent}", repr(name), "choose another name")
        private.touch(mode=_MODE, exist_ok=False)  # before a byte of the key is in it
        private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return private, trust_key(name, _public_pem(key.public_key()), settings)


def trust_key(name: str, content: bytes, settings: Settings) -> Path:
    """Trust a public key, PEM's bytes, under a name; returns its file.

    Raises:
        ConfigError: it is no Ed25519 public key, another is trusted under that name, or the name cannot be used.
        StorageError: the home cannot be written.
    """
    key = _public_key(content, name)
    path = _key_file("trusted_keys", name, settings)
    settings.ensure_home()
    with storage_errors(path):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if path.exists() and path.read_bytes() != _public_pem(key):
            raise ConfigError("a name that no trusted key has", repr(name), "choose another, or remove the older key")
    replace_file(path, _public_pem(key))
    return path


def trusted_keys(settings: Settings) -> dict[str, str]:
    """Ids of the trusted keys by their names.

    Raises:
        ConfigError: one of the files is none.
        StorageError: they cannot be read.
    """
    paths = _trusted_files(settings.trusted_keys)
    return {path.stem: _key_id(_public_key(read_at_most(path, _MAX_BYTES), str(path))) for path in paths}


def _key_file(folder: str, name: str, settings: Settings) -> Path:
    named = settings.below_home(folder, name)
    return named.with_name(f"{named.name}.pem")


def _trusted_files(folder: Path) -> list[Path]:
    with storage_errors(folder):
        return sorted(folder.glob("*.pem")) if folder.is_dir() else []


def _trusted_keys(folder: Path) -> list[Ed25519PublicKey]:
    return [_public_key(read_at_most(path, _MAX_BYTES), str(path)) for path in _trusted_files(folder)]


def _public_key(content: bytes, name: str) -> Ed25519PublicKey:
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        key = serialization.load_pem_public_key(content)
    except Exception as error:  # whatever the library raises on bytes that are none, or of an algorithm it lacks
        raise _no_key("public", name) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key("public", name)
    return key


def _private_key(path: Path) -> Ed25519PrivateKey:
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    with storage_errors(path):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(f"a signing key of mode 600 at {path}", f"{mode:o}", f"chmod 600 {path}")
        content = read_at_most(path, _MAX_BYTES)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except Exception as error:  # see `_public_key`; a key with a password is a TypeError
        raise _no_key("private", str(path)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key("private", str(path))
    return key


def _serialization():  # noqa: ANN202  # a module
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    except ModuleNotFoundError as error:
        remedy = "run pip install 'linewise[signing]'"
        raise ConfigError("the library that signs and verifies", "no module cryptography", remedy) from error
    return serialization


def _no_key(kind: str, name: str) -> ConfigError:
    return ConfigError(f"an Ed25519 {kind} key as PEM, without a password", name, "make one: linewise keys make NAME")


def _public_pem(key: Ed25519PublicKey) -> bytes:
    serialization = _serialization()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _key_id(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]
