"""Run odtk-ray as a Ray job and leave with its own exit code, which `ray job submit` turns into 1.

python jobs/submit.py --address http://head:8265 -- odtk-ray infer /shared/model.pth ...
"""

from __future__ import annotations

import asyncio
import json
import sys

import click

EXIT_FAILED = 1


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--address", envvar="RAY_ADDRESS", help="Of the cluster's job server.")
@click.option("--working-dir", help="Folder that is copied to the cluster, such as a clone.")
@click.option("--runtime-env-json", default="{}", help="Ray's runtime environment.")
@click.option("--submission-id", help="Name of the job.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def main(
    address: str | None,
    working_dir: str | None,
    runtime_env_json: str,
    submission_id: str | None,
    command: tuple[str, ...],
) -> None:
    """Submit COMMAND, show its log until it ends, and leave with its exit code."""
    import shlex

    from ray.job_submission import JobSubmissionClient

    environment = json.loads(runtime_env_json)
    if working_dir is not None:
        environment["working_dir"] = working_dir
    client = JobSubmissionClient(address)
    job = client.submit_job(
        entrypoint=shlex.join(command), runtime_env=environment, submission_id=submission_id
    )
    click.echo(f"job {job}: `ray job stop {job}` stops it; --resume continues it", err=True)
    asyncio.run(_show_log(client, job))
    info = client.get_job_info(job)
    if info.driver_exit_code is None:
        click.echo(f"job {job} is {info.status}: {info.message}", err=True)
        sys.exit(EXIT_FAILED)
    sys.exit(info.driver_exit_code)


async def _show_log(client: object, job: str) -> None:
    """Print the log as it comes; ends with the job."""
    async for text in client.tail_job_logs(job):  # type: ignore[attr-defined]
        click.echo(text, nl=False)


if __name__ == "__main__":
    main()
