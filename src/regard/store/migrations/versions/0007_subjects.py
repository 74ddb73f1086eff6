"""Subjects: consents, legal holds, when a face was last met, receipts of deletions, what was scrubbed."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
CREATE TABLE consents (
    account_id CHAR(12) NOT NULL REFERENCES accounts (account_id),
    consent_id TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C",
    purposes TEXT[] NOT NULL,
    notice TEXT NOT NULL,
    term TEXT NOT NULL,
    evidence BYTEA NOT NULL,
    granted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    withdrawn_at TIMESTAMP WITH TIME ZONE,
    erased_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (account_id, consent_id)
);
CREATE INDEX consents_by_subject ON consents (account_id, subject);

CREATE TABLE legal_holds (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id CHAR(12) NOT NULL REFERENCES accounts (account_id),
    collection_id TEXT COLLATE "C",
    subject TEXT COLLATE "C",
    reason TEXT NOT NULL,
    placed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    released_at TIMESTAMP WITH TIME ZONE,
    CHECK ((collection_id IS NULL) <> (subject IS NULL))
);
CREATE INDEX legal_holds_in_force ON legal_holds (account_id) WHERE released_at IS NULL;

CREATE TABLE interactions (
    face_key BIGINT PRIMARY KEY REFERENCES faces (key) ON DELETE CASCADE,
    day DATE NOT NULL
);

CREATE TABLE deletions (
    receipt_id UUID PRIMARY KEY,
    account_id CHAR(12) NOT NULL REFERENCES accounts (account_id),
    document TEXT NOT NULL,
    signature BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    scrubbed_at TIMESTAMP WITH TIME ZONE
);
CREATE INDEX deletions_by_age ON deletions (account_id, created_at);
CREATE INDEX deletions_to_scrub ON deletions (created_at) WHERE scrubbed_at IS NULL;

CREATE TABLE scrubs (
    table_name TEXT PRIMARY KEY,
    changes BIGINT NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL
);

CREATE INDEX faces_by_subject ON faces (split_part(external_image_id, ':', 1)) WHERE external_image_id IS NOT NULL;
""")
    # The planner's statistics would hold whole embeddings of some people as examples; that of the same type, too,
    # drops those that are there.
    for table in ("faces", "users"):
        op.execute(f"ALTER TABLE {table} ALTER embedding SET STATISTICS 0, ALTER embedding TYPE bytea")


def downgrade() -> None:
    op.drop_index("faces_by_subject")
    for table in ("faces", "users"):
        op.execute(f"ALTER TABLE {table} ALTER embedding SET STATISTICS -1")
    for table in ("scrubs", "deletions", "interactions", "legal_holds", "consents"):
        op.drop_table(table)
