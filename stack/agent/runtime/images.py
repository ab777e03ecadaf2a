"""Images in Docker's store and their copies outside of it.

They are whole, named, and brought back when the store lost or damaged them.

Docker's store does not survive every power cut, and whoever prunes it does not ask us. So each image of ours has a name
and a container that was never started, whose making also shows that every layer is there; and an archive, from which it
is loaded when that fails.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError, IntegrityError, RefusedError
from stack.agent.machine.child import SilentError, pieces
from stack.agent.machine.room import check_room
from stack.agent.reports import Removed
from stack.agent.runtime.archives import Archives
from stack.agent.runtime.containers import PIN_LABEL, PINS, pin

_LOAD_S = 600.0
_NO_FAULT = ("no space left", "cannot connect", "error during connect", "no answer within", "not installed")
"""What Docker says when it could not look, which says nothing of the image."""
Ask = Callable[..., str]


class Images:
    """`ask` runs a short program and returns its stdout.

    Images are named by what releases call them (`image`) or by Docker's ID (`identity`).
    """

    def __init__(self, archives: Archives, ask: Ask) -> None:
        self._archives = archives
        self._call = ask

    def inspect(self, name: str) -> Reader | None:
        """What Docker says of an image; None when it has none of this name. Raises SilentError when it hangs."""
        try:
            data = self._call("docker", "image", "inspect", "--format", "{{json .}}", name)
        except SilentError:
            raise
        except HomeportError:
            return None
        return Reader(parse(data.encode(), name), name)

    def known(self, *identities: Digest | None) -> Digest | None:
        """The first of these IDs that Docker lists: a store has one or the other of a release's two digests."""
        listed = self._call("docker", "image", "ls", "--all", "--quiet", "--no-trunc").split()
        return next((each for each in identities if each is not None and str(each) in listed), None)

    def pin(self, image: Digest, identity: Digest) -> bool:
        """Keep Docker from pruning an image; whether all its layers are there.

        Raises HomeportError when Docker could not tell.
        """
        label = f"{PIN_LABEL}={image.hex}"
        before = self._pins(image)
        try:
            self._call("docker", "tag", str(identity), pin(image))
            self._call("docker", "container", "create", "--network", "none", "--label", label, str(identity))
        except HomeportError as error:
            if any(words in str(error).lower() for words in _NO_FAULT):
                raise
            return False
        self._remove(before)
        return True

    def restore(self, image: Digest, identities: tuple[Digest | None, ...], what: str) -> None:
        """Bring an image back from its archive when Docker has lost or damaged it.

        Raises RefusedError or IntegrityError when that cannot be.
        """
        identity = self.known(*identities)
        if identity is not None and self.pin(image, identity):
            return
        state = "not in Docker's store" if identity is None else "damaged in Docker's store"
        if (path := self._archives.checked(image)) is None:
            raise RefusedError(f"{what}: {state}, and this robot has no copy of it; stage it again")
        if identity is not None:
            self.forget(image, identity, "--force")
        self._call("docker", "load", "--quiet", "--input", str(path), timeout_s=_LOAD_S)
        if (identity := self.known(*identities)) is None or not self.pin(image, identity):
            raise IntegrityError(f"{what}: {state}, and does not come back from {path}; stage it again")

    def forget(self, image: Digest, identity: Digest, *options: str) -> None:
        """Give an image up; Docker keeps one that somebody else runs or has named."""
        self._remove(self._pins(image))
        for name in (pin(image), str(identity)):
            with suppress(HomeportError):
                self._call("docker", "image", "rm", *options, name)

    def _pins(self, image: Digest) -> list[str]:
        label = f"label={PIN_LABEL}={image.hex}"
        return self._call("docker", "container", "ls", "--all", "--quiet", "--filter", label).split()

    def _remove(self, containers: list[str]) -> None:
        for each in containers:
            with suppress(HomeportError):
                self._call("docker", "rm", "--force", "--volumes", each)

    def copy(self, image: Digest, identities: tuple[Digest | None, ...], rest: Callable[[], None]) -> None:
        """Make the archive of an image that is whole, unless there is one.

        Raises RefusedError when the disk has no room for it.
        """
        if self._archives.find(image) is not None or (identity := self.known(*identities)) is None:
            return
        if not self.pin(image, identity) or (found := self.inspect(str(identity))) is None:
            return
        folder = self._archives.folder
        check_room(
            folder if folder.exists() else folder.parent, {f"a copy of image {identity.short}": found.integer("Size")}
        )

        def resting() -> Iterator[bytes]:
            for piece in pieces("docker", "save", pin(image)):
                yield piece
                rest()

        self._archives.write(image, identity, resting())

    def prune(self, kept: Collection[Digest], dry_run: bool) -> list[Removed]:
        """Remove the pinned images and the archives of all but `kept`."""
        removed = []
        for path in sorted(self._archives.folder.glob(f"{'?' * 64}.*")):
            if path.suffix in (".tar", ".part") and Digest(path.stem) not in kept:
                removed.append(Removed("copy", path.name, path.stat().st_size))
                if not dry_run:
                    self._archives.drop(Digest(path.stem))
        lines = self._call("docker", "image", "ls", "--no-trunc", "--format", "{{.Tag}} {{.ID}}", PINS).splitlines()
        pinned = {Digest(tag): Digest.parse(identity) for tag, identity in (line.split() for line in lines)}
        needed = {identity for image, identity in pinned.items() if image in kept}
        for image, identity in pinned.items():
            if image not in kept and identity not in needed and (found := self.inspect(str(identity))) is not None:
                removed.append(Removed("image", str(identity), found.integer("Size")))
                if not dry_run:
                    self.forget(image, identity)
        return removed
