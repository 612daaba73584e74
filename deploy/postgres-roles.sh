#!/bin/sh
# Makes the two roles and the database, on a new PostgreSQL 15 or later, as its administrator:
# bcweb_owner owns the tables (set-up only), bcweb_app reads and writes rows (everything else).
# The container of docker-compose.yml runs it when it makes its data; by hand on Debian:
#
#   OWNER_PASSWORD_FILE=… APP_PASSWORD_FILE=… sudo --user postgres --preserve-env sh deploy/postgres-roles.sh
#
# BCWEB_DATABASE, BCWEB_OWNER_ROLE and BCWEB_APP_ROLE give other names. psql reads the passwords
# itself: they stand on no command line.
set -eu

psql --username "${POSTGRES_USER:-postgres}" --dbname postgres --no-psqlrc --quiet \
    --set ON_ERROR_STOP=1 --set name="${BCWEB_DATABASE:-bcweb}" \
    --set owner="${BCWEB_OWNER_ROLE:-bcweb_owner}" --set app="${BCWEB_APP_ROLE:-bcweb_app}" <<'SQL'
\set owner_password `cat "$OWNER_PASSWORD_FILE"`
\set app_password `cat "$APP_PASSWORD_FILE"`
CREATE ROLE :"owner" LOGIN PASSWORD :'owner_password';
CREATE ROLE :"app" LOGIN PASSWORD :'app_password';
CREATE DATABASE :"name" OWNER :"owner" ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"name" TO :"app";
\connect :"name"
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT CREATE, USAGE ON SCHEMA public TO :"owner";
GRANT USAGE ON SCHEMA public TO :"app";
-- What set-up makes later. From tables that are only added to, set-up takes UPDATE and DELETE again.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
  GRANT USAGE, SELECT ON SEQUENCES TO :"app";
SQL
