"""PostgreSQL refuses to run as root: which unprivileged account it gets then, and where its files can be."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from voiceagent.embedded.process import Account, ServerError, plain_environment

if TYPE_CHECKING:
    from collections.abc import Callable

ACCOUNT = "voiceagent-db"
_FALLBACKS = ("nobody",)
# Outside any home: a private home is closed to the account.
_ROOTS = ("/var/lib/voiceagent", "/var/tmp/voiceagent")  # noqa: S108 - made 0711, each folder inside 0700


def database_account(data: Path | None, say: Callable[[str], None]) -> Account | None:
    """Who runs PostgreSQL: us, unless we are root; then the data's owner, a dedicated account, or ``nobody``."""
    if os.geteuid() != 0:
        return None
    if data is not None and data.exists() and (owner := data.stat().st_uid) != 0:
        return _account(pwd.getpwuid(owner))
    return _known(ACCOUNT) or _create(say) or _fallback(say)


def _known(name: str) -> Account | None:
    try:
        return _account(pwd.getpwnam(name))
    except KeyError:
        return None


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _create(say: Callable[[str], None]) -> Account | None:
    tool = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if tool is None:
        return None
    say(f"Running as root: making the system account {ACCOUNT} for PostgreSQL, which refuses to run as root.")
    command = [
        tool,
        "--system",
        "--no-create-home",
        "--home-dir",
        "/nonexistent",
        "--shell",
        "/usr/sbin/nologin",
        ACCOUNT,
    ]
    subprocess.run(command, check=False, capture_output=True, env=plain_environment())
    return _known(ACCOUNT)


def _fallback(say: Callable[[str], None]) -> Account:
    for name in _FALLBACKS:
        if account := _known(name):
            say(f"No dedicated account could be made: PostgreSQL runs as {name}.")
            return account
    raise ServerError("PostgreSQL refuses to run as root, and there is no other account: run as an ordinary user.")


def folder_for(data_dir: Path, account: Account) -> Path:
    """A folder of the account's own, outside any home, named after ``data_dir``."""
    key = f"{data_dir.name}-{hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]}"
    folder = shared_folder() / key
    folder.mkdir(mode=0o700, exist_ok=True)
    give(folder, account)
    return folder


def shared_folder() -> Path:
    """The first folder outside any home that root can make: everybody passes through, nobody can list it."""
    errors = []
    for root in map(Path, _ROOTS):
        try:
            root.mkdir(mode=0o711, parents=True, exist_ok=True)
            if root.stat().st_uid != os.geteuid():
                raise PermissionError(f"{root} belongs to somebody else")
            root.chmod(0o711)
        except OSError as error:
            errors.append(str(error))
        else:
            return root
    raise ServerError("no place for PostgreSQL outside a home: " + "; ".join(errors))


def give(path: Path, account: Account) -> None:
    """Make the account the owner."""
    os.chown(path, account.uid, account.gid)


def can_run(program: Path, account: Account) -> bool:
    """Whether the account reaches a program: a checkout in root's home is closed to it."""
    try:
        run = subprocess.run(
            [program, "--version"],
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            env=plain_environment(),
            capture_output=True,
            check=False,
            timeout=30,
        )
    except PermissionError:
        return False
    return run.returncode == 0


def copy_install(package: Path, libraries: Path, target: Path) -> Path:
    """Copy a wheel's folder and the shared libraries beside it to where everybody can read; the copy's folder."""
    copy = target / package.name
    if not copy.is_dir():
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / target.name
            shutil.copytree(package, made / package.name, copy_function=shutil.copy)
            if libraries.is_dir():
                shutil.copytree(libraries, made / libraries.name, copy_function=shutil.copy)
            _open_for_reading(made)
            shutil.rmtree(target, ignore_errors=True)
            made.rename(target)
    return copy


def _open_for_reading(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o111 else 0o644)
