"""The opt-out gallery is kept in memory: whoever changes it tells running servers, by the epoch of the policies."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TRIGGERS = {"changed": ("INSERT OR UPDATE", "NEW"), "removed": ("DELETE", "OLD")}


def upgrade() -> None:
    op.execute("""
        CREATE FUNCTION raise_policy_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE policy_epoch SET epoch = epoch + 1;
            RETURN NULL;
        END $$""")
    for name, (change, row) in TRIGGERS.items():
        op.execute(f"""
            CREATE TRIGGER opt_outs_{name} AFTER {change} ON collections FOR EACH ROW
            WHEN ({row}.account_id IS NULL AND {row}.collection_id = 'opt-outs')
            EXECUTE FUNCTION raise_policy_epoch()""")


def downgrade() -> None:
    for name in TRIGGERS:
        op.execute(f"DROP TRIGGER opt_outs_{name} ON collections")
    op.execute("DROP FUNCTION raise_policy_epoch()")
