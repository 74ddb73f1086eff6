"""StartMediaAnalysisJob and what belongs to it: a manifest of pictures goes in, a manifest of results comes out.

Manifests are JSON Lines, one picture a line: `{"source-ref": "s3://bucket/name"}`; the results have AWS's shape, and
so has the summary, which names every line that could not be analysed and why. Regard's own choices: results lie at
PREFIX/JOB/results.jsonl and PREFIX/JOB/manifest-summary.json in the bucket of the request; further members of a
manifest's line are kept in its result; duplicated lines are all analysed, as at AWS.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson

from regard.jobs.runner import may_pass
from regard.jobs.work import Check, JobFailed, Plan
from regard.media.storage import ObjectUnavailable
from regard.operations.context import Context, ContextOf, Request, Response, Services
from regard.operations.moderation import detect_moderation_labels
from regard.operations.objects import refusal
from regard.operations.paging import paginate
from regard.operations.starting import begin
from regard.store import jobs
from regard.store.jobs import FAILED, SUCCEEDED, Job, Result
from regard.vision import moderation
from regard.wire.errors import (
    InvalidManifestException,
    InvalidParameterException,
    InvalidS3ObjectException,
    ResourceNotFoundException,
    ServiceError,
    ThrottlingException,
)

KIND = "MediaAnalysisJob"
MAX_IMAGES = 10_000  # as AWS's quotas have it
MAX_MANIFEST_BYTES = 32 * 1024 * 1024  # Ours: for as many pictures, the longest names and room for metadata
MAX_OPEN_JOBS = 20
DEFAULT_PAGE = 100
PART_IMAGES = 20  # what a crash can cost
SUMMARY_VERSION = "1.0"
_SCHEME = "s3://"


def start_media_analysis_job(context: Context, request: Request) -> Response:
    config = request["OperationsConfig"].get("DetectModerationLabels")
    if config is None:
        raise InvalidParameterException("OperationsConfig must name an operation: DetectModerationLabels.")
    if "ProjectVersion" in config:
        raise ResourceNotFoundException(f"The project version {config['ProjectVersion']} does not exist")
    if "KmsKeyId" in request:
        raise InvalidParameterException("KmsKeyId is not supported: results are encrypted as their bucket says.")
    place = request["Input"]["S3Object"]
    if not place.get("Bucket") or not place.get("Name"):
        raise InvalidS3ObjectException
    if "\0" in request["OutputConfig"].get("S3KeyPrefix", ""):  # which no database keeps, and AWS's pattern allows
        raise InvalidParameterException("OutputConfig.S3KeyPrefix has a character that no key may have.")
    try:
        size = context.services.objects.head(place["Bucket"], place["Name"], place.get("Version")).size
    except ObjectUnavailable as error:
        raise refusal(error) from None
    if not 0 < size <= MAX_MANIFEST_BYTES:
        raise InvalidManifestException
    return begin(context, KIND, request, (KIND,), MAX_OPEN_JOBS)


def get_media_analysis_job(context: Context, request: Request) -> Response:
    with context.services.database.read() as connection:
        job = jobs.find(connection, context.principal.account_id, KIND, request["JobId"])
    if job is None:
        raise ResourceNotFoundException("Could not find JobId")
    return _description(job)


def list_media_analysis_jobs(context: Context, request: Request) -> Response:
    with context.services.database.read() as connection:
        rows, token = paginate(
            context,
            request,
            ["ListMediaAnalysisJobs"],
            lambda before, limit: jobs.page(connection, context.principal.account_id, KIND, before, limit),
            DEFAULT_PAGE,
        )
    return {"MediaAnalysisJobs": [_description(job) for job in rows], "NextToken": token}


def _description(job: Job) -> Response:
    request = job.request
    description: Response = {
        "JobId": job.job_id,
        "JobName": request.get("JobName"),
        "OperationsConfig": request["OperationsConfig"],
        "Status": "CREATED" if job.parts_total is None and job.completed_at is None else job.status,
        "CreationTimestamp": job.created_at,
        "CompletionTimestamp": job.completed_at,
        "Input": request["Input"],
        "OutputConfig": request["OutputConfig"],
    }
    if job.status == FAILED:
        description["FailureDetails"] = {"Code": job.status_code, "Message": job.status_message}
    if job.status == SUCCEEDED:
        bucket = request["OutputConfig"]["S3Bucket"]
        description["Results"] = {
            "S3Object": {"Bucket": bucket, "Name": _name(job, "results.jsonl")},
            "ModelVersions": {"Moderation": moderation.VERSION},
        }
        description["ManifestSummary"] = {"S3Object": {"Bucket": bucket, "Name": _name(job, "manifest-summary.json")}}
    return description


def _name(job: Job, file: str) -> str:
    """Where a file of the job's results lies: the same however often it is written."""
    prefix = job.request["OutputConfig"].get("S3KeyPrefix", "").strip("/")
    return "/".join(part for part in (prefix, job.job_id, file) if part)


@dataclass(frozen=True, slots=True)
class BulkWork:
    """The job; implements `regard.jobs.work.Work`. A part is `PART_IMAGES` lines of the manifest."""

    services: Services
    context_of: ContextOf

    def plan(self, job: Job) -> Plan:
        data, tag = self._read(job)
        count = len(data.splitlines())
        if not any(line.strip() for line in data.splitlines()):
            raise JobFailed("The manifest file is empty.", "INVALID_MANIFEST")
        if count > MAX_IMAGES:
            raise JobFailed(f"The manifest has {count} lines; at most {MAX_IMAGES} are allowed.", "INVALID_MANIFEST")
        return Plan(-(-count // PART_IMAGES), {"version_tag": tag})

    def do(self, job: Job, number: int, check: Check) -> list[dict[str, Any]]:
        data, tag = self._read(job)
        if job.metadata is None or tag != job.metadata["version_tag"]:
            raise JobFailed("The manifest was replaced while it was worked at.", "INVALID_MANIFEST")
        try:
            context = self.context_of(job)
        except ServiceError as error:
            raise JobFailed(error.message, "ACCESS_DENIED") from error
        first = number * PART_IMAGES
        results = []
        for index, line in enumerate(data.splitlines()[first : first + PART_IMAGES], first + 1):
            check()
            if line.strip():
                results.append({"line-number": index} | self._analyse(context, job, line))
        return results

    def conclude(self, job: Job, parts: Iterable[list[dict[str, Any]]]) -> Iterator[Result]:
        """Writes the results and the summary; there is nothing to page through."""
        total, errors = 0, []
        with tempfile.TemporaryFile() as file:
            for entry in (entry for part in parts for entry in part):
                total += 1
                if "result" in entry:
                    file.write(orjson.dumps(entry["result"]) + b"\n")
                else:
                    errors.append(entry)
            file.seek(0)
            self._write(job, "results.jsonl", file)
        summary = {
            "version": SUMMARY_VERSION,
            "statistics": {
                "total-json-lines": total,
                "valid-json-lines": total - len(errors),
                "invalid-json-lines": len(errors),
            },
            "errors": errors,
        }
        self._write(job, "manifest-summary.json", orjson.dumps(summary, option=orjson.OPT_INDENT_2))
        yield from ()

    def _read(self, job: Job) -> tuple[bytes, str]:
        """The manifest and the tag of its version."""
        place = job.request["Input"]["S3Object"]
        try:
            with self.services.objects.open(place["Bucket"], place["Name"], place.get("Version")) as file:
                if file.size > MAX_MANIFEST_BYTES:
                    raise JobFailed("The manifest file is larger than the allowed limit.", "INVALID_MANIFEST")
                return file.read(), file.version_tag
        except ObjectUnavailable as error:
            if may_pass(error):
                raise
            raise JobFailed(str(error), "INVALID_S3_OBJECT") from error

    def _write(self, job: Job, file: str, data: bytes | BinaryIO) -> None:
        try:
            self.services.objects.write(job.request["OutputConfig"]["S3Bucket"], _name(job, file), data)
        except ObjectUnavailable as error:
            if may_pass(error):
                raise
            raise JobFailed("The results cannot be written to the output bucket.", "INVALID_OUTPUT_CONFIG") from error

    def _analyse(self, context: Context, job: Job, line: bytes) -> dict[str, Any]:
        """What a line comes to: `result`, or `code` and `message` of what was wrong with it."""
        try:
            entry = orjson.loads(line)
        except ValueError:
            return _error("INVALID_JSON_LINE", "The line is not JSON.")
        source = entry.get("source-ref") if isinstance(entry, dict) else None
        if not isinstance(source, str):
            return _error("INVALID_JSON_LINE", 'The line is no JSON object with a "source-ref".')
        bucket, _, name = source.removeprefix(_SCHEME).partition("/")
        if not (source.startswith(_SCHEME) and bucket and name):
            return _error("INVALID_IMAGE_REFERENCE", "The source-ref is not s3://BUCKET/NAME.", source)
        request = {"Image": {"S3Object": {"Bucket": bucket, "Name": name}}} | job.request["OperationsConfig"][
            "DetectModerationLabels"
        ]
        try:
            found = detect_moderation_labels(context, request)
        except ThrottlingException as error:
            raise MemoryError("no room for the pixels of a picture") from error
        except ServiceError as error:
            # What the client is not told: that the storage did not answer, rather than had no such object.
            cause = error.__context__
            if cause is not None and may_pass(cause):
                raise cause from cause.__cause__  # which says that it may pass
            return _error(error.code, error.message, source)
        given: Mapping[str, Any] = {name: value for name, value in found.items() if value is not None}
        return {"result": entry | {"detect-moderation-labels": given}}


def _error(code: str, message: str, source: str | None = None) -> dict[str, Any]:
    named = {} if source is None else {"source-ref": source}
    return named | {"code": code, "message": message}
