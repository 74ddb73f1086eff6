"""The tables. Migrations create them; these definitions are what queries are written with.

A collection carries a `version` that every change to its faces and users raises, under a lock on its row.
Faces and users keep the version of their last change and `removals` keeps those of the gone, as far back as
`removals_kept_after`, so that a process that has seen version n asks only for what came after n.
"""

from collections.abc import Collection
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, BIT, BYTEA, JSON, JSONB, REAL, UUID

T = TypeVar("T")

metadata = sa.MetaData()


def among(column: "sa.Column[T]", values: Collection[T]) -> "sa.ColumnElement[bool]":
    """Whether a column has one of these values; as one parameter, however many they are."""
    return column == sa.any_(sa.literal(list(values), ARRAY(column.type)))


def among_given(column: "sa.Column[Any]", name: str) -> "sa.ColumnElement[bool]":
    """The same of a list that the statement will be executed with under that name."""
    return column == sa.any_(sa.bindparam(name, type_=ARRAY(column.type)))


_DIALECT = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]


def text_of(statement: "sa.Select[Any]") -> str:
    """A statement as psycopg takes it, made once for what every request asks: SQLAlchemy's way to an answer takes
    longer than PostgreSQL's."""
    return str(statement.compile(dialect=_DIALECT))


accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("account_id", sa.CHAR(12), primary_key=True),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("name", sa.Text, nullable=False, server_default=""),
    sa.Column("contact", sa.Text, nullable=False, server_default=""),
    sa.Column("status", sa.Text, nullable=False, server_default="active"),
    sa.Column("purposes", ARRAY(sa.Text)),  # that its keys may have; null: any
    sa.Column("tags_epoch", sa.BigInteger, nullable=False, server_default="0"),  # raised by every change of its `tags`
)

access_keys = sa.Table(
    "access_keys",
    metadata,
    sa.Column("access_key_id", sa.Text, primary_key=True),
    sa.Column("account_id", sa.CHAR(12), sa.ForeignKey("accounts.account_id"), nullable=False),
    sa.Column("sealed_secret", BYTEA, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("revoked_at", sa.DateTime(timezone=True)),
    sa.Column("purpose", sa.Text),  # null: none was declared, and `locked-down` holds
    sa.Column("role", sa.Text, nullable=False, server_default="application"),
    sa.Column("status", sa.Text, nullable=False, server_default="active"),
    sa.Column("expires_at", sa.DateTime(timezone=True)),
    sa.Column("networks", ARRAY(sa.Text)),  # addresses and networks that may use it; null: any
)

collections = sa.Table(
    "collections",
    metadata,
    sa.Column("key", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("account_id", sa.CHAR(12), sa.ForeignKey("accounts.account_id")),  # null: of the deployment itself
    sa.Column("collection_id", sa.Text(collation="C"), nullable=False),
    sa.Column("face_model_version", sa.Text, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("face_count", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("user_count", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("removals_kept_after", sa.BigInteger, nullable=False, server_default="0"),  # a version
    sa.UniqueConstraint("account_id", "collection_id"),
    sa.Index(
        "collections_of_the_deployment",
        "collection_id",
        unique=True,
        postgresql_where=sa.text("account_id IS NULL"),
    ),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("key", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("collection_key", sa.BigInteger, sa.ForeignKey("collections.key", ondelete="CASCADE"), nullable=False),
    sa.Column("user_id", sa.Text(collation="C"), nullable=False),
    sa.Column("embedding", BYTEA),  # float32 little-endian; null while no face is associated
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.UniqueConstraint("collection_key", "user_id"),
    sa.Index("users_by_key", "collection_key", "key"),
    sa.Index("users_by_version", "collection_key", "version"),
)

faces = sa.Table(
    "faces",
    metadata,
    sa.Column("key", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("collection_key", sa.BigInteger, sa.ForeignKey("collections.key", ondelete="CASCADE"), nullable=False),
    sa.Column("face_id", UUID(as_uuid=True), nullable=False),
    sa.Column("image_id", UUID(as_uuid=True), nullable=False),
    sa.Column("external_image_id", sa.Text),
    sa.Column("left", REAL, nullable=False),  # the box, as ratios of the picture
    sa.Column("top", REAL, nullable=False),
    sa.Column("width", REAL, nullable=False),
    sa.Column("height", REAL, nullable=False),
    sa.Column("confidence", REAL, nullable=False),
    sa.Column("embedding", BYTEA, nullable=False),  # float32 little-endian, of length one
    sa.Column("user_key", sa.BigInteger, sa.ForeignKey("users.key")),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.UniqueConstraint("collection_key", "face_id"),
    sa.Index("faces_by_key", "collection_key", "key"),
    sa.Index("faces_by_version", "collection_key", "version"),
    sa.Index("faces_by_user", "user_key", postgresql_where=sa.text("user_key IS NOT NULL")),
    sa.Index(
        "faces_by_subject",
        sa.text("split_part(external_image_id, ':'::text, 1)"),
        postgresql_where=sa.text("external_image_id IS NOT NULL"),
    ),
)

removals = sa.Table(
    "removals",
    metadata,
    sa.Column(
        "collection_key",
        sa.BigInteger,
        sa.ForeignKey("collections.key", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("key", sa.BigInteger, primary_key=True),  # the key of a face, or of a user
    sa.Column("of_user", sa.Boolean, primary_key=True),
)

celebrities = sa.Table(
    "celebrities",
    metadata,
    sa.Column("celebrity_id", sa.Text(collation="C"), primary_key=True),  # also the user's id in their collection
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("urls", ARRAY(sa.Text), nullable=False),
    sa.Column("known_gender", sa.Text, nullable=False),
)

celebrity_opt_outs = sa.Table(
    "celebrity_opt_outs",
    metadata,
    sa.Column("celebrity_id", sa.Text(collation="C"), primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
)

tags = sa.Table(
    "tags",
    metadata,
    sa.Column("resource_arn", sa.Text(collation="C"), primary_key=True),
    sa.Column("key", sa.Text(collation="C"), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

idempotency_tokens = sa.Table(
    "idempotency_tokens",
    metadata,
    sa.Column("account_id", sa.CHAR(12), primary_key=True),
    sa.Column("operation", sa.Text, primary_key=True),
    sa.Column("token", sa.Text, primary_key=True),
    sa.Column("request_digest", BYTEA, nullable=False),
    sa.Column("response", JSONB, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Index("idempotency_tokens_by_age", "created_at"),
)

human_loops = sa.Table(
    "human_loops",
    metadata,
    sa.Column("key", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("account_id", sa.CHAR(12), sa.ForeignKey("accounts.account_id"), nullable=False),
    sa.Column("flow_definition_arn", sa.Text(collation="C"), nullable=False),
    sa.Column("name", sa.Text(collation="C"), nullable=False),
    sa.Column("image_digest", BYTEA, nullable=False),  # SHA-256 of the file; the picture itself is not kept
    sa.Column("content_classifiers", JSONB, nullable=False),  # what the caller says the picture is free of
    sa.Column("labels", JSONB, nullable=False),  # the ModerationLabels of the response
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.UniqueConstraint("account_id", "flow_definition_arn", "name"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("key", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("job_id", sa.Text(collation="C"), nullable=False, unique=True),
    sa.Column("account_id", sa.CHAR(12), sa.ForeignKey("accounts.account_id"), nullable=False),
    sa.Column("access_key_id", sa.Text, nullable=False),  # for whom the job is done
    sa.Column("kind", sa.Text, nullable=False),  # what comes after Start in the operation's name
    sa.Column("request", JSONB, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="IN_PROGRESS"),  # AWS's VideoJobStatus
    sa.Column("status_code", sa.Text),  # AWS's MediaAnalysisJobFailureCode
    sa.Column("status_message", sa.Text),
    sa.Column("metadata", JSONB),  # what the plan says of the subject
    sa.Column("parts_total", sa.Integer),  # null until there is a plan
    sa.Column("parts_done", sa.Integer, nullable=False, server_default="0"),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("completed_at", sa.DateTime(timezone=True)),
    sa.Column("notification", sa.Text),  # null while in progress; PENDING; what became of it
    sa.Index("jobs_by_key", "account_id", "kind", "key"),
    sa.Index("jobs_open", "account_id", postgresql_where=sa.text("status = 'IN_PROGRESS'")),
    sa.Index("jobs_by_end", "completed_at"),
)

job_parts = sa.Table(
    "job_parts",
    metadata,
    sa.Column("job_key", sa.BigInteger, sa.ForeignKey("jobs.key", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("body", BYTEA, nullable=False),  # JSON, compressed with zlib; kept until the job ends
)

job_results = sa.Table(
    "job_results",
    metadata,
    sa.Column("job_key", sa.BigInteger, sa.ForeignKey("jobs.key", ondelete="CASCADE"), primary_key=True),
    sa.Column("aggregate", sa.Text(collation="C"), primary_key=True),  # AWS's AggregateBy
    sa.Column("by_time", sa.Integer, primary_key=True),  # places in the two orders, from one on
    sa.Column("by_key", sa.Integer, nullable=False),
    sa.Column("body", JSON, nullable=False),
    sa.Index("job_results_by_key", "job_key", "aggregate", "by_key", unique=True),
)

standings = sa.Table(
    "standings",
    metadata,
    sa.Column("key", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("subject", sa.Text(collation="C"), nullable=False),  # an account or an access key
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("since", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Index("standings_by_subject", "subject", "key"),
)

appeals = sa.Table(
    "appeals",
    metadata,
    sa.Column("key", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("subject", sa.Text(collation="C"), nullable=False),
    sa.Column("statement", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("outcome", sa.Text),
    sa.Column("decided_at", sa.DateTime(timezone=True)),
)

violations = sa.Table(
    "violations",
    metadata,
    sa.Column("decision_id", sa.Text(collation="C"), primary_key=True),
    sa.Column("account_id", sa.CHAR(12), sa.ForeignKey("accounts.account_id"), nullable=False),
    sa.Column("access_key_id", sa.Text, sa.ForeignKey("access_keys.access_key_id"), nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("sentence", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Index("violations_by_access_key", "access_key_id", "created_at"),
)

policies = sa.Table(
    "policies",
    metadata,
    sa.Column("name", sa.Text(collation="C"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),  # the highest is in force
    sa.Column("document", sa.Text),  # TOML, or JSON of permissions; null: withdrawn
    sa.Column("digest", sa.Text, nullable=False),  # SHA-256 of the document
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
)

policy_epoch = sa.Table(
    "policy_epoch",
    metadata,
    sa.Column("the_only", sa.Boolean, primary_key=True, server_default=sa.true()),
    sa.Column("epoch", sa.BigInteger, nullable=False),  # raised by every change of `policies`, and of opt-outs
)

uses = sa.Table(
    "uses",
    metadata,
    sa.Column(
        "access_key_id", sa.Text, sa.ForeignKey("access_keys.access_key_id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("rule", sa.Text(collation="C"), primary_key=True),
    sa.Column("period", sa.DateTime(timezone=True), primary_key=True),  # its beginning
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Index("uses_by_age", "period"),
)

probes = sa.Table(
    "probes",
    metadata,
    sa.Column("key", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("account_id", sa.CHAR(12), sa.ForeignKey("accounts.account_id"), nullable=False),
    sa.Column("rule", sa.Text(collation="C"), nullable=False),
    sa.Column("period", sa.DateTime(timezone=True), nullable=False),
    sa.Column("signature", BIT(256), nullable=False),  # see `use.probes`: never an embedding
    sa.Index("probes_by_period", "account_id", "rule", "period"),
    sa.Index("probes_by_age", "period"),
)

authorisations = sa.Table(
    "authorisations",
    metadata,
    sa.Column("authorisation_id", sa.Text(collation="C"), primary_key=True),
    sa.Column("account_id", sa.CHAR(12), sa.ForeignKey("accounts.account_id"), nullable=False),
    sa.Column("authority", sa.Text, nullable=False),
    sa.Column("case_reference", sa.Text, nullable=False),
    sa.Column("collections", ARRAY(sa.Text), nullable=False),
    sa.Column("operations", ARRAY(sa.Text), nullable=False),
    sa.Column("requested_by", sa.Text, nullable=False),
    sa.Column("approvers", ARRAY(sa.Text), nullable=False, server_default="{}"),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("revoked_at", sa.DateTime(timezone=True)),
    sa.Index("authorisations_by_account", "account_id", "expires_at"),
)

flow_definitions = sa.Table(
    "flow_definitions",
    metadata,
    sa.Column("account_id", sa.CHAR(12), sa.ForeignKey("accounts.account_id"), primary_key=True),
    sa.Column("name", sa.Text(collation="C"), primary_key=True),
    sa.Column("conditions", sa.Text, nullable=False),  # A2I's HumanLoopActivationConditions, JSON
    sa.Column("quorum", sa.Integer, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
)

reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("key", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("review_id", sa.Text(collation="C"), nullable=False, unique=True),
    sa.Column("account_id", sa.CHAR(12), sa.ForeignKey("accounts.account_id"), nullable=False),
    sa.Column("access_key_id", sa.Text, nullable=False),  # whose request is reviewed
    sa.Column("kind", sa.Text, nullable=False),  # matches or moderation
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("resource", sa.Text, nullable=False),  # the ARN of a collection or a flow definition
    sa.Column("rule", sa.Text, nullable=False),  # what asks for it: policy@version rule, or a human loop's name
    sa.Column("mode", sa.Text, nullable=False),  # withhold or mark
    sa.Column("quorum", sa.Integer, nullable=False),
    sa.Column("request_digest", BYTEA, nullable=False),  # keyed; the same request finds its review by it
    sa.Column("candidates", JSONB, nullable=False),
    sa.Column("picture", BYTEA),  # sealed JPEG, until the review is decided or `picture_until`
    sa.Column("picture_until", sa.DateTime(timezone=True), nullable=False),
    sa.Column("confirmed", JSONB),  # ids that every reviewer chose; null while it is open
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("decided_at", sa.DateTime(timezone=True)),
    sa.UniqueConstraint("account_id", "request_digest"),
    sa.Index("reviews_open", "account_id", "key", postgresql_where=sa.text("decided_at IS NULL")),
    sa.Index("reviews_by_picture", "picture_until", postgresql_where=sa.text("picture IS NOT NULL")),
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("review_key", sa.BigInteger, sa.ForeignKey("reviews.key", ondelete="CASCADE"), primary_key=True),
    sa.Column("reviewer", sa.Text, primary_key=True),  # an access key
    sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("given_at", sa.DateTime(timezone=True)),  # null: is looking at it
    sa.Column("chosen", JSONB),
    sa.Column("note", sa.Text),
    sa.Column("passed_control", sa.Boolean),  # null: there was none in the review
)

consents = sa.Table(
    "consents",
    metadata,
    sa.Column("account_id", sa.CHAR(12), sa.ForeignKey("accounts.account_id"), primary_key=True),
    sa.Column("consent_id", sa.Text(collation="C"), primary_key=True),
    sa.Column("subject", sa.Text(collation="C")),  # null once the person is erased: what is left proves the consent
    sa.Column("purposes", ARRAY(sa.Text), nullable=False),
    sa.Column("notice", sa.Text, nullable=False),  # what the person was told
    sa.Column("term", sa.Text, nullable=False),  # for how long, in the words that the person was told
    sa.Column("evidence", BYTEA, nullable=False),  # SHA-256 of the release that the person signed
    sa.Column("granted_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("withdrawn_at", sa.DateTime(timezone=True)),
    sa.Column("erased_at", sa.DateTime(timezone=True)),
    sa.Index("consents_by_subject", "account_id", "subject"),
)

legal_holds = sa.Table(
    "legal_holds",
    metadata,
    sa.Column("key", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("account_id", sa.CHAR(12), sa.ForeignKey("accounts.account_id"), nullable=False),
    sa.Column("collection_id", sa.Text(collation="C")),  # this or a subject
    sa.Column("subject", sa.Text(collation="C")),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("released_at", sa.DateTime(timezone=True)),
    sa.Index("legal_holds_in_force", "account_id", postgresql_where=sa.text("released_at IS NULL")),
)

interactions = sa.Table(
    "interactions",
    metadata,
    sa.Column("face_key", sa.BigInteger, sa.ForeignKey("faces.key", ondelete="CASCADE"), primary_key=True),
    sa.Column("day", sa.Date, nullable=False),  # of the last one after the enrolment
)

deletions = sa.Table(
    "deletions",
    metadata,
    sa.Column("receipt_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("account_id", sa.CHAR(12), sa.ForeignKey("accounts.account_id"), nullable=False),
    sa.Column("document", sa.Text, nullable=False),  # the canonical JSON that was signed
    sa.Column("signature", BYTEA, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("scrubbed_at", sa.DateTime(timezone=True)),  # null: its traces may still be in the database's files
    sa.Index("deletions_by_age", "account_id", "created_at"),
    sa.Index("deletions_to_scrub", "created_at", postgresql_where=sa.text("scrubbed_at IS NULL")),
)

scrubs = sa.Table(
    "scrubs",
    metadata,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("changes", sa.BigInteger, nullable=False),  # what PostgreSQL had counted when it was last rewritten
    sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
)


audit_records = sa.Table(
    "audit_records",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3, … without a gap
    sa.Column("content", BYTEA, nullable=False),  # canonical JSON, the very bytes that were hashed
    sa.Column("hash", BYTEA, nullable=False),  # SHA-256 of the content
    sa.Column("seal", BYTEA, nullable=False),  # HMAC-SHA256 of the hash under a key from the master key
)

audit_nodes = sa.Table(
    "audit_nodes",
    metadata,
    sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", BYTEA, nullable=False),  # of the complete subtree of 256**level leaves
)

audit_checkpoints = sa.Table(
    "audit_checkpoints",
    metadata,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("note", sa.Text, nullable=False),  # the signed note
    sa.Column("made_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
)

audit_intents = sa.Table(
    "audit_intents",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),  # of the record; gone with the outcome
    sa.Column("server", sa.Integer, nullable=False),  # which process, see store/audit.py
)

audit_pseudonyms = sa.Table(
    "audit_pseudonyms",
    metadata,
    sa.Column("lookup", BYTEA, primary_key=True),  # keyed digest of the identifier
    sa.Column("salt", BYTEA, nullable=False),  # random; the pseudonym cannot be made again without it
)
