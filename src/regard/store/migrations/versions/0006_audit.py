"""The audit log: records that cannot be altered unnoticed, its checkpoints, and keys that can be destroyed."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

APPEND_ONLY = ("audit_records", "audit_nodes", "audit_checkpoints")


def upgrade() -> None:
    op.execute("""
        CREATE TABLE audit_records (
            seq BIGINT PRIMARY KEY CHECK (seq > 0),
            content BYTEA NOT NULL,
            hash BYTEA NOT NULL,
            seal BYTEA NOT NULL
        )""")
    op.execute("""
        CREATE TABLE audit_nodes (
            level SMALLINT NOT NULL CHECK (level > 0),
            index BIGINT NOT NULL,
            hash BYTEA NOT NULL,
            PRIMARY KEY (level, index)
        )""")
    op.execute("""
        CREATE TABLE audit_checkpoints (
            size BIGINT PRIMARY KEY,
            note TEXT NOT NULL,
            made_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL
        )""")
    op.execute("""
        CREATE TABLE audit_intents (
            seq BIGINT PRIMARY KEY,
            server INTEGER NOT NULL
        )""")
    op.execute("""
        CREATE TABLE audit_pseudonyms (
            lookup BYTEA PRIMARY KEY,
            salt BYTEA NOT NULL
        )""")
    op.execute("""
        CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'the audit log is only added to';
        END $$""")
    for table in APPEND_ONLY:
        op.execute(f"""
            CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()""")


def downgrade() -> None:
    for table in ("audit_pseudonyms", "audit_intents", *reversed(APPEND_ONLY)):
        op.drop_table(table)
    op.execute("DROP FUNCTION audit_append_only()")
