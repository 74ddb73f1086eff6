"""Who may call: accounts, access keys and the secrets that they sign with."""
