"""Django's database backend for Postgres, with a cheaper look at a connection that is kept."""
