"""What is misconfigured: rules, findings, suppressions."""
