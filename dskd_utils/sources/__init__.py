"""What the study reads: assets from package registries, teachers, corpora and tasks."""
