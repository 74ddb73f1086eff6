"""Human loops: results that people are to look over."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
CREATE TABLE human_loops (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id CHAR(12) NOT NULL REFERENCES accounts (account_id),
    flow_definition_arn TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    image_digest BYTEA NOT NULL,
    content_classifiers JSONB NOT NULL,
    labels JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    UNIQUE (account_id, flow_definition_arn, name)
)
""")


def downgrade() -> None:
    op.drop_table("human_loops")
