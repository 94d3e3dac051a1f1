"""From a Notification to a webhook: outbox, sender, channels."""
