"""Human review: what people are to look over, their verdicts, and when moderation asks for them."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
CREATE TABLE flow_definitions (
    account_id CHAR(12) NOT NULL REFERENCES accounts (account_id),
    name TEXT COLLATE "C" NOT NULL,
    conditions TEXT NOT NULL,
    quorum INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (account_id, name)
);
CREATE TABLE reviews (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    review_id TEXT COLLATE "C" NOT NULL UNIQUE,
    account_id CHAR(12) NOT NULL REFERENCES accounts (account_id),
    access_key_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    operation TEXT NOT NULL,
    resource TEXT NOT NULL,
    rule TEXT NOT NULL,
    mode TEXT NOT NULL,
    quorum INTEGER NOT NULL,
    request_digest BYTEA NOT NULL,
    candidates JSONB NOT NULL,
    picture BYTEA,
    picture_until TIMESTAMP WITH TIME ZONE NOT NULL,
    confirmed JSONB,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    decided_at TIMESTAMP WITH TIME ZONE,
    UNIQUE (account_id, request_digest)
);
CREATE INDEX reviews_open ON reviews (account_id, key) WHERE decided_at IS NULL;
CREATE INDEX reviews_by_picture ON reviews (picture_until) WHERE picture IS NOT NULL;
CREATE TABLE verdicts (
    review_key BIGINT NOT NULL REFERENCES reviews (key) ON DELETE CASCADE,
    reviewer TEXT NOT NULL,
    begun_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    given_at TIMESTAMP WITH TIME ZONE,
    chosen JSONB,
    note TEXT,
    passed_control BOOLEAN,
    PRIMARY KEY (review_key, reviewer)
);
""")


def downgrade() -> None:
    for table in ("verdicts", "reviews", "flow_definitions"):
        op.drop_table(table)
