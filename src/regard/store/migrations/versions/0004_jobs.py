"""Jobs: what was asked for, what its parts yielded, what came of it, and the queue of the library procrastinate."""

from alembic import op

from regard.store import queue

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE jobs (
            key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            job_id TEXT COLLATE "C" NOT NULL UNIQUE,
            account_id CHAR(12) NOT NULL REFERENCES accounts (account_id),
            access_key_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            request JSONB NOT NULL,
            status TEXT DEFAULT 'IN_PROGRESS' NOT NULL,
            status_code TEXT,
            status_message TEXT,
            metadata JSONB,
            parts_total INTEGER,
            parts_done INTEGER DEFAULT 0 NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            completed_at TIMESTAMP WITH TIME ZONE,
            notification TEXT
        )""")
    op.execute("CREATE INDEX jobs_by_key ON jobs (account_id, kind, key)")
    op.execute("CREATE INDEX jobs_open ON jobs (account_id) WHERE status = 'IN_PROGRESS'")
    op.execute("CREATE INDEX jobs_by_end ON jobs (completed_at)")
    op.execute("""
        CREATE TABLE job_parts (
            job_key BIGINT REFERENCES jobs (key) ON DELETE CASCADE,
            number INTEGER,
            body BYTEA NOT NULL,
            PRIMARY KEY (job_key, number)
        )""")
    op.execute("ALTER TABLE job_parts ALTER body SET STORAGE EXTERNAL")  # it is compressed
    op.execute("""
        CREATE TABLE job_results (
            job_key BIGINT REFERENCES jobs (key) ON DELETE CASCADE,
            aggregate TEXT COLLATE "C",
            by_time INTEGER,
            by_key INTEGER NOT NULL,
            body JSON NOT NULL,
            PRIMARY KEY (job_key, aggregate, by_time)
        )""")
    op.execute("CREATE UNIQUE INDEX job_results_by_key ON job_results (job_key, aggregate, by_key)")
    queue.install(op.get_bind())


def downgrade() -> None:
    queue.uninstall(op.get_bind())
    op.drop_table("job_results")
    op.drop_table("job_parts")
    op.drop_table("jobs")
