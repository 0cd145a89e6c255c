"""What follows a run: metrics, the webhook."""
