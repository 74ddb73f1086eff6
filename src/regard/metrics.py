"""What a process counts and times, for Prometheus; docs/monitoring.md says what each metric is for.

The modules that do the work count here, wherever they are: this one knows nothing of them but what it is told. No
label has a value that stands for a person, a client or a collection: operations, networks, kinds of jobs and rules
of policies are all there is.
"""

from prometheus_client import Counter, Gauge, Histogram, Summary

SUCCESS = "OK"
"""The code of a request that was answered with a result."""
UNKNOWN = "unknown"
"""The operation of a request that names none."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0)

REQUESTS = Counter("regard_requests", "Requests answered, by operation and error code.", ["operation", "code"])
REQUEST_SECONDS = Histogram(
    "regard_request_seconds",
    "Time from the whole request received to its answer, without the wait for other requests.",
    ["operation"],
    buckets=_SECONDS,
)
WAIT_SECONDS = Histogram("regard_request_wait_seconds", "How long requests waited for others.", buckets=_SECONDS)
READING = Gauge("regard_requests_reading", "Requests whose body is being received.")
WAITING = Gauge("regard_requests_waiting", "Requests that wait for others to end.")
IN_FLIGHT = Gauge("regard_requests_in_flight", "Requests that are being carried out.")
REFUSED = Counter(
    "regard_requests_refused",
    "Requests that were not let in: queue (it is full), bodies (their memory is full), waited (too long), large, "
    "slow (to send), gone (the client, before its turn).",
    ["cause"],
)
BODY_BYTES = Counter("regard_body_bytes", "Bytes of bodies received.")
BODIES_HELD = Gauge("regard_bodies_held_bytes", "Bytes of memory taken for the bodies of requests.")
READY = Gauge("regard_ready", "Whether the server is ready: 1, or 0 while it ends or has no database.")

NETWORK_SECONDS = Summary("regard_network_seconds", "Runs of a network and the time in them.", ["network"])
DECODED_PIXELS = Counter("regard_decoded_pixels", "Pixels of pictures that were decoded.")

GALLERY_VECTORS = Gauge("regard_gallery_vectors", "Faces and users that this process holds to search among.")
GALLERY_BYTES = Gauge("regard_gallery_bytes", "Bytes of memory that hold them.")
CATCH_UP_SECONDS = Summary(
    "regard_gallery_catch_up_seconds", "Reads from the database of what has changed in a collection."
)

DENIALS = Counter("regard_denials", "Requests that a rule of use denied.", ["policy", "rule"])

DATABASE_UP = Gauge("regard_database_up", "Whether the database answered when the metrics were read.")
CONNECTIONS = Gauge("regard_database_connections", "Connections of the pool, by what they do.", ["state"])
JOBS = Gauge("regard_jobs", "Jobs that are kept, by kind and status.", ["kind", "status"])
QUEUE_TASKS = Gauge("regard_job_queue_tasks", "Steps of jobs that are to be taken, waiting or under way.", ["state"])
QUEUE_AGE = Gauge("regard_job_queue_oldest_seconds", "How long the oldest step that could be taken has waited.")
AUDIT_RECORDS = Gauge("regard_audit_records", "Records of the audit log.")
CHECKPOINT_RECORDS = Gauge("regard_audit_checkpoint_records", "Records that the last signed checkpoint covers.")
CHECKPOINT_TIME = Gauge("regard_audit_checkpoint_timestamp_seconds", "When the last signed checkpoint was made.")
BUILD = Gauge("regard_build", "Always 1; the version is its label.", ["version"])
