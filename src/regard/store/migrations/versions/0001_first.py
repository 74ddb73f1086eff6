"""Accounts, access keys, collections with faces and users, tags, idempotency tokens."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE accounts (
    account_id CHAR(12) PRIMARY KEY,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL
);
CREATE TABLE access_keys (
    access_key_id TEXT PRIMARY KEY,
    account_id CHAR(12) NOT NULL REFERENCES accounts (account_id),
    sealed_secret BYTEA NOT NULL,
    description TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE
);
CREATE TABLE collections (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id CHAR(12) NOT NULL REFERENCES accounts (account_id),
    collection_id TEXT COLLATE "C" NOT NULL,
    face_model_version TEXT NOT NULL,
    version BIGINT DEFAULT 0 NOT NULL,
    face_count BIGINT DEFAULT 0 NOT NULL,
    user_count BIGINT DEFAULT 0 NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    UNIQUE (account_id, collection_id)
);
CREATE TABLE users (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection_key BIGINT NOT NULL REFERENCES collections (key) ON DELETE CASCADE,
    user_id TEXT COLLATE "C" NOT NULL,
    embedding BYTEA,
    version BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    UNIQUE (collection_key, user_id)
);
CREATE INDEX users_by_key ON users (collection_key, key);
CREATE INDEX users_by_version ON users (collection_key, version);
CREATE TABLE faces (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection_key BIGINT NOT NULL REFERENCES collections (key) ON DELETE CASCADE,
    face_id UUID NOT NULL,
    image_id UUID NOT NULL,
    external_image_id TEXT,
    "left" REAL NOT NULL,
    top REAL NOT NULL,
    width REAL NOT NULL,
    height REAL NOT NULL,
    confidence REAL NOT NULL,
    embedding BYTEA NOT NULL,
    user_key BIGINT REFERENCES users (key),
    version BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    UNIQUE (collection_key, face_id)
);
CREATE INDEX faces_by_key ON faces (collection_key, key);
CREATE INDEX faces_by_version ON faces (collection_key, version);
CREATE INDEX faces_by_user ON faces (user_key) WHERE user_key IS NOT NULL;
CREATE TABLE removals (
    collection_key BIGINT NOT NULL REFERENCES collections (key) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    key BIGINT NOT NULL,
    of_user BOOLEAN NOT NULL,
    PRIMARY KEY (collection_key, version, key, of_user)
);
CREATE TABLE tags (
    resource_arn TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (resource_arn, key)
);
CREATE TABLE idempotency_tokens (
    account_id CHAR(12) NOT NULL,
    operation TEXT NOT NULL,
    token TEXT NOT NULL,
    request_digest BYTEA NOT NULL,
    response JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (account_id, operation, token)
);
CREATE INDEX idempotency_tokens_by_age ON idempotency_tokens (created_at);
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    for table in (
        "idempotency_tokens",
        "tags",
        "removals",
        "faces",
        "users",
        "collections",
        "access_keys",
        "accounts",
    ):
        op.drop_table(table)
