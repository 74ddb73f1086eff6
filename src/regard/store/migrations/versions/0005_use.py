"""Use: who may call for which purpose, the policies in force, limits, authorisations."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
ALTER TABLE accounts
    ADD COLUMN name TEXT NOT NULL DEFAULT '',
    ADD COLUMN contact TEXT NOT NULL DEFAULT '',
    ADD COLUMN status TEXT NOT NULL DEFAULT 'active'
        CHECK (status IN ('active', 'restricted', 'suspended', 'banned')),
    ADD COLUMN purposes TEXT[];

-- Keys from before have no purpose, and so only what `locked-down` allows.
ALTER TABLE access_keys
    ADD COLUMN purpose TEXT,
    ADD COLUMN role TEXT NOT NULL DEFAULT 'application',
    ADD COLUMN status TEXT NOT NULL DEFAULT 'active'
        CHECK (status IN ('active', 'restricted', 'suspended', 'banned')),
    ADD COLUMN expires_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN networks TEXT[];

CREATE TABLE standings (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject TEXT COLLATE "C" NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL
);
CREATE INDEX standings_by_subject ON standings (subject, key);

CREATE TABLE appeals (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject TEXT COLLATE "C" NOT NULL,
    statement TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    outcome TEXT,
    decided_at TIMESTAMP WITH TIME ZONE
);

CREATE TABLE violations (
    decision_id TEXT COLLATE "C" PRIMARY KEY,
    account_id CHAR(12) NOT NULL REFERENCES accounts (account_id),
    access_key_id TEXT NOT NULL REFERENCES access_keys (access_key_id),
    policy TEXT NOT NULL,
    rule TEXT NOT NULL,
    sentence TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL
);
CREATE INDEX violations_by_access_key ON violations (access_key_id, created_at);

CREATE TABLE policies (
    name TEXT COLLATE "C" NOT NULL,
    version INTEGER NOT NULL,
    document TEXT,
    digest TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (name, version)
);

CREATE TABLE policy_epoch (
    the_only BOOLEAN PRIMARY KEY DEFAULT true CHECK (the_only),
    epoch BIGINT NOT NULL
);
INSERT INTO policy_epoch (epoch) VALUES (0);

CREATE TABLE uses (
    access_key_id TEXT NOT NULL REFERENCES access_keys (access_key_id) ON DELETE CASCADE,
    rule TEXT COLLATE "C" NOT NULL,
    period TIMESTAMP WITH TIME ZONE NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (access_key_id, rule, period)
);
CREATE INDEX uses_by_age ON uses (period);

CREATE TABLE probes (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id CHAR(12) NOT NULL REFERENCES accounts (account_id),
    rule TEXT COLLATE "C" NOT NULL,
    period TIMESTAMP WITH TIME ZONE NOT NULL,
    signature BIT(256) NOT NULL
);
CREATE INDEX probes_by_period ON probes (account_id, rule, period);
CREATE INDEX probes_by_age ON probes (period);

CREATE TABLE authorisations (
    authorisation_id TEXT COLLATE "C" PRIMARY KEY,
    account_id CHAR(12) NOT NULL REFERENCES accounts (account_id),
    authority TEXT NOT NULL,
    case_reference TEXT NOT NULL,
    collections TEXT[] NOT NULL,
    operations TEXT[] NOT NULL,
    requested_by TEXT NOT NULL,
    approvers TEXT[] NOT NULL DEFAULT '{}',
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE
);
CREATE INDEX authorisations_by_account ON authorisations (account_id, expires_at);
""")


def downgrade() -> None:
    for table in (
        "authorisations",
        "probes",
        "uses",
        "policy_epoch",
        "policies",
        "violations",
        "appeals",
        "standings",
    ):
        op.drop_table(table)
    for column in ("networks", "expires_at", "status", "role", "purpose"):
        op.drop_column("access_keys", column)
    for column in ("purposes", "status", "contact", "name"):
        op.drop_column("accounts", column)
