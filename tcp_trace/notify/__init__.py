"""From a Notification to a webhook: wording, routing, outbox, senders."""
