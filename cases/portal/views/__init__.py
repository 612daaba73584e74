"""The pages: thin callers of services and selectors, one file per place."""
