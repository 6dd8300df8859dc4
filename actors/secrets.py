"""Secrets: values that show themselves to nobody but who calls `reveal()`.

No repr, str, format, pickle, JSON or traceback says the value, and every value that was ever held is
masked in the texts that pass through `showcaller.actors.redaction`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NoReturn

from showcaller.actors.errors import ConfigurationError
from showcaller.actors.redaction import has_shape_of_secret, remember_secret
from showcaller.actors.validators import InvalidFieldError, is_number, refuse

COMMAND_TIMEOUT = 10.0
"""Seconds that a command may take to print a secret."""
RENEW_SECONDS = 5.0
"""So long a secret that was read again in vain is not read once more, however often it is refused."""


class Secret:
    """A secret given as a literal; `EnvSecret`, `FileSecret` and `CommandSecret` find theirs when asked.

    A literal ends up in files and shell histories: prefer the others in configuration.
    """

    __slots__ = ("_lock", "_renew_at", "_value", "source")

    def __init__(self, value: str) -> None:
        if _problem(value):
            shown = _not_shown(value)
            del value
            raise InvalidFieldError("Secret", "value", shown, "a secret is a str, not empty, on one line")
        self._open("literal", value)

    def _open(self, source: str, value: str | None) -> None:
        self.source = source
        self._lock = threading.Lock()
        self._renew_at = float("-inf")
        self._value = value
        if value is not None:
            remember_secret(value)

    def reveal(self) -> str:
        """The value, read at the first call on the caller's own thread and kept.

        Raises:
            ConfigurationError: it is not where it should be; the text says where that is.
        """
        with self._lock:
            if self._value is None:
                value, problem = self._read()
                problem = problem or _problem(value)
                if problem:
                    # The error's traceback keeps this frame's locals.
                    del value
                    raise ConfigurationError(f"{self.source}: {problem}")
                remember_secret(value)
                self._value = value
            return self._value

    def renew(self, refused: Collection[str], now: float) -> bool:
        """Read it again, because a backend has refused the value; a literal is what it is.

        Those that are refused at the same time share one reading. It is done on the caller's own thread, and
        takes as long as a first `reveal`.

        Args:
            refused: the values that were refused.
            now: seconds on a clock that only goes forward.

        Returns:
            Is there a value now that was not refused?
        """
        if type(self) is Secret:
            return False
        with self._lock:
            if self._value is not None and self._value not in refused:
                return True
            if now < self._renew_at:
                return False
            value, problem = self._read()
            if problem or _problem(value) or value in refused:
                self._renew_at = now + RENEW_SECONDS
                return False
            remember_secret(value)
            self._value = value
            return True

    def _read(self) -> tuple[str, str]:
        """The value, or the reason why there is none."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<secret from {self.source}>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        """Literals are compared by value, in constant time; the others by where they come from."""
        if type(self) is not type(other) or not isinstance(other, Secret):
            return NotImplemented
        if type(self) is Secret:
            import hmac

            mine, theirs = self._value or "", other._value or ""
            return hmac.compare_digest(
                mine.encode("utf-8", "surrogatepass"), theirs.encode("utf-8", "surrogatepass")
            )
        return self.source == other.source

    def __hash__(self) -> int:
        return hash((type(self), self.source))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is not pickled; send where it comes from and read it there")


def as_secret(owner: str, field: str, value: object) -> Secret:
    """The secret, or a str as a literal one; a refusal names the field of the owner and not the value."""
    if isinstance(value, Secret):
        return value
    problem = None
    try:
        return Secret(value)  # type: ignore[arg-type]
    except InvalidFieldError as error:
        problem = error
    # The refusal's traceback keeps this frame's locals, and no earlier frame's.
    del value
    raise InvalidFieldError(owner, field, problem.shown, problem.fix)


class EnvSecret(Secret):
    """The value of an environment variable."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        if not _is_word(name) or "=" in name or not name.isprintable():
            fix = "name an environment variable such as OPENAI_API_KEY"
            raise InvalidFieldError("EnvSecret", "env", _not_shown(name), fix)
        if has_shape_of_secret(name):
            fix = "this looks like the secret itself; name the environment variable that holds it"
            raise InvalidFieldError("EnvSecret", "env", _not_shown(name), fix)
        self.name = name
        self._open(f"environment variable {name}", None)

    def is_set(self) -> bool:
        """Has the variable a value now?"""
        return bool(os.environ.get(self.name, "").strip())

    def _read(self) -> tuple[str, str]:
        value = os.environ.get(self.name, "").strip()
        return value, "" if value else "it is not set; export it, or give the key by file or command"


class FileSecret(Secret):
    """The content of a file, without the white space around it."""

    __slots__ = ("path",)

    def __init__(self, path: str | Path) -> None:
        if not _is_word(str(path) if isinstance(path, Path) else path):
            fix = "give the path of a file that holds only the secret"
            raise InvalidFieldError("FileSecret", "file", _not_shown(path), fix)
        self.path = Path(path)
        self._open(f"file {path}", None)

    def _read(self) -> tuple[str, str]:
        try:
            return self.path.expanduser().read_text(encoding="utf-8").strip(), ""
        except OSError as error:
            return "", f"it cannot be read ({error.strerror}); check the path and its permissions"
        except (UnicodeDecodeError, RuntimeError):
            return "", "it cannot be read; give a UTF-8 text file that holds only the secret"


class CommandSecret(Secret):
    """What a command prints, without the white space around it; run at the first `reveal`, with no shell."""

    __slots__ = ("command", "timeout")

    def __init__(self, command: str | Sequence[str], timeout: float = COMMAND_TIMEOUT) -> None:
        fix = 'give a command such as ["pass", "show", "openai"] that prints only the secret'
        words: tuple[str, ...] = ()
        if isinstance(command, str):
            import shlex

            try:
                words = tuple(shlex.split(command))
            except ValueError:
                words = ()
        elif isinstance(command, (list, tuple)) and all(isinstance(word, str) for word in command):
            words = tuple(command)
        if not words or not words[0] or any("\0" in word for word in words):
            raise InvalidFieldError("CommandSecret", "command", _not_shown(command), fix)
        if not is_number(timeout) or timeout <= 0:
            raise refuse("CommandSecret", "timeout", timeout, "use seconds greater than 0")
        self.command = words
        self.timeout = float(timeout)
        # Only the program is named: an argument may be a secret itself.
        self._open(f"command {words[0]}", None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CommandSecret) and self.command == other.command

    def __hash__(self) -> int:
        return hash(self.command)

    def _read(self) -> tuple[str, str]:
        import signal
        import subprocess

        try:
            # A session of its own, so that what the command started can be ended with it.
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return "", f"it cannot be started ({getattr(error, 'strerror', None) or 'bad arguments'})"
        try:
            output, _ = process.communicate(timeout=self.timeout)
        except subprocess.TimeoutExpired:
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            process.communicate()
            return "", f"it took longer than {self.timeout:g} s; run it by hand to see what it waits for"
        if process.returncode != 0:
            return "", f"it ended with code {process.returncode}; run it by hand to see why"
        try:
            return output.decode("utf-8").strip(), ""
        except UnicodeDecodeError:
            return "", "its output is not UTF-8 text"


def _problem(value: object) -> str:
    """Why the value cannot be a secret, or nothing."""
    if not isinstance(value, str):
        return "it is no text"
    if not value.strip():
        return "it is empty"
    if not value.isprintable():
        return "it has line breaks or control characters; give only the secret, on one line"
    return ""


def _not_shown(value: object) -> str:
    """What stands for a value that is refused: people write the secret itself where its place is asked for."""
    return f"<{type(value).__name__}, not shown>"


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value
