"""Measurements of this machine: tables for people, JSON for records. Nothing here is served."""
