-- schema.sql lets in who comes from the database's own machine; in compose.yaml the
-- chat comes from another one.
GRANT SELECT, INSERT ON chat.* TO chat@'%';
