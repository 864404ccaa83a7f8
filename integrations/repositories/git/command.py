"""Running git: no prompt, no hook, no signature, no pager, a time limit, and its complaints translated."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from config.errors import PermanentError, SetupError, SwarmError, TransientError

_FIXED = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_ADVICE": "0",
    "LC_ALL": "C.UTF-8",
    "LANGUAGE": "",
}
# Empty, not absent: an absent one lets git look for a desktop's password dialogue.
_UNLESS_SET = {"GIT_ASKPASS": "", "SSH_ASKPASS": "", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes"}
_SETTINGS = (
    *("-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false", "-c", "gc.autoDetach=false"),
    *("-c", "core.quotePath=false", "-c", "protocol.ext.allow=never", "-c", "push.gpgSign=false"),
)
_DENIED = re.compile(
    r"authentication failed|permission denied|could not read (username|password)|terminal prompts disabled"
    r"|access denied|repository .*not found|does not appear to be a git repository|host key verification|http.* 40[13]",
    re.IGNORECASE,
)
_PASSING = re.compile(
    r"could not resolve host|connection (refused|timed out|reset)|timed out|early eof|remote end hung up|http.* 5\d\d"
    r"|unable to access|cannot lock ref|index\.lock|unable to create .*\.lock",
    re.IGNORECASE,
)
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Answer:
    """What a git command gave."""

    code: int
    output: bytes
    complaint: str

    @property
    def text(self) -> str:
        """Its output without the line end."""
        return self.output.decode(errors="replace").rstrip("\n")


class Git:
    """Git in one bare repository.

    Args:
        source: the configured name, for messages.
        directory: the bare repository.
        env: on top of our own.
        timeout: seconds.
        secret: never shown (the URL with its token).
    """

    def __init__(
        self, source: str, directory: Path, *, env: Mapping[str, SecretStr], timeout: float, secret: str
    ) -> None:
        self.source = source
        self.directory = directory
        self._timeout = timeout
        self._secret = secret
        # Variables that point git at a repository (set inside a hook, say) would beat the one meant here.
        inherited = {k: v for k, v in os.environ.items() if not _POINTS_ELSEWHERE.match(k)}
        own = {k: v.get_secret_value() for k, v in env.items()}
        self._env = _UNLESS_SET | inherited | own | _FIXED
        for name in ("GIT_ASKPASS", "SSH_ASKPASS"):
            if name not in own:
                self._env[name] = ""

    async def run(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        given: bytes | None = None,
        allowed: Sequence[int] = (0,),
    ) -> Answer:
        """Run a command in the repository; an exit code not `allowed` is raised as what it means."""
        answer = await self.outside("--git-dir", str(self.directory), *arguments, env=env, given=given)
        if answer.code not in allowed:
            raise self.error(arguments[0], answer)
        return answer

    async def outside(
        self, *arguments: str, env: Mapping[str, str] | None = None, given: bytes | None = None
    ) -> Answer:
        """Run git without a repository; any exit code is an answer."""
        try:
            process = await asyncio.create_subprocess_exec(
                "git",
                *_SETTINGS,
                *arguments,
                env=self._env | dict(env or {}),
                stdin=asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except FileNotFoundError:
            raise SetupError(f"git {self.source}: git is not installed", hint="install git 2.38 or newer") from None
        try:
            async with asyncio.timeout(self._timeout):
                output, complaint = await process.communicate(given)
        except TimeoutError:
            raise TransientError(f"git {self.source}: {arguments[0]} took over {self._timeout:.0f} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Answer(process.returncode or 0, output, self._clean(complaint.decode(errors="replace")))

    def error(self, what: str, answer: Answer) -> SwarmError:
        """A failed command as one of our errors."""
        message = f"git {self.source}: {what} failed: {answer.complaint or f'exit {answer.code}'}"
        if _DENIED.search(answer.complaint):
            return SetupError(message, hint="check url, and give git credentials by `env` of this source")
        if _PASSING.search(answer.complaint):
            return TransientError(message, hint="is the remote reachable?")
        return PermanentError(message)

    def _clean(self, text: str) -> str:
        text = " ".join(text.split())
        if self._secret:
            text = text.replace(self._secret, "the remote")
        return re.sub(r"(://)[^/@\s]*@", r"\1***@", text)[:_LONGEST]


_POINTS_ELSEWHERE = re.compile(
    r"^GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR|NAMESPACE|PREFIX"
    r"|AUTHOR_.*|COMMITTER_.*)$"
)
