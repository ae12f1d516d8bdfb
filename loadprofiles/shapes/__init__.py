"""The load profiles: one file each, one frozen value in it."""
