"""Who does what when: configuration, schedules, workers, and the operations that CLI and API share."""
