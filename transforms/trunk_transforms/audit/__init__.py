"""The audit of trunks: rules, findings, suppressions."""
