"""The errors that users see (what, why, what to do), and the exit codes."""

EXIT_OK = 0
EXIT_FAILED = 1  # the run failed; committed shards stay, and it can be resumed
EXIT_USAGE = 2  # the command line or its files are wrong; nothing was started
EXIT_PARTIAL = 3  # the run finished, and some images failed


class OdtkError(Exception):
    """A failure with a message for the user, shown without a traceback.

    Args:
        what: what failed, one clause without a period.
        why: the reason, with the numbers or names that show it.
        hint: what to do about it.
    """

    exit_code = EXIT_FAILED

    def __init__(self, what: str, why: str = "", hint: str = "") -> None:
        self.what, self.why, self.hint = what, why, hint
        super().__init__(what, why, hint)  # the same arguments, so that it survives pickling by Ray

    @property
    def sentence(self) -> str:
        """What failed and why, in one line.

        Not `cause`: Ray sets an attribute of that name when it raises the error of a task.
        """
        return f"{self.what}: {self.why}" if self.why else self.what

    def __str__(self) -> str:
        return f"{self.sentence}\n  hint: {self.hint}" if self.hint else self.sentence


class UsageError(OdtkError):
    """The command line, or a file that it names, cannot be used; raised before any work starts."""

    exit_code = EXIT_USAGE


class ImageError(Exception):
    """One image cannot be processed; its row records the message and the run goes on."""
