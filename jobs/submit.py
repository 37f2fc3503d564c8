"""Run odtk-ray as a Ray job and leave with its own exit code, which `ray job submit` turns into 1.

python jobs/submit.py --address http://head:8265 -- odtk-ray infer /shared/model.pth ...
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

EXIT_FAILED, EXIT_USAGE = 1, 2

# Bytes of a working directory beyond which it probably holds what the job does not need.
_LARGE = 100_000_000
_TOKEN = "export RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH as on the cluster"  # noqa: S105
# Options of `ray job submit` with values in JSON, by the parameters of Ray's function.
_JSON = {
    "entrypoint_resources": "--entrypoint-resources",
    "entrypoint_label_selector": "--entrypoint-label-selector",
    "metadata_json": "--metadata-json",
    "headers": "--headers",
}
_HELP = """Submit ENTRYPOINT, show its log until it ends, and leave with its exit code.

The options are those of `ray job submit`; they come before --, and the command behind it.

Exit codes: the command's own; 1 the job did not start or was stopped, 2 wrong usage.
"""


def main() -> None:
    """Submit the command that the command line has."""
    from ray.dashboard.modules.job.cli import submit

    # Ray's own declarations, so that none of its options is taken for a part of the command.
    click.Command("submit.py", params=submit.params, help=_HELP, callback=run).main()


def run(**options: Any) -> None:
    """Submit a job; see `_HELP`.

    Args:
        options: as Ray's command line parses them.
    """
    for name, flag in _JSON.items():
        options[name] = _parse_json(options[name], flag)
    environment = _runtime_env(options)
    client = _connect(options)
    _mention_size(environment)
    job = _submit(client, options, environment)
    click.echo(f"job {job}: `ray job stop {job}` stops it; --resume continues it", err=True)
    if options["no_wait"]:
        click.echo(job)
        return
    _show_log(client, job)
    info = client.get_job_info(job)
    if info.driver_exit_code is None:
        _fail(f"job {job} is {info.status.value}", info.message or "", "", EXIT_FAILED)
    sys.exit(info.driver_exit_code)


def _runtime_env(options: dict[str, Any]) -> dict[str, Any]:
    """Return Ray's runtime environment as a dictionary."""
    from ray.dashboard.modules.dashboard_sdk import parse_runtime_env_args

    names = ("runtime_env", "runtime_env_json", "working_dir")
    try:
        found = parse_runtime_env_args(**{name: options[name] for name in names})
    except (OSError, ValueError) as error:
        _fail("the runtime environment cannot be used", str(error), "", EXIT_USAGE)
    if not isinstance(found, dict):
        _fail("the runtime environment is no table", "", "", EXIT_USAGE)
    folder = found.get("working_dir")
    if folder and "://" not in folder and not os.path.exists(folder):
        _fail(f"there is no working directory {folder}", "", "", EXIT_USAGE)
    return found


def _connect(options: dict[str, Any]) -> JobSubmissionClient:
    from ray.job_submission import JobSubmissionClient

    address = options["address"]
    headers = options["headers"] or _parse_json(
        os.environ.get("RAY_JOB_HEADERS"), "$RAY_JOB_HEADERS"
    )
    where = f" at {address}" if address else ""
    try:
        return JobSubmissionClient(address, headers=headers, verify=options["verify"])
    except Exception as error:
        if _is_refusal(error):
            why = "it asks for a token, and ours is missing or wrong"
            _fail(f"the job server{where} refuses us", why, _TOKEN, EXIT_FAILED)
        hint = "it is http://HEAD:8265, by default only on the head itself: forward the port, or "
        hint += "start Ray with --dashboard-host and a token"
        _fail(f"no job server answers{where}", _first_line(error), hint, EXIT_FAILED)


def _submit(
    client: JobSubmissionClient, options: dict[str, Any], environment: dict[str, Any]
) -> str:
    reserved = {
        name: value
        for name, value in options.items()
        if name.startswith("entrypoint_") and value is not None
    }
    try:
        return client.submit_job(
            entrypoint=shlex.join(options["entrypoint"]),
            runtime_env=environment,
            metadata=options["metadata_json"],
            submission_id=options["submission_id"] or options["job_id"],
            **reserved,
        )
    except Exception as error:
        _fail("the job was not accepted", _first_line(error), "", EXIT_FAILED)


def _show_log(client: JobSubmissionClient, job: str) -> None:
    """Print the log as it comes, until the job ends."""

    async def tail() -> None:
        async for text in client.tail_job_logs(job):
            click.echo(text, nl=False)

    hint = f"`ray job logs --follow {job}` shows the rest, `ray job stop {job}` stops it"
    try:
        asyncio.run(tail())
    except KeyboardInterrupt:
        _fail(f"job {job} goes on", "only its log was left", hint, EXIT_FAILED)
    except Exception as error:
        _fail(f"the log of job {job} broke off", _first_line(error), hint, EXIT_FAILED)


def _mention_size(environment: dict[str, Any]) -> None:
    """Say that a working directory is large, before it is uploaded."""
    folder = environment.get("working_dir")
    if not folder or "://" in folder:
        return
    sizes = upload_sizes(Path(folder), environment.get("excludes") or [])
    total = sum(sizes.values())
    if total > _LARGE:
        most = ", ".join(f"{name} ({_megabytes(size)})" for name, size in sizes.most_common(3))
        click.echo(
            f"note: the working directory {folder} has {_megabytes(total)} to upload, most of it "
            f"{most}\n  hint: name what the job does not need in {folder}/.rayignore, as in a "
            ".gitignore",
            err=True,
        )


def upload_sizes(folder: Path, excludes: list[str]) -> Counter[str]:
    """Return the bytes that Ray would upload, by the names that lie directly in a folder.

    Ray's own walk decides what is ignored. Where this version of Ray has another, nothing is known.
    """
    sizes: Counter[str] = Counter()
    root = folder.absolute()

    def add(path: Path) -> None:
        if path.is_file():
            sizes[path.relative_to(root).parts[0]] += path.stat().st_size

    silent = logging.getLogger("odtk_ray.submit.silent")
    silent.disabled = True
    honour_git = os.environ.get("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "0") != "1"
    try:
        from ray._private.runtime_env import packaging

        ignored = [packaging._get_excludes(root, excludes)] if excludes else []
        packaging._dir_travel(root, ignored, add, include_gitignore=honour_git, logger=silent)
    except (ImportError, AttributeError, TypeError, OSError):
        return Counter()
    return sizes


def _parse_json(text: str | None, flag: str) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        _fail(f"{flag} is no JSON", str(error), "", EXIT_USAGE)
    if not isinstance(value, dict):
        _fail(f"{flag} is no table", 'it is written {"name": value}', "", EXIT_USAGE)
    return value


def _is_refusal(error: Exception) -> bool:
    """Return whether a server asked for a token; older versions of Ray pass on the HTTP error."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return type(error).__name__ == "AuthenticationError" or status in (401, 403)


def _first_line(error: Exception) -> str:
    """Return what an error says: the last line of a server's traceback, else the first."""
    lines = str(error).replace("\\n", "\n").strip().splitlines() or [type(error).__name__]
    return next((line for line in reversed(lines) if "Error: " in line), lines[0])[:300]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _fail(what: str, why: str, hint: str, code: int) -> NoReturn:
    click.echo(f"error: {what}{f': {why}' if why else ''}", err=True)
    if hint:
        click.echo(f"  hint: {hint}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
