"""Fewer rounds to the database for a request: one appends a record, and tags are read again only once they changed."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

HEAD_LOCK = 0x41756469_74  # the one of `store.audit`


def upgrade() -> None:
    # A function, because each of its statements sees what was committed while the lock was waited for.
    op.execute(f"""
        CREATE FUNCTION audit_append(
            last_seq BIGINT, last_hash BYTEA,
            seqs BIGINT[], contents BYTEA[], hashes BYTEA[], seals BYTEA[],
            opened BIGINT[], opener INTEGER, closed BIGINT[]
        ) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
        DECLARE
            head RECORD;
        BEGIN
            PERFORM pg_advisory_xact_lock({HEAD_LOCK});
            SELECT seq, hash INTO head FROM audit_records ORDER BY seq DESC LIMIT 1;
            IF head.seq IS DISTINCT FROM last_seq OR head.hash IS DISTINCT FROM last_hash THEN
                RETURN false;
            END IF;
            INSERT INTO audit_records (seq, content, hash, seal) SELECT * FROM unnest(seqs, contents, hashes, seals);
            IF cardinality(opened) > 0 THEN
                INSERT INTO audit_intents (seq, server) SELECT unnest(opened), opener;
            END IF;
            IF cardinality(closed) > 0 THEN
                DELETE FROM audit_intents WHERE seq = ANY (closed);
            END IF;
            RETURN true;
        END $$""")  # noqa: S608
    op.execute("ALTER TABLE accounts ADD COLUMN tags_epoch BIGINT NOT NULL DEFAULT 0")
    op.execute("""
        CREATE FUNCTION raise_tags_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE accounts SET tags_epoch = tags_epoch + 1
            WHERE account_id IN (SELECT DISTINCT split_part(resource_arn, ':', 5)::char(12) FROM changed);
            RETURN NULL;
        END $$""")
    for change, rows in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
        op.execute(f"""
            CREATE TRIGGER raise_tags_epoch_{change.lower()} AFTER {change} ON tags
            REFERENCING {rows} TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION raise_tags_epoch()""")


def downgrade() -> None:
    for change in ("insert", "update", "delete"):
        op.execute(f"DROP TRIGGER raise_tags_epoch_{change} ON tags")
    op.execute("DROP FUNCTION raise_tags_epoch()")
    op.drop_column("accounts", "tags_epoch")
    op.execute(
        "DROP FUNCTION audit_append(BIGINT, BYTEA, BIGINT[], BYTEA[], BYTEA[], BYTEA[], BIGINT[], INTEGER, BIGINT[])"
    )
