"""Celebrities: who they are, who wants to be none, and a collection that belongs to no account."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE collections ALTER account_id DROP NOT NULL")
    op.execute(
        "CREATE UNIQUE INDEX collections_of_the_deployment ON collections (collection_id) WHERE account_id IS NULL"
    )
    op.execute("""
        CREATE TABLE celebrities (
            celebrity_id TEXT COLLATE "C" PRIMARY KEY,
            name TEXT NOT NULL,
            urls TEXT[] NOT NULL,
            known_gender TEXT NOT NULL
        )""")
    op.execute("""
        CREATE TABLE celebrity_opt_outs (
            celebrity_id TEXT COLLATE "C" PRIMARY KEY,
            name TEXT,
            reason TEXT NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL
        )""")


def downgrade() -> None:
    op.drop_table("celebrity_opt_outs")
    op.drop_table("celebrities")
    op.execute("DELETE FROM collections WHERE account_id IS NULL")
    op.drop_index("collections_of_the_deployment")
    op.execute("ALTER TABLE collections ALTER account_id SET NOT NULL")
