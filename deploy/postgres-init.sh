#!/bin/sh
# Run once by the PostgreSQL container, when its volume is new: the logins of the workers and of
# the importer. `cupping migrate --grant` gives their groups the rights they need, no more.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
     --set worker="$CUPPING_WORKER_PASSWORD" --set importer="$CUPPING_IMPORTER_PASSWORD" <<'SQL'
CREATE ROLE cupping_worker NOLOGIN;
CREATE ROLE cupping_importer NOLOGIN;
CREATE ROLE worker LOGIN PASSWORD :'worker' IN ROLE cupping_worker;
CREATE ROLE importer LOGIN PASSWORD :'importer' IN ROLE cupping_importer;
SQL
