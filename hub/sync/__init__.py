"""A flow at work, one file a stage: capture, locate, resolve, deliver, settle, reconcile."""
