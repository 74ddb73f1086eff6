"""The audit log: what was asked, decided and done, in a chain that cannot be altered unnoticed.

    record 1 ← record 2 ← record 3 …       each has the hash of the one before it
       └───── Merkle tree ─────┘           one hash for all, short proofs for each
                  └ checkpoint             signed, and held where the log's owner cannot change it

Tamper-evident, not tamper-proof: docs/audit.md says what is found out, by whom, and what is not.
"""

from regard.use.audit.log import AuditError, AuditLog

__all__ = ["AuditError", "AuditLog"]
