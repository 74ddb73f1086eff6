"""The tables. Migrations create them; these definitions are what queries are written with.

A collection carries a `version` that every change to its faces and users raises, under a lock on its row.
Faces and users keep the version of their last change and `removals` keeps those of the gone, so that a
process that has seen version n asks only for what came after n.
"""

from collections.abc import Collection
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB, REAL, UUID

T = TypeVar("T")

metadata = sa.MetaData()


def among(column: "sa.Column[T]", values: Collection[T]) -> "sa.ColumnElement[bool]":
    """Whether a column has one of these values; as one parameter, however many they are."""
    return column == sa.any_(sa.literal(list(values), ARRAY(column.type)))


accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("account_id", sa.CHAR(12), primary_key=True),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
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
