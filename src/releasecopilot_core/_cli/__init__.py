"""The `rc` command: options in, one call, words out. Nothing here decides anything that the `Ingestor` could."""

from __future__ import annotations

import errno
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

#: Exit codes, which scripts rely on.
COMPLETE, FAILED, USAGE, PARTIAL = 0, 1, 2, 3

_CANNOT_PRINT = {errno.ENOSPC, errno.EFBIG, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}

#: A group without a command shows its help; before 8.2 click did that without an exception.
_NO_ARGUMENTS = getattr(click.exceptions, "NoArgsIsHelpError", ())


def main() -> NoReturn:
    """Run `rc` with the process's arguments, and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run `rc` with these arguments; returns the exit code.

    An error that was raised on purpose is one line on stderr; anything else is a bug and keeps its traceback.
    """
    from releasecopilot_core.errors import ReleaseCopilotError, UsageError

    from .pipes import hush
    from .root import rc

    stdout, terminated = sys.stdout, _Terminated()
    previous = signal.signal(signal.SIGTERM, terminated)
    try:
        result = rc.main(args=arguments, prog_name="rc", standalone_mode=False)
        if sys.stdout is not None:  # as after `rc … >&-`
            sys.stdout.flush()
        return result if isinstance(result, int) else COMPLETE
    except _NO_ARGUMENTS as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        return _told(_usage_line(error), error.exit_code)
    except ReleaseCopilotError as error:
        return _told(str(error), USAGE if isinstance(error, UsageError) else FAILED)
    except (click.Abort, KeyboardInterrupt):
        return 128 + (signal.SIGTERM if terminated.received else signal.SIGINT)
    except (BrokenPipeError, SystemExit) as error:
        # `rc commits | head`: whoever reads has seen enough. click puts a wrapper in front of stdout then, and exits 1.
        if isinstance(error, SystemExit) and sys.stdout is stdout:
            raise
        hush()
        return COMPLETE
    except OSError as error:
        # Whatever else writes files says so itself; `rc commits --csv > report.csv` on a full disk comes here.
        if error.errno not in _CANNOT_PRINT:
            raise
        hush()
        return _told(f"the output cannot be written ({error.strerror})", FAILED)
    finally:
        signal.signal(signal.SIGTERM, previous)


class _Terminated:
    """Ends the command on SIGTERM in the way that Ctrl-C does, and remembers which of the two it was."""

    def __init__(self) -> None:
        self.received = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        raise KeyboardInterrupt


def _told(message: str, code: int) -> int:
    click.echo(f"rc: {message}", err=True)
    return code


def _usage_line(error: click.ClickException) -> str:
    """Return click's complaint as one line that also says where help is."""
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    if context is None:
        return message
    return f"{message.rstrip('.')} (see `{context.command_path} --help`)"
