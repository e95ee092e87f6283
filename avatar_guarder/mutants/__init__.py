"""A minimal honest avatar, and mutants of it that each break one rule."""
