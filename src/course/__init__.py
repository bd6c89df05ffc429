"""The course's code: one module for each lesson, tangled from its page."""
